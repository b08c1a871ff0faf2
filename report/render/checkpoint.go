package render

import (
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// The format of checkpoints, and what stands for the layout of one that was restored.
const (
	safetensors = "safetensors"
	restored    = "restore"
)

// IsCheckpoint reports whether a model is a checkpoint: tensors without operators, and so without opset and IR version.
func IsCheckpoint(a *report.Artifact) bool { return a.Format == safetensors }

// isState reports whether what came out holds the scales of inputs alone, as a calibration leaves them for a conversion.
func isState(r *report.Report) bool {
	out := r.Model.Output
	return r.Kind == report.KindCalibrate && out != nil && IsCheckpoint(out)
}

// Form says what kind of thing a model is: its format and versions, or of a checkpoint its shards.
func Form(a *report.Artifact) string {
	if !IsCheckpoint(a) {
		return word(a.Format) + ", opset " + count(a.Opset) + ", IR " + count(a.IRVersion)
	}
	switch n := int64(len(a.ExternalFiles)); n {
	case 0: // a file of its own
		return word(a.Format)
	case 1:
		return word(a.Format) + ", 1 shard"
	default:
		return word(a.Format) + ", " + count(n) + " shards"
	}
}

// Output says what came out, in the place of the model's form.
func Output(r *report.Report) string {
	if isState(r) {
		return "scales of inputs"
	}
	return Form(r.Model.Output)
}

// about says what went in and came out where either is a checkpoint.
func about(r *report.Report) string {
	in, out := &r.Model.Input, r.Model.Output
	form, bytes := Form(in), size(in.Bytes)
	if layout := Layout(r); layout != "" {
		form += ", layout " + layout
	}
	switch {
	case out == nil || r.Kind == report.KindBench:
	case Form(in) == Form(out) && !isState(r):
		bytes = change(bytes, size(out.Bytes))
	default:
		return form + ", " + bytes + arrow + Output(r) + ", " + size(out.Bytes)
	}
	return form + ", " + bytes
}

// Layout is the layout that a checkpoint was written in, "" where none was.
func Layout(r *report.Report) string {
	if !IsCheckpoint(&r.Model.Input) || r.Settings.Emit == restored {
		return ""
	}
	return line(r.Settings.Emit)
}

// Restored reports whether a report is of `fp8rewrite restore`.
func Restored(r *report.Report) bool { return r.Settings.Emit == restored }

// Scales says in words what the recipe of a converted checkpoint says; "" where it is another recipe.
func Scales(r *report.Report) string {
	if Layout(r) == "" {
		return ""
	}
	weights, inputs, ok := strings.Cut(r.Settings.Recipe, " i:")
	weights, weighted := strings.CutPrefix(weights, "w:")
	if !ok || !weighted {
		return ""
	}
	if spelled, known := activations[inputs]; known {
		inputs = spelled
	}
	return line("a scale per " + weights + ", activations " + inputs)
}

// activations says how the inputs of layers are scaled.
var activations = map[string]string{"dynamic": "scaled dynamically", "static": "scaled statically", "delayed": "with delayed scaling", "off": "not in float8"}
