package shape

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// reduce: axes are an attribute in older versions, input 1 in newer ones; none means all, or nothing with
// noop_with_empty_axes. Reduced axes become 1, or go without keepdims.
func reduce(c *call) {
	x := c.in(0)
	list, known, count, given := c.ints("axes", 1)
	keep := c.node.AttrInt("keepdims", 1) != 0
	noop := c.node.AttrInt("noop_with_empty_axes", 0) != 0
	f := fact{elem: x.elem}
	switch {
	case (!given || known && count == 0) && noop:
		f.ext = x.ext
	case !given || known && count == 0:
		if keep {
			f.ext = x.ext
			for i := range x.ext.dims {
				f.ext = f.ext.with(i, graph.Dim{Value: 1})
			}
		} else {
			f.ext = scalar0
		}
	case !x.ext.ranked:
	case known:
		f.ext = dropAxes(x.ext, list, keep)
	case keep:
		f.ext = x.ext.vague()
	case count > 0:
		f.ext = ofRank(len(x.ext.dims)-count, min(x.ext.sure, c.in(1).ext.sure, sureRank))
	}
	if c.node.OpType == "ReduceProd" && x.ext.ranked && len(x.ext.dims) == 1 && !noop {
		f.vals = productOf(x)
	}
	c.out(0, f)
}

func productOf(x fact) []scalar {
	v, ok := x.ints()
	if !ok {
		return nil
	}
	p := int64(1)
	for _, n := range v {
		if !small(p) || !small(n) {
			return nil
		}
		p *= n
	}
	return []scalar{number(p)}
}

func dropAxes(x extent, list []int64, keep bool) extent {
	set, ok := axesOf(list, true, len(x.dims))
	if !ok {
		return extent{}
	}
	out := extent{ranked: true, dims: []graph.Dim{}, sure: x.sure}
	for i, d := range x.dims {
		switch {
		case !set[i]:
			out.dims = append(out.dims, d)
		case keep:
			out.dims = append(out.dims, graph.Dim{Value: 1})
		}
	}
	return out
}

func argReduce(c *call) {
	f := fact{elem: sureElem(tensor.Int64)}
	if x := c.in(0).ext; x.ranked {
		f.ext = dropAxes(x, []int64{c.node.AttrInt("axis", 0)}, c.node.AttrInt("keepdims", 1) != 0)
	}
	c.out(0, f)
}
