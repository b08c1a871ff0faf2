package shape

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// reshape: an entry 0 copies the input's extent (unless allowzero), −1 takes what is left.
func reshape(c *call) {
	x := c.in(0)
	target := c.in(1)
	if v, ok := c.node.AttrInts("shape"); ok { // opset 1 to 4
		target = fact{ext: extent{ranked: true, dims: []graph.Dim{{Value: int64(len(v))}}, sure: sureDims}, vals: make([]scalar, len(v))}
		for i, n := range v {
			target.vals[i] = number(n)
		}
	}
	f := fact{elem: x.elem, ext: reshapeExtent(x.ext, target, c.node.AttrInt("allowzero", 0) != 0)}
	if _, ok := foldLength(f.ext); ok && x.vals != nil {
		f.vals = x.vals
	}
	c.out(0, f)
}

func reshapeExtent(x extent, target fact, allowZero bool) extent {
	if target.vals == nil || target.ext.ranked && len(target.ext.dims) != 1 {
		if n, ok := target.length(); ok {
			return ofRank(n, min(target.ext.sure, sureRank))
		}
		return extent{}
	}
	e := ofRank(len(target.vals), min(target.ext.sure, sureRank))
	rest, allKnown := -1, true
	for i, v := range target.vals {
		switch {
		case v.known && v.value == -1:
			if rest >= 0 {
				return e.vague()
			}
			rest = i
		case v.known && v.value == 0 && !allowZero:
			allKnown = false
			if x.ranked && i < len(x.dims) {
				e.dims[i] = x.dims[i]
			}
		case v.known:
			e.dims[i] = v.dim()
		default:
			allKnown = false
			// A named extent of 0 would mean "copy"; it is certain where copying gives the same.
			if v.param != "" && (allowZero || x.ranked && i < len(x.dims) && x.dims[i].Param == v.param) {
				e.dims[i] = v.dim()
			}
		}
	}
	if rest >= 0 {
		e.dims[rest] = remaining(x, e.dims, rest)
	} else if allKnown {
		e.sure = target.ext.sure
	}
	return e
}

// remaining is the extent that makes the number of elements of out that of x. Named extents cancel.
func remaining(x extent, out []graph.Dim, at int) graph.Dim {
	if !x.ranked {
		return anyDim
	}
	total, names := int64(1), []string{}
	for _, d := range x.dims {
		switch {
		case d.Value >= 0 && small(d.Value) && small(total):
			total *= d.Value
		case d.Value < 0 && d.Param != "":
			names = append(names, d.Param)
		default:
			return anyDim
		}
	}
	given := int64(1)
	for i, d := range out {
		switch {
		case i == at:
		case d.Value >= 0 && small(d.Value) && small(given):
			given *= d.Value
		case d.Value < 0 && slices.Contains(names, d.Param):
			k := slices.Index(names, d.Param)
			names = slices.Delete(names, k, k+1)
		default:
			return anyDim
		}
	}
	switch {
	case given <= 0 || total%given != 0:
		return anyDim
	case len(names) == 0:
		return graph.Dim{Value: total / given}
	case len(names) == 1 && total == given:
		return graph.Dim{Value: -1, Param: names[0]}
	}
	return anyDim
}

// flatten is a matrix: the axes before attribute axis in one, the others in the second.
func flatten(c *call) {
	x := c.in(0)
	f := fact{elem: x.elem, ext: ofRank(2, sureRank)}
	if x.ext.ranked {
		a := c.node.AttrInt("axis", 1)
		if a < 0 {
			a += int64(len(x.ext.dims))
		}
		if a >= 0 && a <= int64(len(x.ext.dims)) {
			f.ext.dims[0] = product(x.ext.dims[:a])
			f.ext.dims[1] = product(x.ext.dims[a:])
			if x.ext.sure == sureDims {
				f.ext.sure = sureDims
			}
		}
	}
	c.out(0, f)
}

// product is the number of elements of axes; a single named axis among ones keeps its name.
func product(dims []graph.Dim) graph.Dim {
	out := graph.Dim{Value: 1}
	for _, d := range dims {
		switch {
		case out == graph.Dim{Value: 1}:
			out = d
		case d.Value == 1:
		case out.Value >= 0 && d.Value >= 0 && small(out.Value) && small(d.Value):
			out = graph.Dim{Value: out.Value * d.Value}
		default:
			return anyDim
		}
	}
	return out
}

