package specialize

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

const contribHead = `
in x float32 2 3 8
in s float32 2 3 8
g float32 8
b float32 8
b24 float32 24
w float32 8 24
out y
`

func TestOperatorsOfONNXRuntimeInONNXsOwnWords(t *testing.T) {
	for name, c := range map[string]struct {
		lines, want string
		attrs       []*graph.Attribute
	}{
		"Gelu":                   {"Gelu x -> y", "Gelu 1", nil},
		"BiasGelu":               {"BiasGelu x b -> y", "Add 1, Gelu 1", nil},
		"FastGelu":               {"FastGelu x -> y", "Gelu 1", nil},
		"FastGelu of a sum":      {"FastGelu x b -> y", "Add 1, Gelu 1", nil},
		"SkipLayerNormalization": {"SkipLayerNormalization x s g b -> y", "Add 1, LayerNormalization 1", []*graph.Attribute{graph.Float("epsilon", 0.01)}},
		"with its sum":           {"SkipLayerNormalization x s g b b -> y _ _ sum\nout sum", "Add 2, LayerNormalization 1", nil},
		"without beta":           {"SkipLayerNormalization x s g -> y", "Add 1, LayerNormalization 1", nil},
		"simplified":             {"SkipSimplifiedLayerNormalization x s g b -> y", "Add 2, RMSNormalization 1", nil},
		"with a mean":            {"SkipSimplifiedLayerNormalization x s g -> y _ m\nout m", "SkipSimplifiedLayerNormalization 1", nil},
		"Attention": {"Attention x w b24 -> y", "Add 1, Attention 1, MatMul 1, Split 1",
			[]*graph.Attribute{graph.Int("num_heads", 2)}},
		"causal": {"Attention x w b24 -> y", "Add 1, Attention 1, MatMul 1, Split 1",
			[]*graph.Attribute{graph.Int("num_heads", 2), graph.Int("unidirectional", 1), graph.Float("scale", 0.3)}},
		"with a mask": {"m int32 2 3 = 1\nAttention x w b24 m -> y", "Attention 1", []*graph.Attribute{graph.Int("num_heads", 2)}},
		"MultiHeadAttention": {"in k float32 2 5 8\nin v float32 2 5 8\nMultiHeadAttention x k v b24 -> y", "Add 3, Attention 1",
			[]*graph.Attribute{graph.Int("num_heads", 4)}},
		"over heads": {"in k float32 2 4 5 2\nin v float32 2 4 5 2\nMultiHeadAttention x k v -> y", "MultiHeadAttention 1",
			[]*graph.Attribute{graph.Int("num_heads", 4)}},
		"FusedMatMul":        {"FusedMatMul x s -> y", "MatMul 1, Mul 1, Transpose 1", []*graph.Attribute{graph.Int("transB", 1), graph.Float("alpha", 0.5)}},
		"FusedMatMul, plain": {"in k float32 2 3 5\nFusedMatMul x k -> y", "MatMul 1, Transpose 1", []*graph.Attribute{graph.Int("transA", 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			m := text(t, contribHead+c.lines)
			unread(m)
			n := m.Graph.Nodes[0]
			n.Domain, n.Attributes = microsoft, c.attrs
			for i, o := range n.Outputs {
				if o == "_" {
					n.Outputs[i] = ""
				}
			}
			m.SetOpset(microsoft, 1)
			st := specialized(t, m, inputsOf(t, m))
			if got := counts(st.Model); got != c.want {
				t.Errorf("operators %s, want %s", got, c.want)
			}
			same(t, m, st)
		})
	}
}

// A model may define what it calls by such a name.
func TestAFunctionByTheNameOfAnOperatorIsItsOwn(t *testing.T) {
	m := text(t, contribHead+"Gelu x -> y")
	unread(m)
	m.Graph.Nodes[0].Domain = microsoft
	m.SetOpset(microsoft, 1)
	m.Functions = []*graph.Function{{Name: "Gelu", Domain: microsoft, Inputs: []string{"a"}, Outputs: []string{"b"}, Opsets: []graph.Opset{{Version: 23}},
		Nodes: []*graph.Node{{OpType: "Neg", Inputs: []string{"a"}, Outputs: []string{"b"}}}}}
	becomes(t, m, "Neg 1")
}
