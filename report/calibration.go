package report

import "fmt"

// Calibration is what `fp8rewrite calibrate` did: the section of a report of KindCalibrate.
type Calibration struct {
	Settings  CalibrationSettings `json:"settings"`
	Execution Execution           `json:"execution" since:"1.2"`
	// GradOutput says what the state of the gradients of the layers' outputs holds, which no forward pass moves.
	GradOutput GradOutput `json:"grad_output" class:"exact"`
	// Losses has the mean cross-entropy of every batch, in nats, under the scales of the steps before it; empty without labels.
	Losses []Float64 `json:"losses" class:"tolerant"`
	// Layers has one entry for each Float8Linear, in the order of execution.
	Layers []CalibratedLayer `json:"layers"`
}

// CalibrationSettings are the choices that shaped the run, beside the recipe, which is the model's.
type CalibrationSettings struct {
	Data      string `json:"data" class:"exact"` // fingerprint of the batches; "" where none was made
	Steps     int64  `json:"steps" class:"exact"`
	BatchSize int64  `json:"batch_size" class:"exact"` // rows of a full step; 0 where every step brings its own
	Rows      int64  `json:"rows" class:"exact"`       // that this shard ran, in all steps
	Device    string `json:"device" class:"exact"`
	AmaxInit  bool   `json:"amax_init" class:"exact"` // the first scale of an operand is from its own amax
	Freeze    bool   `json:"freeze" class:"exact"`    // the final scales were stored as static
	Shard     string `json:"shard" class:"exact"`     // "i/n"; "" for the whole
	Ranks     int64  `json:"ranks" class:"exact"`     // processes that shared the rows
}

// GradOutput is what the histories of the outputs' gradients hold.
type GradOutput string

// The states of the gradients.
const (
	GradInitial GradOutput = "initial" // nothing yet, as conversion left them
	GradKept    GradOutput = "kept"    // what stood there before the run
)

// CalibratedLayer is what a run saw of one Float8Linear.
type CalibratedLayer struct {
	Name        string             `json:"name" class:"exact"`
	Node        string             `json:"node" class:"exact"`
	Graph       string             `json:"graph" class:"exact"` // path of the subgraph that holds the node
	Op          string             `json:"op" class:"exact"`    // the variant of Float8Linear
	StepsRun    int64              `json:"steps_run" class:"exact"`
	Initialized bool               `json:"initialized" class:"exact"` // its histories hold an observation
	Input       CalibratedOperand  `json:"input"`
	Weight      *CalibratedOperand `json:"weight"` // nil for a weight stored as float8
}

// CalibratedOperand is what a run saw of one operand.
type CalibratedOperand struct {
	Scaling Scaling `json:"scaling" class:"exact"`
	// Amax has the amax of every step, -1 for a step in which the layer did not run.
	Amax []Float32 `json:"amax" class:"tolerant"`
	// Scale has the quantization multiplier after every step, that the next step casts with: of several the least. History has the
	// amaxes kept, newest first. Both are empty unless Scaling is delayed.
	Scale   []Float32 `json:"scale" class:"tolerant"`
	History []Float32 `json:"history" class:"tolerant"`
	// QuantScale is what the model has now; nil unless Scaling is delayed.
	QuantScale *QuantScale `json:"quant_scale"`
	// The counts are over all casts of all steps. They, and the rates, are nil where the device does not count.
	Elements       *int64   `json:"elements" class:"exact"`
	Saturated      *int64   `json:"saturated" class:"tolerant"`
	Flushed        *int64   `json:"flushed" class:"tolerant"`
	NonFinite      *int64   `json:"nonfinite" class:"exact"`
	SaturationRate *Float64 `json:"saturation_rate" class:"tolerant"`
	FlushRate      *Float64 `json:"flush_rate" class:"tolerant"`
	// Amaxes that no scale can be made from, in steps.
	RejectedZero int64 `json:"rejected_zero" class:"exact"`
	RejectedInf  int64 `json:"rejected_inf" class:"exact"`
	RejectedNaN  int64 `json:"rejected_nan" class:"exact"`
}

// Scaling is where the scale of an operand comes from.
type Scaling string

// The ways to scale.
const (
	ScalingDelayed Scaling = "delayed"
	ScalingDynamic Scaling = "dynamic"
	ScalingOff     Scaling = "off"
)

// SetCounts records what the casts did: of elements, how many were beyond the largest finite float8, became zero without being
// zero, or were not finite.
func (o *CalibratedOperand) SetCounts(elements, saturated, flushed, nonFinite int64) {
	o.Elements, o.Saturated, o.Flushed, o.NonFinite = &elements, &saturated, &flushed, &nonFinite
	o.SaturationRate, o.FlushRate = new(rate(saturated, elements)), new(rate(flushed, elements))
}

func rate(n, of int64) Float64 {
	if of == 0 {
		return 0
	}
	return Float64(float64(n) / float64(of))
}

// check holds the section against its lists and its own lengths.
func (c *Calibration) check() error {
	if c.GradOutput != GradInitial && c.GradOutput != GradKept {
		return fmt.Errorf("grad_output is %q, want %q or %q", cutMiddle(string(c.GradOutput), 40), GradInitial, GradKept)
	}
	for i := range c.Layers {
		l := &c.Layers[i]
		for _, o := range []*CalibratedOperand{&l.Input, l.Weight} {
			if o == nil {
				continue
			}
			if o.Scaling != ScalingDelayed && o.Scaling != ScalingDynamic && o.Scaling != ScalingOff {
				return fmt.Errorf("layers[%d]: scaling %q, want %q, %q or %q", i, cutMiddle(string(o.Scaling), 40), ScalingDelayed, ScalingDynamic, ScalingOff)
			}
			if n := int64(len(o.Amax)); n != c.Settings.Steps {
				return fmt.Errorf("layers[%d]: %d amaxes in %d steps", i, n, c.Settings.Steps)
			}
			want := 0
			if o.Scaling == ScalingDelayed {
				want = len(o.Amax)
			}
			if len(o.Scale) != want {
				return fmt.Errorf("layers[%d]: %d scales, want %d", i, len(o.Scale), want)
			}
		}
	}
	return nil
}
