package rewrite

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// Weights says in what form the weight of a rewritten layer is stored.
type Weights uint8

// The forms of a weight.
const (
	Float8Weights   Weights = iota // float8e4m3fn, quantized once
	OriginalWeights                // the model's own type, cast at every step
)

// String is float8 or original.
func (w Weights) String() string {
	if w == OriginalWeights {
		return "original"
	}
	return "float8"
}

// ParseWeights reads float8 or original.
func ParseWeights(s string) (Weights, error) {
	switch s {
	case "float8":
		return Float8Weights, nil
	case "original":
		return OriginalWeights, nil
	}
	return 0, fmt.Errorf("weights: got %q, want float8 or original", s)
}

// Options choose the layers and the form that they get.
type Options struct {
	Recipe  scaling.Recipe
	Weights Weights
	// Include names the layers to rewrite, all when empty; Exclude those to keep, which wins.
	Include, Exclude []Pattern
	// MultipleOf keeps layers whose N or K it does not divide; 0 and 1 keep none.
	MultipleOf int64
	// MinDim keeps layers whose N or K is smaller.
	MinDim int64
	// AssumeConstant takes an initializer that is also a graph input for a constant.
	AssumeConstant bool
	// Observe makes the amax of every Float8Linear an output of the main graph, so that any runtime can observe it.
	Observe bool
	// Progress hears of the bytes of weights read so far and in all; nil for nobody.
	Progress func(done, total int64)

	notInlined string // why the functions that hold layers could not be inlined
}

// filter is the reason for which the user's choice keeps a layer of N outputs and K inputs, nil if it does not.
func (o *Options) filter(name string, n, k int64) *report.Reason {
	for _, p := range o.Exclude {
		if p.Match(name) {
			return report.Because(report.ReasonExcluded, p.Text)
		}
	}
	if len(o.Include) > 0 {
		found := false
		for _, p := range o.Include {
			found = found || p.Match(name)
		}
		if !found {
			return report.Because(report.ReasonNotIncluded)
		}
	}
	if o.MultipleOf > 1 && (n%o.MultipleOf != 0 || k%o.MultipleOf != 0) {
		return report.Because(report.ReasonDimNotMultiple, []int64{n, k}, o.MultipleOf)
	}
	if n < o.MinDim || k < o.MinDim {
		return report.Because(report.ReasonDimTooSmall, []int64{n, k}, o.MinDim)
	}
	return nil
}
