package shape

import (
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// blocks moves blocks of size×size between the channels and the last two axes of [N, C, H, W].
func blocks(c *call, toSpace bool) {
	f := c.in(0)
	e, n := f.ext.vague(), c.node.AttrInt("blocksize", 0)
	if len(f.ext.dims) == 4 && n > 0 && n < 1<<15 {
		e.dims[0] = f.ext.dims[0]
		scale := func(i int, by int64, up bool) {
			switch v := f.ext.dims[i].Value; {
			case v < 0 || !small(v) || !up && v%by != 0:
			case up:
				e.dims[i] = graph.Dim{Value: v * by}
			default:
				e.dims[i] = graph.Dim{Value: v / by}
			}
		}
		scale(1, n*n, !toSpace)
		scale(2, n, toSpace)
		scale(3, n, toSpace)
	}
	c.out(0, fact{elem: f.elem, ext: e})
}

func depthToSpace(c *call) { blocks(c, true) }
func spaceToDepth(c *call) { blocks(c, false) }

// gridSample: x is [N, C, in...], the grid [N, out..., axes], the result [N, C, out...].
func gridSample(c *call) {
	x, grid := c.in(0), c.in(1).ext
	e := x.ext.vague()
	if n := len(e.dims); n >= 2 {
		e.sure = min(e.sure, sureRank)
		e.dims[0], e.dims[1] = x.ext.dims[0], x.ext.dims[1]
		if grid.ranked && len(grid.dims) == n {
			copy(e.dims[2:], grid.dims[1:n-1])
		}
	}
	c.out(0, fact{elem: x.elem, ext: e})
}

// resize: sizes (input 3 from opset 11 on) are the extents of the axes in attribute axes, or of all; scales (input 2, before that input 1) are
// factors. Where a product lies so near to an integer that its rounding decides, engines differ and it is unknown.
func resize(c *call) {
	x := c.in(0)
	e := x.ext.vague()
	e.sure = min(e.sure, sureRank)
	over := make([]int64, len(e.dims))
	for i := range over {
		over[i] = int64(i)
	}
	if v, ok := c.node.AttrInts("axes"); ok {
		copy(e.dims, x.ext.dims)
		over = v
	}
	set := func(n int, extent func(i int, d graph.Dim) graph.Dim) {
		if n != len(over) {
			over = nil
			e = x.ext.vague()
		}
		for i, a := range over {
			at, ok := axis(a, len(e.dims))
			if !ok {
				e = x.ext.vague()
				return
			}
			e.dims[at] = extent(i, x.ext.dims[at])
		}
	}
	policy := c.node.AttrString("keep_aspect_ratio_policy", "stretch")
	at := 2
	if c.opset < 11 || c.node.OpType == "Upsample" {
		at = 1
	}
	switch {
	case policy != "stretch":
		e = x.ext.vague()
	case at == 2 && c.has(3):
		sizes, ok := c.in(3).ints()
		if !ok {
			e = x.ext.vague()
			break
		}
		set(len(sizes), func(i int, _ graph.Dim) graph.Dim { return graph.Dim{Value: max(sizes[i], -1)} })
	default:
		scales := c.floats(at)
		set(len(scales), func(i int, d graph.Dim) graph.Dim {
			v := float64(d.Value) * float64(scales[i])
			whole := math.Round(v)
			switch {
			case d.Value >= 0 && v == whole && v >= 0 && v < 1<<31:
				return graph.Dim{Value: int64(whole)}
			case d.Value >= 0 && v >= 0 && v < 1<<20 && math.Abs(v-whole) > 1e-3:
				return graph.Dim{Value: int64(math.Floor(v))}
			}
			return anyDim
		})
	}
	c.out(0, fact{elem: x.elem, ext: e})
}

// floats is the content of input i where it is a short constant of float32; nil where it is not.
func (c *call) floats(i int) []float32 {
	name := c.node.Input(i)
	for s := c.scope; s != nil && name != ""; s = s.outer {
		if _, ok := s.facts[name]; !ok {
			continue
		}
		init := s.graph.Initializer(name)
		overridable := slices.ContainsFunc(s.graph.Inputs, func(v *graph.Value) bool { return v.Name == name }) && !c.fixedInputs
		if init == nil || init.Tensor == nil || init.Tensor.DType != tensor.Float32 || init.Tensor.Elements() > maxFold || overridable || s.repeated[name] {
			return nil
		}
		v, err := init.Tensor.AsFloat32s()
		if err != nil {
			return nil
		}
		return v
	}
	return nil
}

func conv(c *call) {
	c.out(0, fact{elem: pickElem(c.in(0), c.in(1)), ext: convExtent(c, c.in(0).ext, c.in(1).ext)})
}

func convInteger(c *call) {
	c.out(0, fact{elem: sureElem(tensor.Int32), ext: convExtent(c, c.in(0).ext, c.in(1).ext)})
}

// qLinearConv: x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero.
func qLinearConv(c *call) {
	c.out(0, fact{elem: c.in(7).elem, ext: convExtent(c, c.in(0).ext, c.in(3).ext)})
}

// convExtent: x is [N, C, spatial...], w is [M, C/group, kernel...], the result [N, M, spatial...]. Either operand gives the rank.
func convExtent(c *call, x, w extent) extent {
	rank, sure := rankOf(x, w)
	if rank < 2 {
		return extent{}
	}
	e := ofRank(rank, min(sure, sureRank))
	if x.ranked && len(x.dims) == rank {
		e.dims[0] = x.dims[0]
	}
	if w.ranked && len(w.dims) == rank {
		e.dims[1] = w.dims[0]
	}
	kernel, ok := c.node.AttrInts("kernel_shape")
	if !ok && w.ranked && len(w.dims) == rank {
		for _, d := range w.dims[2:] {
			kernel = append(kernel, d.Value)
		}
	}
	windows(c, e.dims[2:], x, kernel)
	return e
}

// rankOf is the rank that operands of one rank have; 0 where unknown or in disagreement.
func rankOf(es ...extent) (int, certainty) {
	rank, sure, seen := 0, sureNothing, false
	for _, e := range es {
		switch {
		case !e.ranked:
		case !seen:
			rank, sure, seen = len(e.dims), e.sure, true
		case rank != len(e.dims):
			return 0, sureNothing
		default:
			sure = max(sure, e.sure)
		}
	}
	return rank, sure
}

// windows fills the spatial extents of a convolution or pooling of x, as far as they are fixed.
func windows(c *call, out []graph.Dim, x extent, kernel []int64) {
	// With ceil_mode the runtimes differ in windows that start in the padding.
	if !x.ranked || len(x.dims) != len(out)+2 || len(kernel) != len(out) || c.node.AttrInt("ceil_mode", 0) != 0 {
		return
	}
	strides, dilations := c.list("strides", len(out), 1), c.list("dilations", len(out), 1)
	pads := c.list("pads", 2*len(out), 0)
	auto := c.node.AttrString("auto_pad", "NOTSET")
	for i := range out {
		in, k, s, d := x.dims[i+2].Value, kernel[i], strides[i], dilations[i]
		if in < 0 || k <= 0 || s <= 0 || d <= 0 || !small(in) || !small(k) || !small(d) || !small(s) ||
			!small(pads[i]) || !small(pads[i+len(out)]) {
			continue
		}
		var n int64
		switch auto {
		case "SAME_UPPER", "SAME_LOWER":
			n = (in + s - 1) / s
		case "VALID":
			n = span(in, k, s, d)
		case "NOTSET", "":
			n = span(in+pads[i]+pads[i+len(out)], k, s, d)
		default:
			n = -1
		}
		if n >= 0 {
			out[i] = graph.Dim{Value: n}
		}
	}
}

// span is how many windows of size k with step s and dilation d fit into n; −1 when none does.
func span(n, k, s, d int64) int64 {
	room := n - ((k-1)*d + 1)
	if room < 0 {
		return -1
	}
	return room/s + 1
}

// convTranspose: w is [C, M/group, kernel...].
func convTranspose(c *call) {
	x, w := c.in(0), c.in(1)
	f := fact{elem: pickElem(x, w)}
	if rank, sure := rankOf(x.ext, w.ext); rank >= 2 {
		f.ext = ofRank(rank, min(sure, sureRank))
		if x.ext.ranked {
			f.ext.dims[0] = x.ext.dims[0]
		}
		if g := c.node.AttrInt("group", 1); w.ext.ranked && w.ext.dims[1].Value >= 0 && small(w.ext.dims[1].Value) && small(g) && g > 0 {
			f.ext.dims[1] = graph.Dim{Value: w.ext.dims[1].Value * g}
		}
		if x.ext.ranked && w.ext.ranked && len(x.ext.dims) == len(w.ext.dims) {
			spread(c, f.ext.dims[2:], x.ext.dims[2:], w.ext.dims[2:])
		}
	}
	c.out(0, f)
}

// spread fills the spatial extents of a transposed convolution, as far as they are fixed.
func spread(c *call, out, in, kernel []graph.Dim) {
	n := len(out)
	if shape, ok := c.node.AttrInts("output_shape"); ok {
		if len(shape) == n {
			for i, v := range shape {
				out[i] = graph.Dim{Value: max(v, -1)}
			}
		}
		return
	}
	strides, dilations, pads, more := c.list("strides", n, 1), c.list("dilations", n, 1), c.list("pads", 2*n, 0), c.list("output_padding", n, 0)
	for i := range out {
		x, k, s, d := in[i].Value, kernel[i].Value, strides[i], dilations[i]
		if x < 1 || k < 1 || s < 1 || d < 1 || !small(x) || !small(k) || !small(s) || !small(d) || !small(more[i]) || !small(pads[i]) || !small(pads[i+n]) {
			continue
		}
		v := s*(x-1) + more[i] + (k-1)*d + 1
		switch c.node.AttrString("auto_pad", "NOTSET") {
		case "NOTSET", "":
			v -= pads[i] + pads[i+n]
		case "VALID":
		case "SAME_UPPER", "SAME_LOWER":
			v = x * s
		default:
			v = -1
		}
		out[i] = graph.Dim{Value: max(v, -1)}
	}
}

// list is an attribute of n integers, or n times def where it is left out or has another length.
func (c *call) list(name string, n int, def int64) []int64 {
	v, ok := c.node.AttrInts(name)
	if ok && len(v) == n {
		return v
	}
	v = make([]int64, n)
	for i := range v {
		v[i] = def
	}
	return v
}

// pool: [N, C, spatial...]; the kernel gives the rank where the input does not. MaxPool's second output is indices.
func pool(c *call) {
	x := c.in(0)
	kernel, _ := c.node.AttrInts("kernel_shape")
	e := x.ext.vague()
	if !e.ranked && len(kernel) > 0 {
		e = ofRank(len(kernel)+2, sureRank)
	}
	if len(e.dims) >= 2 {
		e.sure = min(e.sure, sureRank)
		if x.ext.ranked {
			e.dims[0], e.dims[1] = x.ext.dims[0], x.ext.dims[1]
		}
		windows(c, e.dims[2:], x.ext, kernel)
	}
	c.out(0, fact{elem: x.elem, ext: e})
	c.out(1, fact{elem: sureElem(tensor.Int64), ext: e})
}

func globalPool(c *call) {
	f := c.in(0)
	e := f.ext
	for i := 2; i < len(e.dims); i++ {
		e = e.with(i, graph.Dim{Value: 1})
	}
	c.out(0, fact{elem: f.elem, ext: e})
}
