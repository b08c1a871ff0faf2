package diff_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/diff"
)

// read is one of the reports that every version leaves in the repository.
func read(t testing.TB, name string) *report.Report {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "versions", name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func lines(r *diff.Result) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %s %s → %s\n", f.Severity, f.Kind, f.Path, f.Old, f.New)
	}
	return b.String()
}

const (
	convert   = "1.1-convert.json"
	calibrate = "1.1-calibrate.json"
	verify    = "1.1-verify.json"
)

func TestEachDifferenceIsReportedAsWhatItIs(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name, file string
		change     func(r *report.Report)
		want       []string // the findings, or the beginnings of their lines
	}{
		{"nothing", convert, func(*report.Report) {}, nil},
		{"what is volatile", convert, func(r *report.Report) { r.Volatile = report.Volatile{Host: "other", Threads: 9} }, nil},
		{"the schema's version", convert, func(r *report.Report) { r.SchemaVersion = "1.0" }, []string{`note schema-changed schema_version "1.1" → "1.0"`}},
		{"the job", convert, func(r *report.Report) { r.Kind, r.Layers, r.Model.Output = report.KindCalibrate, nil, nil },
			[]string{`error kind-mismatch kind "convert" → "calibrate"`}},
		{"the input model", convert, func(r *report.Report) { r.Model.Input.SHA256 = "00" }, []string{`error model-changed model.input.sha256 "2c26`}},
		{"the file's name", convert, func(r *report.Report) { r.Model.Input.Name = "b.onnx" }, []string{`warning file-renamed model.input.name "tiny.onnx" → "b.onnx"`}},
		{"the output model", convert, func(r *report.Report) { r.Model.Output.SHA256 = "00" }, []string{`error output-changed model.output.sha256 "9f86`}},
		{"no output", convert, func(r *report.Report) { r.Model.Output = nil }, []string{`error output-changed model.output {"name":"tiny.fp8.onnx"`}},
		{"an operator set", convert, func(r *report.Report) { r.Model.Output.Opsets[0].Version = 21 },
			[]string{`error output-changed model.output.opsets[""].version 19 → 21`}},
		{"a setting", convert, func(r *report.Report) { r.Settings.HistoryLen = 32 }, []string{`error setting-changed settings.history_len 16 → 32`}},
		{"a list in the settings", convert, func(r *report.Report) { r.Settings.Exclude = nil }, []string{`error setting-changed settings.exclude ["re:^debug"] → []`}},
		{"the state", convert, func(r *report.Report) { r.State.Calibrated = true }, []string{`error state-changed state.calibrated false → true`}},
		{"a layer removed", convert, func(r *report.Report) { r.Layers = slices.Delete(r.Layers, 1, 2) },
			[]string{`error layer-removed layers["rope"] "kept (left-constant-batched: `}},
		{"a layer added", convert, func(r *report.Report) {
			l := r.Layers[1]
			l.Name = "new"
			r.Layers = append(r.Layers, l)
		}, []string{`error layer-added layers["new"] null → "kept (left-constant-batched: `}},
		{"a layer renamed", convert, func(r *report.Report) {
			r.Layers[0].Name, r.Layers[0].Node, r.Layers[0].Weight = "up", "up/Gemm", "up.weight"
		}, []string{`warning layer-renamed layers["fc1"] "fc1" → "up"`}},
		{"a layer renamed with another figure", convert, func(r *report.Report) {
			r.Layers[0].Name = "up"
			r.Layers[0].SetAmax(2)
		}, []string{`error figure-changed layers["fc1"].amax 0.5 → 2`, `warning layer-renamed layers["fc1"] "fc1" → "up"`}},
		{"a decision", convert, func(r *report.Report) {
			l := &r.Layers[0]
			l.Decision, l.Rule, l.Reason = report.Kept, "", report.Because(report.ReasonExcluded, "fc*")
			l.WeightXXH64, l.QuantScale, l.Amax, l.InputScaling, l.DTypeAfter = "", nil, nil, "", "float32"
		}, []string{`error decision-changed layers["fc1"] "rewritten (gemm)" → "kept (excluded: the layer matches the exclude pattern \"fc*\")"`}},
		{"a reason", convert, func(r *report.Report) { r.Layers[1].Reason.Code = report.ReasonBothConstant },
			[]string{`warning reason-changed layers["rope"].reason.code "left-constant-batched" → "both-constant"`}},
		{"a weight", convert, func(r *report.Report) { r.Layers[0].WeightXXH64 = "00" }, []string{`error weight-changed layers["fc1"].weight_xxh64 "fd61a03af4f77d87" → "00"`}},
		{"a shape", convert, func(r *report.Report) { r.Layers[0].Shape = []int64{16, 32} }, []string{`error weight-changed layers["fc1"].shape [32,16] → [16,32]`}},
		{"a node", convert, func(r *report.Report) { r.Layers[0].Node = "x" }, []string{`warning layer-changed layers["fc1"].node "/fc1/Gemm" → "x"`}},
		{"a layer of two of the name", convert, func(r *report.Report) { r.Layers[3].Saturated = 1 },
			[]string{`warning count-changed layers["head" in "If_3/else_branch"].saturated 0 → 1`}},
		{"the order", convert, func(r *report.Report) { r.Layers[0], r.Layers[1] = r.Layers[1], r.Layers[0] }, []string{`warning order-changed layers["rope"] 1 → 0`}},
		{"a scale inverted", convert, func(r *report.Report) { r.Layers[0].QuantScale = report.NewQuantScale([]float32{1. / 896}, false) },
			[]string{`error figure-changed layers["fc1"].quant_scale.min 896 → 0.001116`, `error figure-changed layers["fc1"].quant_scale.max 896 → 0.001116`}},
		{"a figure gone", convert, func(r *report.Report) { r.Layers[0].WeightSQNRdB = nil }, []string{`error figure-changed layers["fc1"].weight_sqnr_db 31.4159 → null`}},
		{"a NaN", convert, func(r *report.Report) { r.Layers[0].SetAmax(float32(nan)) }, []string{`error figure-not-finite layers["fc1"].amax 0.5 → "NaN"`}},
		{"a change to the model", convert, func(r *report.Report) { r.Changes = r.Changes[1:] }, []string{`warning change-removed changes["opset-lifted ai.onnx"] "the opset`}},
		{"another change", convert, func(r *report.Report) {
			r.Changes = append(r.Changes, report.NewChange(report.ChangeFunctionAdded, "f", "f"))
		}, []string{`warning change-added changes["function-added f"] null → "the function`}},
		{"a change's sentence", convert, func(r *report.Report) { r.Changes[0].Sentence = "x" }, []string{`warning change-changed changes["opset-lifted ai.onnx"].sentence "the opset`}},
		{"a warning", convert, func(r *report.Report) {
			r.Warnings = append(r.Warnings, report.NewWarning(report.WarnModelKept, "model", report.Text("x")))
		}, []string{`warning warning-added warnings["model-kept model"] null → "the model was kept as it is: x"`}},
		{"a warning gone", convert, func(r *report.Report) { r.Warnings = r.Warnings[1:] }, []string{`warning warning-removed warnings["uncalibrated model"] "layers`}},
		{"a warning's sentence", convert, func(r *report.Report) { r.Warnings[0].Sentence = "x" }, []string{`warning warning-changed warnings["uncalibrated model"].sentence "layers`}},
		{"the totals", convert, func(r *report.Report) { r.Totals.Flushed++ }, []string{`warning totals-changed totals.flushed 3 → 4`}},

		{"the data", calibrate, func(r *report.Report) { r.Calibration.Settings.Data = "xxh64:0" },
			[]string{`error data-changed calibration.settings.data "xxh64:60303ae22b998861" → "xxh64:0"`}},
		{"the device, and bytes that follow", calibrate, func(r *report.Report) {
			r.Calibration.Settings.Device, r.Model.Output.SHA256 = "cuda", "00"
			r.Calibration.Layers[0].Input.Amax[0] *= 1.001
		}, []string{`note device-changed calibration.settings.device "cpu" → "cuda"`, `note output-rounded model.output.sha256 "9f86`}},
		{"the ranks", calibrate, func(r *report.Report) { r.Calibration.Settings.Ranks = 4 }, []string{`note device-changed calibration.settings.ranks 1 → 4`}},
		{"the steps", calibrate, func(r *report.Report) { r.Calibration.Settings.Steps = 4 }, []string{`error setting-changed calibration.settings.steps 3 → 4`}},
		{"a step of a series", calibrate, func(r *report.Report) { r.Calibration.Layers[0].Input.Amax[1] = 7 },
			[]string{`error figure-changed calibration.layers["fc1"].input.amax[1] 1.75 → 7`}},
		{"a NaN in a series goes before all", calibrate, func(r *report.Report) {
			r.Calibration.Layers[0].Input.Amax[0], r.Calibration.Layers[0].Input.Amax[1] = 900, report.Float32(nan)
		}, []string{`error figure-not-finite calibration.layers["fc1"].input.amax[1] 1.75 → "NaN"`}},
		{"a step that did not run", calibrate, func(r *report.Report) { r.Calibration.Layers[1].Input.Amax[0] = 0 },
			[]string{`error figure-changed calibration.layers["head" in "If_3/then_branch"].input.amax[0] -1 → 0`}},
		{"the length of a series", calibrate, func(r *report.Report) { r.Calibration.Losses = r.Calibration.Losses[1:] },
			[]string{`error figure-changed calibration.losses 3 → 2`}},
		{"an operand gone", calibrate, func(r *report.Report) { r.Calibration.Layers[0].Weight = nil }, []string{`warning layer-changed calibration.layers["fc1"].weight {`}},
		{"a layer's state", calibrate, func(r *report.Report) { r.Calibration.Layers[0].Initialized = false },
			[]string{`error state-changed calibration.layers["fc1"].initialized true → false`}},
		{"rejected amaxes", calibrate, func(r *report.Report) { r.Calibration.Layers[0].Input.RejectedNaN = 2 },
			[]string{`warning count-changed calibration.layers["fc1"].input.rejected_nan 1 → 2`}},
		{"a count within its tolerance", calibrate, func(r *report.Report) { *r.Calibration.Layers[0].Input.Saturated += 2 }, nil},
		{"a count not measured", calibrate, func(r *report.Report) { r.Calibration.Layers[0].Input.Saturated = nil },
			[]string{`error figure-changed calibration.layers["fc1"].input.saturated 4 → null`}},

		{"a gate met", verify, func(r *report.Report) { r.Verification.Models[0].Failures = nil },
			[]string{`warning gate-met verification.models["i:del,w:del,go:del h16 max"].failures["max-loss-increase"] {`}},
		{"a gate failed", verify, func(r *report.Report) {
			m := &r.Verification.Models[0]
			m.Failures = append(m.Failures, report.GateFailure{Gate: report.GateMinSQNR, Subject: "logits", Value: 3})
		}, []string{`error gate-failed verification.models["i:del,w:del,go:del h16 max"].failures["min-sqnr logits"] null → {"gate":"min-sqnr"`}},
		{"a gate's limit", verify, func(r *report.Report) { r.Verification.Settings.Gates[0].Limit = 0.02 },
			[]string{`error setting-changed verification.settings.gates["max-loss-increase"].limit 0.01 → 0.02`}},
		{"a recipe", verify, func(r *report.Report) { r.Verification.Models[0].Recipe = "x" },
			[]string{`error setting-changed verification.models["i:del,w:del,go:del h16 max"].recipe "i:del`}},
		{"a second recipe", verify, func(r *report.Report) {
			m := r.Verification.Models[0]
			m.Recipe = "x"
			r.Verification.Models = append(r.Verification.Models, m)
		}, []string{`error value-added verification.models["x"] null → "x"`}},
		{"an output gone", verify, func(r *report.Report) { r.Verification.Models[0].Outputs = nil },
			[]string{`error value-removed verification.models["i:del,w:del,go:del h16 max"].outputs["logits"] {`}},
		{"an error", verify, func(r *report.Report) { r.Verification.Models[0].Outputs[0].SQNRdB -= 0.5 },
			[]string{`error figure-changed verification.models["i:del,w:del,go:del h16 max"].outputs["logits"].sqnr_db 31.5 → 31`}},
		{"the order of what layers cost", verify, func(r *report.Report) { slices.Reverse(r.Verification.Sensitivity) }, nil},
		{"what a layer costs", verify, func(r *report.Report) { *r.Verification.Sensitivity[0].LossIncrease *= 2 },
			[]string{`error figure-changed verification.sensitivity["fc1"].loss_increase 0.0234375 → 0.046875`}},
		{"the exclusion", verify, func(r *report.Report) { r.Verification.Exclusion = nil }, []string{`warning exclusion-changed verification.exclusion {`}},
		{"no labels", verify, func(r *report.Report) { r.Verification.Models[0].Original = nil },
			[]string{`error figure-changed verification.models["i:del,w:del,go:del h16 max"].original {`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, new := read(t, c.file), read(t, c.file)
			c.change(new)
			got := lines(diff.Compare(old, new, diff.DefaultTolerances()))
			found := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			ok := got == "" && len(c.want) == 0 || got != "" && len(found) == len(c.want)
			for i := 0; ok && i < len(c.want); i++ {
				ok = strings.HasPrefix(found[i], c.want[i])
			}
			if !ok {
				t.Errorf("got\n%swant\n%s", got, strings.Join(c.want, "\n"))
			}
		})
	}
}

