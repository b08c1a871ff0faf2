package specialize

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite/inline"
	"github.com/fp8rewrite/fp8rewrite/rewrite/opset"
)

// layerNormalizationBorn is the version that LayerNormalization came with.
const layerNormalizationBorn = 17

// target is the version of ONNX's own operators that has all operators which come out of canonical forms.
const target = 23

// expand puts the bodies of the model's own functions in place of their calls, except for Float8Linear. Where that is impossible the
// calls stay, and so does everything that could be known of what they give.
func (w *work) expand() {
	own := func(f *graph.Function) bool { return f.Domain != ops.Domain }
	lift := func(nodes []*graph.Node, live []string, names *graph.Names, from, to int64) ([]*graph.Node, error) {
		return opset.LiftNodes(opset.Body{Nodes: nodes, Live: live, Names: names}, from, to)
	}
	if _, err := inline.Calls(w.m, own, lift); err != nil {
		// One function that cannot be expanded must not keep the others.
		for _, f := range w.m.Functions {
			one := f
			_, _ = inline.Calls(w.m, func(f *graph.Function) bool { return f == one && own(f) }, lift)
		}
	}
	w.g = w.m.Graph
	w.names = graph.NewNames(w.m)
}

// lift raises the model to the target version.
func (w *work) lift() {
	v := w.m.OpsetVersion("")
	if v < target {
		_, _ = opset.Lift(w.m, target)
	}
	w.g = w.m.Graph
	if v < layerNormalizationBorn && w.m.OpsetVersion("") >= target {
		// Before it was ONNX's own, ONNX Runtime took the operator with any attributes and looked at these.
		graph.WalkNodes(w.g.Nodes, func(n *graph.Node) {
			if n.Is("LayerNormalization") {
				n.Attributes = slices.DeleteFunc(n.Attributes, func(a *graph.Attribute) bool {
					return a.Name != "axis" && a.Name != "epsilon" && a.Name != "stash_type"
				})
			}
		})
	}
	w.names = graph.NewNames(w.m)
	if w.lifted = w.m.OpsetVersion("") >= target; w.lifted {
		w.m.IRVersion = max(w.m.IRVersion, targetIR)
	}
}

// targetIR is the version of the format that came with the target version of the operators.
const targetIR = 11
