package shape

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// slice: starts, ends, axes and steps are attributes before opset 10, inputs 1 to 4 from then on.
func slice(c *call) {
	x := c.in(0)
	f := fact{elem: x.elem, ext: x.ext.vague()}
	starts, ok0, _, _ := c.ints("starts", 1)
	ends, ok1, _, _ := c.ints("ends", 2)
	axes, ok2, _, given := c.ints("axes", 3)
	steps, ok3, _, stepped := c.ints("steps", 4)
	if !given {
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	if !stepped {
		for range axes {
			steps = append(steps, 1)
		}
	}
	// Which axes are cut may be known where from and to are not.
	if x.ext.ranked && ok2 && (given || ok0) {
		f.ext = x.ext
		for k, v := range axes {
			i, ok := axis(v, len(x.ext.dims))
			if !ok {
				f.ext = x.ext.vague()
				break
			}
			d := anyDim
			if ok0 && ok1 && ok3 && k < len(starts) && k < len(ends) && k < len(steps) {
				d = sliceDim(f.ext.dims[i], starts[k], ends[k], steps[k])
			}
			f.ext = f.ext.with(i, d)
		}
	}
	if ok0 && ok1 && ok2 && ok3 && len(x.ext.dims) == 1 && x.vals != nil && len(starts) == 1 && len(ends) == 1 && len(axes) == 1 &&
		len(steps) == 1 && f.ext.ranked && f.ext.dims[0].Value >= 0 {
		from, _, _ := sliceRange(int64(len(x.vals)), starts[0], ends[0], steps[0])
		f.vals = []scalar{}
		for k := range f.ext.dims[0].Value {
			at := from + k*steps[0]
			if at < 0 || at >= int64(len(x.vals)) {
				f.vals = nil
				break
			}
			f.vals = append(f.vals, x.vals[at])
		}
	}
	c.out(0, f)
}

// sliceRange clamps as ONNX defines it: negative counts from the end, and what lies outside is cut off.
func sliceRange(n, start, end, step int64) (from, to int64, ok bool) {
	if step == 0 {
		return 0, 0, false
	}
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	if step > 0 {
		return min(max(start, 0), n), min(max(end, 0), n), true
	}
	return min(max(start, 0), n-1), min(max(end, -1), n-1), true
}

func sliceDim(d graph.Dim, start, end, step int64) graph.Dim {
	// The whole axis, however long: exporters write the largest integer for "to the end".
	if start == 0 && step == 1 && end >= 1<<31-1 {
		return d
	}
	if d.Value < 0 || step == -1<<63 {
		return anyDim
	}
	from, to, ok := sliceRange(d.Value, start, end, step)
	if !ok {
		return anyDim
	}
	if step < 0 {
		from, to, step = to, from, -step
	}
	if to <= from {
		return graph.Dim{}
	}
	return graph.Dim{Value: (to-from-1)/step + 1}
}

// gather puts the axes of the indices in place of one axis of the data.
func gather(c *call) {
	x, ix := c.in(0), c.in(1)
	f := fact{elem: x.elem}
	if a, ok := axis(c.node.AttrInt("axis", 0), len(x.ext.dims)); ok && ix.ext.ranked {
		f.ext = extent{ranked: true, sure: min(x.ext.sure, ix.ext.sure)}
		f.ext.dims = append(append(append([]graph.Dim{}, x.ext.dims[:a]...), ix.ext.dims...), x.ext.dims[a+1:]...)
	}
	if idx, ok := ix.ints(); ok && len(x.ext.dims) == 1 && x.vals != nil {
		f.vals = []scalar{}
		for _, v := range idx {
			i, ok := axis(v, len(x.vals))
			if !ok {
				f.vals = nil
				break
			}
			f.vals = append(f.vals, x.vals[i])
		}
	}
	c.out(0, f)
}

func gatherElements(c *call) { c.out(0, fact{elem: c.in(0).elem, ext: c.in(1).ext}) }

// gatherND: indices [batch..., q..., k] pick from data [batch..., first k axes, rest...].
func gatherND(c *call) {
	x, ix := c.in(0), c.in(1)
	f := fact{elem: x.elem}
	batch := int(min(max(c.node.AttrInt("batch_dims", 0), 0), maxRank))
	if q := len(ix.ext.dims); x.ext.ranked && q > 0 && ix.ext.dims[q-1].Value >= 0 {
		k := ix.ext.dims[q-1].Value
		if rest := int64(len(x.ext.dims)) - int64(batch) - k; rest >= 0 && k <= maxRank {
			f.ext = extent{ranked: true, sure: min(x.ext.sure, ix.ext.sure)}
			f.ext.dims = append(append([]graph.Dim{}, ix.ext.dims[:q-1]...), x.ext.dims[int64(batch)+k:]...)
			if f.ext.sure == sureRank && ix.ext.sure != sureDims {
				f.ext.sure = sureNothing // the rank follows from a declared extent
			}
		}
	}
	c.out(0, f)
}

// topK: attribute k before opset 10, input from then on.
func topK(c *call) {
	x := c.in(0)
	e := x.ext.vague()
	if a, ok := axis(c.node.AttrInt("axis", -1), len(x.ext.dims)); ok {
		d := anyDim
		if k := c.node.Attr("k"); k != nil {
			d.Value = max(k.Int, -1)
		} else if v, ok := c.in(1).ints(); ok && len(v) == 1 {
			d.Value = max(v[0], -1)
		}
		e = x.ext.with(a, d)
	}
	c.out(0, fact{elem: x.elem, ext: e})
	c.out(1, fact{elem: sureElem(tensor.Int64), ext: e})
}

// oneHot puts a new axis, the depth, into the indices' shape.
func oneHot(c *call) {
	ix := c.in(0).ext
	f := fact{elem: c.in(2).elem}
	if ix.ranked {
		n := len(ix.dims) + 1
		if a, ok := axis(c.node.AttrInt("axis", -1), n); ok {
			d := anyDim
			if v, known := c.in(1).ints(); known && len(v) == 1 {
				d.Value = max(v[0], -1)
			}
			f.ext = extent{ranked: true, sure: min(ix.sure, sureRank)}
			f.ext.dims = append(append(append([]graph.Dim{}, ix.dims[:a]...), d), ix.dims[a:]...)
		}
	}
	c.out(0, f)
}

func nonZero(c *call) {
	e := ofRank(2, sureRank)
	if x := c.in(0).ext; x.ranked && len(x.dims) > 0 {
		e.dims[0] = graph.Dim{Value: int64(len(x.dims))}
	}
	c.out(0, fact{elem: sureElem(tensor.Int64), ext: e})
}

func nonMaxSuppression(c *call) {
	e := ofRank(2, sureRank)
	e.dims[1] = graph.Dim{Value: 3}
	c.out(0, fact{elem: sureElem(tensor.Int64), ext: e})
}
