package runtimetest

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// amaxCases are the values at which an amax is special: it must be NaN when an element is, wherever it stands, and Inf likewise. The
// output's own rules hold beside it: an infinity saturates, a NaN spoils its own row alone, and neither makes a scale.
func amaxCases() []testCase {
	nan, inf := math.NaN(), math.Inf(1)
	var all []testCase
	for _, special := range []struct {
		name string
		put  map[int]float64 // into 4 rows of 33
	}{
		{"a NaN first", map[int]float64{0: nan}},
		{"a NaN in the middle", map[int]float64{50: nan}},
		{"a NaN last", map[int]float64{131: nan}},
		{"an infinity", map[int]float64{40: inf}},
		{"a negative infinity", map[int]float64{40: -inf}},
		{"both infinities", map[int]float64{1: inf, 100: -inf}},
		{"an infinity and a NaN", map[int]float64{3: inf, 99: nan}},
		{"a negative peak", map[int]float64{70: -12345}},
		{"a value that saturates", map[int]float64{70: 1e6}},
	} {
		for _, mode := range []ops.InputMode{ops.InputDelayed, ops.InputDynamic, ops.InputOff} {
			v := ops.Variant{Input: mode}
			all = append(all, testCase{"amax/" + special.name + "/" + v.String(), func(t *testing.T, e *engine) {
				l := newLayer("layer", v, tensor.Float32, 7, 33, false)
				shape := tensor.Shape{4, 33}
				x := random(31, l.dtype, elements(shape))
				for i, value := range special.put {
					x[i] = value
				}
				res := e.once(t, layerModel(l), feeds{"x": fromNumbers(l.dtype, shape, x)}, runtime.Options{})
				checkStats(t, res, l, x)
				e.near(t, "y", res.Values["y"], l.output(x, shape), e.part(l))
			}})
		}
	}
	zeros := testCase{"amax/zeros alone", func(t *testing.T, e *engine) {
		l := newLayer("layer", ops.Variant{Input: ops.InputDynamic}, tensor.Float32, 7, 33, false)
		x := make([]float64, 66)
		res := e.once(t, layerModel(l), feeds{"x": fromNumbers(l.dtype, tensor.Shape{2, 33}, x)}, runtime.Options{})
		checkStats(t, res, l, x)
		e.near(t, "y", res.Values["y"], l.output(x, tensor.Shape{2, 33}), 0)
	}}
	halves := testCase{"amax/a NaN in float16 and bfloat16", func(t *testing.T, e *engine) {
		for _, dtype := range []tensor.DType{tensor.Float16, tensor.BFloat16} {
			l := newLayer("layer", ops.Variant{}, dtype, 7, 33, false)
			x := random(32, dtype, 66)
			x[34] = nan
			res := e.once(t, layerModel(l), feeds{"x": fromNumbers(dtype, tensor.Shape{2, 33}, x)}, runtime.Options{})
			checkStats(t, res, l, x)
		}
	}}
	return append(all, zeros, halves)
}
