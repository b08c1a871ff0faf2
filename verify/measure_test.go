package verify_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
	"github.com/fp8rewrite/fp8rewrite/verify"
)

const models = "../testdata/models/"

// subject is a model of the repository, converted and calibrated.
type subject struct {
	original, rewritten *graph.Model
	eval                *samples.Set
	labels              string
}

func open(t *testing.T, model, data, labels string, steps int, opt rewrite.Options) subject {
	t.Helper()
	file, err := onnxio.Open(models + model)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	set := func(prefix string, steps int) *samples.Set {
		s, err := samples.Open(models+data, samples.Options{Model: file.Model.Graph.Inputs, Prefix: prefix, BatchSize: 8, Steps: steps})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	opt.Recipe = scaling.DefaultRecipe()
	converted, err := rewrite.Convert(context.Background(), file.Model, opt)
	if err != nil {
		t.Fatal(err)
	}
	res, err := calibrate.Run(context.Background(), converted.Model, cpu.New(), set("calib_", 4), calibrate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return subject{file.Model, res.Model, set("eval_", steps), labels}
}

func (s subject) verifier(t *testing.T, layers bool) *verify.Verifier {
	t.Helper()
	v, err := verify.New(cpu.New(), s.original, s.eval, verify.Options{Layers: layers, Labels: func(_ context.Context, step int) (*tensor.Tensor, error) {
		return s.eval.Aligned(s.labels, step)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAModelAgainstItselfIsExact(t *testing.T) {
	s := open(t, "digits/digits_mlp.onnx", "digits/data.npz", "label", 0, rewrite.Options{})
	m, err := s.verifier(t, false).Measure(context.Background(), s.original)
	if err != nil {
		t.Fatal(err)
	}
	if o := m.Outputs[0]; !math.IsInf(o.SQNR, 1) || o.MaxAbs != 0 || m.LossIncrease() != 0 || m.Rows != 397 {
		t.Errorf("got %+v over %d rows", o, m.Rows)
	}
	if m.Before.Correct != 389 {
		t.Errorf("%d of 397 images right, want 389", m.Before.Correct)
	}
}

func TestDigits(t *testing.T) {
	for _, c := range []struct {
		model  string
		right  int64
		layers int
	}{{"digits_mlp", 389, 3}, {"digits_cnn", 392, 2}} {
		t.Run(c.model, func(t *testing.T) {
			s := open(t, "digits/"+c.model+".onnx", "digits/data.npz", "label", 0, rewrite.Options{})
			m, err := s.verifier(t, true).Measure(context.Background(), s.rewritten)
			if err != nil {
				t.Fatal(err)
			}
			if m.Before.Correct != c.right || m.After.Correct < c.right-1 {
				t.Errorf("%d images right, then %d; want %d, and at most one lost", m.Before.Correct, m.After.Correct, c.right)
			}
			if m.LossIncrease() > 0.01 {
				t.Errorf("the loss gains %v, want at most 0.01", m.LossIncrease())
			}
			if len(m.Layers) != c.layers {
				t.Fatalf("%d layers, want %d", len(m.Layers), c.layers)
			}
			for _, l := range m.Layers {
				if l.Value == "" || l.Elements == 0 || !(l.SQNR > 20) || !(l.Cosine > 0.99) {
					t.Errorf("layer %+v: want the error of an output that the original has", l)
				}
			}
		})
	}
}

// variants are made as the command makes them.
type variants struct {
	subject
	layers []string
}

func (v variants) Layers() []string { return v.layers }

func (v variants) Only(ctx context.Context, layers []string) (*graph.Model, error) {
	return rewrite.Partial(ctx, v.original, v.rewritten, layers)
}

// TestSensitivityNamesTheLayerThatExclusionConfirms asks gpt2, of which one layer costs most: the ranking runs it alone, the confirmation
// converts and calibrates the model anew without it.
func TestSensitivityNamesTheLayerThatExclusionConfirms(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs a model once for each of its layers")
	}
	const steps, worst = 2, "transformer.h.0.attn.c_attn"
	s := open(t, "gpt2/model.onnx", "gpt2/data.npz", "labels", steps, rewrite.Options{})
	v := s.verifier(t, true)
	all, err := v.Measure(context.Background(), s.rewritten)
	if err != nil {
		t.Fatal(err)
	}
	parts := variants{subject: s}
	for _, l := range all.Layers {
		parts.layers = append(parts.layers, l.Name)
	}
	costs, err := v.Sensitivity(context.Background(), parts)
	if err != nil {
		t.Fatal(err)
	}
	if costs[0].Layer != worst || costs[0].LossIncrease < 5*costs[1].LossIncrease {
		t.Errorf("%+v and %+v lead, want %s, far ahead", costs[0], costs[1], worst)
	}
	limit := 0.01
	e, err := v.Exclude(context.Background(), parts, costs, verify.Gates{MaxLossIncrease: &limit})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Met || !slices.Equal(e.Layers, []string{worst}) {
		t.Errorf("got %v, met %t, want %s alone", e.Layers, e.Met, worst)
	}
	pattern, err := rewrite.ParsePattern(rewrite.Literal(worst))
	if err != nil {
		t.Fatal(err)
	}
	without := open(t, "gpt2/model.onnx", "gpt2/data.npz", "labels", steps, rewrite.Options{Exclude: []rewrite.Pattern{pattern}})
	again, err := without.verifier(t, false).Measure(context.Background(), without.rewritten)
	if err != nil {
		t.Fatal(err)
	}
	if all.LossIncrease() <= limit || again.LossIncrease() > limit {
		t.Errorf("the loss gains %v with the layer and %v without, want above and below %v", all.LossIncrease(), again.LossIncrease(), limit)
	}
}

func TestWhatDoesNotFitIsAnError(t *testing.T) {
	s := open(t, "digits/digits_mlp.onnx", "digits/data.npz", "label", 1, rewrite.Options{})
	other, err := onnxio.Open(models + "llama/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := s.verifier(t, false).Measure(context.Background(), other.Model); err == nil || !strings.Contains(err.Error(), "input_ids") {
		t.Errorf("another model: %v, want an error that names its input", err)
	}
	if _, err := verify.New(cpu.New(), s.original, s.eval, verify.Options{Logits: "none"}); err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("an output that is not there: %v", err)
	}
	unlabeled, err := verify.New(cpu.New(), s.original, s.eval, verify.Options{Labels: func(_ context.Context, step int) (*tensor.Tensor, error) {
		return tensor.Int64s(tensor.Shape{8}, -1, -1, -1, -1, -1, -1, -1, -1), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unlabeled.Measure(context.Background(), s.rewritten); err == nil || !strings.Contains(err.Error(), "all are negative") {
		t.Errorf("labels that are no classes: %v", err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.verifier(t, false).Measure(cancelled, s.rewritten); err == nil {
		t.Error("a cancelled context: no error")
	}
}
