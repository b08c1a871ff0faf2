package float8

import (
	"math"
	"testing"
)

var overflows = []Overflow{Saturate, NoSaturate}

// around returns x and its two float32 neighbours, with both signs.
func around(x float32) [6]float32 {
	down, up := math.Nextafter32(x, -1), math.Nextafter32(x, math.MaxFloat32)
	return [6]float32{x, down, up, -x, -down, -up}
}

func TestEncodeAtEveryMidpoint(t *testing.T) {
	for _, f := range formats {
		o, inputs := newOracle(f), []float32{
			0, float32(math.Copysign(0, -1)), math.MaxFloat32, -math.MaxFloat32,
			math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32,
			float32(math.Inf(1)), float32(math.Inf(-1)),
			math.Float32frombits(0x7F800001), math.Float32frombits(0xFF800001),
			math.Float32frombits(0x7FFFFFFF), math.Float32frombits(0xFFFFFFFF),
		}
		for code := range len(o.values) - 1 {
			half, _ := o.limit(code)
			for _, v := range []float64{half, o.values[code], o.values[code+1]} {
				near := around(float32(v))
				inputs = append(inputs, near[:]...)
			}
		}
		for _, x := range inputs {
			for _, overflow := range overflows {
				if got, want := f.Encode(x, overflow), o.encode(x, overflow); got != want {
					t.Errorf("%v: %v (%#08x), %v: code %#02x, want %#02x",
						f, x, math.Float32bits(x), overflow, got, want)
				}
			}
		}
		t.Logf("%v: all %d midpoints and all values, each ± 1 ulp and ± sign, both overflows: %d casts",
			f, len(o.values)-1, 2*len(inputs))
	}
	t.Log("make exhaustive walks all 2^32 float32 inputs")
}

func TestEncodeEvery16BitInput(t *testing.T) {
	for _, f := range formats {
		o := newOracle(f)
		for h := range 1 << 16 {
			for _, source := range []struct {
				name string
				x    float32
			}{{"float16", Float16(h).Float32()}, {"bfloat16", BFloat16(h).Float32()}} {
				for _, overflow := range overflows {
					if got, want := f.Encode(source.x, overflow), o.encode(source.x, overflow); got != want {
						t.Fatalf("%v: %s %#04x (%v), %v: code %#02x, want %#02x",
							f, source.name, h, source.x, overflow, got, want)
					}
				}
			}
		}
		t.Logf("%v: all 65,536 float16 and all 65,536 bfloat16 inputs, both overflows", f)
	}
}

func TestNamedTypesAreTheirFormats(t *testing.T) {
	for h := range 1 << 16 {
		f16, bf16 := Float16(h), BFloat16(h)
		for _, o := range overflows {
			for f, codes := range map[Format][2]uint8{
				E4M3FNFormat:   {uint8(E4M3FNFromFloat16(f16, o)), uint8(E4M3FNFromBFloat16(bf16, o))},
				E5M2Format:     {uint8(E5M2FromFloat16(f16, o)), uint8(E5M2FromBFloat16(bf16, o))},
				E4M3FNUZFormat: {uint8(E4M3FNUZFromFloat16(f16, o)), uint8(E4M3FNUZFromBFloat16(bf16, o))},
				E5M2FNUZFormat: {uint8(E5M2FNUZFromFloat16(f16, o)), uint8(E5M2FNUZFromBFloat16(bf16, o))},
			} {
				want := [2]uint8{f.Encode(f16.Float32(), o), f.Encode(bf16.Float32(), o)}
				if codes != want {
					t.Fatalf("%v: %#04x, %v: codes %#02x, want %#02x", f, h, o, codes, want)
				}
			}
		}
	}
	for c := range 256 {
		type forms struct {
			f32  float32
			f16  Float16
			bf16 BFloat16
			nan  bool
		}
		for f, got := range map[Format]forms{
			E4M3FNFormat:   {E4M3FN(c).Float32(), E4M3FN(c).Float16(), E4M3FN(c).BFloat16(), E4M3FN(c).IsNaN()},
			E5M2Format:     {E5M2(c).Float32(), E5M2(c).Float16(), E5M2(c).BFloat16(), E5M2(c).IsNaN()},
			E4M3FNUZFormat: {E4M3FNUZ(c).Float32(), E4M3FNUZ(c).Float16(), E4M3FNUZ(c).BFloat16(), E4M3FNUZ(c).IsNaN()},
			E5M2FNUZFormat: {E5M2FNUZ(c).Float32(), E5M2FNUZ(c).Float16(), E5M2FNUZ(c).BFloat16(), E5M2FNUZ(c).IsNaN()},
		} {
			want := formula(f, uint8(c))
			for _, v := range []float32{got.f32, got.f16.Float32(), got.bf16.Float32()} {
				if got.nan != math.IsNaN(want) || !got.nan && math.Float64bits(float64(v)) != math.Float64bits(want) {
					t.Errorf("%v: code %#02x: %+v, want %v", f, c, got, want)
				}
			}
			if inf := f == E5M2Format && E5M2(c).IsInf(); inf != math.IsInf(want, 0) {
				t.Errorf("%v: code %#02x: IsInf %v, want %v", f, c, inf, want)
			}
		}
	}
}

