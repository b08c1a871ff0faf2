package float8

import "math"

// Float16 is an IEEE 754 binary16 as its bits.
type Float16 uint16

// BFloat16 is the upper half of a float32 as its bits.
type BFloat16 uint16

// Float32 returns the value, exactly; a NaN keeps its sign and payload and
// becomes quiet.
func (h Float16) Float32() float32 {
	sign := uint32(h&0x8000) << 16
	a := uint32(h & 0x7FFF)
	if a >= 0x7C00 {
		if a > 0x7C00 {
			a |= 0x0200
		}
		return math.Float32frombits(sign | infBits | a&0x3FF<<13)
	}
	// The same fields under float32's bias denote the value times 2^-112,
	// subnormals included.
	v := math.Float32frombits(a<<13) * 0x1p112
	return math.Float32frombits(math.Float32bits(v) | sign)
}

// Float16FromFloat32 rounds x to nearest, ties to even. Beyond 65504 and a half
// ulp it gives an infinity; a NaN keeps its sign and becomes quiet.
func Float16FromFloat32(x float32) Float16 {
	b := math.Float32bits(x)
	a := b &^ signBit
	sign := Float16(b >> 16 & 0x8000)
	switch {
	case a > infBits:
		return sign | 0x7E00 | Float16(a>>13&0x1FF)
	case a >= 0x477FF000: // 65520, halfway to what would be 65536
		return sign | 0x7C00
	case a >= 0x38800000: // 2^-14, the smallest normal
		a += 0xFFF + a>>13&1
		return sign | Float16(a>>13-112<<10)
	}
	const magic = 0x3F000000 // 0.5, whose ulp is 2^-24, the smallest subnormal
	return sign | Float16(math.Float32bits(math.Float32frombits(a)+math.Float32frombits(magic))-magic)
}

// Float32 returns the value, exactly.
func (h BFloat16) Float32() float32 { return math.Float32frombits(uint32(h) << 16) }

// BFloat16FromFloat32 rounds x to nearest, ties to even. Beyond the largest
// finite value and a half ulp it gives an infinity; a NaN keeps its sign and
// becomes quiet.
func BFloat16FromFloat32(x float32) BFloat16 {
	b := math.Float32bits(x)
	if b&^signBit > infBits {
		return BFloat16(b>>16 | 0x40)
	}
	return BFloat16((b + 0x7FFF + b>>16&1) >> 16)
}

// WidenFloat16 writes the values of src to dst, which must be at least as long.
func WidenFloat16(dst []float32, src []uint16) {
	dst = dst[:len(src)]
	for i, h := range src {
		dst[i] = Float16(h).Float32()
	}
}

// WidenBFloat16 writes the values of src to dst, which must be at least as long.
func WidenBFloat16(dst []float32, src []uint16) {
	dst = dst[:len(src)]
	for i, h := range src {
		dst[i] = math.Float32frombits(uint32(h) << 16)
	}
}

// NarrowFloat16 rounds src to float16 in dst, which must be at least as long.
func NarrowFloat16(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = uint16(Float16FromFloat32(v))
	}
}

// NarrowBFloat16 rounds src to bfloat16 in dst, which must be at least as long.
func NarrowBFloat16(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = uint16(BFloat16FromFloat32(v))
	}
}