// Every report that a version left is compared with every other one: of one job the kinds are known, of two jobs only what both have.
func TestEveryVersionIsComparedWithEveryOther(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "versions", "*.json"))
	if err != nil || len(files) < 9 {
		t.Fatal(files, err)
	}
	for _, a := range files {
		for _, b := range files {
			old, new := read(t, filepath.Base(a)), read(t, filepath.Base(b))
			r := diff.Compare(old, new, diff.DefaultTolerances())
			found := map[diff.Kind]int{}
			for _, f := range r.Findings {
				found[f.Kind]++
				if f.Kind == diff.FieldChanged {
					t.Errorf("%s and %s: %s has no kind of its own", a, b, f.Path)
				}
			}
			if a == b && len(r.Findings) > 0 {
				t.Errorf("%s differs from itself: %s", a, lines(r))
			}
			if got, want := found[diff.SchemaChanged], old.SchemaVersion != new.SchemaVersion; (got == 1) != want || got > 1 {
				t.Errorf("%s and %s: %d findings about the version", a, b, got)
			}
			if got, want := found[diff.KindMismatch], old.Kind != new.Kind; (got == 1) != want || got > 1 {
				t.Errorf("%s and %s: %d findings about the job", a, b, got)
			}
			// The older one's fields are those that count, on either side.
			back := diff.Compare(new, old, diff.DefaultTolerances())
			if len(back.Findings) != len(r.Findings) {
				t.Errorf("%s and %s: %d findings, the other way round %d:\n%s\n%s", a, b, len(r.Findings), len(back.Findings), lines(r), lines(back))
			}
		}
	}
}

