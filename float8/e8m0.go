package float8

import "math"

// E8M0 is a power of two from 2^-127 (code 0) to 2^127 (code 254), the scale of
// the OCP microscaling formats. It has no sign, no zero and no infinity; code
// 255 is its NaN.
type E8M0 uint8

const (
	e8m0Min = 0x00
	e8m0Max = 0xFE
	e8m0NaN = 0xFF

	minE8M0Bits = 0x00400000 // 2^-127, a float32 subnormal
	maxE8M0Bits = 0x7F000000 // 2^127
)

// Rounding is the way a cast to E8M0 goes from a value between two powers of two.
type Rounding uint8

const (
	// RoundUp goes to the larger power of two. It is ONNX's default and what
	// CUDA does.
	RoundUp Rounding = iota
	// RoundDown goes to the smaller power of two.
	RoundDown
	// RoundNearest goes to the nearer power of two, and up from halfway.
	RoundNearest
)

// String returns ONNX's name: "up", "down" or "nearest".
func (r Rounding) String() string {
	switch r {
	case RoundUp:
		return "up"
	case RoundDown:
		return "down"
	}
	return "nearest"
}

// E8M0FromFloat32 casts x as ONNX's Cast-24 does. A value below 2^-127, zero
// included, saturates to 2^-127 and a value above 2^127, infinity included, to
// 2^127; under NoSaturate both are NaN. As in the specification's table the
// range is compared with x itself, not with the rounded value. What that table
// leaves unspecified is settled so: -0 is 0, any other negative value is NaN.
// (The Python function that comes with ONNX works on the exponent field alone,
// so it doubles subnormal powers of two and never gives NaN for small values.)
func E8M0FromFloat32(x float32, r Rounding, o Overflow) E8M0 {
	b := math.Float32bits(x)
	switch {
	case b == signBit:
		b = 0
	case b > infBits: // NaN, or negative
		return e8m0NaN
	}
	if b < minE8M0Bits || b > maxE8M0Bits {
		switch {
		case o == NoSaturate:
			return e8m0NaN
		case b < minE8M0Bits:
			return e8m0Min
		}
		return e8m0Max
	}
	e, fraction, half := b>>23, b&0x7FFFFF, uint32(0x400000)
	if e == 0 { // 2^-127 <= x < 2^-126: the leading one is in the fraction
		fraction, half = b&0x3FFFFF, 0x200000
	}
	if r == RoundUp && fraction != 0 || r == RoundNearest && fraction >= half {
		e++
	}
	return E8M0(e)
}

// E8M0FromFloat16 casts h; see [E8M0FromFloat32].
func E8M0FromFloat16(h Float16, r Rounding, o Overflow) E8M0 {
	return E8M0FromFloat32(h.Float32(), r, o)
}

// E8M0FromBFloat16 casts h; see [E8M0FromFloat32].
func E8M0FromBFloat16(h BFloat16, r Rounding, o Overflow) E8M0 {
	return E8M0FromFloat32(h.Float32(), r, o)
}

// Float32 returns the value, exactly.
func (c E8M0) Float32() float32 {
	switch c {
	case e8m0Min:
		return 0x1p-127
	case e8m0NaN:
		return math.Float32frombits(0x7FC00000)
	}
	return math.Float32frombits(uint32(c) << 23)
}

// Float16 returns the value rounded to nearest, ties to even: infinity above
// 2^15, zero at 2^-25 and below.
func (c E8M0) Float16() Float16 { return Float16FromFloat32(c.Float32()) }

// BFloat16 returns the value, exactly.
func (c E8M0) BFloat16() BFloat16 { return BFloat16FromFloat32(c.Float32()) }

// IsNaN reports whether c is 0xFF.
func (c E8M0) IsNaN() bool { return c == e8m0NaN }
