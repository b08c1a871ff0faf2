package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// scales that meet subnormal products, overflow, and infinity times zero.
var testScales = []float32{1, 0.37, 448, 1e-6, 0x1p-130, 3e7, 3e38, float32(math.Inf(1)), 0}

// castBytes is package float8's cast of values in memory.
func castBytes(t Type, b []byte, f Type, scale float32) ([]byte, float8.Stats) {
	out := make([]byte, int64(len(b))/t.Size())
	if t == F32 {
		v := make([]float32, len(out))
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
		return out, float8.CastFloat32(out, v, formats[f], scale)
	}
	v := make([]uint16, len(out))
	for i := range v {
		v[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	if t == F16 {
		return out, float8.CastFloat16(out, v, formats[f], scale)
	}
	return out, float8.CastBFloat16(out, v, formats[f], scale)
}

// odd counts what is infinite or NaN.
func odd(v []float32) (n uint64) {
	for _, x := range v {
		if x-x != 0 {
			n++
		}
	}
	return n
}

// checkCast casts b, which lies at src, with and without counts, and compares every bit.
func checkCast(g *gpu, src driver.Ptr, t Type, b []byte, f Type, scale float32, dstOffset int64) {
	g.Helper()
	n := int64(len(b)) / t.Size()
	want, st := castBytes(t, b, f, scale)
	for _, count := range []bool{false, true} {
		what := fmt.Sprintf("%d %v to %v, scale %g, counts %t", n, t, f, scale, count)
		room := g.alloc(n + dstOffset)
		q := Codes{To: room.Add(dstOffset), Format: f, Scale: g.number(scale), Amax: g.number(0)}
		var counts driver.Ptr
		if count {
			counts = g.put(make([]byte, 24))
		}
		g.must(g.Cast(q, src, t, n, counts, 0))
		got := g.get(q.To, n)
		for i := range got {
			if got[i] != want[i] {
				g.Fatalf("%s: element %d, %x: code %#x, want %#x", what, i, b[int64(i)*t.Size():int64(i+1)*t.Size()], got[i], want[i])
			}
		}
		g.sameAmax(what, q.Amax, st.Amax)
		if count {
			c := g.get(counts, 24)
			gotN := [3]uint64{binary.LittleEndian.Uint64(c), binary.LittleEndian.Uint64(c[8:]), binary.LittleEndian.Uint64(c[16:])}
			if wantN := [3]uint64{uint64(st.Saturated), uint64(st.Flushed), odd(values(t, b))}; gotN != wantN {
				g.Errorf("%s: saturated, flushed, odd %v, want %v", what, gotN, wantN)
			}
		}
	}
}

func TestCastIsExactForEverySixteenBitValue(t *testing.T) {
	onGPU(t, func(g *gpu) {
		all, finite := make([]byte, 0, 1<<17), make([]byte, 0, 1<<17)
		for v := range 1 << 16 {
			all = binary.LittleEndian.AppendUint16(all, uint16(v))
		}
		for _, typ := range []Type{BF16, F16} {
			finite = finite[:0]
			for i, x := range values(typ, all) {
				if x-x == 0 {
					finite = append(finite, all[2*i:2*i+2]...)
				}
			}
			for _, b := range [][]byte{all, finite} {
				src := g.put(b)
				for _, f := range []Type{E4M3, E5M2} {
					for _, s := range testScales {
						checkCast(g, src, typ, b, f, s, 0)
					}
				}
			}
		}
	})
}

// TestCastIsExactForRandomFloat32 draws bit patterns, so that every exponent is met, and half of the time values near the formats' range.
func TestCastIsExactForRandomFloat32(t *testing.T) {
	total := int64(100_000_000)
	if testing.Short() {
		total = 1_000_000
	}
	onGPU(t, func(g *gpu) {
		const chunk = 1 << 22
		b := make([]byte, 4*chunk)
		v := make([]float32, chunk)
		src, dst := g.alloc(4*chunk), g.alloc(chunk)
		want, got := make([]byte, chunk), make([]byte, chunk)
		for done := int64(0); done < total; done += chunk {
			near := done/chunk%2 == 1
			for i := range v {
				u := g.rnd.Uint32()
				if near {
					u = u&0x807fffff | (96+u>>23&63)<<23
				}
				v[i] = math.Float32frombits(u)
				binary.LittleEndian.PutUint32(b[4*i:], u)
			}
			g.must(g.c.Write(src, b, 0))
			for _, f := range []Type{E4M3, E5M2} {
				scale := testScales[done/chunk%5]
				q := Codes{To: dst, Format: f, Scale: g.number(scale), Amax: g.number(0)}
				g.must(g.Cast(q, src, F32, chunk, 0, 0))
				g.must(g.c.Read(got, dst, 0))
				st := float8.CastFloat32(want, v, formats[f], scale)
				g.sameAmax("amax", q.Amax, st.Amax)
				for i := range got {
					if got[i] != want[i] {
						g.Fatalf("%v of %x (%g) times %g: code %#x, want %#x", f, math.Float32bits(v[i]), v[i], scale, got[i], want[i])
					}
				}
			}
		}
	})
}

func TestCastTakesAnySizeAndAddress(t *testing.T) {
	onGPU(t, func(g *gpu) {
		for _, typ := range []Type{F32, F16, BF16} {
			for _, n := range []int64{1, 3, 7, 8, 9, 31, 1024, 8191, 8192, 8193, 100_003} {
				p, v := g.normal(typ, n+1, 1)
				b := bits(typ, v)
				checkCast(g, p, typ, b[:n*typ.Size()], E4M3, 100, 0)
				checkCast(g, p.Add(typ.Size()), typ, b[typ.Size():], E5M2, 100, 3)
			}
		}
	})
}

func TestCastPaddedFillsUpWithZeros(t *testing.T) {
	onGPU(t, func(g *gpu) {
		for _, typ := range []Type{F32, F16, BF16} {
			for _, cols := range []int64{1, 13, 16, 24, 100} {
				const rows = 37
				p, v := g.normal(typ, rows*cols, 1)
				for _, scale := range []float32{50, float32(math.Inf(1))} {
					q := g.codes(E4M3, rows*112, scale)
					q.Ld = 112
					g.must(g.CastPadded(q, p, typ, rows, cols, 0))
					g.sameCodes(fmt.Sprintf("%v rows of %d, scale %g", typ, cols, scale), q, v, scale, cols)
				}
			}
		}
	})
}

func TestAmaxAlone(t *testing.T) {
	onGPU(t, func(g *gpu) {
		for _, typ := range []Type{F32, F16, BF16} {
			for _, n := range []int64{1, 9, 8192, 1_000_001} {
				for _, special := range []float32{0, float32(math.Inf(-1)), float32(math.NaN())} {
					_, v := g.normal(typ, n, 3)
					v[g.rnd.IntN(len(v))] = special
					b := bits(typ, v)
					_, st := castBytes(typ, b, E4M3, 1)
					amax := g.number(0)
					g.must(g.Amax(amax, g.put(b), typ, n, 0))
					g.sameAmax(fmt.Sprintf("%d %v with %v", n, typ, special), amax, st.Amax)
				}
			}
		}
		// It is raised, not set.
		amax := g.number(7)
		g.must(g.Amax(amax, g.number(-5), F32, 1, 0))
		g.sameAmax("after a larger one", amax, 7)
	})
}

// sameBits compares arrays of type t; a NaN may be any NaN.
func (g *gpu) sameBits(what string, t Type, got []byte, want []float32) {
	g.Helper()
	w, v := bits(t, want), values(t, got)
	for i, x := range v {
		if x != x && want[i] != want[i] {
			continue
		}
		at := int64(i) * t.Size()
		if string(got[at:at+t.Size()]) != string(w[at:at+t.Size()]) {
			g.Errorf("%s: element %d is %v, want %v", what, i, x, want[i])
			return
		}
	}
}

func TestDecodeEveryCode(t *testing.T) {
	onGPU(t, func(g *gpu) {
		b := make([]byte, 256+5)
		for i := range b {
			b[i] = byte(i)
		}
		src := g.put(b)
		for f, format := range formats {
			for _, typ := range []Type{F32, F16, BF16} {
				for _, scale := range []float32{1, 0.0123, 3e36} {
					want := make([]float32, len(b))
					float8.DecodeFloat32(want, b, format, scale)
					dst := g.alloc(int64(len(b)) * typ.Size())
					g.must(g.Decode(dst, typ, src, f, g.number(scale), int64(len(b)), 0))
					g.sameBits(fmt.Sprintf("%v as %v times %g", f, typ, scale), typ, g.get(dst, int64(len(b))*typ.Size()), want)
				}
			}
		}
	})
}

func TestConvert(t *testing.T) {
	onGPU(t, func(g *gpu) {
		for _, from := range []Type{F32, F16, BF16} {
			n := int64(1<<16 + 3)
			b := make([]byte, n*from.Size())
			for i := range n {
				if from == F32 {
					binary.LittleEndian.PutUint32(b[4*i:], g.rnd.Uint32())
				} else {
					binary.LittleEndian.PutUint16(b[2*i:], uint16(i))
				}
			}
			src := g.put(b)
			for _, to := range []Type{F32, F16, BF16} {
				dst := g.alloc(n * to.Size())
				g.must(g.Convert(dst, to, src, from, n, 0))
				g.sameBits(fmt.Sprintf("%v to %v", from, to), to, g.get(dst, n*to.Size()), values(from, b))
			}
		}
	})
}

func TestScalesAreThoseOfPackageScaling(t *testing.T) {
	onGPU(t, func(g *gpu) {
		amaxes := []float32{0, 1, 448, 1e-13, 1e-30, 3e38, float32(math.Inf(1)), float32(math.NaN()), 1e-45}
		for e := -149; e <= 127; e++ { // powers of two and their neighbours
			p := float32(math.Ldexp(1, e))
			amaxes = append(amaxes, math.Nextafter32(p, 0), p, math.Nextafter32(p, 1e38), 1.5*p)
		}
		for range 5000 {
			amaxes = append(amaxes, float32(math.Exp(g.rnd.NormFloat64()*10)))
		}
		n := int64(len(amaxes))
		for i, r := range []scaling.Recipe{{}, {Margin: 3}, {PowerOfTwo: true}, {Margin: 1, PowerOfTwo: true}, {}, {PowerOfTwo: true}, {Margin: 32}} {
			formatMax := float32(448)
			if i >= 4 {
				formatMax = 57344
			}
			old := make([]float32, n)
			for i := range old {
				old[i] = 5
			}
			scale, inverse := g.put(bits(F32, old)), g.alloc(4*n)
			g.must(g.Scales(scale, inverse, g.put(bits(F32, amaxes)), n,
				ScaleRule{FormatMax: formatMax, Epsilon: scaling.Epsilon, Margin: r.Margin, PowerOfTwo: r.PowerOfTwo}, 0))
			want, wantInverse := make([]float32, n), make([]float32, n)
			for i, a := range amaxes {
				s := r.Scale(formatMax, a, 5)
				want[i], wantInverse[i] = float32(s), float32(s.Dequant())
			}
			g.sameBits(fmt.Sprintf("scales %+v", r), F32, g.get(scale, 4*n), want)
			g.sameBits(fmt.Sprintf("inverses %+v", r), F32, g.get(inverse, 4*n), wantInverse)
		}
	})
}

func TestPreloadLoadsAllOfASource(t *testing.T) {
	onGPU(t, func(g *gpu) {
		g.must(g.Preload("attention"))
		for name, e := range g.entries {
			if strings.HasPrefix(e.Module, "attention") && g.ready[name] == nil {
				g.Errorf("kernel %q of module %q is not loaded", name, e.Module)
			}
		}
		start := time.Now()
		g.must(g.Preload())
		t.Logf("the rest loaded in %v", time.Since(start))
		if len(g.ready) != len(g.entries) {
			t.Errorf("%d of %d kernels loaded", len(g.ready), len(g.entries))
		}
		if g.hopper() != g.entries["attention_hopper_128_bf16"].Hopper {
			g.Errorf("on a card of capability %d.%d: kernel for 9.0 in the set: %t", g.c.Info().Major, g.c.Info().Minor, !g.hopper())
		}
	})
}
