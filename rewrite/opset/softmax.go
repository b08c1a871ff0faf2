package opset

import "github.com/fp8rewrite/fp8rewrite/graph"

// axisToCoerced: before 13 Softmax, LogSoftmax and Hardmax see x as a matrix whose rows are the axes before axis and whose columns
// are the rest. Where the rest is one axis (or has extent 1 but for one), the new form is the same with that axis. Else
//
//	y = Reshape(Op(Flatten(x, axis), -1), Shape(x))
func axisToCoerced(c *call) {
	a := c.node.Attr("axis")
	axis := graph.Int("axis", 1)
	if a != nil {
		if !c.kindIs(a, graph.AttrInt) {
			return
		}
		axis = a.Clone()
	}
	if axis.Ref == "" {
		if dims, ok := c.dims(c.node.Input(0)); ok {
			if k, ok := soleAxis(dims, axis.Int); ok {
				c.node.SetAttr(graph.Int("axis", k))
				c.done()
				return
			}
		}
	}
	x := c.node.Input(0)
	shape := c.ahead("Shape", "shape", []string{x})
	// A bound axis goes along: where a call leaves it out, Flatten's default is the 1 that the operator had.
	c.setInput(0, c.ahead("Flatten", "flat", []string{x}, axis))
	c.node.SetAttr(graph.Int("axis", -1))
	var attrs []*graph.Attribute
	if c.to >= 14 {
		// An extent of 0 in the shape is an extent of 0 in x, not a wish to copy one.
		attrs = append(attrs, graph.Int("allowzero", 1))
	}
	c.behind(0, "Reshape", "reshape", func(inner string) []string { return []string{inner, shape} }, attrs...)
	c.done()
}

// soleAxis is the one axis from axis on that does more than carry an extent of 1: the last one when it is alone, else the one at
// axis when all behind it are 1.
func soleAxis(dims []graph.Dim, axis int64) (int64, bool) {
	r := int64(len(dims))
	if axis < 0 {
		axis += r
	}
	if axis < 0 || axis >= r {
		return 0, false
	}
	if axis == r-1 {
		return -1, true
	}
	for _, d := range dims[axis+1:] {
		if d.Value != 1 {
			return 0, false
		}
	}
	return axis, true
}
