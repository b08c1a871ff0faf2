package render_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter/pkg/twwidth"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

var update = flag.Bool("update", false, "rewrite golden files")

// linear is a rewritten layer; its numbers describe no real model.
func linear(name string, n, k int64) report.Layer {
	l := report.Layer{
		Name: name, Node: name + "/MatMul", Op: "MatMul", Decision: report.Rewritten, Rule: report.RuleMatMul, Weight: name + ".weight",
		Shape: []int64{n, k}, DTypeBefore: "float32", DTypeAfter: "float8e4m3fn", InputScaling: "delayed",
		QuantScale: report.NewQuantScale([]float32{1204.3011}, false), Saturated: 0, Flushed: 17, Elements: n * k,
		BytesBefore: 4 * n * k, BytesAfter: n * k,
	}
	l.SetAmax(0.372)
	l.SetWeightSQNR(31.5432)
	return l
}

func model() *report.Report {
	r := &report.Report{
		Kind: report.KindConvert,
		Model: report.Model{
			Input:  report.Artifact{Name: "small.onnx", Format: "onnx", Bytes: 3_400_000, IRVersion: 8, Opset: 17},
			Output: &report.Artifact{Name: "small.fp8.onnx", SHA256: "00", Format: "onnx", Bytes: 1_100_000, IRVersion: 9, Opset: 19},
		},
		Settings: report.Settings{Recipe: "i:del,w:del,go:del h16 max", HistoryLen: 16},
		State:    report.State{DelayedLayers: 4},
	}
	channels := linear("model.layers.0.mlp.down_proj", 512, 2048)
	channels.Rule, channels.Op = report.RuleGemm, "Gemm"
	channels.QuantScale = report.NewQuantScale([]float32{310.5, 98.25, 1204.3011}, true)
	exact := linear("classifier", 10, 512)
	exact.SetWeightSQNR(math.Inf(1))
	exact.Saturated, exact.Flushed, exact.DTypeBefore = 1_204_224, 0, "bfloat16"
	shared := linear("lm_head", 512, 512)
	shared.SharedWith, shared.Graph = "model.layers.0.self_attn.q_proj", "If_3/then_branch"
	batched := report.Layer{
		Name: "rotary", Node: "MatMul_3", Op: "MatMul", Decision: report.Kept, Weight: "inv_freq", Shape: []int64{1, 32, 1},
		DTypeBefore: "float32", DTypeAfter: "float32", Elements: 32, BytesBefore: 128, BytesAfter: 128,
		Reason: report.Because(report.ReasonLeftConstantBatched, "inv_freq", 3),
	}
	r.Layers = []report.Layer{linear("model.layers.0.self_attn.q_proj", 512, 512), batched, channels, shared, exact}
	for i := range 5 {
		r.Layers = append(r.Layers, report.Layer{Name: fmt.Sprintf("MatMul_%d", 20+i), Op: "MatMul", Decision: report.Kept,
			Reason: report.Because(report.ReasonNoConstantOperand)})
		excluded := linear(fmt.Sprintf("debug.%d", i), 16, 16)
		r.Layers = append(r.Layers, report.Layer{Name: excluded.Name, Op: "MatMul", Decision: report.Kept, Weight: excluded.Weight,
			Shape: excluded.Shape, DTypeBefore: "float32", DTypeAfter: "float32", BytesBefore: 1024, BytesAfter: 1024,
			Reason: report.Because(report.ReasonExcluded, "re:^debug")})
	}
	r.Changes = []report.Change{report.NewChange(report.ChangeOpsetLifted, "ai.onnx", 17, 19)}
	r.Warnings = []report.Warning{report.NewWarning(report.WarnUncalibrated, "model", 4)}
	r.Finish()
	return r
}

