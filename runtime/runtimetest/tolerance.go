package runtimetest

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Tolerances are how far from the float64 reference an element may lie: a part of the magnitude of what was summed up to make it (of
// the value itself where nothing is summed). It covers the rounding of intermediate results; the rounding to the output's own type
// comes on top of it.
type Tolerances struct {
	Sum         float64 // of products in float32
	Elementwise float64 // of one operator on float32
	Half        float64 // of float16 and bfloat16 outputs, in units of their own rounding (half an ulp)
	Scale       float64 // of a value made with a scale of the run's own

	// Codes is of products of float8 codes, where an engine sums those with fewer bits than float32 has, and Decoded of products with a
	// float8 weight whose values it rounds to bfloat16, as the model's own type is then. 0 is Sum.
	Codes, Decoded float64

	// Amax is how far, relative to itself, the amax of a layer's input lies from the one that the layer has where all sums are in float32,
	// for nine layers of ten. 0 is 1e-3.
	Amax float64
}

// Default is what the CPU reaches with sums in float32: K rounding errors of 2^-24 grow like their square root, and 1e-5 leaves room
// for the worst order of a few hundred products. Functions such as Exp and Tanh are within a few ulp.
func Default() Tolerances {
	return Tolerances{Sum: 1e-5, Elementwise: 4e-6, Half: 1.01, Scale: 1e-5}
}

// reference is what an output should be: a value for each element, and the magnitude that its tolerance is relative to.
type reference struct {
	dtype  tensor.DType
	shape  tensor.Shape
	value  []float64
	weight []float64 // nil: the values' own magnitudes
}

// roundoff is half an ulp of dtype relative to a number, and the smallest step near zero.
func roundoff(dtype tensor.DType) (relative, smallest float64) {
	switch dtype {
	case tensor.Float16:
		return math.Ldexp(1, -11), math.Ldexp(1, -25)
	case tensor.BFloat16:
		return math.Ldexp(1, -8), math.Ldexp(1, -134)
	}
	return math.Ldexp(1, -24), math.Ldexp(1, -150)
}

// near holds an output against its reference; part is the tolerance. It may be called from any goroutine.
func (e *engine) near(t *testing.T, what string, got runtime.Value, want reference, part float64) {
	t.Helper()
	v := got.Tensor
	if got.Kind != runtime.TensorValue || v == nil {
		t.Errorf("%s: no tensor", what)
		return
	}
	if v.DType != want.dtype || !v.Shape.Equal(want.shape) {
		t.Errorf("%s: %s %s, want %s %s", what, v.DType, v.Shape, want.dtype, want.shape)
		return
	}
	x := numbers(t, v)
	if len(x) != len(want.value) {
		t.Errorf("%s: %d elements, want %d", what, len(x), len(want.value))
		return
	}
	relative, smallest := roundoff(want.dtype)
	if want.dtype != tensor.Float32 {
		relative *= e.tol.Half
	}
	worst, at, bad := 0.0, -1, 0
	for i, w := range want.value {
		magnitude := math.Abs(w)
		if want.weight != nil {
			magnitude = want.weight[i]
		}
		// The reference rounds to the type once; what lies beside a tie may go the other way, so a whole roundoff on each side.
		allowed := part*magnitude + 2*relative*math.Abs(w) + 2*smallest
		w = round(want.dtype, w)
		diff := math.Abs(x[i] - w)
		switch {
		case math.IsNaN(w) && math.IsNaN(x[i]) || w == x[i]:
			continue
		case math.IsNaN(diff) || math.IsInf(diff, 0):
			diff = math.Inf(1)
		case diff <= allowed:
			continue
		}
		bad++
		if over := diff / allowed; at < 0 || over > worst {
			worst, at = over, i
		}
	}
	if bad > 0 {
		t.Errorf("%s: %d of %d elements are off; the worst, number %d, is %g, want %g (%.3g times the tolerance)", what, bad, len(x), at, x[at],
			round(want.dtype, want.value[at]), worst)
	}
}

// round brings x to the nearest value of dtype.
func round(dtype tensor.DType, x float64) float64 {
	switch dtype {
	case tensor.Float32:
		return float64(float32(x))
	case tensor.Float16:
		return float64(float8.Float16FromFloat32(float32(x)).Float32())
	case tensor.BFloat16:
		return float64(float8.BFloat16FromFloat32(float32(x)).Float32())
	}
	return x
}
