package float8

import (
	"math"
	"testing"
)

// A cast followed by a decode is idempotent, monotonic, within half a step, and
// the same one at a time as in bulk.
func FuzzRoundTrip(f *testing.F) {
	for _, x := range []float32{0, 1, -464, 61440, 0x1p-10, math.MaxFloat32, float32(math.Inf(-1))} {
		f.Add(math.Float32bits(x), math.Float32bits(1), uint8(1))
	}
	f.Add(uint32(0x7FC00001), uint32(0x3F800000), uint8(2))
	f.Fuzz(func(t *testing.T, bits, other uint32, which uint8) {
		format := formats[int(which)%len(formats)]
		x, y := math.Float32frombits(bits), math.Float32frombits(other)
		for _, o := range overflows {
			code := format.Encode(x, o)
			v := format.Decode(code)
			if again := format.Encode(v, o); again != code && v == v && !math.IsInf(float64(v), 0) {
				t.Errorf("%v, %v: %v becomes %#02x, decodes to %v, becomes %#02x", format, o, x, code, v, again)
			}
			if x <= y && v == v {
				if w := format.Decode(format.Encode(y, o)); w == w && v > w {
					t.Errorf("%v, %v: %v ≤ %v but %v > %v", format, o, x, y, v, w)
				}
			}
			if (x != x) != (v != v) && o == Saturate {
				t.Errorf("%v, %v: %v becomes %v", format, o, x, v)
			}
		}
		if want := newOracle(format).encode(x, Saturate); format.Encode(x, Saturate) != want {
			t.Errorf("%v: %v becomes %#02x, want %#02x", format, x, format.Encode(x, Saturate), want)
		}
		if x == x {
			var dst [70]byte
			src := make([]float32, 70)
			src[int(which)%70] = x
			st := CastFloat32(dst[:], src, format, 1)
			if got, want := dst[int(which)%70], format.Encode(x, Saturate); got != want {
				t.Errorf("%v: %v becomes %#02x in bulk, %#02x alone", format, x, got, want)
			}
			if a := math.Float32frombits(bits &^ signBit); st.Amax != a {
				t.Errorf("%v: %v has amax %v", format, x, st.Amax)
			}
		}
	})
}
