//go:build (amd64 || arm64) && !purego

package float8

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// eachInstructionSet runs f with the kernels of every instruction set that this
// processor has. Plain Go is what f compares them with, through plainly.
func eachInstructionSet(t *testing.T, f func(t *testing.T)) {
	detected := best
	if detected == noKernels {
		t.Skip("this processor has none of the instruction sets that the kernels need")
	}
	defer func() { best = detected }()
	for set := noKernels + 1; set <= detected; set++ {
		best = set
		t.Run(set.String(), f)
	}
}

func plainly(f func()) {
	set := best
	best = noKernels
	f()
	best = set
}

var testScales = []float32{
	1, 0.37, 448 / 3.3, 1e-3, 0x1p-20, 1e30, math.MaxFloat32, 1e-40, math.SmallestNonzeroFloat32,
	0, -1, float32(math.Inf(1)), float32(math.NaN()),
}

func sameStats(a, b Stats) bool {
	same64 := func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y }
	return math.Float32bits(a.Amax) == math.Float32bits(b.Amax) && a.Saturated == b.Saturated &&
		a.Flushed == b.Flushed && same64(a.SumSq, b.SumSq) && same64(a.ErrSq, b.ErrSq)
}

// A bulk cast under test, over elements of type T.
type bulkCast[T any] struct {
	name string
	cast func([]byte, []T, Format, float32) Stats
}

var casts32 = []bulkCast[float32]{{"CastFloat32", CastFloat32}, {"CastFloat32WithError", CastFloat32WithError}}

var casts16 = []bulkCast[uint16]{
	{"CastFloat16", CastFloat16}, {"CastFloat16WithError", CastFloat16WithError},
	{"CastBFloat16", CastBFloat16}, {"CastBFloat16WithError", CastBFloat16WithError},
}

func compare[T any](t *testing.T, c bulkCast[T], src []T, f Format, scale float32) {
	t.Helper()
	got, want := make([]byte, len(src)), make([]byte, len(src))
	gotStats := c.cast(got, src, f, scale)
	var wantStats Stats
	plainly(func() { wantStats = c.cast(want, src, f, scale) })
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s, %v, scale %v: element %d (%v): code %#02x, want %#02x", c.name, f, scale, i, src[i], got[i], want[i])
		}
	}
	if !sameStats(gotStats, wantStats) {
		t.Fatalf("%s, %v, scale %v, %d elements: %+v, want %+v", c.name, f, scale, len(src), gotStats, wantStats)
	}
}

// Every 16-bit pattern, in an order that puts unlike ones side by side, and the
// same in pieces that keep NaN and infinity out of most of the sums.
func TestKernelsOverEvery16BitInput(t *testing.T) {
	src := make([]uint16, 1<<16)
	for i := range src {
		src[i] = uint16(i * 40503)
	}
	eachInstructionSet(t, func(t *testing.T) {
		for _, c := range casts16 {
			for _, f := range formats {
				for _, scale := range testScales {
					compare(t, c, src, f, scale)
				}
				for i := 0; i < len(src) && !testing.Short(); i += 100 {
					compare(t, c, src[i:min(i+100, len(src))], f, 448/3.3)
				}
			}
		}
	})
}

func edgeFloats(f Format) []float32 {
	o := newOracle(f)
	values := []float32{0, math.MaxFloat32, math.SmallestNonzeroFloat32, 0x1p-126, 0x1p-140}
	for code := range len(o.values) - 1 {
		half, _ := o.limit(code)
		for _, v := range []float64{half, o.values[code+1]} {
			near := around(float32(v))
			values = append(values, near[:]...)
		}
	}
	return values
}

