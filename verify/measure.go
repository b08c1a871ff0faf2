package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Source is the batches that both models run on; it is part of calibrate.Source.
type Source interface {
	Steps() int        // how many batches there are
	Rows(step int) int // of the batch of a step
	// Batch is rows [lo, hi) of a step's batch: a tensor for each input of the models.
	Batch(ctx context.Context, step, lo, hi int) (map[string]*tensor.Tensor, error)
}

// Options are what to measure with. The zero value compares outputs alone.
type Options struct {
	Runtime runtime.Options // Threads and MaxMemory; the rest is verify's own
	Layers  bool            // compare each layer's output as well
	// Labels are the right classes for the batch of a step; nil where the data has none, and then there is no task metric.
	Labels func(ctx context.Context, step int) (*tensor.Tensor, error)
	Logits string // the output that the task metric reads; "" is the first
	// Progress, where set, hears of every batch that a model has run, out of how many are expected. The total may grow.
	Progress func(done, total int64)
	// Planned, where set, hears what the engine needs for a batch of the model: Original and Rewritten once each, before they run one.
	Planned func(model string, p runtime.Plan)
}

// The models that Options.Planned hears of.
const (
	Original  = "original"
	Rewritten = "rewritten"
)

// Named is the error of one output or layer.
type Named struct {
	Name string
	// Value is the value in the original that a layer's output was compared with; "" where there was none, and then Error is empty.
	Value string
	Error
}

// Measured is what one rewritten model gave.
type Measured struct {
	Steps   int
	Rows    int64
	Outputs []Named
	Layers  []Named
	Logits  string // the output that the metric reads
	// Before and After are the task metric of the original and of the rewritten model; nil without labels.
	Before, After *Metric
}

// LossIncrease is After's loss less Before's.
func (m *Measured) LossIncrease() float64 { return m.After.Loss - m.Before.Loss }

// AccuracyDrop is Before's accuracy less After's.
func (m *Measured) AccuracyDrop() float64 { return m.Before.Accuracy() - m.After.Accuracy() }

// MinSQNR is the smallest SQNR of an output in dB.
func (m *Measured) MinSQNR() float64 {
	least := m.Outputs[0].SQNR
	for _, o := range m.Outputs[1:] {
		least = min(least, o.SQNR)
	}
	return least
}

// Verifier compares models with one original on the same batches. It keeps the original's outputs, so that many models cost one run
// of it.
type Verifier struct {
	backend  runtime.Backend
	original *graph.Model
	source   Source
	opt      Options

	outputs []string // that are compared
	kept    map[int]map[string]*tensor.Tensor
	bytes   int64
	planned map[string]bool // the models that Options.Planned has heard of
	done    int64
	total   int64
}

// keepLimit is how many bytes of the original's outputs are held; beyond it the original runs again for every model.
const keepLimit = 1 << 30

// New prepares a comparison with original. Nothing runs yet.
func New(b runtime.Backend, original *graph.Model, source Source, opt Options) (*Verifier, error) {
	v := &Verifier{backend: b, original: original, source: source, opt: opt, kept: map[int]map[string]*tensor.Tensor{}, planned: map[string]bool{}}
	if source.Steps() == 0 {
		return nil, errors.New("the data has no batches")
	}
	found := false
	for _, o := range original.Graph.Outputs {
		found = found || o.Name == opt.Logits
		if o.Type == nil || o.Type.Kind == graph.TensorKind && (o.Type.DType == tensor.Undefined || comparable(o.Type.DType)) {
			v.outputs = append(v.outputs, o.Name)
		}
	}
	if len(v.outputs) == 0 {
		return nil, errors.New("the original has no floating-point output to compare")
	}
	switch {
	case opt.Logits == "":
		v.opt.Logits = v.outputs[0]
	case !found:
		return nil, fmt.Errorf("the original has no output %q; it has %q", opt.Logits, v.outputs)
	}
	return v, nil
}

// Measure runs rewritten on every batch and compares it with the original. The error names the model, the batch and the output.
func (v *Verifier) Measure(ctx context.Context, rewritten *graph.Model) (*Measured, error) {
	if v.opt.Layers {
		return v.measure(ctx, rewritten, matchLayers(v.original, rewritten))
	}
	return v.measure(ctx, rewritten, nil)
}

// expect announces so many models to come, for Progress.
func (v *Verifier) expect(models int) { v.total = v.done + int64(models*v.source.Steps()) }

