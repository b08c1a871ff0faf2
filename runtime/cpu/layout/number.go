package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// number is a Go type that converts to and from float64.
type number interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// float4 are the values of float4e2m1 by code.
var float4 = [16]float64{0, 0.5, 1, 1.5, 2, 3, 4, 6, math.Copysign(0, -1), -0.5, -1, -1.5, -2, -3, -4, -6}

// numbers are the elements as float64, which holds every real type but the largest 64-bit integers exactly.
func numbers(t *kernel.Tensor) ([]float64, error) {
	out := make([]float64, t.Len())
	if err := load(out, t); err != nil {
		return nil, err
	}
	return out, nil
}

// load writes the elements of t to dst, which has as many.
func load(dst []float64, t *kernel.Tensor) error {
	switch t.DType {
	case tensor.Float32:
		widen(dst, kernel.Of[float32](t))
	case tensor.Float64:
		copy(dst, kernel.Of[float64](t))
	case tensor.Int8, tensor.Int4, tensor.Int2:
		widen(dst, kernel.Of[int8](t))
	case tensor.Int16:
		widen(dst, kernel.Of[int16](t))
	case tensor.Int32:
		widen(dst, kernel.Of[int32](t))
	case tensor.Int64:
		widen(dst, kernel.Of[int64](t))
	case tensor.Uint8, tensor.Bool, tensor.Uint4, tensor.Uint2:
		widen(dst, kernel.Of[uint8](t))
	case tensor.Uint16:
		widen(dst, kernel.Of[uint16](t))
	case tensor.Uint32:
		widen(dst, kernel.Of[uint32](t))
	case tensor.Uint64:
		widen(dst, kernel.Of[uint64](t))
	case tensor.Float16:
		for i, v := range kernel.Of[float8.Float16](t) {
			dst[i] = float64(v.Float32())
		}
	case tensor.BFloat16:
		for i, v := range kernel.Of[float8.BFloat16](t) {
			dst[i] = float64(v.Float32())
		}
	case tensor.Float8E4M3FN, tensor.Float8E4M3FZ, tensor.Float8E5M2, tensor.Float8E5M2FZ:
		f, _ := kernel.Float8Format(t.DType)
		for i, v := range kernel.Of[uint8](t) {
			dst[i] = float64(f.Decode(v))
		}
	case tensor.Float8E8M0:
		for i, v := range kernel.Of[uint8](t) {
			dst[i] = float64(float8.E8M0(v).Float32())
		}
	case tensor.Float4E2M1:
		for i, v := range kernel.Of[uint8](t) {
			dst[i] = float4[v&15]
		}
	default:
		return fmt.Errorf("%s holds no real numbers", t.DType)
	}
	return nil
}

func widen[T number](dst []float64, src []T) {
	for i, v := range src {
		dst[i] = float64(v)
	}
}

// toInteger says how a real number becomes an integer: math.Trunc or math.RoundToEven. store clamps what is beyond the type's range.
type toInteger func(float64) float64

