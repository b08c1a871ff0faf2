package float8

import (
	"math"
	"math/rand/v2"
	"testing"
)

// defined is what the documentation of CastFloat32 and Stats says, an element
// at a time, with the slow oracle.
func defined(src []float32, f Format, scale float32) (codes []byte, st Stats) {
	o := newOracle(f)
	inverse := 1 / scale
	for _, v := range src {
		p := v * scale
		code := o.encode(p, Saturate)
		if p != p {
			code = o.nan(false)
		}
		codes = append(codes, code)
		switch a := float32(math.Abs(float64(v))); {
		case a != a || st.Amax != st.Amax:
			st.Amax = float32(math.NaN())
		case a > st.Amax:
			st.Amax = a
		}
		if p == p && o.nearest(math.Abs(float64(p))) == len(o.values)-1 {
			st.Saturated++
		}
		if v == v && v != 0 && p == p && formula(f, code) == 0 {
			st.Flushed++
		}
		e := v - float32(float32(formula(f, code))*inverse) // not fused
		st.SumSq += float64(v) * float64(v)
		st.ErrSq += float64(e) * float64(e)
	}
	return codes, st
}

func near(a, b float64) bool {
	return a == b || a != a && b != b || math.Abs(a-b) <= 1e-12*math.Abs(b)
}

func TestBulkCastIsWhatItsDocumentationSays(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	var values []float32
	for range 3000 {
		values = append(values, float32(rng.NormFloat64()*100), float32(math.Ldexp(rng.NormFloat64(), rng.IntN(40)-20)))
	}
	values = append(values, 0, float32(math.Copysign(0, -1)))
	for _, src := range [][]float32{values, append(values[:77:77], inf, -inf), append(values[:200:200], nan, -1), nil} {
		for _, f := range formats {
			for _, scale := range []float32{1, 0.3, 17, 1e-30, 1e30, 0, -2, inf, nan} {
				want, stats := defined(src, f, scale)
				got := make([]byte, len(src))
				st := CastFloat32WithError(got, src, f, scale)
				if string(got) != string(want) {
					t.Fatalf("%v, scale %v: % x, want % x", f, scale, got, want)
				}
				if math.Float32bits(st.Amax)|1<<22 != math.Float32bits(stats.Amax)|1<<22 ||
					st.Saturated != stats.Saturated || st.Flushed != stats.Flushed ||
					!near(st.SumSq, stats.SumSq) || !near(st.ErrSq, stats.ErrSq) {
					t.Fatalf("%v, scale %v: %+v, want %+v", f, scale, st, stats)
				}
				st.SumSq, st.ErrSq = 0, 0
				if bare := CastFloat32(got, src, f, scale); bare != st && bare.Amax == bare.Amax || string(got) != string(want) {
					t.Fatalf("%v, scale %v: without error sums %+v, want %+v", f, scale, bare, st)
				}
			}
		}
	}
}

func Test16BitBulkCastsAreTheFloat32CastOfTheirValues(t *testing.T) {
	src, dst, want := make([]uint16, 1<<16), make([]byte, 1<<16), make([]byte, 1<<16)
	for i := range src {
		src[i] = uint16(i)
	}
	values := make([]float32, 1<<16)
	table := new(Table16)
	for _, s := range []struct {
		source Source16
		widen  func([]float32, []uint16)
		cast   func([]byte, []uint16, Format, float32) Stats
		narrow func([]uint16, []float32)
	}{
		{FromFloat16, WidenFloat16, CastFloat16, NarrowFloat16},
		{FromBFloat16, WidenBFloat16, CastBFloat16, NarrowBFloat16},
	} {
		s.widen(values, src)
		for _, f := range formats {
			for _, scale := range []float32{1, 0.7, 300, 0, -1} {
				stats := CastFloat32(want, values, f, scale)
				if got := s.cast(dst, src, f, scale); !sameCounts(got, stats) || string(dst) != string(want) {
					t.Fatalf("source %d, %v, scale %v: %+v or the codes differ, want %+v", s.source, f, scale, got, stats)
				}
				clear(dst)
				table.Fill(s.source, f, scale)
				if got := table.Cast(dst, src); !sameCounts(got, stats) || string(dst) != string(want) {
					t.Fatalf("table, source %d, %v, scale %v: %+v or the codes differ, want %+v", s.source, f, scale, got, stats)
				}
				part := src[100:200]
				stats = CastFloat32(want, values[100:200], f, scale)
				if got := table.Cast(dst, part); got != stats {
					t.Fatalf("table, part, source %d, %v, scale %v: %+v, want %+v", s.source, f, scale, got, stats)
				}
			}
		}
		back := make([]uint16, 1<<16)
		s.narrow(back, values)
		for i, v := range values {
			if v == v && back[i] != src[i] {
				t.Fatalf("source %d: %#04x widened and narrowed is %#04x", s.source, src[i], back[i])
			}
		}
	}
}

func sameCounts(a, b Stats) bool {
	return math.Float32bits(a.Amax) == math.Float32bits(b.Amax) && a.Saturated == b.Saturated && a.Flushed == b.Flushed
}

