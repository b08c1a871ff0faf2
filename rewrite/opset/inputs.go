package opset

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// axesInput: Op(x; axes) → Op(x, axes). An absent or empty list stays absent: all axes for the reductions, all axes of extent 1
// for Squeeze.
func axesInput(c *call) {
	given := c.node.Attr("axes") != nil
	axes, ok := c.intsAttr("axes")
	if !ok {
		return
	}
	if c.op == "Unsqueeze" && axes == "" {
		if !given {
			c.refuse("attribute \"axes\" is missing")
			return
		}
		axes = c.ints("axes")
	}
	if axes != "" {
		c.setInput(1, axes)
	}
	if given {
		c.done()
	}
}

// sliceInputs: Slice(x; starts, ends, axes) → Slice(x, starts, ends, axes). Absent axes meant the first len(starts) ones; from 10
// on they mean all, so they are always named.
func sliceInputs(c *call) {
	axes, ok := c.intsAttr("axes")
	if !ok {
		return
	}
	if axes == "" {
		starts, ok := c.plainInts("starts")
		if !ok {
			return
		}
		all := make([]int64, len(starts))
		for i := range all {
			all[i] = int64(i)
		}
		axes = c.ints("axes", all...)
	}
	for i, name := range []string{"starts", "ends"} {
		in, ok := c.intsAttr(name)
		if !ok {
			return
		}
		if in == "" {
			in = c.ints(name)
		}
		c.setInput(1+i, in)
	}
	c.setInput(3, axes)
	c.done()
}

// splitInput: Split(x; split) → Split(x, split).
func splitInput(c *call) {
	split, ok := c.intsAttr("split")
	if !ok || split == "" {
		return
	}
	c.setInput(1, split)
	c.done()
}

// splitCount: a Split without sizes divides into as many parts as it has outputs, and from 18 on says so.
func splitCount(c *call) {
	if c.node.Input(1) != "" {
		return
	}
	c.node.Inputs = c.node.Inputs[:1]
	c.node.SetAttr(graph.Int("num_outputs", int64(len(c.node.Outputs))))
	c.done()
}

// topKInput: TopK(x; k) → TopK(x, [k]).
func topKInput(c *call) {
	k, ok := c.plain("k", graph.AttrInt)
	if !ok {
		return
	}
	if k == nil {
		c.refuse("attribute \"k\" is missing")
		return
	}
	c.setInput(1, c.ints("k", k.Int))
	c.node.DropAttr("k")
	c.done()
}

// padInputs: Pad(x; pads, value) → Pad(x, pads, value). A value of 0, and one that the mode does not use, is left out.
func padInputs(c *call) {
	mode, ok := c.plainString("mode", "constant")
	if !ok {
		return
	}
	value, ok := c.plain("value", graph.AttrFloat)
	if !ok {
		return
	}
	pads, ok := c.intsAttr("pads")
	if !ok {
		return
	}
	if pads == "" {
		pads = c.ints("pads")
	}
	c.setInput(1, pads)
	if value != nil && mode == "constant" && math.Float32bits(value.Float) != 0 {
		v, ok := c.scalarLike("value", value.Float, c.node.Input(0))
		if !ok {
			return
		}
		c.setInput(2, v)
	}
	c.node.DropAttr("value")
	c.done()
}

// clipBounds: Clip(x; min, max) → Clip(x, min, max). A bound that is the attribute's default is left out: the text of both versions
// gives the limits of the element type for it. What a minimum above the maximum means is settled from 13 on only.
func clipBounds(c *call) {
	if lo, hi := c.node.AttrFloat("min", -math.MaxFloat32), c.node.AttrFloat("max", math.MaxFloat32); lo > hi {
		c.refuse("min %g is above max %g, which has no settled meaning before version 13", lo, hi)
		return
	}
	for i, b := range []struct {
		name string
		def  float32
	}{{"min", -math.MaxFloat32}, {"max", math.MaxFloat32}} {
		a, ok := c.plain(b.name, graph.AttrFloat)
		if !ok {
			return
		}
		if a == nil || a.Float == b.def {
			continue
		}
		v, ok := c.scalarLike(b.name, a.Float, c.node.Input(0))
		if !ok {
			return
		}
		c.setInput(1+i, v)
	}
	c.node.DropAttr("min")
	c.node.DropAttr("max")
	c.done()
}

// dropoutMask: the mask changed its element type, and what it holds at inference is not defined before 12 (ONNX Runtime gives all
// false there and all true after), so a mask that somebody reads blocks. One that nobody reads goes.
func dropoutMask(c *call) {
	mask := c.node.Output(1)
	if mask != "" && c.site.used[mask] {
		c.refuse("the mask %q is used; its meaning at inference is not defined before version 12", mask)
		return
	}
	if len(c.node.Outputs) > 1 {
		c.node.Outputs = c.node.Outputs[:1]
		dropType(c.site.graph, mask)
		c.done()
	}
}

// dropoutRatio: Dropout(x; ratio) → Dropout(x, ratio). Without a training_mode the new form is that of inference, as the old one
// is in every file that a runtime for inference accepts.
func dropoutRatio(c *call) {
	if mask := c.node.Output(1); mask != "" {
		if dropoutMask(c); c.stuck[c.node] {
			return
		}
	}
	ratio := c.node.Attr("ratio")
	if ratio == nil || !c.kindIs(ratio, graph.AttrFloat) {
		return
	}
	var in string
	if ratio.Ref == "" {
		in = c.constant("ratio", tensor.Float32s(tensor.Shape{}, ratio.Float))
	} else {
		var ok bool
		if in, ok = c.bound(ratio, "value_float", graph.AttrFloat); !ok {
			return
		}
	}
	c.node.DropAttr("ratio")
	c.setInput(1, in)
	c.done()
}

// dftAxis: DFT(x, n; axis) → DFT(x, n, axis). The default moved, so the axis is always named.
func dftAxis(c *call) {
	a := c.node.Attr("axis")
	if a != nil && !c.kindIs(a, graph.AttrInt) {
		return
	}
	var axis string
	if a != nil && a.Ref != "" {
		var ok bool
		if axis, ok = c.bound(a, "value_int", graph.AttrInt); !ok {
			return
		}
	} else {
		axis = c.constant("axis", tensor.Int64s(tensor.Shape{}, c.node.AttrInt("axis", 1)))
	}
	c.node.DropAttr("axis")
	c.setInput(2, axis)
	c.done()
}

// dropType takes away the declared type of a value that is gone.
func dropType(g *graph.Graph, name string) {
	for i, v := range g.Values {
		if v.Name == name {
			g.Values = append(g.Values[:i:i], g.Values[i+1:]...)
			return
		}
	}
}
