package calibrate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
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
			Layers map[string]map[string]goldenState
		}
	} `json:"delayed_emulate_f32"`
}

// goldenState is of one operand after a step.
type goldenState struct {
	Amax    float32
	History []float32
	Scale   float32
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

// agreement counts what lies within 1e-3 of the recording. What is 3e-2 away, or not a number, is an error: a value that float8 rounds the
// other way moves its token by about a percent.
type agreement struct {
	testing.TB
	near, compared int
	worst          float64
}

func (a *agreement) compare(what, layer string, step int, got, want float32) {
	d := 0.0
	if got != want {
		d = math.Abs(float64(got)-float64(want)) / math.Abs(float64(want))
	}
	if a.compared++; d <= 1e-3 {
		a.near++
	}
	if a.worst = max(a.worst, d); !(d <= 3e-2) {
		a.Errorf("step %d, input of %q: %s %v, recorded %v", step, layer, what, got, want)
	}
}

func (a *agreement) want(part float64) {
	a.Helper()
	if got := float64(a.near) / float64(a.compared); !(got >= part) {
		a.Errorf("%.1f%% of %d values are within 1e-3 of the recording, want %.0f%%", 100*got, a.compared, 100*part)
	}
}

func (a *agreement) String() string {
	return fmt.Sprintf("%d of %d within 1e-3, worst %.1e", a.near, a.compared, a.worst)
}

// stepLoss is calibrate.Options.Outputs that appends the mean cross-entropy of each batch to losses; labels are those of step+first.
func stepLoss(t testing.TB, m *graph.Model, data *samples.Set, first int, losses *[]float64) func(int, map[string]runtime.Value) error {
	return func(step int, values map[string]runtime.Value) error {
		labels, err := data.Aligned("calib_labels", first+step)
		if err != nil {
			return err
		}
		sum, n := crossEntropy(t, values[m.Graph.Outputs[0].Name].Tensor, labels)
		*losses = append(*losses, sum/float64(n))
		return nil
	}
}

// oneStep is a single batch of a set.
type oneStep struct {
	*samples.Set
	step int
}

func (o oneStep) Steps() int   { return 1 }
func (o oneStep) Rows(int) int { return o.Set.Rows(o.step) }
func (o oneStep) Batch(ctx context.Context, _, lo, hi int) (map[string]*tensor.Tensor, error) {
	return o.Set.Batch(ctx, o.step, lo, hi)
}

// recordedState gives m the scales and histories that were recorded after a step.
func recordedState(t testing.TB, m *graph.Model, recorded map[string]map[string]goldenState) {
	t.Helper()
	put := func(name string, x *tensor.Tensor) {
		i := m.Graph.Initializer(name)
		if i == nil || i.Tensor.DType != x.DType {
			t.Fatalf("state %q: no initializer of %s", name, x.DType)
		}
		x.Shape = i.Tensor.Shape
		if _, err := x.Bytes(); err != nil {
			t.Fatalf("state %q: %v", name, err)
		}
		i.Tensor = x
	}
	layers := 0
	graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
		if !ops.IsFloat8Linear(n) {
			return
		}
		l, err := ops.ReadLayer(n)
		if err != nil {
			t.Fatal(err)
		}
		in, w := recorded[ops.LayerName(n)]["input"], recorded[ops.LayerName(n)]["weight"]
		put(l.ScaleInput, tensor.Float32s(nil, in.Scale))
		put(l.AmaxHistoryInput, tensor.Float32s(nil, in.History...))
		put(l.ScaleWeight, tensor.Float32s(nil, w.Scale))
		put(l.AmaxHistoryWeight, tensor.Float32s(nil, w.History...))
		put(l.Initialized, tensor.Bools(nil, true))
		layers++
	})
	if layers != len(recorded) {
		t.Fatalf("%d layers, recorded %d", layers, len(recorded))
	}
}

