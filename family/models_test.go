package family

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// rebuilt is a folder with config.json of a sample model, and its weights as transformers would have saved them, taken from the exported model.
func rebuilt(t *testing.T, name string, exported *graph.Model, conv1D bool) *checkpoint.Source {
	t.Helper()
	var list []safetensors.Tensor
	taken := map[string]bool{}
	for _, row := range convert(t, exported).Layers() {
		init := exported.Graph.Initializer(row.Weight)
		if row.Decision != report.Rewritten || init == nil || taken[row.Weight] {
			continue
		}
		taken[row.Weight] = true
		w := init.Tensor
		if n := row.Shape[0]; !(conv1D && row.Name != "lm_head") && w.Shape[1] == n && !strings.HasSuffix(row.Weight, ".weight") {
			w = transposed(t, w) // exporters store what they have transposed
		}
		name := row.Name + ".weight"
		if conv1D && row.Name == "lm_head" {
			name = "transformer.wte.weight" // it is tied, and checkpoints keep the embedding
		}
		list = append(list, safetensors.Tensor{Name: name, Tensor: w})
	}
	have := map[string]bool{}
	for _, x := range list {
		have[x.Name] = true
	}
	for _, init := range exported.Graph.Initializers {
		own, ok := strings.CutPrefix(init.Name, "m.") // the wrapper that the export was made with
		if ok && !have[own] && !taken[init.Name] && (strings.HasSuffix(own, ".weight") || strings.HasSuffix(own, ".bias")) {
			list = append(list, safetensors.Tensor{Name: own, Tensor: init.Tensor})
		}
	}
	dir := t.TempDir()
	config, err := os.ReadFile(filepath.Join("../testdata/models", name, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := safetensors.Write(&b, list, nil); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{"config.json": config, "model.safetensors": b.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, dir)
}

func transposed(t *testing.T, w *tensor.Tensor) *tensor.Tensor {
	t.Helper()
	v, err := w.AsFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	rows, columns := w.Shape[0], w.Shape[1]
	out := make([]float32, len(v))
	for i := range rows {
		for j := range columns {
			out[j*rows+i] = v[i*columns+j]
		}
	}
	return tensor.Float32s(tensor.Shape{columns, rows}, out...)
}

func convert(t *testing.T, m *graph.Model) *rewrite.Result {
	t.Helper()
	res, err := rewrite.Convert(context.Background(), m, rewrite.Options{Recipe: scaling.DefaultRecipe()})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// amaxes are the input amaxes of all layers after a few steps of calibration.
func amaxes(t *testing.T, m *graph.Model, data string) map[string]float64 {
	t.Helper()
	set, err := samples.Open(data, samples.Options{Model: m.Graph.Inputs, Prefix: "calib_", BatchSize: 8, Steps: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	res, err := calibrate.Run(context.Background(), convert(t, m).Model, cpu.New(), set, calibrate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, l := range res.Section().Layers {
		out[l.Name] = 1 / float64(l.Input.Scale[len(l.Input.Scale)-1])
	}
	return out
}

// The graph of a checkpoint is the model that torch.onnx exported: the same logits, and the same input scales under the same names.
func TestGraphsAreWhatWasExported(t *testing.T) {
	if testing.Short() {
		t.Skip("two models are run and calibrated")
	}
	for _, c := range []struct {
		name   string
		conv1D bool
		layers int
	}{{"llama", false, 29}, {"gpt2", true, 17}} {
		t.Run(c.name, func(t *testing.T) {
			folder := filepath.Join("../testdata/models", c.name)
			file, err := onnxio.Open(filepath.Join(folder, "model.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			m, err := Build(rebuilt(t, c.name, file.Model, c.conv1D), Options{})
			if err != nil {
				t.Fatal(err)
			}
			data := filepath.Join(folder, "data.npz")
			ids := arrays(t, data)["eval_input_ids"]
			b, err := ids.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			const rows = 8
			few, err := tensor.New(tensor.Int64, tensor.Shape{rows, ids.Shape[1]}, tensor.Bytes(b[:rows*ids.Shape[1]*8]))
			if err != nil {
				t.Fatal(err)
			}
			inputs := map[string]*tensor.Tensor{"input_ids": few}
			got, want := run(t, m, inputs)["logits"], run(t, file.Model, inputs)["logits"]
			d := difference(t, got, want)
			t.Logf("logits: %.2g", d)
			if !(d <= tolerance) {
				t.Errorf("logits differ by %g, want at most %g", d, tolerance)
			}
			built, exported := amaxes(t, m, data), amaxes(t, file.Model, data)
			if len(built) != c.layers || len(exported) != c.layers {
				t.Errorf("%d and %d layers, want %d", len(built), len(exported), c.layers)
			}
			worst, at := 0.0, ""
			for name, want := range exported {
				got, ok := built[name]
				if !ok {
					t.Errorf("no layer %q, of %v", name, fmt.Sprint(built))
				}
				if r := math.Abs(got-want) / want; !(r <= worst) {
					worst, at = r, name
				}
			}
			t.Logf("input scales: %.2g at %s", worst, at)
			if !(worst <= 1e-3) {
				t.Errorf("the input scale of %s differs by %g of it, want at most 1e-3", at, worst)
			}
		})
	}
}
