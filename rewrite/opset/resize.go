package opset

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// upsampleScales: Upsample(x; scales) → Upsample(x, scales).
func upsampleScales(c *call) {
	a, ok := c.plain("scales", graph.AttrFloats)
	if !ok {
		return
	}
	if a == nil {
		c.refuse("attribute \"scales\" is missing")
		return
	}
	c.setInput(1, c.constant("scales", tensor.Float32s(tensor.Shape{int64(len(a.Floats))}, a.Floats...)))
	c.node.DropAttr("scales")
	c.done()
}

// upsampleToResize: Upsample(x, scales) → Resize(x, scales).
func upsampleToResize(c *call) {
	c.node.OpType = "Resize"
	c.site.enlarges[c.node] = true
	c.done()
}

// resizeCoordinates: Resize(x, scales) → Resize(x, roi, scales) with asymmetric coordinates, x_in = x_out / scale. The texts before
// 11 leave the rounding of nearest open; runtimes round down where an axis grows and, like ONNX Runtime, up where it shrinks. One
// nearest_mode must say both, so shrinking beside growing blocks, and so do scales of which nothing is known.
func resizeCoordinates(c *call) {
	mode, ok := c.plainString("mode", "nearest")
	if !ok {
		return
	}
	if mode == "nearest" {
		rounding, ok := c.nearestRounding()
		if !ok {
			return
		}
		c.node.SetAttr(graph.Str("nearest_mode", rounding))
	}
	c.node.SetAttr(graph.Str("coordinate_transformation_mode", "asymmetric"))
	roi := ""
	if c.to < 13 { // required there, though it has no effect
		roi = c.constant("roi", tensor.Float32s(tensor.Shape{0}))
	}
	c.node.Inputs = []string{c.node.Input(0), roi, c.node.Input(1)}
	c.done()
}

func (c *call) nearestRounding() (string, bool) {
	if c.site.enlarges[c.node] {
		return "floor", true
	}
	grows, shrinks, ok := c.directions()
	switch {
	case !ok:
		c.refuse("mode nearest with scales %q that are not constant: rounding differs between growing and shrinking", c.node.Input(1))
	case grows && shrinks:
		c.refuse("mode nearest grows one axis and shrinks another: rounding differs between them")
	case shrinks:
		return "ceil", true
	default:
		return "floor", true
	}
	return "", false
}

// directions tells whether any axis grows and whether any shrinks, by the scales or by the extents of input and output.
func (c *call) directions() (grows, shrinks, ok bool) {
	if t, ok := c.value(c.node.Input(1)); ok {
		if scales, err := t.AsFloat32s(); err == nil {
			for _, s := range scales {
				grows, shrinks = grows || s > 1, shrinks || s < 1
			}
			return grows, shrinks, true
		}
	}
	in, okIn := c.dims(c.node.Input(0))
	out, okOut := c.dims(c.node.Output(0))
	if !okIn || !okOut || len(in) != len(out) {
		return false, false, false
	}
	for i := range in {
		if in[i].Value < 0 || out[i].Value < 0 {
			return false, false, false
		}
		grows, shrinks = grows || out[i].Value > in[i].Value, shrinks || out[i].Value < in[i].Value
	}
	return grows, shrinks, true
}

// resizeOptional: 11 asks for an empty scales where sizes are given, 13 for none. tf_half_pixel_for_nn, x_in = (x_out+½)/scale, is
// gone; with the rounding floor it is half_pixel, which is less by ½, with the rounding round_prefer_ceil, which adds ½.
func resizeOptional(c *call) {
	coordinates, ok := c.plainString("coordinate_transformation_mode", "half_pixel")
	if !ok {
		return
	}
	if coordinates == "tf_half_pixel_for_nn" {
		mode, ok := c.plainString("mode", "nearest")
		if !ok {
			return
		}
		rounding, ok := c.plainString("nearest_mode", "round_prefer_floor")
		if !ok {
			return
		}
		if mode != "nearest" || rounding != "floor" {
			c.refuse("coordinate_transformation_mode tf_half_pixel_for_nn is gone, and only with nearest_mode floor is there another form")
			return
		}
		c.node.SetAttr(graph.Str("coordinate_transformation_mode", "half_pixel"))
		c.node.SetAttr(graph.Str("nearest_mode", "round_prefer_ceil"))
		c.done()
	}
	if c.node.Input(2) == "" || c.node.Input(3) == "" {
		return
	}
	if sizes, ok := c.dims(c.node.Input(3)); ok && len(sizes) == 1 && sizes[0].Value == 0 {
		c.node.Inputs = c.node.Inputs[:3]
	} else {
		c.node.Inputs[2] = ""
	}
	c.done()
}
