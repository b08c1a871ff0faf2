package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// bench is a report of a benchmark; its numbers describe no real model or card.
func bench(model, layer, why string) *report.Report {
	number := func(f float64) *report.Float64 { return new(report.Float64(f)) }
	r := &report.Report{
		Kind:     report.KindBench,
		Model:    report.Model{Input: report.Artifact{Name: model, Format: "onnx", Bytes: 3_400_000_000, IRVersion: 10, Opset: 21}},
		Settings: report.Settings{Recipe: "i:del,w:del,go:del h16 max"},
		State:    report.State{Calibrated: true, DelayedLayers: 2, InitializedLayers: 2},
		Bench: &report.Bench{
			Settings: report.BenchSettings{Device: "cuda:0", Runs: 30,
				Inputs: []report.BenchInput{{Name: "hidden_states", DType: "bfloat16", Shape: []int64{2, 4096, 4096}}}},
			Execution: report.Execution{Compute: "bfloat16", Placements: []report.Placement{{Node: "a", Op: "TopK", Where: "cpu", Why: why},
				{Node: "b", Op: "NonZero", Where: "cpu", Why: why}, {Node: "c", Op: "Float8Linear", Layer: layer, Where: "bfloat16", Why: "K is 30"}}},
			Ceilings: []report.Ceiling{{Name: report.CeilingFloat8, Unit: "TFLOP/s", Value: 1402.5}, {Name: report.CeilingMemory, Unit: "GB/s", Value: 4200}},
			Model: report.BenchedModel{Name: model, Median: 15.25, Fastest: 15.125, Slowest: 16.5, Rate: 950, WeightBytes: 1 << 30, ActivationBytes: 1 << 28,
				Parts: []report.BenchedPart{{Name: "matmul e4m3", Steps: 28, Time: 10.5, Rate: 166.5}, {Name: "attention", Steps: 4, Time: 2.25}}},
			Against: &report.BenchedModel{Name: "bf16.onnx", Median: 24, Fastest: 23.75, Slowest: 25},
			Layers: []report.BenchedLayer{
				{Name: layer, Tokens: 8192, OutFeatures: 4096, InFeatures: 4096, Time: 0.25, Matmul: 0.21875, Rate: 1256.5, Memory: 471.875,
					OfCeiling: number(0.8975), Against: number(0.40625), Speedup: number(1.625)},
				{Name: "head", Tokens: 8192, OutFeatures: 64, InFeatures: 4096, Time: 0.0625, Matmul: 0.03125, Rate: 137.5, Memory: 560,
					OfCeiling: number(0.098), Against: number(0.03125), Speedup: number(0.5), Keep: true},
				{Name: "scores", Time: 0.5},
			},
			Shapes: []report.BenchedShape{{Tokens: 8192, Features: 256, Float8: 0.03125, BFloat16: 0.015625, Speedup: 0.5},
				{Tokens: 8192, Features: 1024, Float8: 0.0625, BFloat16: 0.09375, Speedup: 1.5}},
			Advice: &report.BenchAdvice{Keep: []string{"head"}, Exclude: []string{"head"}, MinDim: 4096, CardMinDim: 1024, Saved: 0.03125},
		},
	}
	r.Finish()
	return r
}

func TestTheTableOfABenchmarkIsTheGoldenFile(t *testing.T) {
	plain := bench("llama.fp8.onnx", "model.layers.0.self_attn.q_proj", "no kernel")
	for name, c := range map[string]struct {
		r *report.Report
		o render.Options
	}{
		"bench":         {plain, render.Options{}},
		"bench_width80": {plain, render.Options{Width: 80}},
		"bench_hostile": {bench("a\x1b[31mred", "line\nbreak\u202e", strings.Repeat("\x1b[2Jlong ", 2000)), render.Options{Width: 120}},
	} {
		t.Run(name, func(t *testing.T) {
			got := table(t, c.r, c.o)
			for text := range strings.Lines(got) {
				if strings.ContainsFunc(strings.TrimSuffix(text, "\n"), report.Unsafe) {
					t.Errorf("unsafe character in %q", text)
				}
			}
			if len(got) > 8000 {
				t.Errorf("%d bytes: a long text was not cut", len(got))
			}
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
