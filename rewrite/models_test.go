package rewrite_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

func open(t *testing.T, parts ...string) *graph.Model {
	t.Helper()
	f, err := onnxio.Open(filepath.Join(append([]string{"..", "testdata", "models"}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Model
}

func convert(t *testing.T, m *graph.Model, opt rewrite.Options) *rewrite.Result {
	t.Helper()
	if opt.Recipe.HistoryLen == 0 {
		opt.Recipe = scaling.DefaultRecipe()
	}
	res, err := rewrite.Convert(context.Background(), m, opt)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func rewritten(res *rewrite.Result) (names []string) {
	for _, l := range res.Layers() {
		if l.Decision == report.Rewritten {
			names = append(names, l.Name)
		}
	}
	return names
}

// TestLayersAreThoseOfTheReferenceLibrary holds the rewritten layers against the names that float8_experimental gave to the
// modules that it swapped in the same model.
func TestLayersAreThoseOfTheReferenceLibrary(t *testing.T) {
	for model, count := range map[string]int{"llama": 29, "gpt2": 17} {
		t.Run(model, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("..", "testdata", "models", model, "golden.json"))
			if err != nil {
				t.Fatal(err)
			}
			var golden struct {
				Amax map[string]struct{ Weight float32 } `json:"amax_f32"`
			}
			if err := json.Unmarshal(b, &golden); err != nil {
				t.Fatal(err)
			}
			res := convert(t, open(t, model, "model.onnx"), rewrite.Options{})
			got := rewritten(res)
			if len(got) != count || len(golden.Amax) != count {
				t.Errorf("rewrote %d layers, golden has %d, want %d", len(got), len(golden.Amax), count)
			}
			for _, l := range res.Layers() {
				if l.Decision != report.Rewritten {
					continue
				}
				want, ok := golden.Amax[l.Name]
				if !ok {
					t.Errorf("layer %q is not in the golden", l.Name)
				} else if l.Amax == nil || float32(*l.Amax) != want.Weight {
					t.Errorf("layer %q: weight amax %v, golden %v", l.Name, l.Amax, want.Weight)
				}
			}
		})
	}
}

func TestTheDigitsModelsRewriteEveryLinearLayer(t *testing.T) {
	for model, want := range map[string][]string{
		"digits_mlp.onnx": {"0", "2", "4"},
		"digits_cnn.onnx": {"f1", "f2"},
	} {
		if got := rewritten(convert(t, open(t, "digits", model), rewrite.Options{})); !slices.Equal(got, want) {
			t.Errorf("%s: rewrote %q, want %q", model, got, want)
		}
	}
}
