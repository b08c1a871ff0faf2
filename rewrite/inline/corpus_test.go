package inline_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/rewrite/inline"
)

// TestCorpusFunctions inlines everything in every model of the corpus that has functions and looks at what comes out: no
// call is left, every name is defined once and before its use, and the file can be written and read again.
func TestCorpusFunctions(t *testing.T) {
	dir := os.Getenv("FP8REWRITE_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
		t.Skipf("no corpus of models at %s: set FP8REWRITE_CORPUS to its folder", dir)
	}
	models, calls := 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".onnx") {
			return err
		}
		f, err := onnxio.Open(path)
		if err != nil {
			return nil // that models which do not open are refused is onnxio's to test
		}
		defer f.Close()
		if len(f.Model.Functions) == 0 {
			return nil
		}
		name, _ := filepath.Rel(dir, path)
		models++
		done, err := inline.Calls(f.Model, func(*graph.Function) bool { return true }, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		calls += len(done)
		own := map[[2]string]bool{}
		for _, fn := range f.Model.Functions {
			own[[2]string{fn.Domain, fn.Name}] = true // nothing called it: it stays
		}
		graph.WalkNodes(f.Model.Graph.Nodes, func(n *graph.Node) {
			if own[[2]string{n.Domain, n.OpType}] {
				t.Errorf("%s: node %q still calls function %q", name, n.Name, n.OpType)
			}
		})
		sound(t, name, f.Model.Graph, map[string]bool{})
		b, err := onnxio.Marshal(f.Model)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		again, err := onnxio.Unmarshal(b)
		if err != nil {
			t.Errorf("%s: read again: %v", name, err)
			return nil
		}
		if got, want := len(again.Graph.Nodes), len(f.Model.Graph.Nodes); got != want {
			t.Errorf("%s: %d nodes after reading again, want %d", name, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if models == 0 {
		t.Error("the corpus holds models with functions, and none was seen")
	}
	t.Logf("%d models with functions, %d calls inlined", models, calls)
}

// sound checks that names are defined once and before use; outer are those of the graphs around.
func sound(t *testing.T, model string, g *graph.Graph, outer map[string]bool) {
	t.Helper()
	known := map[string]bool{"": true}
	for n := range outer {
		known[n] = true
	}
	for _, v := range g.Inputs {
		known[v.Name] = true
	}
	for _, i := range g.Initializers {
		known[i.Name] = true
	}
	for _, s := range g.Sparse {
		known[s.Name] = true
	}
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			if !known[in] {
				t.Errorf("%s: node %q: input %q is not defined before", model, n.Name, in)
			}
		}
		for _, s := range n.Subgraphs() {
			sound(t, model, s, known)
		}
		for _, o := range n.Outputs {
			if o != "" && known[o] {
				t.Errorf("%s: node %q: output %q is defined twice", model, n.Name, o)
			}
			known[o] = true
		}
	}
	for _, o := range g.Outputs {
		if !known[o.Name] {
			t.Errorf("%s: graph %q: output %q is not defined", model, g.Name, o.Name)
		}
	}
}
