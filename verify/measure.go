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
	Logits string // the output that the task metric reads; "" is the first that is compared
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

// Verifier compares models with one original on the same batches. It keeps the original's outputs, so that many models cost one run
// of it.
type Verifier struct {
	backend  runtime.Backend
	original *graph.Model
	source   Source
	opt      Options

	outputs []output // that are compared
	kept    map[int]map[string]*tensor.Tensor
	bytes   int64
	planned map[string]bool // the models that Options.Planned has heard of
	done    int64
	total   int64
}

// output is one that both models have. One of no declared type is compared where it turns out to be of floating-point numbers.
type output struct {
	name     string
	declared tensor.DType
}

// keepLimit is how many bytes of the original's outputs are held; beyond it the original runs again for every model.
const keepLimit = 1 << 30

// New prepares a comparison with original. Nothing runs yet.
func New(b runtime.Backend, original *graph.Model, source Source, opt Options) (*Verifier, error) {
	v := &Verifier{backend: b, original: original, source: source, opt: opt, kept: map[int]map[string]*tensor.Tensor{}, planned: map[string]bool{}}
	if source.Steps() == 0 {
		return nil, errors.New("the data has no batches")
	}
	found := opt.Logits == ""
	var names []string
	for _, o := range original.Graph.Outputs {
		declared := output{name: o.Name}
		if o.Type != nil {
			declared.declared = o.Type.DType
		}
		switch {
		case o.Type == nil || o.Type.Kind == graph.TensorKind && (o.Type.DType == tensor.Undefined || comparable(o.Type.DType)):
			v.outputs = append(v.outputs, declared)
			names = append(names, o.Name)
		case o.Name != opt.Logits:
		case o.Type.Kind == graph.TensorKind:
			return nil, notLogits(o.Name, o.Type.DType.String())
		default:
			return nil, notLogits(o.Name, "no tensor")
		}
		found = found || o.Name == opt.Logits
	}
	if len(v.outputs) == 0 {
		return nil, errNothing
	}
	if !found {
		return nil, fmt.Errorf("the original has no output %q; it has %q", opt.Logits, names)
	}
	return v, nil
}

var errNothing = errors.New("the original has no floating-point output to compare")

func notLogits(name, what string) error {
	return fmt.Errorf("output %q is %s, want a floating-point type", name, what)
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
	var outputs []string // that are of floating-point numbers
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
		if i == 0 {
			for _, o := range v.outputs {
				if want[o.name] != nil {
					outputs = append(outputs, o.name)
				}
			}
			if len(outputs) == 0 {
				return nil, errNothing
			}
			if m.Logits == "" {
				m.Logits = outputs[0]
			}
		}
		values, err := run(ctx, after, inputs)
		if err != nil {
			return nil, fmt.Errorf("rewritten model: batch %d: %w", i+1, err)
		}
		got := floating(values)
		for name, w := range want {
			g := got[name]
			if other, ok := values[name]; !ok {
				return nil, fmt.Errorf("rewritten model: has no output %q, which the original has", name)
			} else if g == nil {
				return nil, fmt.Errorf("rewritten model: batch %d: output %q is %s, and %s in the original", i+1, name, kind(other), w.DType)
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
			if want[m.Logits] == nil {
				return nil, fmt.Errorf("original model: batch %d: output %q is of another type than in the batches before", i+1, m.Logits)
			}
			for _, x := range []struct {
				task   *task
				logits *tensor.Tensor
			}{{&was, want[m.Logits]}, {&is, got[m.Logits]}} {
				if err := x.task.add(x.logits, labels); err != nil {
					return nil, fmt.Errorf("batch %d: output %q: %w", i+1, m.Logits, err)
				}
			}
		}
		m.Rows += int64(n)
		v.step()
	}
	for _, name := range outputs {
		m.Outputs = append(m.Outputs, Named{Name: name, Value: name, Error: sums[name].error()})
	}
	for _, l := range layers {
		n := Named{Name: l.layer}
		if sum := sums[l.value]; sum != nil {
			n.Value, n.Error = l.value, sum.error()
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

// run executes one batch.
func run(ctx context.Context, s runtime.Session, inputs map[string]*tensor.Tensor) (map[string]runtime.Value, error) {
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
	return res.Values, nil
}

// floating is those of the values that have an error.
func floating(values map[string]runtime.Value) map[string]*tensor.Tensor {
	out := map[string]*tensor.Tensor{}
	for name, v := range values {
		if v.Kind == runtime.TensorValue && v.Tensor != nil && comparable(v.Tensor.DType) {
			out[name] = v.Tensor
		}
	}
	return out
}

// kind is what a value is, for an error.
func kind(v runtime.Value) string {
	switch {
	case v.Kind == runtime.SequenceValue:
		return "a sequence"
	case v.Kind == runtime.OptionalValue:
		return "an optional"
	case v.Tensor == nil:
		return "nothing"
	}
	return v.Tensor.DType.String()
}
