package verify

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
)

// layerValue is where a layer's output is seen: a value of that name stands in both models.
type layerValue struct {
	layer string
	value string // "" where the models share none
}

// matchLayers finds for every Float8Linear of the main graph the value that was the output of its MatMul or Gemm: the node's own output,
// or that of one of the nodes after it (a bias, alpha) which took the original's name. A layer in a subgraph has none: its values are not
// seen from outside.
func matchLayers(original, rewritten *graph.Model) []layerValue {
	linear := map[string]bool{}
	for _, n := range original.Graph.Nodes {
		if n.Is("MatMul") || n.Is("Gemm") {
			linear[n.Output(0)] = true
		}
	}
	readers := map[string][]*graph.Node{}
	for _, n := range rewritten.Graph.Nodes {
		for _, in := range n.Inputs {
			readers[in] = append(readers[in], n)
		}
	}
	var out []layerValue
	main := map[*graph.Node]bool{}
	for _, n := range rewritten.Graph.Nodes {
		main[n] = true
	}
	graph.WalkNodes(rewritten.Graph.Nodes, func(n *graph.Node) {
		if !ops.IsFloat8Linear(n) {
			return
		}
		l := layerValue{layer: ops.LayerName(n)}
		if main[n] {
			l.value = follow(n.Output(ops.OutOutput), linear, readers)
		}
		out = append(out, l)
	})
	return out
}

// added are the operators that convert puts after a Float8Linear: a transpose back, alpha, perhaps in float32 between two casts, and the
// bias. maxFollow is how many of them there are at most, and some more. Any other node is the model's own: what comes out of it is not what
// the layer gave, even where the original has a layer whose output has that name.
var added = []string{"Transpose", "Cast", "Mul", "Add"}

const maxFollow = 8

// follow walks from value through nodes that convert adds and that alone read their input, to a value in want.
func follow(value string, want map[string]bool, readers map[string][]*graph.Node) string {
	for range maxFollow {
		if want[value] {
			return value
		}
		next := readers[value]
		if len(next) != 1 || !slices.ContainsFunc(added, next[0].Is) {
			return ""
		}
		value = next[0].Output(0)
	}
	return ""
}
