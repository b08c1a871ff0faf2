package program

import "github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"

// marks are the small results of a run that are set to zero before it: amaxes, counts, faults. They share one buffer, so that one launch
// clears them and one copy reads them.
type marks struct{ buffer *Buffer }

func newMarks() marks { return marks{&Buffer{Home: State}} }

// slot is an array of n elements of type t.
func (m *marks) slot(t kernels.Type, dims ...int64) *Tensor {
	const align = 8
	at := (m.buffer.Bytes + align - 1) / align * align
	a := &Tensor{Buffer: m.buffer, Offset: at, T: t, Dims: dims, Strides: kernels.Strides(dims)}
	m.buffer.Bytes = at + a.Elements()*t.Size()
	return a
}
