package program

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
)

// views are the lowers of operators that look at the same memory in another way: they cost nothing, but for a copy where the memory does
// not allow it.
func views() map[string]lower {
	return map[string]lower{
		"Reshape": reshape, "Squeeze": reshape, "Unsqueeze": reshape, "Flatten": reshape,
		"Transpose": transpose, "Slice": slice, "Split": split, "Expand": expand,
	}
}

// axisOf is an axis counted from the front.
func axisOf(axis int64, rank int) (int, bool) {
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), axis >= 0 && axis < int64(rank)
}

// regroup is the strides by which a view is read under other dims of as many elements; ok is false where that takes a copy.
func (t *Tensor) regroup(dims []int64) (strides []int64, ok bool) {
	var from, step []int64 // without extents of 1, which lie anywhere
	for i, n := range t.Dims {
		if n != 1 {
			from, step = append(from, n), append(step, t.Strides[i])
		}
	}
	strides = make([]int64, len(dims))
	k := 0
	for i := 0; i < len(dims); {
		if dims[i] == 1 {
			i++
			continue
		}
		if k == len(from) {
			return nil, false
		}
		// The next extents of both sides that have as many elements: those of the view must lie one behind the other.
		have, want, j := from[k], dims[i], i+1
		for k++; have != want; {
			if have < want {
				if k == len(from) || step[k-1] != step[k]*from[k] {
					return nil, false
				}
				have *= from[k]
				k++
			} else {
				if j == len(dims) {
					return nil, false
				}
				want *= dims[j]
				j++
			}
		}
		s := step[k-1]
		for d := j - 1; d >= i; d-- {
			if dims[d] != 1 {
				strides[d] = s
				s *= dims[d]
			}
		}
		i = j
	}
	return strides, k == len(from)
}

// reshaped is t under other dims: a view where it can be, else a copy.
func (b *builder) reshaped(t *Tensor, dims []int64) *Tensor {
	if s, ok := t.regroup(dims); ok {
		return t.view(0, dims, s)
	}
	return b.contiguous(t).reshape(dims...)
}

// defineView defines a value as a view, if the view can still be copied: others may need it contiguous.
func (b *builder) defineView(name string, t *Tensor) (why string) {
	if joinedRank(t.Dims, t.Strides, kernels.Strides(t.Dims)) > chainRank {
		return fmt.Sprintf("no kernel copies more than %d dimensions that cannot be joined", chainRank)
	}
	b.define(name, t)
	return ""
}

// reshape lowers whatever keeps the elements and their order: the dims of the result say it all.
func reshape(b *builder, n *graph.Node) (string, error) {
	t, why := b.get(n.Input(0))
	if t == nil {
		return why, nil
	}
	dims, _ := b.dims(n.Output(0))
	if count(dims) != t.Elements() {
		return fmt.Sprintf("%d elements as %v", t.Elements(), dims), nil
	}
	b.define(n.Output(0), b.reshaped(t, dims))
	return "", nil
}

func transpose(b *builder, n *graph.Node) (string, error) {
	t, why := b.get(n.Input(0))
	if t == nil {
		return why, nil
	}
	perm, ok := n.AttrInts("perm")
	if !ok {
		for i := len(t.Dims) - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	dims, _ := b.dims(n.Output(0))
	strides := make([]int64, len(perm))
	if len(perm) != len(t.Dims) || len(dims) != len(perm) {
		return fmt.Sprintf("permutation %v of %v", perm, t.Dims), nil
	}
	for i, p := range perm {
		at, ok := axisOf(p, len(t.Dims))
		if !ok || t.Dims[at] != dims[i] {
			return fmt.Sprintf("permutation %v of %v", perm, t.Dims), nil
		}
		strides[i] = t.Strides[at]
	}
	return b.defineView(n.Output(0), t.view(0, dims, strides)), nil
}

// slice lowers Slice of fixed bounds.
func slice(b *builder, n *graph.Node) (string, error) {
	t, why := b.get(n.Input(0))
	if t == nil {
		return why, nil
	}
	dims, _ := b.dims(n.Output(0))
	starts, ok := n.AttrInts("starts")
	axes, some := n.AttrInts("axes")
	var steps []int64
	if !ok {
		if starts, ok = b.ints(n.Input(1)); !ok {
			return "the bounds of Slice depend on data", nil
		}
		for i, to := range []*[]int64{3: &axes, 4: &steps} {
			if name := n.Input(i); to != nil && name != "" {
				if *to, ok = b.ints(name); !ok {
					return "the axes or steps of Slice depend on data", nil
				}
			}
		}
		some = n.Input(3) != ""
	}
	if !some {
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	if len(axes) != len(starts) || len(steps) != 0 && len(steps) != len(axes) || len(dims) != len(t.Dims) {
		return fmt.Sprintf("%d starts and %d steps for %d axes of %v", len(starts), len(steps), len(axes), t.Dims), nil
	}
	offset, strides, back := int64(0), slices.Clone(t.Strides), false
	for i, a := range axes {
		at, ok := axisOf(a, len(t.Dims))
		if !ok {
			return fmt.Sprintf("axis %d of %v", a, t.Dims), nil
		}
		step, extent, first := int64(1), t.Dims[at], starts[i]
		if steps != nil {
			step = steps[i]
		}
		if first < 0 {
			first += extent
		}
		// Where it begins; where it ends the result's dims say. What begins behind the end has no elements, and never comes here.
		first = min(max(first, 0), extent-1)
		if dims[at] > 1 {
			if last := first + (dims[at]-1)*step; last < 0 || last >= extent {
				return fmt.Sprintf("%d of every %d from %d on of an extent of %d", dims[at], step, first, extent), nil
			}
			strides[at] *= step
			back = back || step < 0
		}
		offset += first * t.Strides[at]
	}
	v := t.view(offset, dims, strides)
	if back {
		v = b.copy(v) // most kernels count forwards
	}
	return b.defineView(n.Output(0), v), nil
}

func split(b *builder, n *graph.Node) (string, error) {
	t, why := b.get(n.Input(0))
	if t == nil {
		return why, nil
	}
	at, ok := axisOf(n.AttrInt("axis", 0), len(t.Dims))
	if !ok {
		return fmt.Sprintf("axis %d of %v", n.AttrInt("axis", 0), t.Dims), nil
	}
	from := int64(0)
	for _, out := range n.Outputs {
		dims, ok := b.dims(out)
		if !ok || len(dims) != len(t.Dims) || from+dims[at] > t.Dims[at] {
			return fmt.Sprintf("the parts of Split are not known along axis %d of %v", at, t.Dims), nil
		}
		if why := b.defineView(out, t.view(from*t.Strides[at], dims, t.Strides)); why != "" {
			return why, nil
		}
		from += dims[at]
	}
	return "", nil
}

func expand(b *builder, n *graph.Node) (string, error) {
	t, why := b.get(n.Input(0))
	if t == nil {
		return why, nil
	}
	dims, _ := b.dims(n.Output(0))
	strides, ok := spread(t, dims)
	if !ok {
		return fmt.Sprintf("%v as %v", t.Dims, dims), nil
	}
	return b.defineView(n.Output(0), t.view(0, dims, strides)), nil
}
