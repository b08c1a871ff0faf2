package calibrate

import (
	"context"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Source is the batches of a run.
type Source interface {
	// Steps is how many batches there are.
	Steps() int

	// Rows is how many rows the batch of a step has, at least 1.
	Rows(step int) int

	// Batch is rows [lo, hi) of a step's batch, lo < hi: the tensors of the model's inputs by name, the rows along their first
	// axis. A tensor that is the same for every row comes as it is. The next step's batch is read by another goroutine while the
	// engine computes: Batch is called once at a time, but beside Rows and Options.Outputs.
	Batch(ctx context.Context, step, lo, hi int) (map[string]*tensor.Tensor, error)
}

// A Source may say which inputs have rows; all have if it does not. Only these must be able to take part of a batch.
type batcher interface{ Batched(input string) bool }

// A Source may say why its batches cannot be divided, for ranks and for shards.
type divisible interface{ Divisible() error }

// Part is rows [lo, hi) of n that part i of count takes: parts are contiguous and in order, and the first n%count have one more row
// than the others. So part 0 has a row wherever there is one.
func Part(n, i, count int) (lo, hi int) {
	size, more := n/count, n%count
	lo = i*size + min(i, more)
	hi = lo + size
	if i < more {
		hi++
	}
	return lo, hi
}
