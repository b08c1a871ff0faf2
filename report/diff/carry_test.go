package diff_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/diff"
)

const merged = "1.2-merged.json"

// expect compares a report with what becomes of it, and holds the findings against the beginnings of their lines.
func expect(t *testing.T, file string, was, is func(r *report.Report), want ...string) {
	t.Helper()
	old, new := read(t, file), read(t, file)
	if was != nil {
		was(old)
	}
	is(new)
	got := lines(diff.Compare(old, new, diff.DefaultTolerances()))
	found := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if got == "" {
		found = nil
	}
	ok := len(found) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.HasPrefix(found[i], want[i])
	}
	if !ok {
		t.Errorf("got\n%swant\n%s", got, strings.Join(want, "\n"))
	}
}

// Only what a calibration made may differ in its bytes where another device calibrated.
func TestOnlyACalibrationRounds(t *testing.T) {
	t.Run("calibrated elsewhere", func(t *testing.T) {
		expect(t, merged, nil, func(r *report.Report) {
			r.Calibration.Settings.Device = "cuda:0"
			r.Model.Output.SHA256, r.Sources[1].OutputSHA256, r.Sources[2].OutputSHA256 = "ab", "ab", "ab"
		}, "note device-changed calibration.settings.device", "note output-rounded model.output.sha256")
	})
	t.Run("verified elsewhere", func(t *testing.T) {
		expect(t, merged, nil, func(r *report.Report) {
			r.Verification.Settings.Device = "cuda:0"
			r.Model.Output.SHA256, r.Sources[1].OutputSHA256, r.Sources[2].OutputSHA256 = "ab", "ab", "ab"
		}, "error output-changed model.output.sha256", "note device-changed verification.settings.device")
	})
	t.Run("a verification alone", func(t *testing.T) {
		expect(t, verify, nil, func(r *report.Report) {
			r.Verification.Settings.Device, r.Model.Output.SHA256 = "cuda:0", "ab"
		}, "error output-changed model.output.sha256", "note device-changed verification.settings.device")
	})
	t.Run("another conversion, calibrated elsewhere", func(t *testing.T) {
		expect(t, merged, nil, func(r *report.Report) {
			r.Calibration.Settings.Device = "cuda:0"
			r.Sources[0].OutputSHA256, r.Sources[1].InputSHA256 = "cd", "cd"
			r.Model.Output.SHA256, r.Sources[1].OutputSHA256, r.Sources[2].OutputSHA256 = "ab", "ab", "ab"
		}, `error output-changed sources["convert"].output_sha256`, "note device-changed", "note output-rounded model.output.sha256")
	})
	t.Run("another model verified than was calibrated", func(t *testing.T) {
		expect(t, merged, nil, func(r *report.Report) {
			r.Calibration.Settings.Device = "cuda:0"
			r.Sources[2].OutputSHA256 = "ef"
		}, `error output-changed sources["verify"].output_sha256`, "note device-changed")
	})
	t.Run("a conversion beside a device", func(t *testing.T) {
		expect(t, convert, nil, func(r *report.Report) { r.Model.Output.SHA256 = "ab" }, "error output-changed model.output.sha256")
	})
}

// What a device does not count is no difference; what it does count is.
func TestAnotherDeviceNeedNotCount(t *testing.T) {
	forget := func(r *report.Report) {
		o := &r.Calibration.Layers[0].Input
		o.Elements, o.Saturated, o.Flushed, o.NonFinite, o.SaturationRate, o.FlushRate = nil, nil, nil, nil, nil, nil
	}
	elsewhere := func(r *report.Report) { r.Calibration.Settings.Device = "ort"; forget(r) }
	expect(t, calibrate, nil, elsewhere, "note device-changed")
	expect(t, calibrate, elsewhere, func(*report.Report) {}, "note device-changed")
	expect(t, calibrate, nil, func(r *report.Report) {
		r.Calibration.Settings.Device = "ort"
		*r.Calibration.Layers[0].Input.Saturated += 1000
	},
		"error figure-changed", "note device-changed")
	old, new := read(t, calibrate), read(t, calibrate)
	forget(new)
	if n := len(diff.Compare(old, new, diff.DefaultTolerances()).Findings); n != 6 {
		t.Errorf("on the same device %d figures are gone, want 6", n)
	}
}

// rename gives the layer fc1 another name wherever a report has it.
func rename(r *report.Report) {
	r.Layers[0].Name, r.Layers[0].Node, r.Layers[0].Weight = "up", "up/Gemm", "up.weight"
	if c := r.Calibration; c != nil {
		c.Layers[0].Name, c.Layers[0].Node = "up", "up/Gemm"
		for i := range c.Execution.Placements {
			if p := &c.Execution.Placements[i]; p.Layer == "fc1" {
				p.Layer, p.Node = "up", "up/Gemm"
			}
		}
	}
	v := r.Verification
	v.Models[0].Layers[0].Name, v.Models[0].Layers[0].Value = "up", "up/output"
	for i := range v.Sensitivity {
		if v.Sensitivity[i].Name == "fc1" {
			v.Sensitivity[i].Name = "up"
		}
	}
	v.Exclusion.Layers = []string{"up"}
	for i := range r.Warnings {
		if r.Warnings[i].Subject == "fc1" {
			r.Warnings[i].Subject = "up"
		}
	}
}

