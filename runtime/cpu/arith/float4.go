package arith

import "math"

// float4Values are the values of float4e2m1's codes: a sign, two exponent bits with bias 1, one mantissa bit; no infinities, no NaN.
var float4Values = [16]float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -0.5, -1, -1.5, -2, -3, -4, -6}

// float4 casts to float4e2m1, rounding to nearest, ties to the even code, and saturating at 6. A NaN becomes a zero, since the format
// has nothing nearer.
func float4(x float32) uint8 {
	b := math.Float32bits(x)
	code := uint8(b >> 28 & 8)
	switch a := math.Float32frombits(b &^ (1 << 31)); {
	case !(a > 0.25):
	case a < 0.75:
		code |= 1
	case a <= 1.25:
		code |= 2
	case a < 1.75:
		code |= 3
	case a <= 2.5:
		code |= 4
	case a < 3.5:
		code |= 5
	case a <= 5:
		code |= 6
	default:
		code |= 7
	}
	return code
}
