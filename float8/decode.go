package float8

import "math"

// decode returns the exact value of a code. The code's exponent and mantissa,
// moved to where float32 keeps its own, denote the value divided by a power of
// two, subnormals included, so one exact product finishes the job.
func decode(code uint8, l *layout) float32 {
	mag := uint32(code & 0x7F)
	sign := uint32(code&signCode) << 24
	switch {
	case l.fnuz && code == signCode:
		return math.Float32frombits(0x7FC00000)
	case mag > uint32(l.maxCode):
		if l.overflow != l.nan && mag == uint32(l.overflow) {
			return math.Float32frombits(sign | infBits)
		}
		return math.Float32frombits(sign | 0x7FC00000)
	}
	unbias := math.Float32frombits((127 + l.rebias>>l.man) << 23)
	v := math.Float32frombits(mag<<l.shift) * unbias
	return math.Float32frombits(math.Float32bits(v) | sign)
}

// decodeTable fills t with the value of every code times dequantScale.
func decodeTable(t *[256]float32, l *layout, dequantScale float32) {
	for c := range t {
		t[c] = decode(uint8(c), l) * dequantScale
	}
}
