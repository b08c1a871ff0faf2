package tensor

import "fmt"

// DType is an element type. The numbers are those of ONNX's TensorProto.DataType, the widest closed list among the formats read
// here, so that a number nobody knows yet survives a round trip.
type DType int32

// The element types, in ONNX's numbering (IR version 13).
const (
	Undefined    DType = 0
	Float32      DType = 1
	Uint8        DType = 2
	Int8         DType = 3
	Uint16       DType = 4
	Int16        DType = 5
	Int32        DType = 6
	Int64        DType = 7
	String       DType = 8
	Bool         DType = 9
	Float16      DType = 10
	Float64      DType = 11
	Uint32       DType = 12
	Uint64       DType = 13
	Complex64    DType = 14
	Complex128   DType = 15
	BFloat16     DType = 16
	Float8E4M3FN DType = 17
	Float8E4M3FZ DType = 18 // float8e4m3fnuz
	Float8E5M2   DType = 19
	Float8E5M2FZ DType = 20 // float8e5m2fnuz
	Uint4        DType = 21
	Int4         DType = 22
	Float4E2M1   DType = 23
	Float8E8M0   DType = 24
	Uint2        DType = 25
	Int2         DType = 26
)

var dtypes = map[DType]struct {
	name string
	bits int
}{
	Float32: {"float32", 32}, Uint8: {"uint8", 8}, Int8: {"int8", 8}, Uint16: {"uint16", 16}, Int16: {"int16", 16},
	Int32: {"int32", 32}, Int64: {"int64", 64}, String: {"string", 0}, Bool: {"bool", 8}, Float16: {"float16", 16},
	Float64: {"float64", 64}, Uint32: {"uint32", 32}, Uint64: {"uint64", 64}, Complex64: {"complex64", 64},
	Complex128: {"complex128", 128}, BFloat16: {"bfloat16", 16}, Float8E4M3FN: {"float8e4m3fn", 8},
	Float8E4M3FZ: {"float8e4m3fnuz", 8}, Float8E5M2: {"float8e5m2", 8}, Float8E5M2FZ: {"float8e5m2fnuz", 8},
	Uint4: {"uint4", 4}, Int4: {"int4", 4}, Float4E2M1: {"float4e2m1", 4}, Float8E8M0: {"float8e8m0", 8},
	Uint2: {"uint2", 2}, Int2: {"int2", 2},
}

// String is the type's ONNX spelling in lower case, or "dtype(N)" for a number outside the list.
func (d DType) String() string {
	if t, ok := dtypes[d]; ok {
		return t.name
	}
	return fmt.Sprintf("dtype(%d)", int32(d))
}

// Bits is the width of one element; 0 for strings and for types outside the list.
func (d DType) Bits() int { return dtypes[d].bits }

// Known reports whether d is in the list.
func (d DType) Known() bool { _, ok := dtypes[d]; return ok }

// IsFloat8 reports whether d is one of the 8-bit floating-point types that hold values (E8M0 holds scales and is not one).
func (d DType) IsFloat8() bool { return d >= Float8E4M3FN && d <= Float8E5M2FZ }

// ByteSize is the number of bytes of n densely packed elements; sub-byte types round up to a whole byte. It fails where the type
// has no fixed width or the product overflows.
func (d DType) ByteSize(n int64) (int64, error) {
	bits := int64(d.Bits())
	if bits == 0 {
		return 0, fmt.Errorf("element type %s has no fixed width", d)
	}
	if n < 0 || n > (1<<62)/bits {
		return 0, fmt.Errorf("%d elements of %s: size overflows", n, d)
	}
	return (n*bits + 7) / 8, nil
}
