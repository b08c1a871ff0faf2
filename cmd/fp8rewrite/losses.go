package main

import (
	"context"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/verify"
)

// losses are the mean cross-entropies of the batches of a calibration.
type losses struct {
	set    *samples.Set
	name   string // of the labels
	output string // that the labels judge
	all    []reports.Float64
}

// newLosses judges output, or the first output of m where it is "".
func newLosses(set *samples.Set, m *graph.Model, name, output string) (*losses, error) {
	if output == "" {
		output = m.Graph.Outputs[0].Name
	}
	for _, o := range m.Graph.Outputs {
		if o.Name == output {
			return &losses{set: set, name: name, output: output}, nil
		}
	}
	return nil, fmt.Errorf("the model has no output %q", output)
}

// step judges what the model gave for one batch.
func (l *losses) step(step int, values map[string]runtime.Value) error {
	labels, err := labels(l.set, l.name)(context.Background(), step)
	if err != nil {
		return err
	}
	logits := values[l.output].Tensor
	if logits == nil {
		return fmt.Errorf("output %q is not a tensor", l.output)
	}
	m, err := verify.Judge(logits, labels)
	if err != nil {
		return fmt.Errorf("batch %d: output %q: %w", step+1, l.output, err)
	}
	l.all = append(l.all, reports.Float64(m.Loss))
	return nil
}
