package gemm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
)

func TestConvertersAreFloat8s(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 13))
	eachISA(t, func(t *testing.T) {
		codes := make([]byte, 256+13)
		for i := range codes {
			codes[i] = byte(i * 37)
		}
		for _, scale := range []float32{1, 0.3, 1e30, 1e-40, float32(math.Inf(1)), float32(math.NaN())} {
			got, want := make([]float32, len(codes)), make([]float32, len(codes))
			decode(got, codes, float8.E4M3FNFormat, scale)
			float8.DecodeFloat32(want, codes, float8.E4M3FNFormat, scale)
			sameBits(t, "decode", got, want)
		}
		half := make([]uint16, 1<<16+5)
		for i := range half {
			half[i] = uint16(i * 40503)
		}
		got, want := make([]float32, len(half)), make([]float32, len(half))
		widenFloat16(got, half)
		float8.WidenFloat16(want, half)
		sameBits(t, "widen", got, want)
		for i := range got {
			switch i % 4 {
			case 0:
				got[i] = math.Float32frombits(rng.Uint32())
			case 1:
				got[i] = float32(rng.NormFloat64())
			case 2: // between two float16
				h := float8.Float16(i)
				got[i] = (h.Float32() + (h + 1).Float32()) / 2
			}
		}
		back, wantBack := make([]uint16, len(got)), make([]uint16, len(got))
		narrowFloat16(back, got)
		float8.NarrowFloat16(wantBack, got)
		for i := range back {
			if back[i] != wantBack[i] {
				t.Fatalf("narrow %v (%#08x): %#04x, want %#04x", got[i], math.Float32bits(got[i]), back[i], wantBack[i])
			}
		}
	})
}

func TestTransposeAtEverySize(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		for n := 1; n <= 33; n++ {
			for rows := 1; rows <= 33; rows++ {
				const width, stride, guard = 40, 37, -1
				src, dst := make([]float32, n*stride), make([]float32, rows*width)
				for i := range src {
					src[i] = float32(i)
				}
				for i := range dst {
					dst[i] = guard
				}
				transpose(dst, width, src[:(n-1)*stride+rows], stride, n, rows)
				for i, v := range dst {
					want := float32(guard)
					if j := i % width; j < n {
						want = src[j*stride+i/width]
					}
					if v != want {
						t.Fatalf("%d rows of %d: element %d is %v, want %v", n, rows, i, v, want)
					}
				}
			}
		}
	})
}