func TestTolerances(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name     string
		a, b     float64
		rel, abs float64
		same     bool
	}{
		{"equal", 1, 1, 0, 0, true},
		{"an ulp without tolerance", 1, math.Nextafter(1, 2), 0, 0, false},
		{"at the relative edge", 100, 75, 0.25, 0, true},
		{"beyond the relative edge", 100, 74, 0.25, 0, false},
		{"at the absolute edge", 0, 0.5, 0, 0.5, true},
		{"beyond the absolute edge", 0, 0.625, 0, 0.5, false},
		{"zero and a little, relative only", 0, 1e-30, 0.5, 0, false},
		{"NaN and NaN", nan, nan, 0, 0, true},
		{"NaN and a number", nan, 1, 1, 1e300, false},
		{"infinity and itself", inf, inf, 0, 0, true},
		{"infinity and its opposite", inf, -inf, 1, 1e300, false},
		{"infinity and the largest number", inf, math.MaxFloat64, 1, math.MaxFloat64, false},
		{"minus zero and zero", math.Copysign(0, -1), 0, 0, 0, true},
		{"numbers whose difference overflows", math.MaxFloat64, -math.MaxFloat64, 1, 0, false},
	} {
		for _, swap := range []bool{false, true} {
			a, b := c.a, c.b
			if swap {
				a, b = b, a
			}
			tol := diff.DefaultTolerances()
			if err := tol.SetRelative("", c.rel); err != nil {
				t.Fatal(err)
			}
			if err := tol.SetAbsolute(diff.ClassLoss, c.abs); err != nil {
				t.Fatal(err)
			}
			old, new := read(t, calibrate), read(t, calibrate)
			old.Calibration.Losses[1], new.Calibration.Losses[1] = report.Float64(a), report.Float64(b)
			if got := len(diff.Compare(old, new, tol).Findings) == 0; got != c.same {
				t.Errorf("%s, swapped %v, in a series: same is %v, want %v", c.name, swap, got, c.same)
			}
			old, new = read(t, verify), read(t, verify)
			old.Verification.Sensitivity[0].LossIncrease, new.Verification.Sensitivity[0].LossIncrease = (*report.Float64)(&a), (*report.Float64)(&b)
			if got := len(diff.Compare(old, new, tol).Findings) == 0; got != c.same {
				t.Errorf("%s, swapped %v, alone: same is %v, want %v", c.name, swap, got, c.same)
			}
		}
	}
	tol := diff.DefaultTolerances()
	for _, v := range []float64{-1, nan, inf, 1.5} {
		if tol.SetRelative("", v) == nil {
			t.Errorf("relative tolerance %v is taken", v)
		}
	}
	for _, v := range []float64{-1, nan, inf} {
		if tol.SetAbsolute("", v) == nil {
			t.Errorf("absolute tolerance %v is taken", v)
		}
	}
	if tol.SetRelative("weather", 0) == nil {
		t.Errorf("a class that is not in the list is taken")
	}
}

