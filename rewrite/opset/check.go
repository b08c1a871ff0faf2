package opset

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// Check finds nodes that claim an operator of ONNX's own domain which does not exist at the model's version. The error is a
// Blockers. Versions beyond the newest that the table covers are not judged, and neither are functions, which import their own.
func Check(m *graph.Model) error {
	version := m.OpsetVersion("")
	if version == 0 || version > newest {
		return nil
	}
	local := localFunctions(m)
	var found Blockers
	graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
		if graph.CanonicalDomain(n.Domain) != "" || local[keyOf(n)] || early[n.OpType] {
			return
		}
		b := &Blocked{Node: n.Name, OpType: n.OpType}
		if b.Node == "" {
			b.Node = n.Output(0)
		}
		switch v, ok := born[n.OpType]; {
		case !ok:
			b.Reason = "ONNX has no operator of this name"
		case v > version:
			b.Reason = fmt.Sprintf("the operator came with version %d, the model is at %d", v, version)
		default:
			return
		}
		found = append(found, b)
	})
	if len(found) > 0 {
		return found
	}
	return nil
}
