package float8

// E4M3FNUZ is a float8 with four exponent bits (bias 8), three mantissa bits, no
// infinities, one zero (UZ: unsigned zero) and one NaN in the place of -0: 255
// finite codes up to ±240.
type E4M3FNUZ uint8

// E4M3FNUZFromFloat32 casts x, rounding to nearest, ties to even.
func E4M3FNUZFromFloat32(x float32, o Overflow) E4M3FNUZ {
	return E4M3FNUZ(encode(x, &layouts[E4M3FNUZFormat], o))
}

// E4M3FNUZFromFloat16 casts h, rounding once to nearest, ties to even.
func E4M3FNUZFromFloat16(h Float16, o Overflow) E4M3FNUZ { return E4M3FNUZFromFloat32(h.Float32(), o) }

// E4M3FNUZFromBFloat16 casts h, rounding once to nearest, ties to even.
func E4M3FNUZFromBFloat16(h BFloat16, o Overflow) E4M3FNUZ {
	return E4M3FNUZFromFloat32(h.Float32(), o)
}

// Float32 returns the value, exactly.
func (c E4M3FNUZ) Float32() float32 { return decode(uint8(c), &layouts[E4M3FNUZFormat]) }

// Float16 returns the value, exactly: float16 holds every E4M3FNUZ.
func (c E4M3FNUZ) Float16() Float16 { return Float16FromFloat32(c.Float32()) }

// BFloat16 returns the value, exactly: bfloat16 holds every E4M3FNUZ.
func (c E4M3FNUZ) BFloat16() BFloat16 { return BFloat16FromFloat32(c.Float32()) }

// IsNaN reports whether c is 0x80.
func (c E4M3FNUZ) IsNaN() bool { return c == 0x80 }
