package gemm

import (
	"fmt"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Operand is a matrix, or a batch of them, as it lies in memory: element (r, c) of matrix i is element
// Offsets[i] + r·RowStride + c·ColStride of Bytes.
type Operand struct {
	DType     tensor.DType // float32, float16, bfloat16 or a float8 format
	Bytes     []byte
	RowStride int // in elements; zero repeats a row
	ColStride int
	Offsets   []int // of the matrices of a batch, in elements; nil puts all of them at 0

	// Scale multiplies the values of a float8 operand when they are decoded, rounding once: one number for all, or, of a B, one for each
	// column. nil is 1.
	Scale []float32
}

// RowMajor is a dense operand with rows of so many columns.
func RowMajor(d tensor.DType, bytes []byte, cols int) Operand {
	return Operand{DType: d, Bytes: bytes, RowStride: cols, ColStride: 1}
}

// Transposed is o with rows and columns exchanged.
func (o Operand) Transposed() Operand {
	o.RowStride, o.ColStride = o.ColStride, o.RowStride
	return o
}

// offset is where matrix i of the batch begins, in elements.
func (o *Operand) offset(i int) int {
	if o.Offsets == nil {
		return 0
	}
	return o.Offsets[i]
}

// check panics unless every element of a batch of rows × cols lies inside the operand: the kernels do not look again.
func (o *Operand) check(what string, rows, cols, batch int) {
	if sizeOf(o.DType) == 0 {
		panic(fmt.Sprintf("gemm: %s of %s", what, o.DType))
	}
	if rows == 0 || cols == 0 {
		return
	}
	if o.RowStride < 0 || o.ColStride < 0 || o.Offsets != nil && len(o.Offsets) < batch {
		panic(fmt.Sprintf("gemm: %s with strides %d, %d and %d offsets for %d matrices", what, o.RowStride, o.ColStride, len(o.Offsets), batch))
	}
	have := len(o.Bytes) / sizeOf(o.DType)
	last := (rows-1)*o.RowStride + (cols-1)*o.ColStride
	for i := range batch {
		if at := o.offset(i); at < 0 || at+last >= have {
			panic(fmt.Sprintf("gemm: %s [%d,%d] with strides %d, %d at %d reaches beyond %d elements", what, rows, cols, o.RowStride, o.ColStride, at, have))
		}
		if o.Offsets == nil {
			break
		}
	}
	if n := len(o.Scale); n > 1 && n != cols {
		panic(fmt.Sprintf("gemm: %d scales for %d columns of %s", n, cols, what))
	}
}

// sizeOf is the width of an element that can be made float32, 0 for others.
func sizeOf(d tensor.DType) int {
	switch d {
	case tensor.Float32:
		return 4
	case tensor.Float16, tensor.BFloat16:
		return 2
	case tensor.Float8E4M3FN, tensor.Float8E4M3FZ, tensor.Float8E5M2, tensor.Float8E5M2FZ:
		return 1
	}
	return 0
}

// view is bytes as elements. Memory from a file may be unaligned, which the supported processors allow.
func view[T any](b []byte) []T {
	var z T
	n := len(b) / int(unsafe.Sizeof(z))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// widen writes n elements from at, a step apart, to dst as float32. scale multiplies float8 values.
func (o *Operand) widen(dst []float32, at, n, step int, scale float32) {
	if n == 0 {
		return
	}
	dst = dst[:n]
	switch o.DType {
	case tensor.Float32:
		src := view[float32](o.Bytes)[at:]
		if step == 1 {
			copy(dst, src[:n])
			return
		}
		for i := range dst {
			dst[i] = src[i*step]
		}
	case tensor.Float16:
		src := view[uint16](o.Bytes)[at:]
		if step == 1 {
			widenFloat16(dst, src[:n])
			return
		}
		for i := range dst {
			dst[i] = float8.Float16(src[i*step]).Float32()
		}
	case tensor.BFloat16:
		src := view[uint16](o.Bytes)[at:]
		if step == 1 {
			float8.WidenBFloat16(dst, src[:n])
			return
		}
		for i := range dst {
			dst[i] = float8.BFloat16(src[i*step]).Float32()
		}
	default:
		f, _ := kernel.Float8Format(o.DType)
		src := o.Bytes[at:]
		if step == 1 {
			decode(dst, src[:n], f, scale)
			return
		}
		for i := range dst {
			dst[i] = f.Decode(src[i*step]) * scale
		}
	}
}

// columnScale is the multiplier of column c.
func (o *Operand) columnScale(c int) float32 {
	switch len(o.Scale) {
	case 0:
		return 1
	case 1:
		return o.Scale[0]
	}
	return o.Scale[c]
}
