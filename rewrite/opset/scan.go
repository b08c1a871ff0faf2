package opset

import "github.com/fp8rewrite/fp8rewrite/graph"

// scanBatch: version 8 runs the body once per element of a batch axis, and may give each its own length. For a batch of 1 and
// without lengths it is
//
//	Unsqueeze(Scan(Squeeze(inputs, 0)), 0)
//
// a larger batch has no form in 9, which has no batch axis.
func scanBatch(c *call) {
	if c.node.Input(0) != "" {
		c.refuse("sequence_lens is gone: sequences of different length have no form")
		return
	}
	one := false
	for _, in := range c.node.Inputs[1:] {
		if dims, ok := c.dims(in); ok && len(dims) > 0 && dims[0].Value == 1 {
			one = true
		}
	}
	if !one {
		c.refuse("the batch axis is gone, and the batch is not known to be 1")
		return
	}
	c.node.Inputs = append([]string(nil), c.node.Inputs[1:]...)
	for i, in := range c.node.Inputs {
		c.node.Inputs[i] = c.ahead("Squeeze", "element", []string{in}, graph.Ints("axes", 0))
	}
	for i, out := range c.node.Outputs {
		if out != "" {
			c.behind(i, "Unsqueeze", "batch", func(inner string) []string { return []string{inner} }, graph.Ints("axes", 0))
		}
	}
	if d := c.node.Attr("directions"); d != nil {
		c.node.DropAttr("directions")
		d.Name = "scan_input_directions"
		c.node.SetAttr(d)
	}
	c.done()
}