// The sections of a merged report follow what became of the layers.
func TestSectionsFollowTheLayers(t *testing.T) {
	const renamed = `warning layer-renamed layers["fc1"] "fc1" → "up"`
	expect(t, merged, nil, rename, renamed)
	expect(t, merged, nil, func(r *report.Report) {
		rename(r)
		r.Calibration.Layers[0].Input.Amax[1] = 7
		r.Verification.Models[0].Layers[0].SQNRdB -= 3
	}, `error figure-changed calibration.layers["fc1"].input.amax[1]`, `error figure-changed verification.models["i:del,w:del,go:del h16 max"].layers["fc1"].sqnr_db`, renamed)
	expect(t, merged, nil, func(r *report.Report) {
		l := &r.Layers[0]
		l.Decision, l.Rule, l.Reason, l.WeightXXH64 = report.Kept, "", report.Because(report.ReasonExcluded, "fc*"), ""
		r.Calibration.Layers = r.Calibration.Layers[1:]
		v := r.Verification
		v.Models[0].Layers = v.Models[0].Layers[1:]
		v.Sensitivity = slices.DeleteFunc(v.Sensitivity, func(c report.LayerCost) bool { return c.Name == "fc1" })
		r.Calibration.Execution.Placements = slices.DeleteFunc(r.Calibration.Execution.Placements, func(p report.Placement) bool { return p.Layer == "fc1" })
		r.Warnings = slices.DeleteFunc(r.Warnings, func(w report.Warning) bool { return w.Subject == "fc1" })
	}, `error decision-changed layers["fc1"]`)
	// A layer that a section alone lost is said.
	expect(t, merged, nil, func(r *report.Report) { r.Calibration.Layers = r.Calibration.Layers[1:] }, `error layer-removed calibration.layers["fc1"]`)
}

// A kept layer has no digest: what it is and where it stands say that it is the same.
func TestKeptLayersAreFoundByTheirNeighbours(t *testing.T) {
	expect(t, convert, nil, func(r *report.Report) { r.Layers[1].Name, r.Layers[1].Node = "turn", "turn/MatMul" }, `warning layer-renamed layers["rope"] "rope" → "turn"`)
	last := len(read(t, convert).Layers) - 1
	expect(t, convert, nil, func(r *report.Report) {
		r.Layers[1].Name, r.Layers[1].Node, r.Layers[last].Name = "turn", "turn/MatMul", "points"
		r.Layers[0].Name = "up"
	}, `warning layer-renamed layers["fc1"]`, `warning layer-renamed layers["rope"]`, `warning layer-renamed layers["scores"]`)
	expect(t, convert, nil, func(r *report.Report) { r.Layers[1].Name, r.Layers[1].Shape = "turn", []int64{9, 9} },
		`error layer-removed layers["rope"]`, `error layer-added layers["turn"]`)
	expect(t, convert, nil, func(r *report.Report) { // elsewhere
		l := r.Layers[1]
		l.Name = "turn"
		r.Layers = slices.Insert(slices.Delete(r.Layers, 1, 2), 3, l)
	}, `error layer-removed layers["rope"]`, `error layer-added layers["turn"]`)
}

// The value of a gate is compared as what the gate limits.
func TestGatesHaveTheirOwnClass(t *testing.T) {
	by := func(gate string, value report.Float64) func(r *report.Report) {
		return func(r *report.Report) {
			r.Verification.Models[0].Failures = []report.GateFailure{{Gate: gate, Subject: "logits", Value: value}}
		}
	}
	const at = `error figure-changed verification.models["i:del,w:del,go:del h16 max"].failures["`
	expect(t, verify, by(report.GateMinSQNR, 20), by(report.GateMinSQNR, 20.09))
	expect(t, verify, by(report.GateMinSQNR, 20), by(report.GateMinSQNR, 20.11), at+`min-sqnr logits"].value 20 → 20.11`)
	expect(t, verify, by(report.GateMaxLossIncrease, 0.02), by(report.GateMaxLossIncrease, 0.02005))
	expect(t, verify, by(report.GateMaxLossIncrease, 0.02), by(report.GateMaxLossIncrease, 0.09), at+`max-loss-increase logits"].value`)
	expect(t, verify, by(report.GateMaxAccuracyDrop, 0.02), by(report.GateMaxAccuracyDrop, 0.0209))
	expect(t, verify, by(report.GateMaxAccuracyDrop, 0.02), by(report.GateMaxAccuracyDrop, 0.022), at+`max-accuracy-drop logits"].value`)
}

func TestUnmetGatesFailInEveryForm(t *testing.T) {
	same := diff.Compare(read(t, verify), read(t, verify), diff.DefaultTolerances())
	const gate = "the SQNR of \"a|b\u202e\" is 3 dB"
	for _, f := range diff.Formats() {
		out := write(t, same, f, diff.Options{UnmetGates: []string{gate}, NewName: "this run", Artifact: "base.json"})
		want := map[diff.Format]string{diff.Table: "gate not met: ", diff.Markdown: "**Gate not met: ", diff.JSON: `"failed": true`, diff.JUnit: `failures="1"`,
			diff.SARIF: `"uri": "base.json"`, diff.GitHub: "::error title=fp8rewrite check%3A gate not met::"}[f]
		if !strings.Contains(out, want) || !strings.Contains(out, "SQNR of") || strings.Contains(out, "\u202e") {
			t.Errorf("%s: %s", f, out)
		}
	}
}
