package shape

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// unary: the first output has the type and shape of the first input.
func unary(c *call) {
	f := c.in(0)
	c.out(0, fact{elem: f.elem, ext: f.ext})
}

func identity(c *call) {
	f, _ := c.scope.find(c.node.Input(0))
	c.out(0, f)
}

// dropout's mask was of the data's type before opset 7 and is boolean from opset 10; in between the two disagree in practice.
func dropout(c *call) {
	f := c.in(0)
	c.out(0, fact{elem: f.elem, ext: f.ext})
	mask := fact{ext: f.ext}
	if c.opset >= 10 {
		mask.elem = sureElem(tensor.Bool)
	}
	c.out(1, mask)
}

// dtypeAttr is an element type given by an integer attribute, Undefined where it is left out.
func (c *call) dtypeAttr(name string) tensor.DType { return tensor.DType(c.node.AttrInt(name, 0)) }

func cast(c *call) {
	f := c.in(0)
	out := fact{elem: sureElem(c.dtypeAttr("to")), ext: f.ext}
	switch out.elem.dtype {
	case tensor.Int64:
		out.vals = f.vals
	case tensor.Bool:
		out.vals = mapScalars(f.vals, func(v int64) (int64, bool) {
			if v != 0 {
				v = 1
			}
			return v, true
		})
	case tensor.Int32:
		out.vals = mapScalars(f.vals, func(v int64) (int64, bool) { return v, v == int64(int32(v)) })
	}
	c.out(0, out)
}

func castLike(c *call) { c.out(0, fact{elem: c.in(1).elem, ext: c.in(0).ext}) }

func test(c *call) { c.out(0, fact{elem: sureElem(tensor.Bool), ext: c.in(0).ext}) }

// eyeLike: the shape of the input, the type of attribute dtype or else of the input.
func eyeLike(c *call) {
	f := c.in(0)
	if d := c.dtypeAttr("dtype"); d != tensor.Undefined {
		f.elem = sureElem(d)
	}
	c.out(0, fact{elem: f.elem, ext: f.ext})
}

// batchNormalization's further outputs are statistics per channel, of the type of the running mean.
func batchNormalization(c *call) {
	unary(c)
	for i := 1; i < len(c.node.Outputs); i++ {
		f := c.in(min(i+2, 4)) // mean, variance
		c.out(i, fact{elem: f.elem, ext: ofRank(1, sureRank)})
	}
}

// layerNormalization's further outputs, mean and inverse deviation, keep the axes before attribute axis and have 1 in the others.
func layerNormalization(c *call) {
	unary(c)
	stat := fact{elem: sureElem(tensor.DType(c.node.AttrInt("stash_type", int64(tensor.Float32))))}
	if e := c.in(0).ext; e.ranked {
		if a, ok := axis(c.node.AttrInt("axis", -1), len(e.dims)); ok {
			stat.ext = e
			for i := a; i < len(e.dims); i++ {
				stat.ext = stat.ext.with(i, graph.Dim{Value: 1})
			}
		}
	}
	c.out(1, stat)
	c.out(2, stat)
}

func neg(c *call) {
	f := c.in(0)
	c.out(0, fact{elem: f.elem, ext: f.ext, vals: mapScalars(f.vals, func(v int64) (int64, bool) { return -v, small(v) })})
}

// operands is the broadcast extent of all inputs. Before opset 7 the second operand was stretched to the first by attributes.
func operands(c *call) extent {
	e := c.in(0).ext
	if c.opset < 7 && c.node.OpType != "Sum" && c.node.OpType != "Max" && c.node.OpType != "Min" && c.node.OpType != "Mean" {
		return e
	}
	for i := 1; i < len(c.node.Inputs); i++ {
		e = broadcast(e, c.in(i).ext)
	}
	return e
}

// arithmetic: all operands have one type (Pow: that of the base), the shape is their broadcast.
func arithmetic(c *call) {
	f := fact{elem: c.in(0).elem, ext: operands(c)}
	if c.node.OpType != "Pow" {
		for i := 1; i < len(c.node.Inputs) && !f.elem.sure; i++ {
			if e := c.in(i).elem; e.sure || f.elem.dtype == tensor.Undefined {
				f.elem = e
			}
		}
	}
	if len(c.node.Inputs) == 2 {
		f.vals = zip(c.in(0), c.in(1), f.ext, arithmeticFold(c.node.OpType))
		if f.elem.dtype == tensor.Int32 {
			f.vals = mapScalars(f.vals, func(v int64) (int64, bool) { return v, v == int64(int32(v)) })
		}
	}
	c.out(0, f)
}

func comparison(c *call) {
	f := fact{elem: sureElem(tensor.Bool), ext: operands(c)}
	f.vals = zip(c.in(0), c.in(1), f.ext, comparisonFold(c.node.OpType))
	c.out(0, f)
}

func where(c *call) {
	cond, a, b := c.in(0), c.in(1), c.in(2)
	f := fact{elem: a.elem, ext: broadcast(broadcast(cond.ext, a.ext), b.ext)}
	if f.elem.dtype == tensor.Undefined || b.elem.sure {
		f.elem = b.elem
	}
	f.vals = choose(cond, a, b, f.ext)
	c.out(0, f)
}

// quantizeLinear: attribute output_dtype, else the zero point's type, else uint8.
func quantizeLinear(c *call) {
	f := fact{elem: sureElem(tensor.Uint8), ext: c.in(0).ext}
	if d := c.dtypeAttr("output_dtype"); d != tensor.Undefined {
		f.elem = sureElem(d)
	} else if c.has(2) {
		f.elem = c.in(2).elem
	}
	c.out(0, f)
}

// dequantizeLinear: attribute output_dtype, else the scale's type.
func dequantizeLinear(c *call) {
	f := fact{elem: c.in(1).elem, ext: c.in(0).ext}
	if d := c.dtypeAttr("output_dtype"); d != tensor.Undefined {
		f.elem = sureElem(d)
	}
	c.out(0, f)
}

func dynamicQuantizeLinear(c *call) {
	c.out(0, fact{elem: sureElem(tensor.Uint8), ext: c.in(0).ext})
	c.out(1, fact{elem: sureElem(tensor.Float32), ext: scalar0})
	c.out(2, fact{elem: sureElem(tensor.Uint8), ext: scalar0})
}
