package float8

// E5M2FNUZ is a float8 with five exponent bits (bias 16), two mantissa bits, no
// infinities, one zero (UZ: unsigned zero) and one NaN in the place of -0: 255
// finite codes up to ±57344.
type E5M2FNUZ uint8

// E5M2FNUZFromFloat32 casts x, rounding to nearest, ties to even.
func E5M2FNUZFromFloat32(x float32, o Overflow) E5M2FNUZ {
	return E5M2FNUZ(encode(x, &layouts[E5M2FNUZFormat], o))
}

// E5M2FNUZFromFloat16 casts h, rounding once to nearest, ties to even.
func E5M2FNUZFromFloat16(h Float16, o Overflow) E5M2FNUZ { return E5M2FNUZFromFloat32(h.Float32(), o) }

// E5M2FNUZFromBFloat16 casts h, rounding once to nearest, ties to even.
func E5M2FNUZFromBFloat16(h BFloat16, o Overflow) E5M2FNUZ {
	return E5M2FNUZFromFloat32(h.Float32(), o)
}

// Float32 returns the value, exactly.
func (c E5M2FNUZ) Float32() float32 { return decode(uint8(c), &layouts[E5M2FNUZFormat]) }

// Float16 returns the value, exactly: float16 holds every E5M2FNUZ.
func (c E5M2FNUZ) Float16() Float16 { return Float16FromFloat32(c.Float32()) }

// BFloat16 returns the value, exactly: bfloat16 holds every E5M2FNUZ.
func (c E5M2FNUZ) BFloat16() BFloat16 { return BFloat16FromFloat32(c.Float32()) }

// IsNaN reports whether c is 0x80.
func (c E5M2FNUZ) IsNaN() bool { return c == 0x80 }
