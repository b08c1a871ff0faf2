package layout

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// slow is the transform by its definition.
func slow(x []complex128, n int, sign float64) []complex128 {
	out := make([]complex128, n)
	for k := range out {
		for j := range min(n, len(x)) {
			out[k] += x[j] * cmplx.Rect(1, sign*2*math.Pi*float64(j*k%n)/float64(n))
		}
	}
	return out
}

func TestTransformsOfEveryLengthFollowTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 31, 60, 64, 97, 100, 255, 256, 257} {
		for _, inverse := range []bool{false, true} {
			x := make([]complex128, n)
			for i := range x {
				x[i] = complex(r.NormFloat64(), r.NormFloat64())
			}
			sign := -1.0
			if inverse {
				sign = 1
			}
			want := slow(x, n, sign)
			f := newTransform(n, inverse)
			f.run(x, make([]complex128, f.spare()))
			for k := range x {
				if cmplx.Abs(x[k]-want[k]) > 1e-12*float64(n) {
					t.Fatalf("length %d, inverse %v: [%d] is %g, want %g", n, inverse, k, x[k], want[k])
				}
			}
		}
	}
}

func TestDFT(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	v := make([]float64, 2*5*3*2)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	x := kernel.FromSlice(tensor.Float64, []int{2, 5, 3, 2}, v)
	for _, length := range []int{5, 4, 8} {
		for _, inverse := range []int64{0, 1} {
			out, err := op{name: "DFT", opset: 20, attrs: []*graph.Attribute{graph.Int("inverse", inverse)}}.run(x, scalar64(int64(length)), scalar64(1))
			if err != nil {
				t.Fatal(err)
			}
			y := kernel.Of[float64](out[0].(*kernel.Tensor))
			for b := range 2 {
				for i := range 3 {
					line := make([]complex128, 5)
					for j := range line {
						p := ((b*5+j)*3 + i) * 2
						line[j] = complex(v[p], v[p+1])
					}
					want, scale := slow(line, length, -1), 1.0
					if inverse == 1 {
						want, scale = slow(line, length, 1), 1/float64(length)
					}
					for k, w := range want {
						p := ((b*length+k)*3 + i) * 2
						if got := complex(y[p], y[p+1]); cmplx.Abs(got-w*complex(scale, 0)) > 1e-12 {
							t.Fatalf("length %d, inverse %d: %g, want %g", length, inverse, got, w)
						}
					}
				}
			}
		}
	}
	real3 := f32([]int{1, 3, 1}, 1, 2, 4)
	half := f32([]int{1, 2, 2}, 7, 0, -2, 1.7320508)
	one := func(inverse int64) op {
		return op{name: "DFT", opset: 20, attrs: []*graph.Attribute{graph.Int("onesided", 1), graph.Int("inverse", inverse)}}
	}
	check(t, []example{
		{"half of a real spectrum", one(0), values{real3}, "[1,2,2]{7 0 -2 1.732}", nil},
		{"a real signal from half of its spectrum", one(1), values{half, scalar64(3)}, "[1,3,1]{1 2 4}", nil},
		{"a real signal of the default length", one(1), values{f32([]int{1, 2, 2}, 3, 0, -1, 0)}, "[1,2,1]{1 2}", nil},
		{"the axis of an attribute", op{name: "DFT", opset: 17, attrs: []*graph.Attribute{graph.Int("axis", 0)}}, values{f32([]int{2, 1, 1}, 1, 3)}, "[2,1,2]{4 0 -2 0}", nil},
		{"the last axis", op{name: "DFT", opset: 20}, values{real3, nil, scalar64(-1)}, "", []string{"axis 2 is that of the real and imaginary part"}},
		{"a length of 0", op{name: "DFT", opset: 20}, values{real3, scalar64(0)}, "", []string{"length 0"}},
		{"a huge length", op{name: "DFT", opset: 20}, values{real3, scalar64(1 << 39)}, "", []string{"are allowed"}},
		{"three parts", op{name: "DFT", opset: 20}, values{count(1, 2, 3)}, "", []string{"extent 1 or 2"}},
	})
}

func TestSTFTIsTheDFTOfEachFrame(t *testing.T) {
	v := []float32{1, -2, 3, 0, 5, 2, -1, 4, 2}
	w := []float32{0.5, 1, 0.25, 1}
	out, err := op{name: "STFT", opset: 17}.run(f32([]int{1, 9, 1}, v...), scalar64(2), f32([]int{4}, w...))
	if err != nil {
		t.Fatal(err)
	}
	y := out[0].(*kernel.Tensor)
	if kernel.ShapeString(y.Shape) != "[1,3,3,2]" {
		t.Fatalf("got %s", y)
	}
	got := kernel.Of[float32](y)
	for f := range 3 {
		frame := make([]complex128, 4)
		for i := range frame {
			frame[i] = complex(float64(v[2*f+i]*w[i]), 0)
		}
		for k, want := range slow(frame, 4, -1)[:3] {
			p := (f*3 + k) * 2
			if cmplx.Abs(complex(float64(got[p]), float64(got[p+1]))-want) > 1e-6 {
				t.Errorf("frame %d, frequency %d: %g, %g, want %g", f, k, got[p], got[p+1], want)
			}
		}
	}
	check(t, []example{
		{"no step", op{name: "STFT", opset: 17}, values{count(1, 4, 1), scalar64(0), nil, scalar64(2)}, "", []string{"frames of 2 every 0"}},
		{"frames longer than the signal", op{name: "STFT", opset: 17}, values{count(1, 4, 1), scalar64(1), nil, scalar64(5)}, "", []string{"frames of 5"}},
	})
}

// TestWindows has the numbers of onnx 1.22.0's reference implementation.
func TestWindows(t *testing.T) {
	five := scalar64(5)
	symmetric := []*graph.Attribute{graph.Int("periodic", 0)}
	check(t, []example{
		{"hann", op{name: "HannWindow", opset: 17}, values{five}, "{0 0.3455 0.9045 0.9045 0.3455}", nil},
		{"hamming", op{name: "HammingWindow", opset: 17}, values{five}, "{0.08696 0.4024 0.9128 0.9128 0.4024}", nil},
		{"hamming symmetric", op{name: "HammingWindow", opset: 17, attrs: symmetric}, values{five}, "{0.08696 0.5435 1 0.5435 0.08696}", nil},
		{"hann of a huge size", op{name: "HannWindow", opset: 17}, values{scalar64(1 << 40)}, "", []string{"are allowed"}},
		{"hann of a negative size", op{name: "HannWindow", opset: 17}, values{scalar64(-1)}, "", []string{"extent -1"}},
		{"mel", op{name: "MelWeightMatrix", opset: 17}, values{scalar64(3), scalar64(8), scalar64(8000), f32(nil, 0), f32(nil, 4000)}, "[5,3]{1 1 0 0 0 1 0 0 0 0 0 0 0 0 0}", nil},
		{"mel above half the rate", op{name: "MelWeightMatrix", opset: 17}, values{scalar64(3), scalar64(8), scalar64(80), f32(nil, 0), f32(nil, 4000)}, "", []string{"above half the rate 80"}},
	})
}
