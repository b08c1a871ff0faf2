package specialize

import (
	"bytes"
	"math"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// fromFloat16 is a float16 as a number: sign, five bits of exponent with a bias of 15, ten of mantissa.
func fromFloat16(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exponent, mantissa := int(h>>10&31), float64(h&1023)
	switch {
	case exponent == 31 && mantissa != 0:
		return math.NaN()
	case exponent == 31:
		return sign * math.Inf(1)
	case exponent == 0:
		return sign * math.Ldexp(mantissa, -24)
	}
	return sign * math.Ldexp(1024+mantissa, exponent-25)
}

// fromBFloat16 is a bfloat16, the upper half of a float32, as a number.
func fromBFloat16(h uint16) float64 { return float64(math.Float32frombits(uint32(h) << 16)) }

// filled is a tensor of float32, float16 or bfloat16 that holds nothing but x, which is 0 or 1.
func filled(d tensor.DType, x float32, shape ...int64) *tensor.Tensor {
	element := map[tensor.DType][]byte{tensor.Float32: {0, 0, 0x80, 0x3f}, tensor.Float16: {0, 0x3c}, tensor.BFloat16: {0x80, 0x3f}}[d]
	if x == 0 {
		element = make([]byte, len(element))
	}
	n, _ := tensor.Shape(shape).Elements()
	return &tensor.Tensor{DType: d, Shape: shape, Data: tensor.Bytes(bytes.Repeat(element, int(n)))}
}
