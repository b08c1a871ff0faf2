package runtimetest

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func modelCases() []testCase {
	return []testCase{{"models/llama as it is", llamaPlain}, {"models/llama with Float8Linear", llamaFloat8}}
}

// models is the folder testdata/models, above the package that runs the suite.
func models(t *testing.T) string {
	t.Helper()
	for dir := "."; ; dir = filepath.Join("..", dir) {
		at := filepath.Join(dir, "testdata", "models")
		if _, err := os.Stat(filepath.Join(at, "llama")); err == nil {
			return at
		}
		if abs, err := filepath.Abs(dir); err != nil || abs == filepath.Dir(abs) {
			t.Skip("no folder testdata/models above this one")
		}
	}
}

// golden is what testdata/models/README.md says of golden.json, as far as it is used here.
type golden struct {
	Loss float64 `json:"val_loss_f32"`
	Amax map[string]struct {
		Input  []float32
		Weight float32
	} `json:"amax_f32"`
	Delayed struct {
		Steps []struct {
			Loss   float64
			Layers map[string]struct{ Input, Weight struct{ Amax float32 } }
		}
	} `json:"delayed_emulate_f32"`
}

func readGolden(t *testing.T, folder string) golden {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func openFile(t *testing.T, path string) *onnxio.File {
	t.Helper()
	f, err := onnxio.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// batch are the rows of a data file that one run gets, with what should follow each token.
func batch(t *testing.T, folder, part string, from, rows int) (ids *tensor.Tensor, labels []int64) {
	t.Helper()
	path := filepath.Join(folder, "data.npz")
	all, columns := readInts(t, path, part+"_input_ids")
	next, _ := readInts(t, path, part+"_labels")
	ids = tensor.Int64s(tensor.Shape{int64(rows), int64(columns)}, all[from*columns:(from+rows)*columns]...)
	return ids, next[from*columns : (from+rows)*columns]
}

// crossEntropy is the mean of -log softmax(logits)[label].
func crossEntropy(t *testing.T, v runtime.Value, labels []int64) float64 {
	t.Helper()
	if v.Tensor == nil || v.Tensor.DType != tensor.Float32 || len(v.Tensor.Shape) != 3 {
		t.Fatalf("logits are %+v", v.Tensor)
	}
	x := numbers(t, v.Tensor)
	classes := int(v.Tensor.Shape[2])
	if len(x) != len(labels)*classes {
		t.Fatalf("%d logits, want %d", len(x), len(labels)*classes)
	}
	var loss float64
	for i, label := range labels {
		row := x[i*classes : (i+1)*classes]
		var sum float64
		for _, z := range row {
			sum += math.Exp(z - row[label])
		}
		loss += math.Log(sum)
	}
	return loss / float64(len(labels))
}

// llamaPlain: a whole model in float32, by the loss that the framework found for it: over all 64 rows, or over the 8 of the first
// step in short mode, whose own loss in float8 is close.
func llamaPlain(t *testing.T, e *engine) {
	folder := filepath.Join(models(t), "llama")
	g := readGolden(t, folder)
	s := e.open(t, openFile(t, filepath.Join(folder, "model.onnx")).Model, runtime.Options{})
	part, count, want, allowed := "eval", 64, g.Loss, 1e-4
	if testing.Short() {
		part, count, want, allowed = "calib", 8, g.Delayed.Steps[0].Loss, 2e-2
	}
	var loss float64
	for from := 0; from < count; from += 8 {
		ids, labels := batch(t, folder, part, from, 8)
		loss += crossEntropy(t, run(t, s, feeds{"input_ids": ids}).Values["logits"], labels) * 8 / float64(count)
	}
	t.Logf("loss %.5f, golden %.5f", loss, want)
	if math.Abs(loss-want) > allowed {
		t.Errorf("loss %.5f, want %.5f ± %g", loss, want, allowed)
	}
}

// llamaFloat8: the same model after conversion, over the first batch, with the scales that the reference library begins with (1). Its
// loss and amaxes are those of the library's first step, except where a rounding to float8 fell the other way.
func llamaFloat8(t *testing.T, e *engine) {
	folder := filepath.Join(models(t), "llama")
	g := readGolden(t, folder)
	recipe := scaling.DefaultRecipe()
	recipe.HistoryLen = 4
	res, err := rewrite.Convert(t.Context(), openFile(t, filepath.Join(folder, "model.onnx")).Model,
		rewrite.Options{Recipe: recipe, Weights: rewrite.OriginalWeights})
	if err != nil {
		t.Fatal(err)
	}
	s := e.open(t, res.Model, runtime.Options{})
	ids, labels := batch(t, folder, "calib", 0, 8)
	out := run(t, s, feeds{"input_ids": ids})
	step := g.Delayed.Steps[0]
	loss := crossEntropy(t, out.Values["logits"], labels)
	t.Logf("loss %.5f, golden %.5f", loss, step.Loss)
	if math.Abs(loss-step.Loss) > 2e-3 {
		t.Errorf("loss %.5f, want %.5f ± 2e-3", loss, step.Loss)
	}
	if len(out.Layers) != len(step.Layers) {
		t.Errorf("%d layers, want %d", len(out.Layers), len(step.Layers))
	}
	near := e.tol.Amax
	if near == 0 {
		near = 1e-3
	}
	close := 0
	for _, l := range out.Layers {
		want := step.Layers[l.Layer]
		if l.AmaxWeight != want.Weight.Amax {
			t.Errorf("layer %q: amax of the weight %g, want %g", l.Layer, l.AmaxWeight, want.Weight.Amax)
		}
		off := math.Abs(float64(l.AmaxInput)/float64(want.Input.Amax) - 1)
		if off <= near {
			close++
		}
		if !(off <= 3e-2) {
			t.Errorf("layer %q: amax of the input %g, want %g ± 3%%", l.Layer, l.AmaxInput, want.Input.Amax)
		}
	}
	t.Logf("%d of %d amaxes are within %g", close, len(out.Layers), near)
	if close < len(out.Layers)*9/10 {
		t.Errorf("%d of %d amaxes are within %g, want 90%%", close, len(out.Layers), near)
	}
}
