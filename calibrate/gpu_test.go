package calibrate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// gpu is the GPU engine; a test that wants it is left out, aloud, where there is none.
func gpu(t testing.TB, compute string, exact bool) runtime.Backend {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: eight batches on two engines take seconds")
	}
	b := cuda.New(cuda.Options{Compute: compute, Exact: exact, Host: cpu.New()})
	if err := b.Check(); err != nil {
		t.Skip(err)
	}
	return b
}

// distribution says how differences are distributed; it sorts them.
func distribution(off []float64) string {
	slices.Sort(off)
	s := fmt.Sprintf("of %d", len(off))
	for _, q := range []int{50, 75, 90, 95, 99} {
		s += fmt.Sprintf(", %d%% within %.2e", q, off[len(off)*q/100])
	}
	near, _ := slices.BinarySearch(off, math.Nextafter(1e-2, 1))
	return fmt.Sprintf("%s; within 1e-2: %.1f%%; worst %.2e", s, 100*float64(near)/float64(len(off)), off[len(off)-1])
}

// TestGPUFollowsTheReferenceLibrary calibrates llama with original weights in bfloat16, as float8_experimental did with torch._scaled_mm on an
// NVIDIA H200. With exact sums every second amax is the recorded one, bit for bit. What differs begins as a rounding: fused attention keeps
// scores and weights in float32, sums have another order. A value that rounds to the other code is a sixteenth off, and what comes after it
// differs. So the largest difference is chance: measured on an H200 4.0e-2 with exact sums, 2.7e-2 with fast ones, whose median is larger.
func TestGPUFollowsTheReferenceLibrary(t *testing.T) {
	bytes, err := os.ReadFile(models("llama", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		HistoryLen int `json:"history_len"`
		Batch      int
		Steps      int
		Delayed    struct {
			Steps []struct {
				Loss   float64
				Layers map[string]map[string]goldenState
			}
		} `json:"delayed_scaled_mm_bf16"`
	}
	if err := json.Unmarshal(bytes, &want); err != nil {
		t.Fatal(err)
	}
	recipe := scaling.DefaultRecipe()
	recipe.HistoryLen = want.HistoryLen
	m := convert(t, openModel(t, "llama", "model.onnx"), rewrite.Options{Recipe: recipe, Weights: rewrite.OriginalWeights})
	for _, c := range []struct {
		name    string
		exact   bool
		largest float64 // difference of an amax
	}{{"exact", true, 5e-2}, {"fast", false, 3e-2}} {
		t.Run(c.name, func(t *testing.T) {
			b := gpu(t, "bfloat16", c.exact)
			data := openData(t, m, "llama", "calib_", want.Batch, want.Steps)
			var losses []float64
			res, err := calibrate.Run(context.Background(), m, b, data, calibrate.Options{NoAmaxInit: true, Outputs: stepLoss(t, m, data, 0, &losses)})
			if err != nil {
				t.Fatal(err)
			}
			if len(losses) != 8 || len(want.Delayed.Steps) != 8 || len(res.Layers) != 29 {
				t.Fatalf("%d losses, %d recorded, %d layers; want 8, 8 and 29", len(losses), len(want.Delayed.Steps), len(res.Layers))
			}
			worst := 0.0
			for i, s := range want.Delayed.Steps {
				d := math.Abs(losses[i] - s.Loss)
				if worst = max(worst, d); !(d <= 8e-3) {
					t.Errorf("step %d: loss %.6f, recorded %.6f", i, losses[i], s.Loss)
				}
			}
			var off []float64
			for _, l := range res.Layers {
				for i, s := range want.Delayed.Steps {
					in, w := s.Layers[l.Name]["input"], s.Layers[l.Name]["weight"]
					if w.Amax == 0 || l.Weight.Amaxes[i] != w.Amax {
						t.Errorf("step %d, weight of %q: amax %v, recorded %v", i, l.Name, l.Weight.Amaxes[i], w.Amax)
					}
					d := math.Abs(float64(l.Input.Amaxes[i]-in.Amax)) / float64(in.Amax)
					if off = append(off, d); !(d <= c.largest) {
						t.Errorf("step %d, input of %q: amax %v, recorded %v", i, l.Name, l.Input.Amaxes[i], in.Amax)
					}
				}
			}
			t.Logf("amaxes of inputs: %s; losses within %.1e", distribution(off), worst)
			if median := off[len(off)/2]; !(median <= 5e-3) {
				t.Errorf("median difference of the amaxes %.1e, want at most 5e-3", median)
			}
		})
	}
}

// TestGPUCalibratesAsTheProcessor compares the state after a calibration with float32 for what stays. With exact sums the engines differ in the
// last bits of float32, and a value next to the middle between two codes goes the other way now and then. Fast sums, of which float8 tensor
// cores keep 14 bits, are other numbers: what is measured with them on an H200 is 92.3% within 1e-2 and 3.4e-2 at most for llama, 88.9% and
// 4.7e-2 for gpt2.
func TestGPUCalibratesAsTheProcessor(t *testing.T) {
	gpu(t, "float32", true)
	for _, c := range []struct {
		model, file string
		batch       int
		weights     rewrite.Weights
	}{
		{"llama", "model.onnx", 8, rewrite.Float8Weights},
		{"llama", "model.onnx", 8, rewrite.OriginalWeights},
		{"gpt2", "model.onnx", 8, rewrite.Float8Weights},
		{"digits", "digits_mlp.onnx", 64, rewrite.Float8Weights},
		{"digits", "digits_cnn.onnx", 64, rewrite.Float8Weights},
	} {
		m := convert(t, openModel(t, c.model, c.file), rewrite.Options{Weights: c.weights})
		state := func(t *testing.T, b runtime.Backend) (*calibrate.Result, time.Duration) {
			data := openData(t, m, c.model, "calib_", c.batch, 0)
			start := time.Now()
			res, err := calibrate.Run(context.Background(), m, b, data, calibrate.Options{})
			if err != nil {
				t.Fatalf("%s: %v", b.Name(), err)
			}
			return res, time.Since(start)
		}
		want, slow := state(t, cpu.New())
		for _, s := range []struct {
			name          string
			exact         bool
			part, largest float64 // how many are within 1e-2, and how far the farthest may be
		}{{"exact", true, 0.95, 3e-2}, {"fast", false, 0.85, 6e-2}} {
			t.Run(fmt.Sprintf("%s/%s %s %v", s.name, c.model, c.file, c.weights), func(t *testing.T) {
				got, quick := state(t, gpu(t, "float32", s.exact))
				var off []float64
				compare := func(layer, what string, got, want float32) {
					d := 0.0
					if got != want {
						d = math.Abs(float64(got)-float64(want)) / math.Abs(float64(want))
					}
					if off = append(off, d); !(d <= s.largest) {
						t.Errorf("layer %q: %s %v, on the processor %v", layer, what, got, want)
					}
				}
				for i, l := range want.Layers {
					g := got.Layers[i]
					if g.Name != l.Name || g.Ran != l.Ran {
						t.Fatalf("layer %d: %q ran %d times, on the processor %q %d times", i, g.Name, g.Ran, l.Name, l.Ran)
					}
					compare(l.Name, "scale", g.Input.Scales[len(g.Input.Scales)-1], l.Input.Scales[len(l.Input.Scales)-1])
					for k := range l.Input.Amaxes {
						compare(l.Name, "amax", g.Input.Amaxes[k], l.Input.Amaxes[k])
					}
					if l.Weight != nil && !slices.Equal(g.Weight.Amaxes, l.Weight.Amaxes) {
						t.Errorf("layer %q: amaxes of the weight %v, on the processor %v", l.Name, g.Weight.Amaxes, l.Weight.Amaxes)
					}
				}
				t.Logf("amaxes and last scales of inputs: %s; %v on the processor, %v on the GPU, start-up included", distribution(off), slow, quick)
				if near, _ := slices.BinarySearch(off, math.Nextafter(1e-2, 1)); float64(near) < s.part*float64(len(off)) {
					t.Errorf("%d of %d values are within 1e-2 of the processor's, want %g of them", near, len(off), s.part)
				}
			})
		}
	}
}
