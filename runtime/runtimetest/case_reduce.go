package runtimetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func reduceCases() []testCase {
	return []testCase{{"workers/amaxes are joined before the cast", join}, {"workers/a failure to join ends the run", joinFails},
		{"workers/nothing to join", joinNothing}}
}

// join: another worker saw four times as much.
func join(t *testing.T, e *engine) {
	for _, perChannel := range []bool{false, true} {
		l := newLayer("layer", ops.Variant{Input: ops.InputDynamic, Weight: ops.WeightDynamic}, tensor.Float32, 7, 30, perChannel)
		l.joined = 4
		m := layerModel(l)
		var sizes []int
		s := e.open(t, m, runtime.Options{AllReduceMax: func(_ context.Context, amax []float32) error {
			sizes = append(sizes, len(amax))
			for i := range amax {
				amax[i] *= 4
			}
			return nil
		}})
		shape := tensor.Shape{3, 30}
		x := random(101, tensor.Float32, elements(shape))
		res := run(t, s, feeds{"x": fromNumbers(tensor.Float32, shape, x)})
		e.near(t, "y", res.Values["y"], l.output(x, shape), e.part(l))
		if want := []int{1, len(l.scaleW)}; !slices.Equal(sizes, want) {
			t.Errorf("calls with %d amaxes, want %d: the input before the weight", sizes, want)
		}
	}
}

func joinFails(t *testing.T, e *engine) {
	gone := errors.New("the other worker is gone")
	l := newLayer("layer", ops.Variant{Input: ops.InputDynamic}, tensor.Float32, 7, 30, false)
	s := e.open(t, layerModel(l), runtime.Options{AllReduceMax: func(context.Context, []float32) error { return gone }})
	if _, err := s.Run(t.Context(), feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{1, 30}, random(102, tensor.Float32, 30))}.values()); !errors.Is(err, gone) {
		t.Errorf("error %v, want %v", err, gone)
	}
}

// joinNothing: a model whose scales are all stored runs on every engine, and nobody is asked.
func joinNothing(t *testing.T, e *engine) {
	l := newLayer("layer", ops.Variant{}, tensor.Float32, 7, 30, false)
	s := e.open(t, layerModel(l), runtime.Options{AllReduceMax: func(context.Context, []float32) error {
		return errors.New("asked without need")
	}})
	x := random(103, tensor.Float32, 30)
	res := run(t, s, feeds{"x": fromNumbers(tensor.Float32, tensor.Shape{1, 30}, x)})
	e.near(t, "y", res.Values["y"], l.output(x, tensor.Shape{1, 30}), e.part(l))
}
