package layout

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// indices are an index tensor's elements, counted from the front of an axis of this extent, each checked.
func indices(c *kernel.Call, i, extent, axis int) ([]int, *kernel.Tensor, error) {
	t, err := c.Tensor(i)
	if err != nil {
		return nil, nil, err
	}
	out := make([]int, t.Len())
	switch t.DType {
	case tensor.Int64:
		err = checked(out, kernel.Of[int64](t), extent, axis)
	case tensor.Int32:
		err = checked(out, kernel.Of[int32](t), extent, axis)
	default:
		err = fmt.Errorf("input %d is %s, want int64 or int32", i, t.DType)
	}
	return out, t, err
}

func checked[T int32 | int64](dst []int, src []T, extent, axis int) error {
	for j, v := range src {
		k := int64(v)
		if k < 0 {
			k += int64(extent)
		}
		if k < 0 || k >= int64(extent) {
			return fmt.Errorf("index %d is out of range for axis %d of extent %d", v, axis, extent)
		}
		dst[j] = int(k)
	}
	return nil
}

// makeGather replaces an axis of data by the axes of indices.
func makeGather(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", 0)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		a, err := kernel.Axis(axis, len(t.Shape))
		if err != nil {
			return err
		}
		idx, it, err := indices(c, 1, t.Shape[a], a)
		if err != nil {
			return err
		}
		shape := make([]int, 0, len(t.Shape)+len(it.Shape)-1)
		shape = append(append(append(shape, t.Shape[:a]...), it.Shape...), t.Shape[a+1:]...)
		out, err := c.New(0, t.DType, shape)
		if err != nil {
			return err
		}
		gather(c.Pool, out, t, a, idx)
		return nil
	}, nil
}

// gather takes these indices of an axis.
func gather(p *kernel.Pool, dst, src *kernel.Tensor, axis int, idx []int) {
	outer, extent, inner := split3(src.Shape, axis)
	if outer == 0 || inner == 0 || len(idx) == 0 {
		return
	}
	at := make([]int, outer*len(idx))
	for o := range outer {
		base := o * extent
		for j, k := range idx {
			at[o*len(idx)+j] = (base + k) * inner
		}
	}
	pickRuns(p, dst, src, at, inner)
}

// elementOffsets says for every element of an index tensor where along axis of an array of this shape it points to; along the other axes
// an element stays at its own place.
func elementOffsets(c *kernel.Call, i int, shape []int, axis int) ([]int, *kernel.Tensor, error) {
	idx, it, err := indices(c, i, shape[axis], axis)
	if err != nil {
		return nil, nil, err
	}
	if len(it.Shape) != len(shape) {
		return nil, nil, fmt.Errorf("indices are %s, data has shape %s: want as many axes", it, kernel.ShapeString(shape))
	}
	for a, d := range it.Shape {
		if a != axis && d > shape[a] {
			return nil, nil, fmt.Errorf("indices are %s, which does not fit into %s along axis %d", it, kernel.ShapeString(shape), a)
		}
	}
	if len(idx) == 0 {
		return idx, it, nil
	}
	stride := kernel.Strides(shape)
	rank := len(shape)
	row := it.Shape[rank-1]
	at := make([]int, rank) // the position, but for the last axis
	for lo := 0; lo < len(idx); lo += row {
		base := 0
		for a, k := range at[:rank-1] {
			if a != axis {
				base += k * stride[a]
			}
		}
		line := idx[lo : lo+row]
		if axis == rank-1 {
			for j := range line {
				line[j] += base
			}
		} else {
			for j := range line {
				line[j] = base + line[j]*stride[axis] + j
			}
		}
		for a := rank - 2; a >= 0; a-- {
			at[a]++
			if at[a] < it.Shape[a] {
				break
			}
			at[a] = 0
		}
	}
	return idx, it, nil
}

// ranked refuses a scalar, which has no axis.
func ranked(t *kernel.Tensor, axis int64) (int, error) { return kernel.Axis(axis, len(t.Shape)) }

func makeGatherElements(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", 0)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		a, err := ranked(t, axis)
		if err != nil {
			return err
		}
		at, it, err := elementOffsets(c, 1, t.Shape, a)
		if err != nil {
			return err
		}
		out, err := c.New(0, t.DType, it.Shape)
		if err != nil {
			return err
		}
		pickRuns(c.Pool, out, t, at, 1)
		return nil
	}, nil
}

