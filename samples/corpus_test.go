package samples

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// corpusDir is a collection of models by others, which is not part of this repository.
func corpusDir(t testing.TB) string {
	dir := os.Getenv("FP8REWRITE_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "corpus")
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
		t.Skipf("no corpus of models at %s: set FP8REWRITE_CORPUS to its folder", dir)
	}
	return dir
}

// eachModel calls f with every model of the corpus that opens and whose inputs are tensors.
func eachModel(t *testing.T, dir string, f func(path string, in []*graph.Value)) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".onnx") {
			return err
		}
		m, err := onnxio.Open(path)
		if err != nil {
			return nil // what opens is onnxio's business
		}
		defer m.Close()
		var in []*graph.Value
		for _, v := range m.Model.Graph.Inputs {
			sparse := slices.ContainsFunc(m.Model.Graph.Sparse, func(s *graph.Sparse) bool { return s.Name == v.Name })
			if sparse || m.Model.Graph.Initializer(v.Name) != nil {
				continue
			}
			if v.Type == nil || v.Type.Kind != graph.TensorKind {
				return nil
			}
			in = append(in, v)
		}
		if len(in) > 0 {
			f(path, in)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCorpusInputs feeds every model with the inputs that it was once run with: one step must give them back as they are.
func TestCorpusInputs(t *testing.T) {
	models := 0
	eachModel(t, corpusDir(t), func(path string, in []*graph.Value) {
		data := filepath.Join(filepath.Dir(path), "ort_ref.npz")
		if _, err := os.Stat(data); err != nil {
			return
		}
		s, err := Open(data, Options{Model: in, Prefix: "in:", DefaultBatch: 1 << 20, AllowNonFinite: true})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		defer s.Close()
		step, err := s.Step(0)
		if err != nil || s.Steps() != 1 {
			t.Errorf("%s: %d steps, %v", path, s.Steps(), err)
			return
		}
		for _, v := range in {
			a, err := s.Array(v.Name)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			want, err := a.Tensor()
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			got := step[v.Name]
			if got.DType != want.DType || !got.Shape.Equal(want.Shape) || !bytes.Equal(got.Data.(tensor.Bytes), want.Data.(tensor.Bytes)) {
				t.Errorf("%s: input %q: %s%s, want %s", path, v.Name, got.DType, got.Shape, a)
			}
		}
		models++
	})
	if models < 60 {
		t.Errorf("%d models, want at least 60", models)
	}
	t.Logf("%d models", models)
}

// TestCorpusTestSets reads the test sets that stand beside models.
func TestCorpusTestSets(t *testing.T) {
	models := 0
	eachModel(t, corpusDir(t), func(path string, in []*graph.Value) {
		dir := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(dir, "test_data_set_0", "input_0.pb")); err != nil {
			return
		}
		s, err := Open(dir, Options{Model: in, DecodePB: onnxio.UnmarshalTensor, AllowNonFinite: true})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		defer s.Close()
		step, err := s.Step(0)
		if err != nil || len(step) != len(in) {
			t.Errorf("%s: %d inputs of %d, %v", path, len(step), len(in), err)
			return
		}
		models++
	})
	if models < 50 {
		t.Errorf("%d models, want at least 50", models)
	}
	t.Logf("%d models", models)
}
