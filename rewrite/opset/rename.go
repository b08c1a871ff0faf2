package opset

import "github.com/fp8rewrite/fp8rewrite/graph"

// scatterElements: Scatter is called ScatterElements.
func scatterElements(c *call) {
	c.node.OpType = "ScatterElements"
	c.done()
}

// gridSampleMode: bilinear → linear, bicubic → cubic.
func gridSampleMode(c *call) {
	mode, ok := c.plainString("mode", "bilinear")
	if !ok {
		return
	}
	switch mode {
	case "bilinear":
		mode = "linear"
	case "bicubic":
		mode = "cubic"
	default:
		return
	}
	if c.node.Attr("mode") == nil {
		return // the default was renamed with it
	}
	c.node.SetAttr(graph.Str("mode", mode))
	c.done()
}

// roiAlignHalfPixel: before 16 the input's coordinates are not shifted.
func roiAlignHalfPixel(c *call) {
	c.node.SetAttr(graph.Str("coordinate_transformation_mode", "output_half_pixel"))
	c.done()
}