// large is a calibration of 2,000 layers over 1,000 steps.
func large(by report.Float32) *report.Report {
	r := &report.Report{Kind: report.KindCalibrate, SchemaVersion: report.SchemaVersion, Calibration: &report.Calibration{}}
	for i := range 2000 {
		o := report.CalibratedOperand{Scaling: report.ScalingDelayed, Amax: make([]report.Float32, 1000), Scale: make([]report.Float32, 1000)}
		for s := range o.Amax {
			o.Amax[s], o.Scale[s] = by*report.Float32(1+s%7), 448/(by*report.Float32(1+s%7))
		}
		r.Calibration.Layers = append(r.Calibration.Layers, report.CalibratedLayer{Name: fmt.Sprintf("layers.%d", i), Input: o})
	}
	return r
}

func BenchmarkCompare2000Layers1000Steps(b *testing.B) {
	old := large(1)
	for _, c := range []struct {
		name string
		by   report.Float32
		want int
	}{{"within", 1.001, 0}, {"beyond", 2, 4000}} {
		new := large(c.by)
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if n := len(diff.Compare(old, new, diff.DefaultTolerances()).Findings); n != c.want {
					b.Fatalf("%d findings, want %d", n, c.want)
				}
			}
		})
	}
}

func TestSourcesSayWhichModelsTheyAreOf(t *testing.T) {
	const merged = "1.2-merged.json"
	for _, c := range []struct {
		name   string
		change func(r *report.Report)
		want   string
	}{
		{"nothing", func(*report.Report) {}, ""},
		{"a model between", func(r *report.Report) { r.Sources[0].OutputSHA256, r.Sources[1].InputSHA256 = "ab", "ab" },
			"error output-changed sources[\"convert\"].output_sha256 \"9f86"},
		{"the model that came out, which is said once", func(r *report.Report) {
			r.Model.Output.SHA256, r.Sources[1].OutputSHA256, r.Sources[2].OutputSHA256 = "ab", "ab", "ab"
		},
			"error output-changed model.output.sha256 \"6b51"},
		{"a job", func(r *report.Report) { r.Sources, r.Verification = r.Sources[:2], nil }, "error section-removed sources[\"verify\"] "},
	} {
		old, new := read(t, merged), read(t, merged)
		c.change(new)
		got := lines(diff.Compare(old, new, diff.DefaultTolerances()))
		if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: found\n%swant %s", c.name, got, c.want)
		}
		if n := strings.Count(got, "\n"); strings.Contains(c.name, "once") && n != 1 {
			t.Errorf("%s: %d findings:\n%s", c.name, n, got)
		}
	}
}
