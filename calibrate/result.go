package calibrate

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// Result is a calibrated model and how its state came about.
type Result struct {
	Model  *graph.Model
	Recipe scaling.Recipe
	Steps  int
	Rows   int64 // of this shard, in all steps
	Layers []Layer

	// GradOutput says whether the state of the outputs' gradients, which no forward pass moves, is as conversion left it.
	GradOutput GradState

	Provenance Provenance
}

// GradState is what the histories of the outputs' gradients hold.
type GradState string

// The states of the gradients.
const (
	GradInitial GradState = "initial" // nothing yet: histories of zeros, scale 1
	GradKept    GradState = "kept"    // what was there before, from training
)

// Layer is what a run saw of one layer.
type Layer struct {
	Name, Node, Graph string // Graph is the path of the subgraph, as in a conversion's report
	Variant           string

	Ran         int64 // steps in which the layer ran
	Initialized bool  // whether its histories hold an observation now

	Input  Operand
	Weight *Operand // nil for a weight stored as float8
}

// Operand is what a run saw of one operand of a layer. Layers that share a weight have the same of it, and counts of their own.
type Operand struct {
	Mode scaling.Mode

	// Amaxes has the amax of every step: 0, Inf and NaN too, and Unobserved where the layer did not run.
	Amaxes []float32

	// Scales has the quantization scale after every step, which the next one casts with; History the amaxes kept, newest first;
	// Final the scales that the model has now: one, or one for each output channel (then Scales has the least of them). All are nil
	// unless Mode is Delayed.
	Scales, History, Final []float32
	PerChannel             bool

	Rejected scaling.Rejected
	Counts   runtime.Counts
	Counted  bool // whether the engine counted
}

// SaturationRate is the part of the elements cast that were beyond the format's largest value.
func (o *Operand) SaturationRate() float64 { return rate(o.Counts.Saturated, o.Counts.Elements) }

// FlushRate is the part of the elements cast that became 0 and were not.
func (o *Operand) FlushRate() float64 { return rate(o.Counts.Flushed, o.Counts.Elements) }

func rate(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// result writes the state into the model and says what became of it.
func (r *run) result() (*Result, error) {
	r.put()
	res := &Result{Model: r.model, Recipe: r.recipe, Steps: r.done, Rows: r.rows, GradOutput: GradInitial}
	res.Provenance = Provenance{Version: provenanceVersion, Steps: r.done, Rows: r.rows, AmaxInit: !r.opt.NoAmaxInit, Shard: r.opt.Shard.String(),
		Data: r.opt.Data, Batch: r.source.Rows(0), Windows: r.windows(r.done)}
	if err := res.Provenance.write(r.model); err != nil {
		return nil, err
	}
	for _, l := range r.layers {
		if !l.gradInitial {
			res.GradOutput = GradKept
		}
		row := Layer{Name: l.name, Node: l.node.Name, Graph: l.graph, Variant: l.op.Variant.FunctionName(), Ran: l.ran, Initialized: l.observed(),
			Input: l.input.seen(l.inputCounts, l.counted)}
		if l.weight != nil {
			row.Weight = new(l.weight.seen(l.weightCounts, l.counted))
		}
		res.Layers = append(res.Layers, row)
	}
	return res, nil
}

func (o *operand) seen(counts runtime.Counts, counted bool) Operand {
	s := Operand{Mode: o.mode, Amaxes: o.amaxes, Rejected: o.rejected, Counts: counts, Counted: counted}
	if o.state != nil {
		s.Scales, s.History = o.course, o.state.History()
		s.Final, s.PerChannel = append([]float32(nil), o.scales...), len(o.scale.Tensor.Shape) > 0
	}
	return s
}