// store writes src to dst, which has as many elements: floats rounded to nearest even, integers by whole, float8 saturating.
func store(dst *kernel.Tensor, src []float64, whole toInteger) error {
	switch dst.DType {
	case tensor.Float32:
		for i, d := 0, kernel.Of[float32](dst); i < len(d); i++ {
			d[i] = float32(src[i])
		}
	case tensor.Float64:
		copy(kernel.Of[float64](dst), src)
	case tensor.Int8:
		narrow(kernel.Of[int8](dst), src, whole, math.MinInt8, math.MaxInt8)
	case tensor.Int4:
		narrow(kernel.Of[int8](dst), src, whole, -8, 7)
	case tensor.Int2:
		narrow(kernel.Of[int8](dst), src, whole, -2, 1)
	case tensor.Int16:
		narrow(kernel.Of[int16](dst), src, whole, math.MinInt16, math.MaxInt16)
	case tensor.Int32:
		narrow(kernel.Of[int32](dst), src, whole, math.MinInt32, math.MaxInt32)
	case tensor.Int64:
		narrow(kernel.Of[int64](dst), src, whole, math.MinInt64, math.MaxInt64)
	case tensor.Uint8:
		narrow(kernel.Of[uint8](dst), src, whole, 0, math.MaxUint8)
	case tensor.Uint4:
		narrow(kernel.Of[uint8](dst), src, whole, 0, 15)
	case tensor.Uint2:
		narrow(kernel.Of[uint8](dst), src, whole, 0, 3)
	case tensor.Uint16:
		narrow(kernel.Of[uint16](dst), src, whole, 0, math.MaxUint16)
	case tensor.Uint32:
		narrow(kernel.Of[uint32](dst), src, whole, 0, math.MaxUint32)
	case tensor.Uint64:
		narrow(kernel.Of[uint64](dst), src, whole, 0, math.MaxUint64)
	case tensor.Bool:
		for i, d := 0, kernel.Of[bool](dst); i < len(d); i++ {
			d[i] = src[i] != 0
		}
	case tensor.Float16:
		for i, d := 0, kernel.Of[float8.Float16](dst); i < len(d); i++ {
			d[i] = float8.Float16FromFloat32(float32(src[i]))
		}
	case tensor.BFloat16:
		for i, d := 0, kernel.Of[float8.BFloat16](dst); i < len(d); i++ {
			d[i] = float8.BFloat16FromFloat32(float32(src[i]))
		}
	case tensor.Float8E4M3FN, tensor.Float8E4M3FZ, tensor.Float8E5M2, tensor.Float8E5M2FZ:
		f, _ := kernel.Float8Format(dst.DType)
		for i, d := 0, kernel.Of[uint8](dst); i < len(d); i++ {
			d[i] = f.Encode(float32(src[i]), float8.Saturate)
		}
	case tensor.Float4E2M1:
		for i, d := 0, kernel.Of[uint8](dst); i < len(d); i++ {
			d[i] = nearestFloat4(src[i])
		}
	default:
		return fmt.Errorf("%s cannot be computed", dst.DType)
	}
	return nil
}

func narrow[T number](dst []T, src []float64, whole toInteger, lo, hi float64) {
	for i := range dst {
		switch v := whole(src[i]); {
		case math.IsNaN(v):
			dst[i] = 0
		case v <= lo:
			dst[i] = T(lo)
		case v >= hi:
			// float64(MaxInt64) lies one above the type's range, so that T(hi) would be undefined.
			dst[i] = largest[T]()
			if float64(largest[T]()) > hi {
				dst[i] = T(hi)
			}
		default:
			dst[i] = T(v)
		}
	}
}

// largest is the largest value of an integer type.
func largest[T number]() T {
	var z T
	switch p := any(&z).(type) {
	case *int8:
		*p = math.MaxInt8
	case *int16:
		*p = math.MaxInt16
	case *int32:
		*p = math.MaxInt32
	case *int64:
		*p = math.MaxInt64
	case *uint8:
		*p = math.MaxUint8
	case *uint16:
		*p = math.MaxUint16
	case *uint32:
		*p = math.MaxUint32
	case *uint64:
		*p = math.MaxUint64
	}
	return z
}

// nearestFloat4 is the code of the value next to x, of two the one with an even code; float4e2m1 has no NaN and saturates.
func nearestFloat4(x float64) uint8 {
	sign := uint8(0)
	if math.Signbit(x) {
		sign = 8
	}
	a := math.Abs(x)
	best := uint8(0)
	for code := uint8(1); code < 8; code++ {
		d, old := math.Abs(float4[code]-a), math.Abs(float4[best]-a)
		if d < old || (d == old && code%2 == 0) {
			best = code
		}
	}
	if math.IsInf(x, 0) {
		best = 7
	}
	return sign | best
}
