package conformance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// environment names the folder of the node tests: onnx/backend/test/data/node of the onnx package.
const environment = "FP8REWRITE_ONNX_NODE_TESTS"

// folder is where the node tests lie, "" where they are not found.
func folder() string {
	if dir := os.Getenv(environment); dir != "" {
		return dir
	}
	found, _ := filepath.Glob("../../../.venv-conformance/lib/python3*/site-packages/onnx/backend/test/data/node")
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// outcome is what became of one test.
type outcome struct {
	name string
	ops  []string // of the model's nodes, the first one first
	err  error
}

// refused reports whether the engine said that it cannot execute the model, rather than computing something else.
func (o outcome) refused() bool {
	var unsupported *runtime.UnsupportedError
	return errors.As(o.err, &unsupported)
}

// run executes one test: every data set beside the model.
func run(b runtime.Backend, dir string) (out outcome) {
	out.name = filepath.Base(dir)
	defer func() {
		if r := recover(); r != nil {
			out.err = fmt.Errorf("panic: %v", r)
		}
	}()
	raw, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
	if err != nil {
		out.err = err
		return out
	}
	m, err := onnxio.Unmarshal(raw)
	if err != nil {
		out.err = err
		return out
	}
	for _, n := range m.Graph.Nodes {
		out.ops = append(out.ops, n.OpType)
	}
	s, err := b.Open(context.Background(), m, runtime.Options{})
	if err != nil {
		out.err = err
		return out
	}
	defer s.Close()
	sets, _ := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
	if len(sets) == 0 {
		out.err = errors.New("no data set")
	}
	for _, set := range sets {
		if out.err = runSet(s, m, set); out.err != nil {
			return out
		}
	}
	return out
}

func runSet(s runtime.Session, m *graph.Model, set string) error {
	inputs := map[string]runtime.Value{}
	for i, v := range m.Graph.Inputs {
		value, err := readValue(filepath.Join(set, fmt.Sprintf("input_%d.pb", i)), v.Type)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		inputs[v.Name] = value
	}
	result, err := s.Run(context.Background(), inputs)
	if err != nil {
		return err
	}
	for i, v := range m.Graph.Outputs {
		want, err := readValue(filepath.Join(set, fmt.Sprintf("output_%d.pb", i)), v.Type)
		if err != nil {
			return err
		}
		got, ok := result.Values[v.Name]
		if !ok {
			return fmt.Errorf("no output %q", v.Name)
		}
		if err := compare(got, want, toleranceOf(filepath.Base(filepath.Dir(set)))); err != nil {
			return fmt.Errorf("output %q: %w", v.Name, err)
		}
	}
	return nil
}

func readValue(path string, typ *graph.Type) (runtime.Value, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return runtime.Value{}, err
	}
	v, err := onnxio.UnmarshalValue(b, typ)
	if err != nil {
		return runtime.Value{}, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return valueOf(v, typ), nil
}

func valueOf(v onnxio.Value, typ *graph.Type) runtime.Value {
	if v.Tensor != nil {
		return runtime.FromTensor(v.Tensor)
	}
	out := runtime.Value{Kind: runtime.SequenceValue, Items: []runtime.Value{}}
	if typ.Kind == graph.OptionalKind {
		out.Kind = runtime.OptionalValue
	}
	for _, item := range v.Items {
		out.Items = append(out.Items, valueOf(item, typ.Elem))
	}
	return out
}

// title is the test's name as the table lists it.
func title(name string) string { return strings.TrimPrefix(name, "test_") }
