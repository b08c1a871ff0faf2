package rewrite_test

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestLayerNames(t *testing.T) {
	scopes := func(names, classes string) []graph.Property {
		return []graph.Property{{Key: "pkg.torch.onnx.name_scopes", Value: names}, {Key: "pkg.torch.onnx.class_hierarchy", Value: classes}}
	}
	cases := []struct {
		name, node, weight, want string
		metadata                 []graph.Property
	}{
		{"scopes of torch.onnx", "node_linear", "val_93", "model.fc", scopes("['', 'model', 'model.fc', 'linear']", "['a.Net', 'a.Model', 'torch.nn.Linear', 'aten.linear']")},
		{"double quotes", "n", "val_1", "it's", scopes(`["", "it's", "linear"]`, "[]")},
		{"a wrapper around a transformer", "n", "val_1", "layers.0.q", scopes("['', 'inner', 'inner.layers.0.q', 'linear']",
			"['export.Wrapper', 'transformers.models.llama.Llama', 'torch.nn.Linear', 'aten.linear']")},
		{"a namespace", "n", "val_1", "head", []graph.Property{{Key: "namespace", Value: ": net.Net/head: torch.nn.Linear/linear: aten.linear.default"}}},
		{"a namespace that is none", "n", "fc.weight", "fc", []graph.Property{{Key: "namespace", Value: "free text"}}},
		{"an operator outside any module", "n", "fc.weight", "fc", scopes("['matmul']", "['aten.matmul']")},
		{"a weight of torch", "/x/MatMul", "blocks.0.up.weight", "blocks.0.up", nil},
		{"a weight of TensorFlow", "n", "dense/MatMul/ReadVariableOp:0", "dense", nil},
		{"a weight without a known ending", "n", "projection", "projection", nil},
		{"a folded weight and a path", "/net/out/MatMul_1", "onnx::MatMul_7", "net.out", nil},
		{"a folded weight and a plain name", "MatMul_12", "onnx::MatMul_7", "MatMul_12", nil},
		{"nothing but the operator", "", "val_3", "MatMul", nil},
	}
	for _, c := range cases {
		n := node("MatMul x " + c.weight + " -> y")
		n.Name, n.Metadata = c.node, c.metadata
		rows := convert(t, model(n, x(), weight(c.weight, 8, 6)), rewrite.Options{}).Layers()
		if len(rows) != 1 || rows[0].Name != c.want {
			t.Errorf("%s: got %q, want %q", c.name, rows[0].Name, c.want)
		}
	}
}

func TestLayerNamesAreUnique(t *testing.T) {
	m := model(node("MatMul x a.weight -> p"), node("MatMul x a_2.weight -> q"), node("MatMul x a.weight -> r"), node("MatMul x u -> s"), node("MatMul x u -> t"),
		x(), value("u", tensor.Float32, 8, 3), weight("a.weight", 8, 6), weight("a_2.weight", 8, 6))
	seen := map[string]bool{}
	for _, l := range convert(t, m, rewrite.Options{}).Layers() {
		if l.Name == "" || seen[l.Name] {
			t.Errorf("the name %q is empty or given twice", l.Name)
		}
		seen[l.Name] = true
	}
}

func TestPatterns(t *testing.T) {
	cases := []struct {
		pattern, name string
		want          bool
	}{
		{"model.*.q", "model.layers.0.q", true},
		{"model.*.q", "model.layers.0.qq", false},
		{"head", "lm_head", false},
		{"*head", "lm_head", true},
		{"fc?", "fc1", true},
		{"fc?", "fc", false},
		{"fc[12]", "fc2", true},
		{"fc[!12]", "fc2", false},
		{"fc[!12]", "fc3", true},
		{"a.b", "axb", false},
		{"a+b", "a+b", true},
		{"é*", "één", true},
		{"*", "two\nlines", true},
		{"re:layers\\.[0-3]\\.", "model.layers.2.up", true},
		{"re:layers\\.[0-3]\\.", "model.layers.12.up", false},
		{"re:^up$", "model.up", false},
	}
	for _, c := range cases {
		p, err := rewrite.ParsePattern(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
		} else if got := p.Match(c.name); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
	for _, bad := range []string{"", "a[", "a[]", "re:(", "[z-a]"} {
		if _, err := rewrite.ParsePattern(bad); err == nil {
			t.Errorf("%q is taken for a pattern", bad)
		}
	}
}
