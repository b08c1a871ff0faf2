package program

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Home says what a buffer is for, and so how long it lives.
type Home uint8

// The homes of buffers.
const (
	Arena  Home = iota // an activation: from the step that writes it first to the one that reads it last
	Weight             // filled once from the model, shared by the session's programs
	State              // kept between runs: results of Setup, inputs, outputs, variables, statistics
)

// Buffer is memory of the GPU, aligned to 256 bytes.
type Buffer struct {
	Home  Home
	Bytes int64

	Offset int64 // in the arena; set when the program is complete

	// Source and Form tell a weight from others: programs of one session share what is equal in both; one without a Source is shared
	// by none. Fill writes its bytes from offset on; it may be called for pieces in any order.
	Source *tensor.Tensor
	Form   string
	Fill   func(dst []byte, offset int64) error
}

// Tensor is an array on the GPU: a view of a buffer.
type Tensor struct {
	Buffer  *Buffer
	Offset  int64 // bytes
	T       kernels.Type
	Dims    []int64
	Strides []int64 // in elements; 0 repeats
}

// dense is a contiguous array that begins where the buffer does, which becomes large enough.
func dense(buf *Buffer, t kernels.Type, dims []int64) *Tensor {
	a := &Tensor{Buffer: buf, T: t, Dims: slices.Clone(dims), Strides: kernels.Strides(dims)}
	buf.Bytes = max(buf.Bytes, a.Elements()*t.Size())
	return a
}

// view is another array over t's memory: offset in elements from t's first one.
func (t *Tensor) view(offset int64, dims, strides []int64) *Tensor {
	return &Tensor{Buffer: t.Buffer, Offset: t.Offset + offset*t.T.Size(), T: t.T, Dims: slices.Clone(dims), Strides: slices.Clone(strides)}
}

// reshape is a contiguous t with other dims of as many elements.
func (t *Tensor) reshape(dims ...int64) *Tensor { return t.view(0, dims, kernels.Strides(dims)) }

// Elements is the number of elements.
func (t *Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Contiguous says whether the elements lie one after the other in the order of the dimensions.
func (t *Tensor) Contiguous() bool {
	want := int64(1)
	for i := len(t.Dims) - 1; i >= 0; i-- {
		if t.Dims[i] != 1 && t.Strides[i] != want {
			return false
		}
		want *= t.Dims[i]
	}
	return true
}
