package float8

// E4M3FN is a float8 with four exponent bits (bias 7), three mantissa bits, no
// infinities and one NaN per sign: 254 finite codes up to ±448. The F is for
// finite, the N for the NaN that takes the all-ones code.
type E4M3FN uint8

// E4M3FNFromFloat32 casts x, rounding to nearest, ties to even.
func E4M3FNFromFloat32(x float32, o Overflow) E4M3FN {
	return E4M3FN(encode(x, &layouts[E4M3FNFormat], o))
}

// E4M3FNFromFloat16 casts h, rounding once to nearest, ties to even.
func E4M3FNFromFloat16(h Float16, o Overflow) E4M3FN { return E4M3FNFromFloat32(h.Float32(), o) }

// E4M3FNFromBFloat16 casts h, rounding once to nearest, ties to even.
func E4M3FNFromBFloat16(h BFloat16, o Overflow) E4M3FN {
	return E4M3FNFromFloat32(h.Float32(), o)
}

// Float32 returns the value, exactly.
func (c E4M3FN) Float32() float32 { return decode(uint8(c), &layouts[E4M3FNFormat]) }

// Float16 returns the value, exactly: float16 holds every E4M3FN.
func (c E4M3FN) Float16() Float16 { return Float16FromFloat32(c.Float32()) }

// BFloat16 returns the value, exactly: bfloat16 holds every E4M3FN.
func (c E4M3FN) BFloat16() BFloat16 { return BFloat16FromFloat32(c.Float32()) }

// IsNaN reports whether c is 0x7F or 0xFF.
func (c E4M3FN) IsNaN() bool { return c&0x7F == 0x7F }
