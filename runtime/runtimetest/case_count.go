package runtimetest

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func countCases() []testCase {
	return []testCase{{"counts/input", countInput}, {"counts/weight", countWeight}, {"counts/iterations of a loop add up", countLoop},
		{"counts/not asked for", countNothing}}
}

// countInput has one of everything that is counted.
func countInput(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 3, 16, false)
	l.scaleX = 2
	x := make([]float64, 32)
	x[0], x[1], x[2] = 1000, -500, 224 // 224·2 is the largest finite value itself
	x[3], x[4] = 1e-6, -1e-5           // become zero
	x[5] = math.Ldexp(1, -10)          // 2^-9 is the smallest code
	x[6], x[7], x[8] = math.Inf(1), math.Inf(-1), math.NaN()
	x[9] = 1
	res := e.once(t, layerModel(l), feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{2, 16}, x)}, runtime.Options{Statistics: true})
	got := res.Layers[0]
	if !got.Counted {
		t.Fatal("counts were asked for, and there are none")
	}
	if want := (runtime.Counts{Elements: 32, Saturated: 4, Flushed: 2, NonFinite: 3}); got.Input != want {
		t.Errorf("input: %+v, want %+v", got.Input, want)
	}
	if want := (runtime.Counts{}); got.Weight != want {
		t.Errorf("a weight that is stored as float8 was not cast: %+v, want %+v", got.Weight, want)
	}
}

func countWeight(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{Weight: ops.WeightDelayed}, tensor.Float32, 2, 16, false)
	l.scaleW[0] = 1
	for i := range l.weight {
		l.weight[i] = 1
	}
	l.weight[0], l.weight[31], l.weight[5] = 449*2, -1e9, 1e-7
	res := e.once(t, layerModel(l), feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{1, 16}, random(33, tensor.Float32, 16))}, runtime.Options{Statistics: true})
	got := res.Layers[0]
	if !got.Counted {
		t.Fatal("counts were asked for, and there are none")
	}
	if want := (runtime.Counts{Elements: 32, Saturated: 2, Flushed: 1}); got.Weight != want {
		t.Errorf("weight: %+v, want %+v", got.Weight, want)
	}
}

// countLoop: x, 2x, 4x, of which ever more saturates.
func countLoop(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 3, 4, false)
	l.scaleX = 1
	in := feeds{"x": tensor.Float32s(tensor.Shape{2, 4}, 100, 200, 400, 500, 1, 0, 0, 1e-9), "trips": tensor.Int64s(tensor.Shape{}, 3)}
	s := e.open(t, loopModel(l, 2), runtime.Options{Statistics: true})
	for range 2 {
		got := run(t, s, in).Layers[0]
		if !got.Counted {
			t.Fatal("counts were asked for, and there are none")
		}
		// 500; 1000, 800; 2000, 1600, 800.
		if want := (runtime.Counts{Elements: 24, Saturated: 6, Flushed: 3}); got.Input != want || got.Runs != 3 || got.AmaxInput != 2000 {
			t.Errorf("%+v, want 3 runs, amax 2000 and %+v", got, want)
		}
	}
}

// countNothing: without Statistics the amax is there all the same.
func countNothing(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 3, 16, false)
	x := random(34, tensor.Float32, 16)
	res := e.once(t, layerModel(l), feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{1, 16}, x)}, runtime.Options{})
	checkStats(t, res, l, x)
	if got := res.Layers[0]; !got.Counted && got.Input != (runtime.Counts{}) {
		t.Errorf("not counted, and yet %+v", got.Input)
	}
}