func TestDecodeFloat32(t *testing.T) {
	src, dst := make([]byte, 256), make([]float32, 256)
	for i := range src {
		src[i] = byte(i)
	}
	for _, f := range formats {
		for _, scale := range []float32{1, 0.37, -3} {
			DecodeFloat32(dst, src, f, scale)
			for i, got := range dst {
				want := float32(formula(f, uint8(i))) * scale
				if got != want && (got == got || want == want) {
					t.Errorf("%v, scale %v: code %#02x: %v, want %v", f, scale, i, got, want)
				}
			}
		}
	}
}

func TestAmax(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name string
		src  []float32
		want float32
	}{
		{"nothing", nil, 0},
		{"zeros", []float32{0, float32(math.Copysign(0, -1))}, 0},
		{"the largest is negative", []float32{1, -3, 2}, 3},
		{"an infinity", []float32{1, -inf, 2}, inf},
		{"a NaN beside an infinity", []float32{nan, inf}, nan},
	} {
		f16, bf16 := make([]uint16, len(c.src)), make([]uint16, len(c.src))
		NarrowFloat16(f16, c.src)
		NarrowBFloat16(bf16, c.src)
		for name, got := range map[string]float32{
			"float32": AmaxFloat32(c.src), "float16": AmaxFloat16(f16), "bfloat16": AmaxBFloat16(bf16),
		} {
			if got != c.want && (got == got || c.want == c.want) {
				t.Errorf("%s, %s: %v, want %v", c.name, name, got, c.want)
			}
		}
	}
}

func TestStatsMerge(t *testing.T) {
	nan := float32(math.NaN())
	a := Stats{Amax: 2, Saturated: 1, Flushed: 2, SumSq: 3, ErrSq: 4}
	a.Merge(Stats{Amax: 5, Saturated: 10, Flushed: 20, SumSq: 30, ErrSq: 40})
	if want := (Stats{Amax: 5, Saturated: 11, Flushed: 22, SumSq: 33, ErrSq: 44}); a != want {
		t.Errorf("merged: %+v, want %+v", a, want)
	}
	a.Merge(Stats{Amax: nan})
	a.Merge(Stats{Amax: 1})
	if a.Amax == a.Amax {
		t.Errorf("merged with NaN: amax %v, want NaN", a.Amax)
	}
}

func TestSQNR(t *testing.T) {
	if got := (&Stats{SumSq: 100, ErrSq: 1}).SQNR(); got != 20 {
		t.Errorf("100 to 1: %v dB, want 20", got)
	}
	if got := (&Stats{SumSq: 100}).SQNR(); !math.IsInf(got, 1) {
		t.Errorf("no error: %v dB, want +Inf", got)
	}
	rng := rand.New(rand.NewPCG(11, 12))
	src := make([]float32, 1<<16)
	for i := range src {
		src[i] = float32(rng.NormFloat64())
	}
	st := CastFloat32WithError(make([]byte, len(src)), src, E4M3FNFormat, 448/AmaxFloat32(src))
	// A mantissa of three bits gives values spread evenly in their logarithm 31.5 dB.
	if got := st.SQNR(); got < 31 || got > 32 {
		t.Errorf("normal values in E4M3FN: %v dB, want about 31.5", got)
	}
}

func TestBulkFormsDoNotAllocate(t *testing.T) {
	src32, src16, dst := make([]float32, 100), make([]uint16, 100), make([]byte, 100)
	for name, f := range map[string]func(){
		"CastFloat32":           func() { CastFloat32(dst, src32, E4M3FNFormat, 2) },
		"CastFloat16":           func() { CastFloat16(dst, src16, E4M3FNFormat, 2) },
		"CastBFloat16":          func() { CastBFloat16(dst, src16, E4M3FNFormat, 2) },
		"CastFloat32WithError":  func() { CastFloat32WithError(dst, src32, E4M3FNFormat, 2) },
		"CastBFloat16WithError": func() { CastBFloat16WithError(dst, src16, E4M3FNFormat, 2) },
		"AmaxFloat32":           func() { AmaxFloat32(src32) },
		"AmaxFloat16":           func() { AmaxFloat16(src16) },
		"DecodeFloat32":         func() { DecodeFloat32(src32, dst, E4M3FNFormat, 2) },
		"WidenBFloat16":         func() { WidenBFloat16(src32, src16) },
		"NarrowFloat16":         func() { NarrowFloat16(src16, src32) },
	} {
		if n := testing.AllocsPerRun(10, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func TestBadArgumentsPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"no format":      func() { CastFloat32(make([]byte, 1), make([]float32, 1), 0, 1) },
		"beyond formats": func() { Format(5).Encode(1, Saturate) },
		"short dst":      func() { CastBFloat16(make([]byte, 3), make([]uint16, 4), E5M2Format, 1) },
		"short values":   func() { DecodeFloat32(make([]float32, 3), make([]byte, 4), E5M2Format, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
