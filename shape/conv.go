package shape

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// sameRank: the type of the first input and its rank, other extents.
func sameRank(c *call) {
	f := c.in(0)
	c.out(0, fact{elem: f.elem, ext: f.ext.vague()})
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
	attr := func(name string, n int, def int64) []int64 {
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
	strides, dilations := attr("strides", len(out), 1), attr("dilations", len(out), 1)
	pads := attr("pads", 2*len(out), 0)
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
	}
	c.out(0, f)
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
