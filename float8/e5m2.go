package float8

// E5M2 is a float8 with five exponent bits (bias 15) and two mantissa bits, laid out
// as IEEE 754 would: the upper half of a float16. 248 finite codes up to ±57344.
type E5M2 uint8

// E5M2FromFloat32 casts x, rounding to nearest, ties to even.
func E5M2FromFloat32(x float32, o Overflow) E5M2 {
	return E5M2(encode(x, &layouts[E5M2Format], o))
}

// E5M2FromFloat16 casts h, rounding once to nearest, ties to even.
func E5M2FromFloat16(h Float16, o Overflow) E5M2 { return E5M2FromFloat32(h.Float32(), o) }

// E5M2FromBFloat16 casts h, rounding once to nearest, ties to even.
func E5M2FromBFloat16(h BFloat16, o Overflow) E5M2 {
	return E5M2FromFloat32(h.Float32(), o)
}

// Float32 returns the value, exactly.
func (c E5M2) Float32() float32 { return decode(uint8(c), &layouts[E5M2Format]) }

// Float16 returns the value, exactly: float16 holds every E5M2.
func (c E5M2) Float16() Float16 { return Float16FromFloat32(c.Float32()) }

// BFloat16 returns the value, exactly: bfloat16 holds every E5M2.
func (c E5M2) BFloat16() BFloat16 { return BFloat16FromFloat32(c.Float32()) }

// IsNaN reports whether c is one of 0x7D-0x7F and 0xFD-0xFF.
func (c E5M2) IsNaN() bool { return c&0x7F > 0x7C }

// IsInf reports whether c is 0x7C or 0xFC.
func (c E5M2) IsInf() bool { return c&0x7F == 0x7C }
