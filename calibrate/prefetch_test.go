package calibrate_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// readings notes which batches are read, and fails at one of them.
type readings struct {
	*samples.Set
	fails  int // step, -1: none
	asked  []int
	inside atomic.Int32
	t      *testing.T
}

var errGone = errors.New("the disk is gone")

func (w *readings) Batch(ctx context.Context, step, lo, hi int) (map[string]*tensor.Tensor, error) {
	if w.inside.Add(1) != 1 {
		w.t.Errorf("step %d: two batches are read at one time", step)
	}
	defer w.inside.Add(-1)
	w.asked = append(w.asked, step)
	if step == w.fails {
		return nil, errGone
	}
	return w.Set.Batch(ctx, step, lo, hi)
}

// TestTheNextBatchIsReadBeforehand sees that each batch is read once, the next one before a step is over, and that a batch that cannot be
// read ends the run at its own step.
func TestTheNextBatchIsReadBeforehand(t *testing.T) {
	m := convert(t, openModel(t, "digits", "digits_mlp.onnx"), rewrite.Options{})
	w := &readings{Set: openData(t, m, "digits", "calib_", 16, 5), fails: -1, t: t}
	if _, err := calibrate.Run(context.Background(), m, cpu.New(), w, calibrate.Options{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.asked, []int{0, 1, 2, 3, 4}) {
		t.Errorf("steps read: %v", w.asked)
	}
	w = &readings{Set: w.Set, fails: 3, t: t}
	steps := 0
	_, err := calibrate.Run(context.Background(), m, cpu.New(), w, calibrate.Options{Outputs: func(int, map[string]runtime.Value) error {
		steps++
		return nil
	}})
	if !errors.Is(err, errGone) || steps != 3 || w.inside.Load() != 0 {
		t.Errorf("after %d steps: %v, want %v after 3", steps, err, errGone)
	}
}