// hostile has names made to break a table, a terminal or a page.
func hostile() *report.Report {
	r := model()
	names := []string{
		"\x1b[31mred\x1b[0m", "line\nbreak\r\ttab", "rtl \u202egnp.exe", "<script>alert(1)</script>|`*_", "", `"quoted"`, " spaces ",
		"\xff\xfe not utf-8", strings.Repeat("very.long.", 1_000_000), strings.Repeat("a\u0301\u0302", 4000), "層.自己注意.射影", "c1 \u009b31m",
	}
	base := r.Layers[0]
	r.Layers = nil
	for i, n := range names {
		l := base
		l.Name, l.Graph = n, ""
		if i%2 == 1 {
			l = report.Layer{Name: n, Graph: n, Op: n, Weight: n, DTypeBefore: n, DTypeAfter: n, Decision: report.Kept,
				Reason: report.Because(report.ReasonWeightDType, n, report.Text("int8"))}
		}
		if i == 8 { // ten megabytes in every text
			l.Op, l.DTypeBefore, l.DTypeAfter, l.Rule = n, n, n, report.RuleCode(n)
		}
		r.Layers = append(r.Layers, l)
	}
	r.Model.Input.Name, r.Settings.Recipe = names[0], names[1]
	r.Changes = []report.Change{
		{Code: report.ChangeInputDropped, Subject: names[2], Sentence: "raw " + names[2] + names[0]},
		{Code: report.ChangeInputDropped, Subject: names[8], Sentence: names[8]}}
	r.Finish()
	return r
}

// calibration has an operand of every kind; its numbers describe no real model.
func calibration() *report.Report {
	r := model()
	r.Kind, r.Layers, r.Changes = report.KindCalibrate, nil, nil
	operand := func(rejected int64, amax ...report.Float32) report.CalibratedOperand {
		o := report.CalibratedOperand{Scaling: report.ScalingDelayed, Amax: amax, Scale: make([]report.Float32, len(amax)), History: amax,
			QuantScale: report.NewQuantScale([]float32{125.08833}, false), RejectedNaN: rejected}
		o.SetCounts(1<<20, 327, 1<<17, 0)
		return o
	}
	nan, inf := report.Float32(math.NaN()), report.Float32(math.Inf(1))
	weight := operand(0, 0.5, 0.5, 0.5, 0.5)
	weight.QuantScale = report.NewQuantScale([]float32{896, 1792}, true)
	dynamic := report.CalibratedOperand{Scaling: report.ScalingDynamic, Amax: []report.Float32{0, 0, 0, 0}, RejectedZero: 4}
	r.Calibration = &report.Calibration{
		Settings:   report.CalibrationSettings{Steps: 4, BatchSize: 8, Rows: 32, Device: "cpu", AmaxInit: true, Shard: "2/4", Ranks: 4, Freeze: true},
		GradOutput: report.GradInitial,
		Layers: []report.CalibratedLayer{
			{Name: "model.layers.0.self_attn.q_proj", Op: "Float8LinearOriginalWeight", StepsRun: 4, Initialized: true, Input: operand(0, 1, 2, 3, 3.5), Weight: &weight},
			{Name: "model.layers.0.mlp.down_proj", Op: "Float8Linear", StepsRun: 3, Initialized: true, Input: operand(1, 448, nan, inf, -1)},
			{Name: "head", Graph: "If_3/then_branch", Op: "Float8LinearDynamic", StepsRun: 4, Input: dynamic},
		},
	}
	r.Warnings = []report.Warning{report.NewWarning(report.WarnAmaxRejected, "model.layers.0.mlp.down_proj", report.Text("input"), "model.layers.0.mlp.down_proj", 1, 1)}
	r.State = report.State{DelayedLayers: 2, InitializedLayers: 2, Calibrated: true}
	r.Finish()
	return r
}

func hostileCalibration() *report.Report {
	r := calibration()
	base := r.Calibration.Layers[0]
	r.Calibration.Layers = nil
	for _, l := range hostile().Layers {
		c := base
		c.Name, c.Graph, c.Op = l.Name, l.Graph, l.Op
		r.Calibration.Layers = append(r.Calibration.Layers, c)
	}
	r.Calibration.Settings.Device, r.Calibration.Settings.Shard = "\x1b[2J", "1/2\n"
	return r
}

