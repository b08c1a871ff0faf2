package rewrite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// TestConvertTwiceChangesNothing converts what a first conversion wrote: the bytes stay, every layer is named as a Float8Linear
// already, and a warning says so.
func TestConvertTwiceChangesNothing(t *testing.T) {
	dynamic := scaling.DefaultRecipe()
	dynamic.Input = scaling.Dynamic
	for _, model := range [][]string{{"llama", "model.onnx"}, {"gpt2", "model.onnx"}, {"digits", "digits_mlp.onnx"}, {"digits", "digits_cnn.onnx"}} {
		for name, opt := range map[string]rewrite.Options{
			"delayed":          {},
			"dynamic":          {Recipe: dynamic},
			"original weights": {Weights: rewrite.OriginalWeights},
		} {
			t.Run(filepath.Join(model...)+" "+name, func(t *testing.T) {
				first := convert(t, open(t, model...), opt)
				before, err := onnxio.Marshal(first.Model)
				if err != nil {
					t.Fatal(err)
				}
				m, err := onnxio.Unmarshal(before)
				if err != nil {
					t.Fatal(err)
				}
				second := convert(t, m, opt)
				after, err := onnxio.Marshal(second.Model)
				if err != nil {
					t.Fatal(err)
				}
				if second.Changed || !bytes.Equal(before, after) {
					t.Errorf("Changed is %v, %d bytes before and %d after", second.Changed, len(before), len(after))
				}
				var existing []string
				for _, l := range second.Layers() {
					if l.Reason == nil {
						t.Errorf("layer %q was rewritten by the rule %q", l.Name, l.Rule)
					} else if l.Reason.Code == report.ReasonAlreadyFloat8 {
						existing = append(existing, l.Name)
					}
				}
				if want := rewritten(first); !slices.Equal(existing, want) {
					t.Errorf("names %q as converted already, want %q", existing, want)
				}
				var codes []report.WarningCode
				for _, w := range second.Warnings {
					codes = append(codes, w.Code)
				}
				if !slices.Equal(codes, []report.WarningCode{report.WarnAlreadyConverted, report.WarnNothingRewritten}) {
					t.Errorf("warns of %q", codes)
				}
			})
		}
	}
}

func TestOneModelHasOneRecipe(t *testing.T) {
	first := convert(t, open(t, "digits", "digits_mlp.onnx"), rewrite.Options{Exclude: patterns("2")})
	dynamic := scaling.DefaultRecipe()
	dynamic.Input = scaling.Dynamic
	var mismatch *rewrite.RecipeMismatchError
	if _, err := rewrite.Convert(context.Background(), first.Model, rewrite.Options{Recipe: dynamic}); !errors.As(err, &mismatch) || mismatch.Want != dynamic.String() {
		t.Errorf("got %v, want a RecipeMismatchError", err)
	}
	second := convert(t, first.Model, rewrite.Options{})
	if got := rewritten(second); !slices.Equal(got, []string{"2"}) {
		t.Errorf("the second conversion rewrote %q, want the layer that the first left out", got)
	}
	if n := len(second.Model.Functions); n != 1 {
		t.Errorf("%d functions, want one", n)
	}
}
