package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
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
	if len(m.Graph.Outputs) == 0 {
		return nil, errors.New("the model has no output")
	}
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

// check reads the labels of every batch, so that what does not fit is found before the run, and gives their fingerprint.
func (l *losses) check(ctx context.Context) (string, error) {
	h := xxhash.New()
	of := labels(l.set, l.name)
	for i := range l.set.Steps() {
		t, err := of(ctx, i)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %s ", t.DType, t.Shape)
		if _, err := t.Data.WriteTo(h); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("labels %q of %q xxh64:%016x", l.name, l.output, h.Sum64()), nil
}

// save and restore carry the losses of so many steps through a checkpoint, bit by bit.
func (l *losses) save(steps int) []byte {
	var b []byte
	for _, v := range l.all[:steps] {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(v)))
	}
	return b
}

func (l *losses) restore(b []byte, steps int) error {
	if len(b) != 8*steps {
		return &calibrate.CheckpointError{Why: fmt.Sprintf("it has %d bytes of losses, want those of %d steps", len(b), steps)}
	}
	for ; len(b) > 0; b = b[8:] {
		l.all = append(l.all, reports.Float64(math.Float64frombits(binary.LittleEndian.Uint64(b))))
	}
	return nil
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
		return fmt.Errorf("output %q: %w", l.output, err)
	}
	l.all = append(l.all, reports.Float64(m.Loss))
	return nil
}
