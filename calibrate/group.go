package calibrate

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Group is the processes that share a run, each of them a rank. All ranks make the same calls in the same order; a call returns
// when all have made it. A rank that ends early must make the others' calls fail, or end their processes.
type Group interface {
	Rank() int // 0 to Size()-1
	Size() int

	// AllReduceMax replaces every element by the largest over all ranks. It is given no NaN.
	AllReduceMax(ctx context.Context, v []float32) error

	// AllReduceSum replaces every element by the sum over all ranks.
	AllReduceSum(ctx context.Context, v []int64) error

	// Barrier returns when all ranks have come to it.
	Barrier(ctx context.Context) error
}

// alone is the group of one process.
type alone struct{}

func (alone) Rank() int                                     { return 0 }
func (alone) Size() int                                     { return 1 }
func (alone) AllReduceMax(context.Context, []float32) error { return nil }
func (alone) AllReduceSum(context.Context, []int64) error   { return nil }
func (alone) Barrier(context.Context) error                 { return nil }

// The marks that travel beside an amax. MPI's maximum does with a NaN whatever the machine's comparison does, so a NaN travels as a
// mark that is larger than the others.
const (
	markAbsent = 0 // no rank used the operand
	markNumber = 1
	markNaN    = 2
)

// reduceAmaxes joins the amaxes of one step in a single call: of operand i, amax[i] where present[i], else nothing. Afterwards both
// are those of all ranks.
func reduceAmaxes(ctx context.Context, g Group, amax []float32, present []bool) error {
	if g.Size() == 1 {
		return nil
	}
	n := len(amax)
	v := make([]float32, 2*n)
	for i, a := range amax {
		switch {
		case !present[i]:
		case a != a:
			v[n+i] = markNaN
		default:
			v[i], v[n+i] = a, markNumber
		}
	}
	if err := g.AllReduceMax(ctx, v); err != nil {
		return fmt.Errorf("calibrate: rank %d of %d: join amaxes: %w", g.Rank(), g.Size(), err)
	}
	for i := range amax {
		amax[i], present[i] = v[i], v[n+i] != markAbsent
		if v[n+i] == markNaN {
			amax[i] = nan32
		}
	}
	return nil
}

// duringRun is reduceAmaxes for runtime.Options.AllReduceMax: amaxes that are all there.
func duringRun(g Group) func(context.Context, []float32) error {
	return func(ctx context.Context, amax []float32) error {
		present := make([]bool, len(amax))
		for i := range present {
			present[i] = true
		}
		return reduceAmaxes(ctx, g, amax, present)
	}
}

// broadcast gives every rank the bytes of rank 0. It is a sum in which the others take part with zeros, so that a Group needs no
// further verb.
func broadcast(ctx context.Context, g Group, b []byte) ([]byte, error) {
	if g.Size() == 1 {
		return b, nil
	}
	size := []int64{0}
	if g.Rank() == 0 {
		size[0] = int64(len(b))
	}
	if err := g.AllReduceSum(ctx, size); err != nil {
		return nil, err
	}
	words := make([]int64, (size[0]+7)/8)
	if g.Rank() == 0 {
		padded := append(append([]byte(nil), b...), make([]byte, 8)...)
		for i := range words {
			words[i] = int64(binary.LittleEndian.Uint64(padded[8*i:]))
		}
	}
	if len(words) > 0 {
		if err := g.AllReduceSum(ctx, words); err != nil {
			return nil, err
		}
	}
	out := make([]byte, 0, 8*len(words))
	for _, w := range words {
		out = binary.LittleEndian.AppendUint64(out, uint64(w))
	}
	return out[:size[0]], nil
}
