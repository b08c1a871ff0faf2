package calibrate

import (
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// Section is the result as the section of a report. What only the caller knows stays empty: the data's fingerprint, the batch size, the
// device, whether the scales were frozen, the number of ranks.
func (res *Result) Section() *report.Calibration {
	c := &report.Calibration{
		Settings: report.CalibrationSettings{Steps: int64(res.Steps), Rows: res.Rows, AmaxInit: res.Provenance.AmaxInit, Shard: res.Provenance.Shard,
			Ranks: 1},
		GradOutput: report.GradOutput(res.GradOutput),
	}
	for i := range res.Layers {
		l := &res.Layers[i]
		row := report.CalibratedLayer{Name: l.Name, Node: l.Node, Graph: l.Graph, Op: l.Variant, StepsRun: l.Ran, Initialized: l.Initialized,
			Input: l.Input.row()}
		if l.Weight != nil {
			row.Weight = new(l.Weight.row())
		}
		c.Layers = append(c.Layers, row)
	}
	return c
}

// State says how far the float8 state of the result's model has come.
func (res *Result) State() report.State {
	need, have := Calibrated(res.Model)
	return report.State{Calibrated: need == have, DelayedLayers: need, InitializedLayers: have}
}

var modes = [...]report.Scaling{scaling.Delayed: report.ScalingDelayed, scaling.Dynamic: report.ScalingDynamic, scaling.Off: report.ScalingOff}

func (o *Operand) row() report.CalibratedOperand {
	row := report.CalibratedOperand{Scaling: modes[o.Mode], Amax: floats(o.Amaxes), Scale: floats(o.Scales), History: floats(o.History),
		QuantScale:   report.NewQuantScale(o.Final, o.PerChannel),
		RejectedZero: o.Rejected.Zero, RejectedInf: o.Rejected.Inf, RejectedNaN: o.Rejected.NaN}
	if o.Counted {
		row.SetCounts(o.Counts.Elements, o.Counts.Saturated, o.Counts.Flushed, o.Counts.NonFinite)
	}
	return row
}

func floats(v []float32) []report.Float32 {
	out := make([]report.Float32, len(v))
	for i, x := range v {
		out[i] = report.Float32(x)
	}
	return out
}