// TestLlamaStepsAsTheReferenceLibrary runs every step from the state that float8_experimental recorded before it, so that a step answers for itself
// alone. The first begins as conversion left the model.
//
// A value next to the middle between two float8 numbers may still be rounded the other way, and what comes after it in the step moves. So
// it is wherever the last bits of float32 are not those of the recording: the library itself, with the same weights and in the
// same versions, has 97.0% of the amaxes within 1e-3 on a CPU (this engine 95.3%), and with one bit of noise in half of all results of the
// recording's own operators 90.9% to 99.1%, in 40 draws, with losses up to 1.8e-3 off.
func TestLlamaStepsAsTheReferenceLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: eight batches of llama take seconds")
	}
	want := readGolden(t, "llama")
	recipe := scaling.DefaultRecipe()
	recipe.HistoryLen = want.HistoryLen
	m := convert(t, openModel(t, "llama", "model.onnx"), rewrite.Options{Recipe: recipe, Weights: rewrite.OriginalWeights})
	data := openData(t, m, "llama", "calib_", want.Batch, want.Steps)
	amaxes, all := &agreement{TB: t}, &agreement{TB: t}
	var losses []float64
	for step, recorded := range want.Delayed.Steps {
		if step > 0 {
			recordedState(t, m, want.Delayed.Steps[step-1].Layers)
		}
		res, err := calibrate.Run(context.Background(), m, cpu.New(), oneStep{data, step}, calibrate.Options{NoAmaxInit: true,
			Outputs: stepLoss(t, m, data, step, &losses)})
		if err != nil {
			t.Fatal(err)
		}
		if d := math.Abs(losses[step] - recorded.Loss); !(d <= 2e-3) {
			t.Errorf("step %d: loss %.6f, recorded %.6f", step, losses[step], recorded.Loss)
		}
		for _, l := range res.Layers {
			in, w := recorded.Layers[l.Name]["input"], recorded.Layers[l.Name]["weight"]
			if !slices.Equal(l.Weight.History, w.History) || l.Weight.Amaxes[0] != w.Amax || l.Weight.Scales[0] != w.Scale {
				t.Errorf("step %d, weight of %q: history %v and scale %v, recorded %v and %v", step, l.Name, l.Weight.History, l.Weight.Scales[0], w.History, w.Scale)
			}
			amaxes.compare("amax", l.Name, step, l.Input.Amaxes[0], in.Amax)
			all.compare("amax", l.Name, step, l.Input.Amaxes[0], in.Amax)
			all.compare("scale", l.Name, step, l.Input.Scales[0], in.Scale)
			for i, a := range in.History {
				all.compare("history", l.Name, step, l.Input.History[i], a)
			}
		}
	}
	if amaxes.compared != 29*8 || all.compared != 29*8*6 {
		t.Errorf("%d amaxes and %d values compared", amaxes.compared, all.compared)
	}
	amaxes.want(0.90)
	all.want(0.95)
	t.Logf("amaxes: %s; with histories and scales: %s; losses %.5f", amaxes, all, losses)
}

// TestLlamaFollowsTheReferenceLibrary calibrates llama as float8_experimental did: original weights, history 4, no amax
// initialization. Weights agree exactly, and so does the first step, in every layer, but for the last bits of float32.
//
// From then on a step's few values that float8 rounds the other way become a scale's difference, which rounds a percent of all values
// of the next four steps otherwise. How far a run then follows the recording is the hazard of its first few ties. The recording is of an
// NVIDIA H200 with eager attention, which repeats it bit for bit; part of the inputs' values that others have within 1e-3:
//
//	the library there, with PyTorch's fused attention      82% (memory-efficient kernels: 77%)
//	the library on a CPU, eager and fused                  80%, 79%
//	all operators in float64 there                         77%
//	there, but cosines and sines rounded correctly         80%
//	there, one bit of noise in half of all results         74% to 93%, median 79%, in 40 draws (losses off by up to 3.3e-3)
//	ONNX Runtime 1.32 on the rewritten model               76%
//	this engine                                            78%
//
// So the bounds are those of noise in the last bit. TestLlamaStepsAsTheReferenceLibrary has the narrow ones.
func TestLlamaFollowsTheReferenceLibrary(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: eight batches of llama take seconds")
	}
	want := readGolden(t, "llama")
	recipe := scaling.DefaultRecipe()
	recipe.HistoryLen = want.HistoryLen
	m := convert(t, openModel(t, "llama", "model.onnx"), rewrite.Options{Recipe: recipe, Weights: rewrite.OriginalWeights})
	data := openData(t, m, "llama", "calib_", want.Batch, want.Steps)
	var losses []float64
	res, err := calibrate.Run(context.Background(), m, cpu.New(), data, calibrate.Options{NoAmaxInit: true, Outputs: stepLoss(t, m, data, 0, &losses)})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Layers) != 29 || res.Steps != 8 || len(want.Delayed.Steps) != 8 {
		t.Fatalf("%d layers in %d steps, want 29 in 8", len(res.Layers), res.Steps)
	}
	for step, loss := range losses {
		if d := math.Abs(loss - want.Delayed.Steps[step].Loss); !(d <= 4e-3) || step == 0 && !(d <= 5e-4) {
			t.Errorf("step %d: loss %.6f, recorded %.6f", step, loss, want.Delayed.Steps[step].Loss)
		}
	}
	inputs := &agreement{TB: t}
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
			inputs.compare("amax", l.Name, step, l.Input.Amaxes[step], in.Amax)
			inputs.compare("scale", l.Name, step, l.Input.Scales[step], in.Scale)
			for i, a := range in.History {
				got := float32(0)
				if i <= step {
					got = l.Input.Amaxes[step-i]
				}
				inputs.compare("history", l.Name, step, got, a)
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
	inputs.want(0.70)
	if res.GradOutput != calibrate.GradInitial {
		t.Errorf("the gradients' state is %q, want %q", res.GradOutput, calibrate.GradInitial)
	}
	val := evaluate(t, res.Model, "llama")
	if math.Abs(val-want.Delayed.ValLoss) > 2e-3 {
		t.Errorf("evaluation loss %.6f, recorded %.6f", val, want.Delayed.ValLoss)
	}
	t.Logf("inputs: %s; evaluation loss %.6f, recorded %.6f; losses %.5f", inputs, val, want.Delayed.ValLoss, losses)
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
