package calibrate_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func models(parts ...string) string {
	return filepath.Join(append([]string{"..", "testdata", "models"}, parts...)...)
}

func openModel(t testing.TB, parts ...string) *graph.Model {
	t.Helper()
	f, err := onnxio.Open(models(parts...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Model
}

func convert(t testing.TB, m *graph.Model, opt rewrite.Options) *graph.Model {
	t.Helper()
	if opt.Recipe.HistoryLen == 0 {
		opt.Recipe = scaling.DefaultRecipe()
	}
	res, err := rewrite.Convert(context.Background(), m, opt)
	if err != nil {
		t.Fatal(err)
	}
	// Weights are computed where they are read, and count what they saw: several ranks in one process would do so at once.
	res.Model.Graph.Walk(func(g *graph.Graph) {
		for _, i := range g.Initializers {
			if b, err := i.Tensor.Bytes(); err == nil {
				c := *i.Tensor
				c.Data = tensor.Bytes(b)
				i.Tensor = &c
			}
		}
	})
	return res.Model
}

// openData is the calibration or evaluation batches of one of the models.
func openData(t testing.TB, m *graph.Model, model, prefix string, batch, steps int) *samples.Set {
	t.Helper()
	set, err := samples.Open(models(model, "data.npz"), samples.Options{Model: m.Graph.Inputs, Prefix: prefix, BatchSize: int64(batch), Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return set
}

// crossEntropy is the mean of -log softmax(logits)[label], in float64.
func crossEntropy(t testing.TB, logits, labels *tensor.Tensor) (sum float64, n int) {
	t.Helper()
	x, err := logits.AsFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	y, err := labels.AsInt64s()
	if err != nil {
		t.Fatal(err)
	}
	classes := len(x) / len(y)
	for i, label := range y {
		row := x[i*classes : (i+1)*classes]
		top := float64(slices.Max(row))
		all := 0.0
		for _, v := range row {
			all += math.Exp(float64(v) - top)
		}
		sum += math.Log(all) + top - float64(row[label])
	}
	return sum, len(y)
}

// golden is what float8_experimental recorded; see testdata/models/README.md.
type golden struct {
	HistoryLen int `json:"history_len"`
	Batch      int
	Steps      int
	Delayed    struct {
		ValLoss float64 `json:"val_loss"`
		Steps   []struct {
			Loss   float64
			Layers map[string]map[string]struct {
				Amax    float32
				History []float32
				Scale   float32
			}
		}
	} `json:"delayed_emulate_f32"`
}

func readGolden(t testing.TB, model string) golden {
	t.Helper()
	b, err := os.ReadFile(models(model, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestLlamaFollowsTheReferenceLibrary calibrates llama as float8_experimental did: original weights, history 4, no amax
// initialization. Weights agree exactly, and so does the first step, in every layer, but for the last bits of float32.
//
// From then on a value next to the middle between two float8 numbers may be rounded the other way, which moves its token by about a
// percent, and every later layer with it. How many values of the inputs agree is then a matter of few such cases: multiplying the
// embeddings by 1 + 1e-7·N(0,1) changes the part within 1e-3 of the recording, in ONNX Runtime on the same rewritten model, to anything
// from 76% to 92% (and of two such runs among themselves from 78% to 100%), and a step's loss by up to 2.7e-3. Unchanged, ONNX Runtime
// 1.32 has 76% and this engine 78%. The bounds below are what is left to assert.
func TestLlamaFollowsTheReferenceLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("eight batches of llama take seconds")
	}
	want := readGolden(t, "llama")
	recipe := scaling.DefaultRecipe()
	recipe.HistoryLen = want.HistoryLen
	m := convert(t, openModel(t, "llama", "model.onnx"), rewrite.Options{Recipe: recipe, Weights: rewrite.OriginalWeights})
	data := openData(t, m, "llama", "calib_", want.Batch, want.Steps)
	var losses []float64
	res, err := calibrate.Run(context.Background(), m, cpu.New(), data, calibrate.Options{NoAmaxInit: true,
		Outputs: func(step int, values map[string]runtime.Value) error {
			labels, err := data.Aligned("calib_labels", step)
			if err != nil {
				return err
			}
			sum, n := crossEntropy(t, values[m.Graph.Outputs[0].Name].Tensor, labels)
			losses = append(losses, sum/float64(n))
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Layers) != 29 || res.Steps != 8 || len(want.Delayed.Steps) != 8 {
		t.Fatalf("%d layers in %d steps, want 29 in 8", len(res.Layers), res.Steps)
	}
	for step, loss := range losses {
		if d := math.Abs(loss - want.Delayed.Steps[step].Loss); !(d <= 4e-3) || step == 0 && !(d <= 2e-4) {
			t.Errorf("step %d: loss %.6f, recorded %.6f", step, loss, want.Delayed.Steps[step].Loss)
		}
	}
	compared, near, worst := 0, 0, 0.0
	compare := func(what string, got, want float32) {
		compared++
		d := 0.0
		if got != want {
			d = math.Abs(float64(got)-float64(want)) / math.Abs(float64(want))
		}
		if d <= 1e-3 {
			near++
		}
		if worst = max(worst, d); !(d <= 3e-2) {
			t.Errorf("%s: got %v, recorded %v", what, got, want)
		}
	}
	for _, l := range res.Layers {
		for step, recorded := range want.Delayed.Steps {
			in, w := recorded.Layers[l.Name]["input"], recorded.Layers[l.Name]["weight"]
			if w.Scale == 0 || l.Weight == nil {
				t.Fatalf("layer %q: not recorded, or its weight not observed", l.Name)
			}
			if l.Weight.Amaxes[step] != w.Amax || l.Weight.Scales[step] != w.Scale {
				t.Errorf("step %d, weight of %q: amax %v and scale %v, recorded %v and %v", step, l.Name, l.Weight.Amaxes[step], l.Weight.Scales[step], w.Amax, w.Scale)
			}
			if d := math.Abs(float64(l.Input.Amaxes[step]-in.Amax)) / float64(in.Amax); step == 0 && !(d <= 1e-6) {
				t.Errorf("first step, input of %q: amax %v, recorded %v", l.Name, l.Input.Amaxes[step], in.Amax)
			}
			compare(l.Name+" amax", l.Input.Amaxes[step], in.Amax)
			compare(l.Name+" scale", l.Input.Scales[step], in.Scale)
			for i, a := range in.History {
				got := float32(0)
				if i <= step {
					got = l.Input.Amaxes[step-i]
				}
				compare(l.Name+" history", got, a)
			}
		}
		last := want.Delayed.Steps[7].Layers[l.Name]
		if !slices.Equal(l.Weight.History, last["weight"].History) {
			t.Errorf("weight of %q: history %v, recorded %v", l.Name, l.Weight.History, last["weight"].History)
		}
		for i, a := range l.Input.History {
			if a != l.Input.Amaxes[7-i] {
				t.Errorf("input of %q: history %v of amaxes %v", l.Name, l.Input.History, l.Input.Amaxes)
			}
		}
	}
	if part := float64(near) / float64(compared); part < 0.7 {
		t.Errorf("%.1f%% of %d values of the inputs are within 1e-3 of the recording, want 70%%", 100*part, compared)
	}
	if res.GradOutput != calibrate.GradInitial {
		t.Errorf("the gradients' state is %q, want %q", res.GradOutput, calibrate.GradInitial)
	}
	val := evaluate(t, res.Model, "llama")
	if math.Abs(val-want.Delayed.ValLoss) > 2e-3 {
		t.Errorf("evaluation loss %.6f, recorded %.6f", val, want.Delayed.ValLoss)
	}
	t.Logf("%d of %d values within 1e-3, worst %.2e; evaluation loss %.6f, recorded %.6f; losses %.5f", near, compared, worst, val, want.Delayed.ValLoss, losses)
}

// evaluate is the mean cross-entropy over the evaluation rows.
func evaluate(t testing.TB, m *graph.Model, model string) float64 {
	t.Helper()
	data := openData(t, m, model, "eval_", 8, 0)
	ctx := context.Background()
	s, err := cpu.New().Open(ctx, m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sum, n := 0.0, 0
	for i := range data.Steps() {
		batch, err := data.Step(i)
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]runtime.Value{}
		for name, x := range batch {
			in[name] = runtime.FromTensor(x)
		}
		res, err := s.Run(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		labels, err := data.Aligned("eval_labels", i)
		if err != nil {
			t.Fatal(err)
		}
		ds, dn := crossEntropy(t, res.Values[m.Graph.Outputs[0].Name].Tensor, labels)
		sum, n = sum+ds, n+dn
	}
	return sum / float64(n)
}
