package cpu

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// view is a tensor's elements under another shape without a copy of them. An axis of the shape is a run of dims, so that axes which no
// single stride can walk, such as repeated heads, can be merged too.
type view struct {
	t    *kernel.Tensor
	axes [][]viewDim
}

// viewDim is an extent other than 1 and the distance between neighbours.
type viewDim struct{ extent, stride int }

// whole is a tensor as it lies.
func whole(t *kernel.Tensor) view {
	v := view{t: t, axes: make([][]viewDim, len(t.Shape))}
	for i, s := range kernel.Strides(t.Shape) {
		if t.Shape[i] != 1 {
			v.axes[i] = []viewDim{{t.Shape[i], s}}
		}
	}
	return v
}

func extentOf(axis []viewDim) int {
	n := 1
	for _, d := range axis {
		n *= d.extent
	}
	return n
}

func (v view) shape() []int {
	s := make([]int, len(v.axes))
	for i, a := range v.axes {
		s[i] = extentOf(a)
	}
	return s
}

// transpose puts axis perm[i] at i.
func (v view) transpose(perm []int64) (view, bool) {
	if len(perm) != len(v.axes) {
		return v, false
	}
	axes := make([][]viewDim, len(perm))
	for i, p := range perm {
		if p < 0 || p >= int64(len(perm)) {
			return v, false
		}
		axes[i] = v.axes[p]
	}
	return view{v.t, axes}, true
}

// expand repeats axes of one element.
func (v view) expand(shape []int) (view, bool) {
	full, err := kernel.Broadcast(v.shape(), shape)
	if err != nil {
		return v, false
	}
	axes := make([][]viewDim, len(full))
	off := len(full) - len(v.axes)
	for i, n := range full {
		switch {
		case i >= off && extentOf(v.axes[i-off]) == n:
			axes[i] = v.axes[i-off]
		case n != 1:
			axes[i] = []viewDim{{n, 0}}
		}
	}
	return view{v.t, axes}, true
}

// reshape is v under another shape of as many elements, false where that needs a copy.
func (v view) reshape(shape []int) (view, bool) {
	if slices.Contains(shape, 0) || kernel.Count(shape) != kernel.Count(v.shape()) {
		return v, false
	}
	var rest []viewDim
	for _, a := range v.axes {
		rest = append(rest, a...)
	}
	axes := make([][]viewDim, len(shape))
	for i, n := range shape {
		for n > 1 {
			d := rest[0]
			switch {
			case n%d.extent == 0:
				rest = rest[1:]
				n /= d.extent
			case d.extent%n == 0: // the axis ends inside d
				// Its outer part belongs here, the inner one to what follows.
				inner := d.extent / n
				rest[0] = viewDim{inner, d.stride}
				d = viewDim{n, d.stride * inner}
				n = 1
			default:
				return v, false
			}
			axes[i] = append(axes[i], d)
		}
	}
	return view{v.t, axes}, true
}

// stride is the distance between neighbours along an axis, false where there is no single one.
func (v view) stride(axis int) (int, bool) {
	dims := v.axes[axis]
	if len(dims) == 0 {
		return 0, true
	}
	for i := range len(dims) - 1 {
		if dims[i].stride != dims[i+1].stride*dims[i+1].extent {
			return 0, false
		}
	}
	return dims[len(dims)-1].stride, true
}

// offsets are where the elements of the first n axes begin, in the order of those axes.
func (v view) offsets(n int) []int {
	out := []int{0}
	for _, axis := range v.axes[:n] {
		for _, d := range axis {
			next := make([]int, 0, len(out)*d.extent)
			for _, o := range out {
				for i := range d.extent {
					next = append(next, o+i*d.stride)
				}
			}
			out = next
		}
	}
	return out
}

// apply is what a step makes of the view, where it only moves elements and needs no copy for it. value gives the step's inputs.
func (v view) apply(s *step, value func(i int) *kernel.Tensor) (view, bool) {
	rank := len(v.axes)
	switch s.node.OpType {
	case "Transpose":
		perm, ok := s.node.AttrInts("perm")
		if !ok {
			for i := range rank {
				perm = append(perm, int64(rank-1-i))
			}
		}
		return v.transpose(perm)
	case "Unsqueeze":
		axes, ok := s.node.AttrInts("axes")
		if !ok {
			axes, ok = int64s(value(1))
		}
		if !ok {
			return v, false
		}
		shape := make([]int, rank+len(axes))
		for _, a := range axes {
			i, err := kernel.Axis(a, len(shape))
			if err != nil || shape[i] != 0 {
				return v, false
			}
			shape[i] = 1
		}
		old := v.shape()
		for i := range shape {
			if shape[i] == 0 {
				shape[i], old = old[0], old[1:]
			}
		}
		return v.reshape(shape)
	case "Expand":
		want, ok := int64s(value(1))
		if !ok {
			return v, false
		}
		return v.expand(toInts(want))
	case "Reshape":
		want, ok := int64s(value(1))
		if !ok {
			return v, false
		}
		shape, old, open := toInts(want), v.shape(), -1
		for i, n := range shape {
			switch {
			case n == 0 && s.node.AttrInt("allowzero", 0) == 0 && i < rank:
				shape[i] = old[i]
			case n == -1 && open < 0:
				open, shape[i] = i, 1
			case n <= 0:
				return v, false
			}
		}
		if open >= 0 {
			known := kernel.Count(shape)
			if known == 0 || kernel.Count(old)%known != 0 {
				return v, false
			}
			shape[open] = kernel.Count(old) / known
		}
		return v.reshape(shape)
	}
	return v, false
}

// viewOperators are those that apply knows.
var viewOperators = words("Transpose Unsqueeze Expand Reshape")

func int64s(t *kernel.Tensor) ([]int64, bool) {
	if t == nil || kernel.ElemSize(t.DType) != 8 {
		return nil, false
	}
	return kernel.Of[int64](t), true
}

func toInts(v []int64) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}