func TestKernelsOverFloat32(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	special := []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
		math.Float32frombits(0xFFC00000), math.Float32frombits(0x7F800001), math.Float32frombits(0xFF800001)}
	eachInstructionSet(t, func(t *testing.T) {
		for _, f := range formats {
			finite := edgeFloats(f)
			for range 20000 {
				finite = append(finite, float32(rng.NormFloat64()), math.Float32frombits(rng.Uint32()&^0x40000000),
					float32(math.Ldexp(rng.NormFloat64(), rng.IntN(60)-30)))
			}
			rng.Shuffle(len(finite), func(i, j int) { finite[i], finite[j] = finite[j], finite[i] })
			for _, c := range casts32 {
				for _, scale := range testScales {
					compare(t, c, finite, f, scale)
					for _, s := range special {
						src := append([]float32{s}, finite[:200]...)
						src[len(src)-1] = s
						compare(t, c, src, f, scale)
					}
				}
			}
		}
	})
}

// checkEdges casts every length and start with guards around dst, which must
// not change, and compares amax too.
func checkEdges[T any](t *testing.T, c bulkCast[T], amax func([]T) float32, random func(i int) T) {
	t.Helper()
	const longest, guard = 200, 0xA5
	src := make([]T, longest+16)
	for i := range src {
		src[i] = random(i)
	}
	for n := range longest + 1 {
		for start := range 4 {
			from := src[start : start+n]
			buffer := bytes.Repeat([]byte{guard}, n+40)
			dst := buffer[start+13 : start+13+n]
			got := c.cast(dst, from, E4M3FNFormat, 3)
			want := make([]byte, n)
			var stats Stats
			plainly(func() { stats = c.cast(want, from, E4M3FNFormat, 3) })
			if !bytes.Equal(dst, want) || !sameStats(got, stats) {
				t.Fatalf("%s: %d elements from %d: % x %+v, want % x %+v", c.name, n, start, dst, got, want, stats)
			}
			for i, b := range buffer {
				if (i < start+13 || i >= start+13+n) && b != guard {
					t.Fatalf("%s: %d elements from %d: byte %d outside dst was written", c.name, n, start, i-start-13)
				}
			}
			if a := amax(from); math.Float32bits(a) != math.Float32bits(stats.Amax) {
				t.Fatalf("%s: %d elements from %d: amax %v, want %v", c.name, n, start, a, stats.Amax)
			}
		}
	}
}

func TestKernelsAtEveryLengthAndStart(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	eachInstructionSet(t, func(t *testing.T) {
		normal := func(int) float32 { return float32(rng.NormFloat64() * 50) }
		for _, c := range casts32 {
			checkEdges(t, c, AmaxFloat32, normal)
		}
		for _, c := range casts16[:2] {
			checkEdges(t, c, AmaxFloat16, func(i int) uint16 { return uint16(Float16FromFloat32(normal(i))) })
		}
		for _, c := range casts16[2:] {
			checkEdges(t, c, AmaxBFloat16, func(i int) uint16 { return uint16(BFloat16FromFloat32(normal(i))) })
		}
	})
}

// More than one call of a kernel, and a remainder.
func TestKernelsOverLongSources(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	f32 := make([]float32, 2*kernelMost+kernelTurn+7)
	for i := range f32 {
		f32[i] = float32(rng.NormFloat64())
	}
	f32[len(f32)-1] = 100
	f16, bf16 := make([]uint16, len(f32)), make([]uint16, len(f32))
	NarrowFloat16(f16, f32)
	NarrowBFloat16(bf16, f32)
	eachInstructionSet(t, func(t *testing.T) {
		compare(t, casts32[1], f32, E4M3FNFormat, 20)
		compare(t, casts16[1], f16, E4M3FNFormat, 20)
		compare(t, casts16[3], bf16, E4M3FNFormat, 20)
		if a, b, c := AmaxFloat32(f32), AmaxFloat16(f16), AmaxBFloat16(bf16); a != 100 || b != 100 || c != 100 {
			t.Errorf("amax %v, %v, %v, want 100", a, b, c)
		}
	})
}

