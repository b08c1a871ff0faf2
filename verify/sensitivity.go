package verify

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// Variants makes models from the original in which some of the rewritten model's layers are float8, each with the state that it has
// in the rewritten model, and all others as they were.
type Variants interface {
	// Layers are the rewritten model's layers.
	Layers() []string
	// Only is the model in which just these layers are float8.
	Only(ctx context.Context, layers []string) (*graph.Model, error)
}

// Cost is what one layer costs.
type Cost struct {
	Layer string
	// Noise is the noise-to-signal ratio of the outputs, Σ error² / Σ reference² of the worst output, when this layer alone is float8. It is
	// infinite where an output has an Inf or NaN that the original has not.
	Noise float64
	// Judged is whether there were labels. Then LossIncrease is what the loss gains when this layer alone is float8, and Correct the change
	// in correct rows, negative where rows are lost.
	Judged       bool
	LossIncrease float64
	Correct      int64
}

// SQNR is the cost as a ratio in dB.
func (c Cost) SQNR() float64 { return -10 * math.Log10(c.Noise) }

// Sensitivity ranks the layers, the most expensive first: by what the loss gains where there are labels, else by the noise. Every layer
// alone is float8 for one pass over the batches.
//
// Costs of single layers add up only roughly, since errors of one layer pass through all after it; what an exclusion is worth is therefore
// measured and not summed: see Exclude.
func (v *Verifier) Sensitivity(ctx context.Context, variants Variants) ([]Cost, error) {
	layers := variants.Layers()
	v.expect(len(layers))
	costs := make([]Cost, 0, len(layers))
	for _, layer := range layers {
		m, err := v.variant(ctx, variants, []string{layer})
		if err != nil {
			return nil, fmt.Errorf("layer %q alone: %w", layer, err)
		}
		c := Cost{Layer: layer, Judged: m.After != nil}
		for _, o := range m.Outputs {
			noise := math.Pow(10, -o.SQNR/10)
			switch {
			case o.NonFinite > 0:
				noise = math.Inf(1)
			case o.same():
				noise = 0 // of an output that is zero in both models too
			}
			c.Noise = max(c.Noise, noise)
		}
		if c.Judged {
			c.LossIncrease, c.Correct = m.LossIncrease(), m.After.Correct-m.Before.Correct
		}
		costs = append(costs, c)
	}
	slices.SortStableFunc(costs, dearer)
	return costs, nil
}

// dearer orders costs, the largest first. A loss that is no number any more is larger than every number.
func dearer(a, b Cost) int {
	if d := cmp.Compare(endless(b.LossIncrease), endless(a.LossIncrease)); d != 0 {
		return d
	}
	return cmp.Compare(endless(b.Noise), endless(a.Noise))
}

func endless(x float64) float64 {
	if math.IsNaN(x) {
		return math.Inf(1)
	}
	return x
}

// Exclusion is a list of layers to keep, and what is left when they are.
type Exclusion struct {
	Layers []string // to exclude, in the order of the costs
	Result *Measured
	Met    bool // whether the gates are met
}

// Exclude finds the shortest head of costs whose layers must stay for the gates to be met, each length measured. Where no list meets
// them, which is so when even no float8 layer is left, the last is returned with Met false.
func (v *Verifier) Exclude(ctx context.Context, variants Variants, costs []Cost, gates Gates) (*Exclusion, error) {
	kept := func(n int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = costs[i].Layer
		}
		return out
	}
	e := &Exclusion{}
	for n := 1; n <= len(costs); n++ {
		e.Layers = kept(n)
		left := slices.DeleteFunc(slices.Clone(variants.Layers()), func(l string) bool { return slices.Contains(e.Layers, l) })
		var err error
		if e.Result, err = v.variant(ctx, variants, left); err != nil {
			return nil, fmt.Errorf("without the %d layers that cost most: %w", n, err)
		}
		if len(gates.Check(e.Result)) == 0 {
			e.Met = true
			break
		}
	}
	return e, nil
}

func (v *Verifier) variant(ctx context.Context, variants Variants, layers []string) (*Measured, error) {
	m, err := variants.Only(ctx, layers)
	if err != nil {
		return nil, err
	}
	return v.measure(ctx, m, nil)
}
