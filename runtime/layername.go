package runtime

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
)

// LayerName is the name of the layer that a Float8Linear node is: the prefix of its state's names, else the node's own name. It is the
// key that statistics, state and reports share.
//
// Layers that share a weight share its state, which is called after the first of them: so the input's state is asked first.
func LayerName(n *graph.Node) string {
	for _, i := range [...]int{ops.InScaleInput, ops.InAmaxHistoryInput, ops.InInitialized, ops.InScaleGradOutput, ops.InAmaxHistoryGradOutput,
		ops.InScaleWeight, ops.InAmaxHistoryWeight, ops.InWeight} {
		if layer, at, ok := ops.ParseStateName(n.Input(i)); ok && at == i {
			return layer
		}
	}
	return n.Name
}
