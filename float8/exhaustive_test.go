package float8

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// make exhaustive passes -exhaustive. It took 693 s of processor time on an Intel
// Xeon with AVX-512 (2023), 358 s on the clock of two cores: the scalar casts,
// the plain bulk casts and every kernel set.
var exhaustive = flag.Bool("exhaustive", false, "cast all 2^32 float32 inputs in every format and mode")

var updateDigests = flag.Bool("update-digests", false, "with -exhaustive, print the digests instead of checking them")

// A walk visits every float32 by its bits, 0 to 2^32-1, a chunk at a time: cast
// writes the codes of the chunk that starts at first, and want those of an
// oracle that knows it is walked in this order.
const walkChunk = 1 << 16

func walk(t *testing.T, name string, width int, cast, want func(dst []byte, first uint32)) {
	t.Helper()
	got, expected := make([]byte, walkChunk*width), make([]byte, walkChunk*width)
	digest := sha256.New()
	for first := uint64(0); first < 1<<32; first += walkChunk {
		cast(got, uint32(first))
		want(expected, uint32(first))
		if !bytes.Equal(got, expected) {
			for i := range got {
				if got[i] != expected[i] {
					bits := uint32(first) + uint32(i/width)
					t.Fatalf("%s: %#08x (%v): byte %d is %#02x, want %#02x",
						name, bits, math.Float32frombits(bits), i%width, got[i], expected[i])
				}
			}
		}
		digest.Write(got)
	}
	checkDigest(t, name, hex.EncodeToString(digest.Sum(nil)))
}

// testdata/digests.txt holds a line "name sha256" for each stream of codes.
func checkDigest(t *testing.T, name, got string) {
	t.Helper()
	if *updateDigests {
		fmt.Printf("%s %s\n", name, got)
		return
	}
	data, err := os.ReadFile("testdata/digests.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if n, want, ok := strings.Cut(strings.TrimSpace(line), " "); ok && n == name {
			if got != want {
				t.Errorf("%s: sha256 %s, want %s", name, got, want)
			}
			return
		}
	}
	t.Errorf("%s: no digest in testdata/digests.txt, got %s", name, got)
}

// ascending returns the oracle of a sign-magnitude format for a walk: as the
// magnitude rises it moves from code to code, never back, by comparing with the
// point halfway to the next.
func ascending(limit func(int) (float64, bool), last int, finish func(index int, negative bool) uint16, nan func(bits uint32) uint16) func(bits uint32) uint16 {
	index := 0
	half, tieStays := limit(0)
	return func(bits uint32) uint16 {
		a := bits &^ signBit
		if a == 0 {
			index = 0
			half, tieStays = limit(0)
		}
		if a > infBits {
			return nan(bits)
		}
		v := float64(math.Float32frombits(a))
		for index < last && (v > half || v == half && !tieStays) {
			if index++; index < last {
				half, tieStays = limit(index)
			}
		}
		return finish(index, bits != a)
	}
}

func TestExhaustivePlain(t *testing.T) {
	if !*exhaustive {
		t.Skip("-exhaustive not given: run make exhaustive")
	}
	for _, f := range formats {
		for _, overflow := range overflows {
			name := f.String() + "/" + overflow.String()
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				o := newOracle(f)
				next := ascending(o.limit, len(o.values)-1,
					func(index int, negative bool) uint16 { return uint16(o.finish(index, negative, overflow)) },
					func(bits uint32) uint16 { return uint16(o.nan(bits>>31 == 1)) })
				walk(t, name, 1, func(dst []byte, first uint32) {
					for i := range dst {
						dst[i] = f.Encode(math.Float32frombits(first+uint32(i)), overflow)
					}
				}, func(dst []byte, first uint32) {
					for i := range dst {
						dst[i] = uint8(next(first + uint32(i)))
					}
				})
			})
		}
	}
	for _, f := range formats {
		t.Run(f.String()+"/bulk", func(t *testing.T) {
			t.Parallel()
			src, got := make([]float32, walkChunk), make([]byte, walkChunk)
			for first := uint64(0); first < 1<<32; first += walkChunk {
				for i := range src {
					src[i] = math.Float32frombits(uint32(first) + uint32(i))
				}
				var c tally
				castPlain32(&c, got, src, f.layout(), 1, false)
				for i, code := range got {
					want := f.Encode(src[i], Saturate)
					if src[i] != src[i] {
						want = f.layout().nan // of either sign
					}
					if code != want {
						t.Fatalf("%v: %#08x: %#02x in bulk, %#02x alone", f, uint32(first)+uint32(i), code, want)
					}
				}
			}
		})
	}
	for _, h := range []struct {
		name      string
		man, bias int
		cast      func(float32) uint16
		quiet     uint16 // the bit that makes a NaN quiet
		payload   int    // bits of float32 payload that are dropped
	}{
		{"float16", 10, 15, func(x float32) uint16 { return uint16(Float16FromFloat32(x)) }, 0x200, 13},
		{"bfloat16", 7, 127, func(x float32) uint16 { return uint16(BFloat16FromFloat32(x)) }, 0x40, 16},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			o := newOracleHalf(h.man, h.bias)
			next := ascending(o.limit, int(o.inf), func(index int, negative bool) uint16 {
				if negative {
					return uint16(index) | 0x8000
				}
				return uint16(index)
			}, func(bits uint32) uint16 {
				return uint16(bits>>16&0x8000) | o.inf | h.quiet | uint16(bits&0x7FFFFF>>h.payload)
			})
			walk(t, h.name, 2, func(dst []byte, first uint32) {
				for i := range walkChunk {
					c := h.cast(math.Float32frombits(first + uint32(i)))
					dst[2*i], dst[2*i+1] = byte(c), byte(c>>8)
				}
			}, func(dst []byte, first uint32) {
				for i := range walkChunk {
					c := next(first + uint32(i))
					dst[2*i], dst[2*i+1] = byte(c), byte(c>>8)
				}
			})
		})
	}
	for _, r := range []Rounding{RoundUp, RoundDown, RoundNearest} {
		for _, overflow := range overflows {
			name := "E8M0/" + r.String() + "/" + overflow.String()
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				low := 0
				walk(t, name, 1, func(dst []byte, first uint32) {
					for i := range dst {
						dst[i] = uint8(E8M0FromFloat32(math.Float32frombits(first+uint32(i)), r, overflow))
					}
				}, func(dst []byte, first uint32) {
					for i := range dst {
						dst[i] = uint8(ascendingE8M0(math.Float32frombits(first+uint32(i)), &low, r, overflow))
					}
				})
			})
		}
	}
}

// ascendingE8M0 is oracleE8M0 for a walk: low, the largest code whose value is
// at most x, is carried along instead of searched for.
func ascendingE8M0(x float32, low *int, r Rounding, overflow Overflow) E8M0 {
	v := float64(x)
	below := math.Float64frombits(uint64(*low+1023-127) << 52)
	switch {
	case v == 0 && overflow == Saturate:
		return 0
	case !(v >= 0x1p-127) && !(v >= 0 && overflow == Saturate):
		return 255
	case v < 0x1p-127:
		return 0
	case v > 0x1p127 && overflow == Saturate:
		return 254
	case v > 0x1p127:
		return 255
	}
	for 2*below <= v {
		below *= 2
		*low++
	}
	if v != below && (r == RoundUp || r == RoundNearest && 2*below-v <= v-below) {
		return E8M0(*low + 1)
	}
	return E8M0(*low)
}