func transpose(c *call) {
	x := c.in(0)
	f := fact{elem: x.elem}
	perm, ok := c.node.AttrInts("perm")
	switch {
	case !ok && x.ext.ranked:
		f.ext = x.ext
		f.ext.dims = append([]graph.Dim{}, x.ext.dims...)
		slices.Reverse(f.ext.dims)
	case ok && !x.ext.ranked:
		f.ext = ofRank(len(perm), sureRank)
	case ok && len(perm) == len(x.ext.dims):
		f.ext = ofRank(len(perm), x.ext.sure)
		for i, p := range perm {
			a, valid := axis(p, len(perm))
			if !valid {
				f.ext = ofRank(len(perm), min(x.ext.sure, sureRank))
				break
			}
			f.ext.dims[i] = x.ext.dims[a]
		}
	}
	c.out(0, f)
}

// axesOf are the axes of an operand of rank n as a set; false where unknown.
func axesOf(list []int64, known bool, n int) (map[int]bool, bool) {
	if !known {
		return nil, false
	}
	set := map[int]bool{}
	for _, a := range list {
		i, ok := axis(a, n)
		if !ok || set[i] {
			return nil, false
		}
		set[i] = true
	}
	return set, true
}

func squeeze(c *call) {
	x := c.in(0)
	f := fact{elem: x.elem}
	list, known, count, given := c.ints("axes", 1)
	switch {
	case !x.ext.ranked:
	case !given:
		// All axes of extent 1 go: the rank is known only where every extent is.
		f.ext = extent{ranked: true, dims: []graph.Dim{}, sure: x.ext.sure}
		for _, d := range x.ext.dims {
			if d.Value < 0 {
				f.ext = extent{}
				break
			}
			if d.Value != 1 {
				f.ext.dims = append(f.ext.dims, d)
			}
		}
		if x.ext.sure != sureDims {
			f.ext.sure = sureNothing
		}
	default:
		if set, ok := axesOf(list, known, len(x.ext.dims)); ok {
			f.ext = extent{ranked: true, dims: []graph.Dim{}, sure: x.ext.sure}
			for i, d := range x.ext.dims {
				if !set[i] {
					f.ext.dims = append(f.ext.dims, d)
				}
			}
		} else if !known && count >= 0 {
			f.ext = ofRank(len(x.ext.dims)-count, min(x.ext.sure, c.in(1).ext.sure, sureRank))
		}
	}
	if _, ok := foldLength(f.ext); ok {
		f.vals = x.vals
	}
	c.out(0, f)
}

func unsqueeze(c *call) {
	x := c.in(0)
	f := fact{elem: x.elem}
	list, known, count, _ := c.ints("axes", 1)
	if x.ext.ranked && count >= 0 {
		n := len(x.ext.dims) + count
		if set, ok := axesOf(list, known, n); ok {
			f.ext = ofRank(n, x.ext.sure)
			next := 0
			for i := range f.ext.dims {
				if set[i] {
					f.ext.dims[i] = graph.Dim{Value: 1}
				} else {
					f.ext.dims[i] = x.ext.dims[next]
					next++
				}
			}
		} else if !known {
			f.ext = ofRank(n, min(x.ext.sure, c.in(1).ext.sure, sureRank))
		}
	}
	if _, ok := foldLength(f.ext); ok {
		f.vals = x.vals
	}
	c.out(0, f)
}

// expand broadcasts the input with a shape.
func expand(c *call) {
	x := c.in(0)
	f := fact{elem: x.elem, ext: broadcast(x.ext, fromContent(c.in(1)))}
	if n, ok := foldLength(f.ext, x); ok {
		f.vals = make([]scalar, n)
		for i := range f.vals {
			f.vals[i] = x.at(i)
		}
	}
	c.out(0, f)
}

