package runtime

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
)

// LayerName is the name of the layer that a Float8Linear node is: the prefix of its state's names, else the node's own name. It is the
// key that statistics, state and reports share.
func LayerName(n *graph.Node) string {
	for i := ops.InWeight; i < ops.NumInputs; i++ {
		if layer, at, ok := ops.ParseStateName(n.Input(i)); ok && at == i {
			return layer
		}
	}
	return n.Name
}
