package runtimetest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// fromNumbers makes a tensor of dtype from numbers, which it rounds.
func fromNumbers(dtype tensor.DType, shape tensor.Shape, v []float64) *tensor.Tensor {
	var b []byte
	for _, x := range v {
		switch dtype {
		case tensor.Float32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
		case tensor.Float64:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		case tensor.Float16:
			b = binary.LittleEndian.AppendUint16(b, uint16(float8.Float16FromFloat32(float32(x))))
		case tensor.BFloat16:
			b = binary.LittleEndian.AppendUint16(b, uint16(float8.BFloat16FromFloat32(float32(x))))
		case tensor.Float8E4M3FN:
			b = append(b, byte(float8.E4M3FNFromFloat32(float32(x), float8.Saturate)))
		case tensor.Int64, tensor.Uint64:
			b = binary.LittleEndian.AppendUint64(b, uint64(int64(x)))
		case tensor.Int32, tensor.Uint32:
			b = binary.LittleEndian.AppendUint32(b, uint32(int32(x)))
		case tensor.Int16, tensor.Uint16:
			b = binary.LittleEndian.AppendUint16(b, uint16(int16(x)))
		case tensor.Int8, tensor.Uint8, tensor.Bool, tensor.Float8E5M2, tensor.Float8E4M3FZ, tensor.Float8E5M2FZ:
			b = append(b, byte(int8(x)))
		default:
			panic("runtimetest: no numbers of " + dtype.String())
		}
	}
	t, err := tensor.New(dtype, shape, tensor.Bytes(b))
	if err != nil {
		panic(err)
	}
	return t
}

// numbers are the elements of a tensor, exactly.
func numbers(t *testing.T, v *tensor.Tensor) []float64 {
	t.Helper()
	b, err := v.Bytes()
	if err != nil {
		t.Error(err)
		return nil
	}
	size := v.DType.Bits() / 8
	var out []float64
	for ; len(b) >= size && size > 0; b = b[size:] {
		var x float64
		switch v.DType {
		case tensor.Float32:
			x = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		case tensor.Float64:
			x = math.Float64frombits(binary.LittleEndian.Uint64(b))
		case tensor.Float16:
			x = float64(float8.Float16(binary.LittleEndian.Uint16(b)).Float32())
		case tensor.BFloat16:
			x = float64(float8.BFloat16(binary.LittleEndian.Uint16(b)).Float32())
		case tensor.Float8E4M3FN:
			x = float64(float8.E4M3FN(b[0]).Float32())
		case tensor.Int64:
			x = float64(int64(binary.LittleEndian.Uint64(b)))
		case tensor.Int32:
			x = float64(int32(binary.LittleEndian.Uint32(b)))
		case tensor.Bool, tensor.Uint8:
			x = float64(b[0])
		default:
			t.Errorf("no numbers of %s", v.DType)
			return nil
		}
		out = append(out, x)
	}
	return out
}

// random makes n numbers of the usual size of activations, a few of them much larger, rounded to dtype. The same seed gives the
// same numbers.
func random(seed uint64, dtype tensor.DType, n int) []float64 {
	r := rand.New(rand.NewPCG(seed, 2026))
	out := make([]float64, n)
	for i := range out {
		out[i] = r.NormFloat64()
		if r.IntN(50) == 0 {
			out[i] *= 10
		}
		out[i] = round(dtype, out[i])
	}
	return out
}

func elements(shape tensor.Shape) int {
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	return n
}
