package program

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// moves are the lowers of operators that copy elements to other places.
func moves() map[string]lower {
	return map[string]lower{"Concat": concat, "Tile": tile, "Pad": pad, "Gather": gather}
}

// put copies elements to a view of the same dims.
func (b *builder) put(to, from *Tensor) (why string) {
	if joinedRank(to.Dims, to.Strides, from.Strides) > chainRank {
		return fmt.Sprintf("no kernel copies more than %d dimensions that cannot be joined", chainRank)
	}
	b.copyTo(to, from)
	return ""
}

func concat(b *builder, n *graph.Node) (string, error) {
	out := n.Output(0)
	dims, _ := b.dims(out)
	at, ok := axisOf(n.AttrInt("axis", 1), len(dims))
	if !ok {
		return fmt.Sprintf("axis %d of %v", n.AttrInt("axis", 1), dims), nil
	}
	var parts []*Tensor
	have := int64(0)
	for _, name := range n.Inputs {
		if d, ok := b.dims(name); ok && count(d) == 0 {
			continue
		}
		t, why := b.get(name)
		if t == nil {
			return why, nil
		}
		if len(t.Dims) != len(dims) {
			return fmt.Sprintf("%v as a part of %v", t.Dims, dims), nil
		}
		parts = append(parts, t)
		have += t.Dims[at]
	}
	if have != dims[at] {
		return fmt.Sprintf("parts of %d elements along axis %d of %v", have, at, dims), nil
	}
	y := b.new(b.held(b.typeOf(out)), dims...)
	from := int64(0)
	for _, t := range parts {
		if why := b.put(y.view(from*y.Strides[at], t.Dims, y.Strides), t); why != "" {
			return why, nil
		}
		from += t.Dims[at]
	}
	b.define(out, y)
	return "", nil
}

// tile lowers Tile: every axis becomes two, the copies, along which the source stands still, and the extent.
func tile(b *builder, n *graph.Node) (string, error) {
	t, why := b.get(n.Input(0))
	if t == nil {
		return why, nil
	}
	dims, _ := b.dims(n.Output(0))
	if len(dims) != len(t.Dims) {
		return fmt.Sprintf("%v as %v", t.Dims, dims), nil
	}
	if strides, ok := spread(t, dims); ok {
		return b.defineView(n.Output(0), t.view(0, dims, strides)), nil
	}
	y := b.new(t.T, dims...)
	var grid, to, from []int64
	for i, d := range dims {
		if d%t.Dims[i] != 0 {
			return fmt.Sprintf("%v as %v", t.Dims, dims), nil
		}
		grid = append(grid, d/t.Dims[i], t.Dims[i])
		to = append(to, y.Strides[i]*t.Dims[i], y.Strides[i])
		from = append(from, 0, t.Strides[i])
	}
	if why := b.put(y.view(0, grid, to), t.view(0, grid, from)); why != "" {
		return why, nil
	}
	b.define(n.Output(0), y)
	return "", nil
}

// pad lowers Pad with a constant value: the value everywhere, and then the elements on it.
func pad(b *builder, n *graph.Node) (string, error) {
	if mode := n.AttrString("mode", "constant"); mode != "constant" {
		return fmt.Sprintf("Pad by %q has no kernel", mode), nil
	}
	t, why := b.get(n.Input(0))
	if t == nil {
		return why, nil
	}
	out := n.Output(0)
	dims, _ := b.dims(out)
	rank := len(t.Dims)
	pads, ok := n.AttrInts("pads")
	if !ok {
		if pads, ok = b.ints(n.Input(1)); !ok {
			return "the widths of Pad depend on data", nil
		}
	}
	var axes []int64
	if n.Input(3) != "" {
		if axes, ok = b.ints(n.Input(3)); !ok {
			return "the axes of Pad depend on data", nil
		}
	} else {
		for i := range rank {
			axes = append(axes, int64(i))
		}
	}
	if len(pads) != 2*len(axes) || len(dims) != rank {
		return fmt.Sprintf("%d widths for %d axes", len(pads), len(axes)), nil
	}
	value, why := b.padding(n)
	if value == nil {
		return why, nil
	}
	// Where widths are negative only a part of the elements stays.
	y := b.new(t.T, dims...)
	inner, to, from := slices.Clone(t.Dims), int64(0), int64(0)
	for i, a := range axes {
		at, ok := axisOf(a, rank)
		if !ok {
			return fmt.Sprintf("axis %d of %v", a, t.Dims), nil
		}
		before, after := pads[i], pads[len(axes)+i]
		to += max(before, 0) * y.Strides[at]
		from += max(-before, 0) * t.Strides[at]
		inner[at] += min(before, 0) + min(after, 0)
		if inner[at] < 0 || t.Dims[at]+before+after != dims[at] {
			return fmt.Sprintf("widths %v around %v", pads, t.Dims), nil
		}
	}
	if why := b.put(y, value.view(0, dims, make([]int64, rank))); why != "" {
		return why, nil
	}
	if count(inner) > 0 {
		if why := b.put(y.view(to, inner, y.Strides), t.view(from, inner, t.Strides)); why != "" {
			return why, nil
		}
	}
	b.define(out, y)
	return "", nil
}