func TestE8M0(t *testing.T) {
	inputs := []float32{0, float32(math.Copysign(0, -1)), -1, float32(math.Inf(1)), float32(math.Inf(-1)),
		float32(math.NaN()), math.MaxFloat32, -math.SmallestNonzeroFloat32}
	for c := range 255 {
		v := E8M0(c).Float32()
		for _, m := range []float32{1, 1.25, 1.5, 1.75} {
			near := around(v * m)
			inputs = append(inputs, near[:]...)
		}
	}
	for h := range 1 << 16 {
		inputs = append(inputs, Float16(h).Float32(), BFloat16(h).Float32())
	}
	for _, r := range []Rounding{RoundUp, RoundDown, RoundNearest} {
		for _, o := range overflows {
			for _, x := range inputs {
				want := oracleE8M0(x, r, o)
				if x == 0 { // either sign
					want = map[Overflow]E8M0{Saturate: 0, NoSaturate: 255}[o]
				}
				if got := E8M0FromFloat32(x, r, o); got != want {
					t.Fatalf("E8M0: %v (%#08x), %v, %v: code %#02x, want %#02x",
						x, math.Float32bits(x), r, o, got, want)
				}
			}
		}
	}
	t.Logf("E8M0: every power of two times 1, 1.25, 1.5, 1.75, each ± 1 ulp and ± sign, and all 16-bit inputs, in 3 roundings and both overflows: %d casts", 6*len(inputs))
}

// The 16-bit casts get every input, and the float32 that each one stands for from the independent tables of oracleHalf.
func TestE8M0FromHalvesIsThatOfTheSameFloat32(t *testing.T) {
	for _, h := range []struct {
		name string
		o    *oracleHalf
		cast func(uint16, Rounding, Overflow) E8M0
	}{
		{"float16", newOracleHalf(10, 15), func(h uint16, r Rounding, o Overflow) E8M0 { return E8M0FromFloat16(Float16(h), r, o) }},
		{"bfloat16", newOracleHalf(7, 127), func(h uint16, r Rounding, o Overflow) E8M0 { return E8M0FromBFloat16(BFloat16(h), r, o) }},
	} {
		for bits := range 1 << 16 {
			magnitude, x := uint16(bits)&0x7FFF, float32(0)
			switch {
			case int(magnitude) < int(h.o.inf):
				x = float32(h.o.values[magnitude])
			case int(magnitude) == int(h.o.inf):
				x = float32(math.Inf(1))
			default:
				x = float32(math.NaN())
			}
			if bits>>15 == 1 {
				x = -x
			}
			for _, r := range []Rounding{RoundUp, RoundDown, RoundNearest} {
				for _, o := range overflows {
					if got, want := h.cast(uint16(bits), r, o), E8M0FromFloat32(x, r, o); got != want {
						t.Fatalf("%s %#04x (%v), %v, %v: code %#02x, want %#02x", h.name, bits, x, r, o, got, want)
					}
				}
			}
		}
	}
}

// The rows of ONNX's table for FLOAT8E8M0, opset 24.
func TestE8M0SpecifiedCases(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		x               float32
		satUp, nearest  E8M0
		whatItStandsFor string
	}{
		{0, 0, 255, "zero"},
		{nan, 255, 255, "NaN"},
		{inf, 254, 255, "infinity"},
		{0x1.8p127, 254, 255, "above the largest"},
		{0x1p-130, 0, 255, "below the smallest"},
		{3, 129, 129, "halfway rounds up"},
		{2.5, 129, 128, "between"},
	} {
		if got := E8M0FromFloat32(c.x, RoundUp, Saturate); got != c.satUp {
			t.Errorf("%s: up, saturate: code %#02x, want %#02x", c.whatItStandsFor, got, c.satUp)
		}
		if got := E8M0FromFloat32(c.x, RoundNearest, NoSaturate); got != c.nearest {
			t.Errorf("%s: nearest, no-saturate: code %#02x, want %#02x", c.whatItStandsFor, got, c.nearest)
		}
	}
}

func TestHalfFormatsAtEveryMidpoint(t *testing.T) {
	f16, bf16 := newOracleHalf(10, 15), newOracleHalf(7, 127)
	for _, h := range []struct {
		name string
		o    *oracleHalf
		cast func(float32) uint16
		back func(uint16) float32
	}{
		{"float16", f16, func(x float32) uint16 { return uint16(Float16FromFloat32(x)) },
			func(h uint16) float32 { return Float16(h).Float32() }},
		{"bfloat16", bf16, func(x float32) uint16 { return uint16(BFloat16FromFloat32(x)) },
			func(h uint16) float32 { return BFloat16(h).Float32() }},
	} {
		for code := range int(h.o.inf) {
			if got := float64(h.back(uint16(code))); got != h.o.values[code] {
				t.Fatalf("%s: code %#04x decodes to %v, want %v", h.name, code, got, h.o.values[code])
			}
			half, _ := h.o.limit(code)
			for _, x := range around(float32(half)) {
				want := h.o.nearest(math.Abs(float64(x)))
				if math.Float32bits(x)>>31 == 1 {
					want |= 0x8000
				}
				if got := h.cast(x); got != want {
					t.Fatalf("%s: %v (%#08x): %#04x, want %#04x", h.name, x, math.Float32bits(x), got, want)
				}
			}
		}
		for code := range 1 << 16 {
			v := h.back(uint16(code))
			back := h.cast(v)
			if v == v && back != uint16(code) || v != v && (h.back(back) == h.back(back) || back>>15 != uint16(code>>15)) {
				t.Fatalf("%s: %#04x becomes %v and then %#04x", h.name, code, v, back)
			}
		}
		t.Logf("%s: all %d midpoints ± 1 ulp and ± sign, all 65,536 values there and back", h.name, h.o.inf)
	}
}
