package kernel

import (
	"fmt"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Value is what flows between operators: a *Tensor, a *Sequence or an *Optional. nil stands for an input or output that is left out.
type Value interface{ value() }

// Tensor is a dense array in memory, row-major. Nobody writes to a tensor after the operator that made it has returned.
//
// Elements narrower than a byte (int4, uint4, float4e2m1, int2, uint2) take a byte each: an integer as int8 or uint8, a float as its code.
// A bool is a byte that is 0 or 1. The session packs and unpacks at its border.
type Tensor struct {
	DType   tensor.DType
	Shape   []int
	Bytes   []byte   // len = Len()·ElemSize(DType); empty for strings
	Strings []string // of a string tensor

	buf *buffer // where Bytes lie, nil for memory that is not the arena's
}

// Sequence is an ordered list of values of one type. It is never changed: operators make a new one.
type Sequence struct {
	Items []Value
	DType tensor.DType // of the elements, for an empty sequence
}

// Optional holds a value or nothing.
type Optional struct{ Item Value }

func (*Tensor) value()   {}
func (*Sequence) value() {}
func (*Optional) value() {}

// Elem are Go's types for the elements of a tensor. float8.Float16 and float8.BFloat16 are those formats' bits; uint8 also serves the float8
// formats and everything held in a byte.
type Elem interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool |
		complex64 | complex128 | float8.Float16 | float8.BFloat16
}

// Of is the tensor's elements as Go values, sharing its memory. T must have the width of the element type; anything else is a bug of
// the caller and panics. Memory that came from a file may be unaligned, which the supported processors allow.
func Of[T Elem](t *Tensor) []T {
	var z T
	if size := int(unsafe.Sizeof(z)); size != ElemSize(t.DType) {
		panic(fmt.Sprintf("kernel: %s read as elements of %d bytes", t.DType, size))
	}
	if len(t.Bytes) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(t.Bytes))), len(t.Bytes)/int(unsafe.Sizeof(z)))
}

// ElemSize is the number of bytes an element takes in memory: at least one; 0 for strings and unknown types.
func ElemSize(d tensor.DType) int { return (d.Bits() + 7) / 8 }

// Len is the number of elements.
func (t *Tensor) Len() int { return Count(t.Shape) }

// String is the type and shape, for errors.
func (t *Tensor) String() string { return fmt.Sprintf("%s%s", t.DType, ShapeString(t.Shape)) }

// FromSlice makes a tensor outside every arena; it shares v. Meant for constants and tests.
func FromSlice[T Elem](d tensor.DType, shape []int, v []T) *Tensor {
	var z T
	t := &Tensor{DType: d, Shape: shape}
	if len(v) > 0 {
		t.Bytes = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(z)))
	}
	if len(v) != t.Len() || int(unsafe.Sizeof(z)) != ElemSize(d) {
		panic(fmt.Sprintf("kernel: %d elements of %d bytes for %s", len(v), unsafe.Sizeof(z), t))
	}
	return t
}