// padding is the value that Pad writes, as a scalar.
func (b *builder) padding(n *graph.Node) (t *Tensor, why string) {
	if name := n.Input(2); name != "" {
		if t, why = b.get(name); t == nil {
			return nil, why
		}
		if t.Elements() != 1 {
			return nil, fmt.Sprintf("Pad with %d values", t.Elements())
		}
		return t.reshape(), ""
	}
	d := b.typeOf(n.Input(0))
	zero, err := tensor.New(d, nil, tensor.Bytes(make([]byte, own(d).Size())))
	if err != nil {
		return nil, err.Error()
	}
	if v := n.AttrFloat("value", 0); v != 0 {
		if b.held(d) != kernels.F32 && b.held(d) != kernels.BF16 {
			return nil, fmt.Sprintf("Pad of %v with %v", d, v)
		}
		zero = tensor.Float32s(nil, v)
	}
	return b.weight(zero, b.held(d)), ""
}

// gather lowers Gather: by a kernel, or as a view where the indices are constant and evenly spaced.
func gather(b *builder, n *graph.Node) (string, error) {
	out := n.Output(0)
	dims, _ := b.dims(out)
	data, ok := b.dims(n.Input(0))
	if !ok {
		return "the shape of what Gather takes from depends on data", nil
	}
	at, ok := axisOf(n.AttrInt("axis", 0), len(data))
	if !ok {
		return fmt.Sprintf("axis %d of %v", n.AttrInt("axis", 0), data), nil
	}
	extent, checked := data[at], false
	if index, ok := b.ints(n.Input(1)); ok {
		index = slices.Clone(index)
		for i, v := range index {
			if v < 0 {
				v += extent
			}
			if v < 0 || v >= extent {
				return fmt.Sprintf("index %d of an extent of %d", index[i], extent), nil
			}
			index[i] = v
		}
		checked = true
		step := int64(1)
		if len(index) > 1 {
			step = index[1] - index[0]
		}
		even := step > 0
		for i := 1; i < len(index); i++ {
			even = even && index[i]-index[i-1] == step
		}
		if even && len(index) > 0 {
			t, why := b.get(n.Input(0))
			if t == nil {
				return why, nil
			}
			// The axis gives way to those of the indices, of which at most one is longer than 1 unless all lie in one row.
			v := t.view(index[0]*t.Strides[at], t.Dims, t.Strides)
			v.Dims[at], v.Strides[at] = int64(len(index)), t.Strides[at]*step
			if s, ok := v.regroup(dims); ok {
				return b.defineView(out, v.view(0, dims, s)), nil
			}
		}
	}
	src, why := b.getDense(n.Input(0))
	if src == nil {
		return why, nil
	}
	index, why := b.getDense(n.Input(1))
	if index == nil {
		return why, nil
	}
	if index.T != kernels.I32 && index.T != kernels.I64 {
		return fmt.Sprintf("indices of %v", index.T), nil
	}
	outer, bytes := count(data[:at]), count(data[at+1:])*src.T.Size()
	items := index.Elements()
	y := b.new(src.T, dims...)
	var failed *Tensor
	if !checked {
		failed = b.fault(fmt.Sprintf("an index of Gather is out of range of an axis of %d", extent))
	}
	b.emit(Step{
		Kernel: "gather", Bytes: float64(outer*items*bytes*2 + items*index.T.Size()),
		Reads: buffers(src, index), Writes: buffers(y, failed),
		Launch: func(l *Launcher) error {
			return l.Kernels.Gather(l.Addr(y), l.Addr(src), l.Addr(index), index.T, outer, extent, items, bytes, l.Addr(failed), l.Stream)
		},
	})
	b.define(out, y)
	return "", nil
}
