package float8

import "math"

const (
	signBit  = 1 << 31
	infBits  = 0x7F800000
	signCode = 0x80
)

// magnitude rounds the float32 magnitude a (bits, below l.first) to the nearest
// code, ties to even. Above the smallest normal the code is the top of the
// float32 bits with another bias, so rounding is an integer addition. Below it
// the codes are equally spaced: adding the power of two whose ulp is that space
// lets the processor's own addition do the only rounding.
func magnitude(a uint32, l *layout) uint8 {
	if a >= l.minNormal {
		a += 1<<(l.shift-1) - 1 + a>>l.shift&1
		return uint8(a>>l.shift - l.rebias)
	}
	return uint8(math.Float32bits(math.Float32frombits(a)+math.Float32frombits(l.magic)) - l.magic)
}

func encode(x float32, l *layout, o Overflow) uint8 {
	b := math.Float32bits(x)
	a := b &^ signBit
	sign := uint8(b >> 24 & signCode)
	var code uint8
	switch {
	case a > infBits:
		code = l.nan
	case a < l.first:
		code = magnitude(a, l)
	case o == Saturate:
		code = l.maxCode
	default:
		code = l.overflow
	}
	if l.fnuz && code&0x7F == 0 { // zero and NaN have no sign
		return code
	}
	return code | sign
}
