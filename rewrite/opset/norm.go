package opset

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// batchNormSpatial: spatial=1 is what stays. spatial=0 keeps statistics per element instead of per channel, which is a batch
// normalization of the rows of x as a matrix, as the text of version 9 says:
//
//	y = Reshape(BatchNormalization(Flatten(x), Reshape(scale, [-1]), …), Shape(x))
func batchNormSpatial(c *call) {
	spatial, ok := c.plainInt("spatial", 1)
	if !ok {
		return
	}
	had := c.node.DropAttr("spatial") != nil
	if spatial != 0 {
		if had {
			c.done()
		}
		return
	}
	x := c.node.Input(0)
	shape := c.ahead("Shape", "shape", []string{x})
	c.setInput(0, c.ahead("Flatten", "flat", []string{x}, graph.Int("axis", 1)))
	for i, name := range []string{"scale", "bias", "mean", "var"} {
		flat := c.ahead("Reshape", name, []string{c.node.Input(1 + i), c.ints("flat_shape", -1)})
		c.setInput(1+i, flat)
	}
	c.behind(0, "Reshape", "reshape", func(inner string) []string { return []string{inner, shape} })
	c.done()
}

// batchNormTraining: outputs beyond the first are those of training, whose number and formulas changed; they block. Left-out ones
// go.
func batchNormTraining(c *call) {
	for _, o := range c.node.Outputs[1:] {
		if o != "" {
			c.refuse("output %q makes it a batch normalization for training, whose outputs changed", o)
			return
		}
	}
	if len(c.node.Outputs) > 1 {
		c.node.Outputs = c.node.Outputs[:1]
		c.done()
	}
}

// groupNormChannels: scale and bias have one element per group before 21 and one per channel after; each is repeated C/num_groups
// times:
//
//	scale' = Reshape(Expand(Unsqueeze(scale, -1), [1, C/num_groups]), [-1])
//
// The first stage is in float32 after 21 and was in the element type's before, so only float32 is exact.
func groupNormChannels(c *call) {
	x := c.node.Input(0)
	if d, ok := c.dtype(x); !ok || d != tensor.Float32 {
		c.refuse("only float32 normalizes in the same precision before and after, got %s", d)
		return
	}
	groups, ok := c.plainInt("num_groups", 0)
	if !ok {
		return
	}
	if groups <= 0 {
		c.refuse("num_groups is %d, want at least 1", groups)
		return
	}
	channels := c.ahead("Shape", "channels", []string{x}, graph.Int("start", 1), graph.Int("end", 2))
	per := c.ahead("Div", "per_group", []string{channels, c.ints("groups", groups)})
	to := c.ahead("Concat", "repeat", []string{c.ints("one", 1), per}, graph.Int("axis", 0))
	for i, name := range []string{"scale", "bias"} {
		column := c.ahead("Unsqueeze", name, []string{c.node.Input(1 + i), c.ints("last", -1)})
		each := c.ahead("Expand", name, []string{column, to})
		c.setInput(1+i, c.ahead("Reshape", name, []string{each, c.ints("flat_shape", -1)}))
	}
	c.done()
}
