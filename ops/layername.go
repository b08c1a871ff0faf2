package ops

import "github.com/fp8rewrite/fp8rewrite/graph"

// nameOrder is the order in which the inputs of a node are asked for the layer's name. Layers that share a weight share its state, which is
// called after the first of them: so the input's own state comes first.
var nameOrder = [...]int{InScaleInput, InAmaxHistoryInput, InInitialized, InScaleGradOutput, InAmaxHistoryGradOutput, InScaleWeight, InAmaxHistoryWeight, InWeight}

// LayerName is the name of the layer that a Float8Linear node is: the prefix of its state's names, else the node's own name. Statistics,
// state and reports share it as their key.
func LayerName(n *graph.Node) string {
	for _, i := range nameOrder {
		if layer, at, ok := ParseStateName(n.Input(i)); ok && at == i {
			return layer
		}
	}
	return n.Name
}