// verification is a report with every part of its section; its numbers describe no real model.
func verification() *report.Report {
	r := model()
	r.Kind, r.Layers, r.Changes, r.Warnings = report.KindVerify, nil, nil, nil
	r.State = report.State{Calibrated: true, DelayedLayers: 12, InitializedLayers: 12}
	metric := func(loss report.Float64, correct int64) *report.TaskMetric {
		return &report.TaskMetric{Rows: 397, Loss: loss, Perplexity: report.Float64(math.Exp(float64(loss))), Correct: correct, Accuracy: report.Float64(correct) / 397}
	}
	value := func(name string, sqnr float64) report.VerifiedValue {
		return report.VerifiedValue{Name: name, Value: name, Elements: 3970, SQNRdB: report.Float64(sqnr), MaxAbs: 0.125, Cosine: 0.999}
	}
	m := report.VerifiedModel{Recipe: "i:del,w:del,go:del h16 max", Outputs: []report.VerifiedValue{value("logits", 31.25)},
		Original: metric(0.0625, 389), Rewritten: metric(0.09375, 388),
		Failures: []report.GateFailure{{Gate: report.GateMaxLossIncrease, Value: 0.03125}, {Gate: report.GateMinSQNR, Subject: "logits", Value: 31.25}}}
	for i := range 12 {
		m.Layers = append(m.Layers, value(fmt.Sprintf("model.layers.%d.mlp.down_proj", i), 40-float64(i)))
	}
	m.Layers[3] = report.VerifiedValue{Name: "inside.a.branch"}
	m.Layers[4].SQNRdB, m.Layers[5].NonFinite = report.Float64(math.Inf(1)), 2
	r.Verification = &report.Verification{
		Settings: report.VerificationSettings{Batches: 50, BatchSize: 8, Rows: 397, Device: "cpu", Labels: "labels", Logits: "logits",
			Gates: []report.Gate{{Name: report.GateMinSQNR, Limit: 40}, {Name: report.GateMaxLossIncrease, Limit: 0.01}, {Name: report.GateMaxAccuracyDrop, Limit: 0.01}}},
		Models: []report.VerifiedModel{m},
		Sensitivity: []report.LayerCost{{Name: "model.layers.11.mlp.down_proj", SQNRdB: 32, LossIncrease: new(report.Float64(0.025)), Correct: new(int64(-1))},
			{Name: "model.layers.0.mlp.down_proj", SQNRdB: 45}},
		Exclusion: &report.Exclusion{Layers: []string{"model.layers.11.mlp.down_proj"}, Met: true, Outputs: m.Outputs, Rewritten: metric(0.0626, 389)},
	}
	r.Finish()
	return r
}

// recipes is a comparison of several recipes.
func recipes() *report.Report {
	r := verification()
	v := r.Verification
	other := v.Models[0]
	other.Recipe, other.Failures, other.Layers = "i:dyn,w:dyn,go:dyn", nil, nil
	v.Models[0].Layers = nil
	v.Models = append(v.Models, other)
	v.Sensitivity, v.Exclusion = nil, nil
	return r
}

func hostileVerification() *report.Report {
	r := verification()
	v := r.Verification
	m := &v.Models[0]
	base := m.Layers[0]
	m.Layers, v.Sensitivity, v.Exclusion.Layers = nil, nil, nil
	for _, l := range hostile().Layers {
		base.Name = l.Name
		m.Layers = append(m.Layers, base)
		v.Sensitivity = append(v.Sensitivity, report.LayerCost{Name: l.Name})
		v.Exclusion.Layers = append(v.Exclusion.Layers, l.Name)
	}
	m.Outputs[0].Name, m.Failures[1].Subject, v.Settings.Device = hostile().Layers[0].Name, hostile().Layers[0].Name, "\x1b[2J"
	return r
}

