package float8

import (
	"math"
	"testing"
)

var formats = []Format{E4M3FNFormat, E5M2Format, E4M3FNUZFormat, E5M2FNUZFormat}

// formula is the value of a code as the format's definition has it, in float64:
// (-1)^s · 2^(E-bias) · (1 + m/2^man), or 2^(1-bias) · m/2^man where E is 0.
func formula(f Format, code uint8) float64 {
	type def struct{ man, bias int }
	d := map[Format]def{
		E4M3FNFormat: {3, 7}, E5M2Format: {2, 15}, E4M3FNUZFormat: {3, 8}, E5M2FNUZFormat: {2, 16},
	}[f]
	switch f {
	case E4M3FNFormat:
		if code&0x7F == 0x7F {
			return math.NaN()
		}
	case E5M2Format:
		if code&0x7F == 0x7C {
			return math.Inf(1 - int(code>>7)*2)
		}
		if code&0x7F > 0x7C {
			return math.NaN()
		}
	default:
		if code == 0x80 {
			return math.NaN()
		}
	}
	exponent := int(code&0x7F) >> d.man
	mantissa := float64(int(code)&(1<<d.man-1)) / float64(int(1)<<d.man)
	v := math.Ldexp(1+mantissa, exponent-d.bias)
	if exponent == 0 {
		v = math.Ldexp(mantissa, 1-d.bias)
	}
	return math.Copysign(v, 1-float64(code>>7)*2)
}

func TestEveryCodeDecodesToItsFormula(t *testing.T) {
	for _, f := range formats {
		for c := range 256 {
			want, got := formula(f, uint8(c)), float64(f.Decode(uint8(c)))
			if math.IsNaN(want) != math.IsNaN(got) ||
				!math.IsNaN(want) && math.Float64bits(want) != math.Float64bits(got) {
				t.Errorf("%v: code %#02x decodes to %v, want %v", f, c, got, want)
			}
		}
	}
	for c := range 255 {
		if got, want := float64(E8M0(c).Float32()), math.Ldexp(1, c-127); got != want {
			t.Errorf("E8M0: code %#02x decodes to %v, want %v", c, got, want)
		}
	}
	if v := E8M0(255).Float32(); v == v {
		t.Errorf("E8M0: code 0xff decodes to %v, want NaN", v)
	}
}

func TestFormatConstants(t *testing.T) {
	for _, c := range []struct {
		f        Format
		max, min float32
	}{
		{E4M3FNFormat, 448, 0x1p-9},
		{E5M2Format, 57344, 0x1p-16},
		{E4M3FNUZFormat, 240, 0x1p-10},
		{E5M2FNUZFormat, 57344, 0x1p-17},
	} {
		if got := c.f.Max(); got != c.max {
			t.Errorf("%v: max %v, want %v", c.f, got, c.max)
		}
		if got := c.f.SmallestNonzero(); got != c.min {
			t.Errorf("%v: smallest %v, want %v", c.f, got, c.min)
		}
	}
}
