package main

import (
	"github.com/fp8rewrite/fp8rewrite/ops"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/verify"
)

// verificationReport is what a verification found, as a report; the models' files are filled in by the caller.
func verificationReport(v *verification, found *verified) *reports.Report {
	section := &reports.Verification{Settings: reports.VerificationSettings{
		Data: found.data, Batches: int64(v.set.Steps()), BatchSize: v.set.BatchSize(), Device: v.backend.Name(), Labels: v.labels,
	}}
	section.Execution = v.backend.execution()
	s := &section.Settings
	for _, g := range []struct {
		name  string
		limit *float64
	}{{reports.GateMinSQNR, v.gates.MinSQNR}, {reports.GateMaxLossIncrease, v.gates.MaxLossIncrease}, {reports.GateMaxAccuracyDrop, v.gates.MaxAccuracyDrop}} {
		if g.limit != nil {
			s.Gates = append(s.Gates, reports.Gate{Name: g.name, Limit: reports.Float64(*g.limit)})
		}
	}
	for _, c := range found.candidate {
		m := c.measured
		s.Rows = m.Rows
		if m.Before != nil {
			s.Logits = m.Logits
		}
		row := reports.VerifiedModel{Recipe: c.recipe, Outputs: values(m.Outputs), Original: metric(m.Before), Rewritten: metric(m.After)}
		if len(found.candidate) == 1 {
			row.Layers = values(m.Layers)
		}
		for _, f := range c.failures {
			row.Failures = append(row.Failures, reports.GateFailure{Gate: f.Gate, Subject: f.Output, Value: reports.Float64(f.Got)})
		}
		section.Models = append(section.Models, row)
	}
	for _, c := range found.costs {
		row := reports.LayerCost{Name: c.Layer, SQNRdB: reports.Float64(c.SQNR())}
		if c.Judged {
			row.LossIncrease, row.Correct = new(reports.Float64(c.LossIncrease)), new(c.Correct)
		}
		section.Sensitivity = append(section.Sensitivity, row)
	}
	if e := found.exclusion; e != nil {
		section.Exclusion = &reports.Exclusion{Layers: e.Layers, Met: e.Met, Outputs: values(e.Result.Outputs), Rewritten: metric(e.Result.After)}
	}
	rep := &reports.Report{Kind: reports.KindVerify, Verification: section}
	if len(v.files) == 2 {
		rep.State = rewrite.Inspect(v.files[1].Model).State
		if text, ok := v.files[1].Model.Property(ops.MetadataRecipe); ok {
			if recipe, err := scaling.Parse(text); err == nil {
				rep.Settings = recipeSettings(recipe)
			}
		}
	}
	return rep
}

// recipeSettings are the settings of a report that a recipe says.
func recipeSettings(r scaling.Recipe) reports.Settings {
	return reports.Settings{Recipe: r.String(), HistoryLen: int64(r.HistoryLen), AmaxCompute: r.Compute.String(), Margin: int64(r.Margin),
		PowerOfTwo: r.PowerOfTwo, PerChannel: r.PerChannel}
}

func values(list []verify.Named) []reports.VerifiedValue {
	out := make([]reports.VerifiedValue, len(list))
	for i, n := range list {
		out[i] = reports.VerifiedValue{Name: n.Name, Value: n.Value, Elements: n.Elements, SQNRdB: reports.Float64(n.SQNR),
			MaxAbs: reports.Float64(n.MaxAbs), Cosine: reports.Float64(n.Cosine), NonFinite: n.NonFinite}
	}
	return out
}

func metric(m *verify.Metric) *reports.TaskMetric {
	if m == nil {
		return nil
	}
	return &reports.TaskMetric{Rows: m.Rows, Loss: reports.Float64(m.Loss), Perplexity: reports.Float64(m.Perplexity()), Correct: m.Correct,
		Accuracy: reports.Float64(m.Accuracy())}
}