func table(t testing.TB, r *report.Report, o render.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := render.Table(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTablesAreTheGoldenFiles(t *testing.T) {
	empty := &report.Report{Kind: report.KindConvert, Model: report.Model{Input: report.Artifact{Name: "add.onnx", Format: "onnx", Bytes: 90, IRVersion: 10, Opset: 21}},
		State: report.State{Calibrated: true}, Warnings: []report.Warning{report.NewWarning(report.WarnNothingRewritten, "model")}}
	empty.Finish()
	planned := model()
	planned.Model.Output.SHA256 = ""
	for name, c := range map[string]struct {
		r *report.Report
		o render.Options
	}{
		"wide":     {model(), render.Options{}},
		"planned":  {planned, render.Options{Width: 200}},
		"all":      {model(), render.Options{All: true}},
		"width120": {model(), render.Options{Width: 120}},
		"width80":  {model(), render.Options{Width: 80}},
		"width40":  {model(), render.Options{Width: 40}},
		"color":    {model(), render.Options{Width: 100, Color: true}},
		"hostile":  {hostile(), render.Options{Width: 120}},
		"empty":    {empty, render.Options{}},

		"calibration":         {calibration(), render.Options{}},
		"calibration_width80": {calibration(), render.Options{Width: 80}},
		"calibration_hostile": {hostileCalibration(), render.Options{Width: 120}},

		"verification":         {verification(), render.Options{}},
		"verification_all":     {verification(), render.Options{All: true}},
		"verification_width80": {verification(), render.Options{Width: 80}},
		"verification_recipes": {recipes(), render.Options{}},
		"verification_hostile": {hostileVerification(), render.Options{Width: 120}},
	} {
		t.Run(name, func(t *testing.T) {
			got := table(t, c.r, c.o)
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestEveryLineFitsTheTerminal(t *testing.T) {
	for _, r := range []*report.Report{model(), hostile(), calibration(), hostileCalibration(), verification(), recipes(), hostileVerification()} {
		for _, width := range []int{60, 72, 80, 100, 120, 160, 200} {
			inTable := false
			for text := range strings.Lines(table(t, r, render.Options{Width: width})) {
				text = strings.TrimSuffix(text, "\n")
				inTable = inTable && text != "" || strings.HasPrefix(text, "layer ")
				if n := twwidth.Width(text); inTable && n > width {
					t.Errorf("%d columns on a terminal of %d: %s", n, width, text)
				}
			}
		}
	}
}

func TestNoNameReachesTheTerminalUnescaped(t *testing.T) {
	for i, o := range []render.Options{{}, {Width: 80}, {All: true}, {}, {}} {
		r := hostile()
		switch i {
		case 3:
			r = hostileCalibration()
		case 4:
			r = hostileVerification()
		}
		got := table(t, r, o)
		if !utf8.ValidString(got) {
			t.Error("not UTF-8")
		}
		for text := range strings.Lines(got) {
			if strings.ContainsFunc(strings.TrimSuffix(text, "\n"), report.Unsafe) {
				t.Errorf("unsafe character in %q", text)
			}
		}
		if len(got) > 20_000 {
			t.Errorf("%d bytes: a long name was not cut", len(got))
		}
		if !strings.Contains(got, `\x1b[31mred\x1b[0m`) {
			t.Error("an escape sequence is not shown as text")
		}
	}
}

func TestColorsAreOnlyWhereTheyAreAllowed(t *testing.T) {
	if strings.Contains(table(t, model(), render.Options{}), "\x1b") {
		t.Error("escape sequences without Color")
	}
	env := func(name, value string) func(string) string {
		return func(k string) string {
			if k == name {
				return value
			}
			return ""
		}
	}
	for _, c := range []struct {
		terminal bool
		getenv   func(string) string
		want     bool
	}{{true, env("", ""), true}, {false, env("", ""), false}, {true, env("NO_COLOR", "1"), false}, {true, env("TERM", "dumb"), false}} {
		if got := render.Color(c.terminal, c.getenv); got != c.want {
			t.Errorf("Color(%v, …) = %v", c.terminal, got)
		}
	}
}

func TestColorChangesNothingButColor(t *testing.T) {
	plain := table(t, model(), render.Options{Width: 100})
	colored := twwidth.Filter().ReplaceAllString(table(t, model(), render.Options{Width: 100, Color: true}), "")
	var b strings.Builder
	for text := range strings.Lines(colored) {
		b.WriteString(strings.TrimRight(text, " \n") + "\n")
	}
	if b.String() != plain {
		t.Errorf("with colors removed:\n%s\nwithout:\n%s", b.String(), plain)
	}
}

type fullDisk struct{}

var errFull = errors.New("no space left on device")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestTablePassesOnWriteErrors(t *testing.T) {
	if err := render.Table(fullDisk{}, model(), render.Options{}); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

func BenchmarkTableOfTwoThousandLayers(b *testing.B) {
	r := model()
	l := r.Layers[0]
	r.Layers = nil
	for range 2000 {
		r.Layers = append(r.Layers, l)
	}
	r.Finish()
	for b.Loop() {
		table(b, r, render.Options{Width: 120})
	}
}