// A mapped file may hold values at any byte.
func TestKernelsOverSourcesAtOddBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	const n = 333
	buffer := make([]byte, 4*n+8)
	eachInstructionSet(t, func(t *testing.T) {
		for start := 1; start < 4; start++ {
			odd32 := unsafe.Slice((*float32)(unsafe.Pointer(&buffer[start])), n)
			for i := range odd32 {
				odd32[i] = float32(rng.NormFloat64())
			}
			for _, c := range casts32 {
				compare(t, c, odd32, E5M2Format, 3)
			}
			odd16 := unsafe.Slice((*uint16)(unsafe.Pointer(&buffer[start])), n)
			for _, c := range casts16 {
				compare(t, c, odd16, E5M2Format, 3)
			}
			aligned := append([]uint16(nil), odd16...)
			if got, want := AmaxBFloat16(odd16), AmaxBFloat16(aligned); math.Float32bits(got) != math.Float32bits(want) {
				t.Errorf("from byte %d: amax %v, want %v", start, got, want)
			}
		}
	})
}

func TestAmaxKernels(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	eachInstructionSet(t, func(t *testing.T) {
		f32, f16 := make([]float32, 1000), make([]uint16, 1000)
		for place := range f32 { // the largest in every place
			for i := range f32 {
				f32[i], f16[i] = float32(rng.NormFloat64()), uint16(rng.Uint32())&^0x4000
			}
			peak := [...]float32{-1e9, float32(math.Inf(-1)), math.Float32frombits(0xFFFFFFFF)}[place%3]
			f32[place], f16[place] = peak, uint16(Float16FromFloat32(peak))
			if got := AmaxFloat32(f32); !(got == -peak || got != got && peak != peak) {
				t.Fatalf("float32: %v at %d: amax %v", peak, place, got)
			}
			want := Float16FromFloat32(peak) &^ 0x8000
			if got := AmaxFloat16(f16); !(got == want.Float32() || got != got && peak != peak) {
				t.Fatalf("float16: %v at %d: amax %v", peak, place, got)
			}
			f16[place] = uint16(BFloat16FromFloat32(peak))
			want32 := (BFloat16FromFloat32(peak) &^ 0x8000).Float32()
			if got := AmaxBFloat16(f16); !(got == want32 || got != got && peak != peak) {
				t.Fatalf("bfloat16: %v at %d: amax %v", peak, place, got)
			}
		}
	})
}

// All 2^32 float32 inputs through the kernels and the plain loops. That these
// give what Encode gives is TestExhaustivePlain's part.
func TestExhaustiveKernels(t *testing.T) {
	if !*exhaustive {
		t.Skip("-exhaustive not given: run make exhaustive")
	}
	eachInstructionSet(t, func(t *testing.T) {
		for _, f := range formats {
			t.Run(f.String(), func(t *testing.T) {
				t.Parallel()
				src, got, want := make([]float32, walkChunk), make([]byte, walkChunk), make([]byte, walkChunk)
				for first := uint64(0); first < 1<<32; first += walkChunk {
					for i := range src {
						src[i] = math.Float32frombits(uint32(first) + uint32(i))
					}
					var fast, plain tally
					castFast32(&fast, got, src, f.layout(), 1, false)
					castPlain32(&plain, want, src, f.layout(), 1, false)
					if fast != plain || !bytes.Equal(got, want) {
						t.Fatalf("%v: from %#08x: %+v or the codes differ, want %+v", f, first, fast, plain)
					}
				}
			})
		}
	})
}

func benchPaths() []benchPath {
	use := func(set instructionSet) func() func() {
		return func() func() {
			detected := best
			best = set
			return func() { best = detected }
		}
	}
	paths := []benchPath{{"plain", use(noKernels)}}
	for set := noKernels + 1; set <= best; set++ {
		paths = append(paths, benchPath{set.String(), use(set)})
	}
	return paths
}