// tupleOffsets reads the last axis of the index tensor as indices into shape from axis batch on: where each tuple points to, and the
// number of elements that lie there side by side. The first batch axes of both go together.
func tupleOffsets(c *kernel.Call, i int, shape []int, batch int) (at []int, run int, it *kernel.Tensor, err error) {
	if it, err = c.Tensor(i); err != nil {
		return nil, 0, nil, err
	}
	if len(it.Shape) < 1 {
		return nil, 0, nil, fmt.Errorf("indices are %s, want at least one axis", it)
	}
	if batch < 0 || batch >= len(it.Shape) || batch > len(shape) {
		return nil, 0, nil, fmt.Errorf("batch_dims is %d, indices are %s and data has %d axes", batch, it, len(shape))
	}
	for a := range batch {
		if it.Shape[a] != shape[a] {
			return nil, 0, nil, fmt.Errorf("batch axis %d of indices %s has extent %d, want %d", a, it, it.Shape[a], shape[a])
		}
	}
	k := it.Shape[len(it.Shape)-1]
	if k < 1 || k > len(shape)-batch {
		return nil, 0, nil, fmt.Errorf("indices are %s: tuples of %d for %d axes", it, k, len(shape)-batch)
	}
	v, err := c.Ints(i)
	if err != nil {
		return nil, 0, nil, err
	}
	stride := kernel.Strides(shape)
	count := kernel.Count(it.Shape[:len(it.Shape)-1])
	per := kernel.Count(it.Shape[batch : len(it.Shape)-1]) // tuples in a batch
	size := kernel.Count(shape[batch:])
	run = kernel.Count(shape[batch+k:])
	at = make([]int, count)
	for j := range at {
		at[j] = j / per * size
		for a := range k {
			n, err := index(v[j*k+a], shape[batch+a], batch+a)
			if err != nil {
				return nil, 0, nil, err
			}
			at[j] += n * stride[batch+a]
		}
	}
	return at, run, it, nil
}

func makeGatherND(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	batch := int(min(max(r.Int("batch_dims", 0), -1), 1<<20))
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		at, run, it, err := tupleOffsets(c, 1, t.Shape, batch)
		if err != nil {
			return err
		}
		last := len(it.Shape) - 1
		shape := append(append([]int(nil), it.Shape[:last]...), t.Shape[batch+it.Shape[last]:]...)
		out, err := c.New(0, t.DType, shape)
		if err != nil {
			return err
		}
		pickRuns(c.Pool, out, t, at, run)
		return nil
	}, nil
}

// makeCompress keeps where the condition is true; the axis, or the flattened input without one, may be longer than the condition.
func makeCompress(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	flat := !r.Has("axis")
	axis := r.Int("axis", 0)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		cond, err := c.Tensor(1)
		if err != nil {
			return err
		}
		if cond.DType != tensor.Bool || len(cond.Shape) != 1 {
			return fmt.Errorf("condition is %s, want bool with one axis", cond)
		}
		src := t
		a := 0
		if flat {
			view := *t
			view.Shape = []int{t.Len()}
			src = &view
		} else if a, err = ranked(t, axis); err != nil {
			return err
		}
		if cond.Len() > src.Shape[a] {
			return fmt.Errorf("condition has %d elements, axis %d has extent %d", cond.Len(), a, src.Shape[a])
		}
		var keep []int
		for i, b := range kernel.Of[uint8](cond) {
			if b != 0 {
				keep = append(keep, i)
			}
		}
		shape := append([]int(nil), src.Shape...)
		shape[a] = len(keep)
		out, err := c.New(0, t.DType, shape)
		if err != nil {
			return err
		}
		gather(c.Pool, out, src, a, keep)
		return nil
	}, nil
}

// makeArrayFeatureExtractor (ai.onnx.ml) takes these indices of the last axis.
func makeArrayFeatureExtractor(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if len(t.Shape) == 0 {
			return fmt.Errorf("input is a scalar, want at least one axis")
		}
		last := len(t.Shape) - 1
		idx, _, err := indices(c, 1, t.Shape[last], last)
		if err != nil {
			return err
		}
		shape := append(append([]int(nil), t.Shape[:last]...), len(idx))
		if last == 0 {
			shape = []int{1, len(idx)}
		}
		out, err := c.New(0, t.DType, shape)
		if err != nil {
			return err
		}
		gather(c.Pool, out, t, last, idx)
		return nil
	}, nil
}
