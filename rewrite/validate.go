package rewrite

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/rewrite/opset"
	"github.com/fp8rewrite/fp8rewrite/shape"
)

// validate refuses models that no runtime could execute, as far as this package has to understand them: nodes whose operator does
// not exist, and products of matrices that do not fit.
func validate(m *graph.Model) error {
	if err := opset.Check(m); err != nil {
		return fmt.Errorf("not a valid model: %s", firstBlocked(err))
	}
	shapes := shape.Infer(m)
	var err error
	m.Graph.Walk(func(g *graph.Graph) {
		for _, n := range g.Nodes {
			if err == nil && (n.Is("MatMul") || n.Is("Gemm")) {
				err = innerDims(shapes, g, n)
			}
		}
	})
	return err
}

// innerDims compares the lengths that the product sums over, where both are known.
func innerDims(shapes *shape.Info, g *graph.Graph, n *graph.Node) error {
	a, okA := shapes.Of(g, n.Input(0))
	b, okB := shapes.Of(g, n.Input(1))
	if !okA || !okB || !a.HasShape || !b.HasShape || len(a.Shape) == 0 || len(b.Shape) == 0 {
		return nil
	}
	left, right := len(a.Shape)-1, max(0, len(b.Shape)-2)
	if n.OpType == "Gemm" {
		if len(a.Shape) != 2 || len(b.Shape) != 2 {
			return nil
		}
		if n.AttrInt("transA", 0) != 0 {
			left = 0
		}
		if n.AttrInt("transB", 0) != 0 {
			right = 1
		}
	}
	x, y := a.Shape[left].Value, b.Shape[right].Value
	if x >= 0 && y >= 0 && x != y {
		return fmt.Errorf("not a valid model: node %q (%s): operands %q and %q: inner dimensions %d and %d differ",
			n.Name, n.OpType, n.Input(0), n.Input(1), x, y)
	}
	return nil
}
