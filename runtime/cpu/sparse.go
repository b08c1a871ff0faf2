package cpu

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// densify is a sparse tensor with its zeros written out: no operator takes another form.
func densify(s *graph.Sparse) (*kernel.Tensor, error) {
	if s == nil || s.Values == nil || s.Indices == nil {
		return nil, fmt.Errorf("a sparse tensor without content")
	}
	if s.Values.DType == tensor.String || s.Values.DType.Bits() < 8 {
		return nil, fmt.Errorf("a sparse tensor of %s", s.Values.DType)
	}
	values, err := kernel.FromTensor(s.Values)
	if err != nil {
		return nil, fmt.Errorf("sparse tensor: values: %w", err)
	}
	indices, err := kernel.FromTensor(s.Indices)
	if err != nil {
		return nil, fmt.Errorf("sparse tensor: indices: %w", err)
	}
	n, rank := values.Len(), len(s.Shape)
	flat := len(indices.Shape) == 1
	if len(values.Shape) != 1 || indices.DType != tensor.Int64 || len(indices.Shape) == 0 || indices.Shape[0] != n ||
		!flat && (len(indices.Shape) != 2 || indices.Shape[1] != rank) {
		return nil, fmt.Errorf("a sparse tensor of shape %s with values %s and indices %s", s.Shape, values, indices)
	}
	shape := make([]int, rank)
	for i, d := range s.Shape {
		shape[i] = int(d)
	}
	out, err := kernel.NewArena(maxFold).New(values.DType, shape)
	if err != nil {
		return nil, fmt.Errorf("sparse tensor: %w", err)
	}
	clear(out.Bytes)
	size := kernel.ElemSize(values.DType)
	strides := kernel.Strides(shape)
	at := kernel.Of[int64](indices)
	for i := range n {
		place := int64(0)
		if flat {
			place = at[i]
		} else {
			for axis, p := range at[i*rank : (i+1)*rank] {
				if p < 0 || p >= s.Shape[axis] {
					return nil, fmt.Errorf("a sparse tensor of shape %s has an element at %v", s.Shape, at[i*rank:(i+1)*rank])
				}
				place += p * int64(strides[axis])
			}
		}
		if place < 0 || place >= int64(out.Len()) {
			return nil, fmt.Errorf("a sparse tensor of shape %s has an element at %d", s.Shape, place)
		}
		copy(out.Bytes[int(place)*size:], values.Bytes[i*size:(i+1)*size])
	}
	return out, nil
}