func concat(c *call) {
	var f fact
	all := make([]fact, len(c.node.Inputs))
	exts := make([]extent, len(all))
	for i := range all {
		all[i] = c.in(i)
		exts[i] = all[i].ext
	}
	f.elem = pickElem(all...)
	rank, sure := rankOf(exts...)
	if a, ok := axis(c.node.AttrInt("axis", 1), rank); ok {
		f.ext = ofRank(rank, min(sure, sureRank))
		lowest := sureDims
		sum := graph.Dim{}
		for _, e := range exts {
			if !e.ranked {
				sum, lowest = anyDim, sureNothing
				continue
			}
			lowest = min(lowest, e.sure)
			for i, d := range e.dims {
				switch {
				case i == a && sum.Value >= 0 && d.Value >= 0 && small(sum.Value) && small(d.Value):
					sum.Value += d.Value
				case i == a:
					sum = anyDim
				default:
					f.ext.dims[i] = mergeDim(f.ext.dims[i], d, false)
				}
			}
		}
		f.ext.dims[a] = sum
		if len(exts) == 1 {
			f.ext.dims[a] = exts[0].dims[a]
		}
		if lowest == sureDims {
			f.ext.sure = sureDims
		}
	}
	// A vector's content is followed even through parts of which only the length is known.
	if rank == 1 {
		if _, ok := foldLength(f.ext); ok {
			f.vals = []scalar{}
			for _, part := range all {
				if part.vals != nil {
					f.vals = append(f.vals, part.vals...)
				} else {
					f.vals = append(f.vals, make([]scalar, part.ext.dims[0].Value)...)
				}
			}
			if int64(len(f.vals)) != f.ext.dims[0].Value {
				f.vals = nil
			}
		}
	}
	c.out(0, f)
}

// split: sizes by attribute (before opset 13) or input, else equal parts, the last one smaller (opset 18).
func split(c *call) {
	x := c.in(0)
	n := len(c.node.Outputs)
	list, known, _, given := c.ints("split", 1)
	offset := int64(0)
	for i := range n {
		f := fact{elem: x.elem, ext: x.ext}
		if a, ok := axis(c.node.AttrInt("axis", 0), len(x.ext.dims)); ok {
			d := anyDim
			whole := x.ext.dims[a].Value
			switch {
			case given && known && i < len(list):
				d.Value = max(list[i], -1)
			case given || whole < 0:
			default:
				parts := c.node.AttrInt("num_outputs", int64(n))
				if parts == int64(n) && (c.opset >= 18 || whole%parts == 0) {
					size := (whole + parts - 1) / parts
					d.Value = max(0, min(size, whole-int64(i)*size))
				}
			}
			f.ext = x.ext.with(a, d)
			if d.Value >= 0 && x.vals != nil && offset >= 0 && d.Value <= int64(len(x.vals))-offset {
				f.vals = x.vals[offset : offset+d.Value]
			}
			if d.Value < 0 || !small(d.Value) || !small(offset) || offset < 0 {
				offset = -1
			} else {
				offset += d.Value
			}
		} else {
			f.ext = x.ext.vague()
		}
		c.out(i, f)
	}
}

func tile(c *call) {
	x := c.in(0)
	f := fact{elem: x.elem, ext: x.ext}
	reps := c.in(1)
	if !f.ext.ranked {
		if n, ok := reps.length(); ok {
			f.ext = ofRank(n, min(reps.ext.sure, sureRank))
		}
	}
	for i, d := range f.ext.dims {
		out := anyDim
		if len(reps.vals) == len(f.ext.dims) {
			if r := reps.vals[i]; r.known && r.value == 1 {
				out = d
			} else if r.known && d.Value >= 0 && small(r.value) && small(d.Value) && r.value >= 0 {
				out.Value = d.Value * r.value
			}
		}
		f.ext = f.ext.with(i, out)
	}
	c.out(0, f)
}

// pad: begin and end of every axis, or of those in axes (opset 18); an attribute before opset 11.
func pad(c *call) {
	x := c.in(0)
	f := fact{elem: x.elem, ext: x.ext}
	list, known, _, given := c.ints("pads", 1)
	if n := len(f.ext.dims); n > 0 {
		over := make([]int64, n)
		for i := range over {
			over[i] = int64(i)
		}
		axesKnown := true
		if c.has(3) {
			over, axesKnown = c.in(3).ints()
		}
		f.ext = x.ext.vague()
		if given && known && axesKnown && len(list) == 2*len(over) {
			f.ext = x.ext
			for k, v := range over {
				i, ok := axis(v, n)
				if !ok {
					f.ext = x.ext.vague()
					break
				}
				begin, end := list[k], list[k+len(over)]
				switch d := f.ext.dims[i]; {
				case begin == 0 && end == 0:
				case d.Value >= 0 && small(d.Value) && small(begin) && small(end) && d.Value+begin+end >= 0:
					f.ext = f.ext.with(i, graph.Dim{Value: d.Value + begin + end})
				default:
					f.ext = f.ext.with(i, anyDim)
				}
			}
		}
	}
	c.out(0, f)
}
