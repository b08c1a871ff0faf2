package opset

import "github.com/fp8rewrite/fp8rewrite/graph"

// The changes up to version 7, as far as they are converted.

// tooOld refuses a change of the first versions that no file in use asks for.
func tooOld(c *call) {
	c.refuse("version %d changed it (%s); this change is not converted", c.at, c.what)
}

// broadcastAxis: before 7 b is broadcast to a only with broadcast=1, and its axes lie at axis of a, by default at the end. Elsewhere
// than at the end it gets axes of extent 1 behind:
//
//	Op(a, b; axis) → Op(a, Unsqueeze(b))
func broadcastAxis(c *call) {
	broadcast, ok := c.plainInt("broadcast", 0)
	if !ok {
		return
	}
	axis, ok := c.plain("axis", graph.AttrInt)
	if !ok {
		return
	}
	if broadcast != 0 && axis != nil && !c.alignAt(axis.Int) {
		return
	}
	had := c.node.DropAttr("broadcast") != nil
	if c.node.DropAttr("axis") != nil || had {
		c.done()
	}
}

// alignAt lets the second input's axes lie at axis of the first.
func (c *call) alignAt(axis int64) bool {
	a, okA := c.dims(c.node.Input(0))
	b, okB := c.dims(c.node.Input(1))
	behind := int64(len(a)) - axis - int64(len(b))
	if !okA || !okB || axis < 0 || behind < 0 {
		c.refuse("broadcasting from axis %d needs the ranks of both inputs, and room for the second", axis)
		return false
	}
	var axes []int64
	for i := range behind {
		axes = append(axes, int64(len(b))+i)
	}
	if len(axes) > 0 {
		c.setInput(1, c.ahead("Unsqueeze", "aligned", []string{c.node.Input(1)}, graph.Ints("axes", axes...)))
	}
	return true
}

// dropBroadcast: whether C of a Gemm is broadcast follows from its shape.
func dropBroadcast(c *call) {
	if c.node.DropAttr("broadcast") != nil {
		c.done()
	}
}

// dropIsTest: is_test=1 is inference, the meaning that stays; the default was training.
func dropIsTest(c *call) {
	test, ok := c.plainInt("is_test", 0)
	if !ok {
		return
	}
	if test == 0 {
		c.refuse("without is_test it is the operator of training, which has no form at version 7")
		return
	}
	c.node.DropAttr("is_test")
	c.done()
}

// concatAxis names the axis, whose default was 1.
func concatAxis(c *call) {
	if c.node.Attr("axis") == nil {
		c.node.SetAttr(graph.Int("axis", 1))
		c.done()
	}
}

// reshapeInput: Reshape(x; shape) → Reshape(x, shape).
func reshapeInput(c *call) {
	shape, ok := c.intsAttr("shape")
	if !ok {
		return
	}
	if shape == "" {
		shape = c.ints("shape")
	}
	c.setInput(1, shape)
	c.done()
}