func (v *Verifier) measure(ctx context.Context, rewritten *graph.Model, layers []layerValue) (*Measured, error) {
	var values []string
	for _, l := range layers {
		if l.value != "" {
			values = append(values, l.value)
		}
	}
	after, err := v.open(ctx, rewritten, values)
	if err != nil {
		return nil, fmt.Errorf("rewritten model: %w", err)
	}
	defer after.Close()
	reference := &reference{v: v, keep: values}
	defer reference.close()

	m := &Measured{Steps: v.source.Steps(), Logits: v.opt.Logits}
	sums := map[string]*accumulator{}
	var was, is task
	for i := range m.Steps {
		n := v.source.Rows(i)
		inputs, err := v.source.Batch(ctx, i, 0, n)
		if err != nil {
			return nil, err
		}
		want, err := reference.step(ctx, i, inputs)
		if err != nil {
			return nil, fmt.Errorf("original model: batch %d: %w", i+1, err)
		}
		if err := v.plan(Rewritten, after, inputs); err != nil {
			return nil, fmt.Errorf("rewritten model: batch %d: %w", i+1, err)
		}
		got, err := run(ctx, after, inputs)
		if err != nil {
			return nil, fmt.Errorf("rewritten model: batch %d: %w", i+1, err)
		}
		for name, w := range want {
			g := got[name]
			if g == nil {
				return nil, fmt.Errorf("rewritten model: has no output %q, which the original has", name)
			}
			if sums[name] == nil {
				sums[name] = new(accumulator)
			}
			if err := sums[name].add(w, g); err != nil {
				return nil, fmt.Errorf("batch %d: %q: %w", i+1, name, err)
			}
		}
		if v.opt.Labels != nil {
			labels, err := v.opt.Labels(ctx, i)
			if err != nil {
				return nil, err
			}
			for _, x := range []struct {
				task   *task
				logits *tensor.Tensor
			}{{&was, want[v.opt.Logits]}, {&is, got[v.opt.Logits]}} {
				if err := x.task.add(x.logits, labels); err != nil {
					return nil, fmt.Errorf("batch %d: output %q: %w", i+1, v.opt.Logits, err)
				}
			}
		}
		m.Rows += int64(n)
		v.step()
	}
	for _, name := range v.outputs {
		m.Outputs = append(m.Outputs, Named{Name: name, Value: name, Error: sums[name].error()})
	}
	for _, l := range layers {
		n := Named{Name: l.layer, Value: l.value}
		if l.value != "" {
			n.Error = sums[l.value].error()
		}
		m.Layers = append(m.Layers, n)
	}
	if v.opt.Labels != nil {
		if is.rows == 0 {
			return nil, errors.New("no label is a class: all are negative")
		}
		b, a := was.metric(), is.metric()
		m.Before, m.After = &b, &a
	}
	return m, nil
}

func (v *Verifier) step() {
	v.done++
	v.total = max(v.total, v.done, int64(v.source.Steps()))
	if v.opt.Progress != nil {
		v.opt.Progress(v.done, v.total)
	}
}

func (v *Verifier) open(ctx context.Context, m *graph.Model, keep []string) (runtime.Session, error) {
	return v.backend.Open(ctx, m, runtime.Options{Threads: v.opt.Runtime.Threads, MaxMemory: v.opt.Runtime.MaxMemory, Keep: keep})
}

// plan tells Options.Planned what a session needs for a batch.
func (v *Verifier) plan(model string, s runtime.Session, inputs map[string]*tensor.Tensor) error {
	if v.opt.Planned == nil || v.planned[model] {
		return nil
	}
	shapes := map[string]tensor.Shape{}
	for _, in := range s.Inputs() {
		t := inputs[in.Name]
		if t == nil {
			return nil // which run says
		}
		shapes[in.Name] = t.Shape
	}
	p, err := s.Plan(shapes)
	if err != nil {
		return err
	}
	v.planned[model] = true
	v.opt.Planned(model, p)
	return nil
}

// run executes one batch and gives the floating-point tensors.
func run(ctx context.Context, s runtime.Session, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	in := map[string]runtime.Value{}
	for _, v := range s.Inputs() {
		t, ok := inputs[v.Name]
		if !ok {
			return nil, &runtime.InputError{Input: v.Name, Got: "missing from the data", Want: "an array"}
		}
		in[v.Name] = runtime.FromTensor(t)
	}
	res, err := s.Run(ctx, in)
	if err != nil {
		return nil, err
	}
	out := map[string]*tensor.Tensor{}
	for name, v := range res.Values {
		if v.Kind == runtime.TensorValue && v.Tensor != nil && comparable(v.Tensor.DType) {
			out[name] = v.Tensor
		}
	}
	return out, nil
}
