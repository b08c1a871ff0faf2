package calibrate

import (
	"context"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// inexact are the engines that promise no equal bits for a row alone and among others, and how far the amaxes may be from each other
// then, relative to the smaller: some hundred roundings of a float32, and far less than what a row of another content does.
var inexact = map[string]float32{"ort": 1e-3}

// independentRows refuses several ranks, and shards, of a model whose rows depend on each other, such as one that subtracts the mean over
// the batch: the amax of a whole batch is then not the largest of its parts'. It runs two rows together and each alone, the same ones on
// every rank, so that all of them come to the same end without a word. Where no step has two rows there is nothing to see.
//
// Casts are left out of the inputs: a scale of 1, or of the run's own amax, would make rows seem equal or depend on each other.
func (r *run) independentRows(ctx context.Context) error {
	over := r.over()
	if over == "" {
		return nil
	}
	step := 0
	for r.source.Rows(step) < 2 {
		if step++; step == r.source.Steps() {
			return nil
		}
	}
	want := make([]ops.Variant, len(r.layers))
	for i, l := range r.layers {
		want[i] = l.op.Variant
		want[i].Input = ops.InputOff
	}
	m, err := r.variant(want)
	if err != nil {
		return err
	}
	session, err := r.backend.Open(ctx, m, runtime.Options{Threads: r.opt.Threads, MaxMemory: r.opt.MaxMemory})
	if err != nil {
		return err
	}
	defer session.Close()
	amaxes := func(lo, hi int) ([]runtime.LayerStats, error) {
		inputs, err := r.batch(ctx, step, lo, hi)
		if err != nil {
			return nil, err
		}
		res, err := session.Run(ctx, inputs)
		if err != nil {
			return nil, fmt.Errorf("rows %d to %d of step %d, to see whether rows depend on each other: %w", lo+1, hi, step+1, err)
		}
		if len(res.Layers) != len(r.layers) {
			return nil, fmt.Errorf("device %q: statistics of %d layers, want %d", r.backend.Name(), len(res.Layers), len(r.layers))
		}
		return res.Layers, nil
	}
	var seen [3][]runtime.LayerStats
	for i, part := range [3][2]int{{0, 2}, {0, 1}, {1, 2}} {
		if seen[i], err = amaxes(part[0], part[1]); err != nil {
			return err
		}
	}
	near := inexact[r.backend.Name()]
	for i, l := range r.layers {
		if l.inside != "" {
			continue // which may run for one row and not for the other, and is refused elsewhere where it must be
		}
		both, apart := seen[0][i].AmaxInput, scaling.JoinAmax(seen[1][i].AmaxInput, seen[2][i].AmaxInput)
		if !equalAmax(both, apart, near) {
			return &SpreadError{over, fmt.Sprintf("the rows of layer %q depend on each other: the largest element of its input is %v for two rows, and %v for each of them alone",
				l.name, both, apart)}
		}
	}
	return nil
}

// equalAmax reports whether two amaxes are equal, or differ by no more than near times the smaller.
func equalAmax(a, b, near float32) bool {
	if a == b || a != a && b != b {
		return true
	}
	return max(a, b)-min(a, b) <= near*min(a, b) // false where one is NaN, or Inf
}

// over is what the run is spread over, "" where it is not.
func (r *run) over() string {
	if n := r.group.Size(); n > 1 {
		return fmt.Sprintf("%d ranks", n)
	}
	if n := r.opt.Shard.Count; n > 1 {
		return fmt.Sprintf("%d shards", n)
	}
	return ""
}
