package cuda

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/runtimetest"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// onGPU is the engine on the first GPU. Without one the test is skipped, saying what is missing.
func onGPU(t testing.TB, opt Options) *Backend {
	t.Helper()
	opt.Host = cpu.New()
	b := New(opt).(*Backend)
	if err := b.Check(); err != nil {
		t.Skipf("NO GPU, NOTHING TESTED: %v", err)
	}
	return b
}

func TestGPURunsAProgramMadeByHand(t *testing.T) {
	r := &rig{backend: onGPU(t, Options{})}
	r.backend.lower = r.lower
	s := r.open(t, r.model(), runtime.Options{})
	for i, n := range []int{3, 3, 3, 1 << 20, 3, 1 << 20, 10_000_001, 10_000_001, 1 << 20, 3} {
		if i == 5 {
			if err := s.Set("v", tensor.Float32s(tensor.Shape{2}, 3, 4)); err != nil {
				t.Fatal(err)
			}
		}
		in := numbers(i, n)
		want, _ := in["x"].Tensor.AsFloat32s()
		res, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, res, "y", want...)
		wants(t, res, "w", 7, 8, 9)
		if i < 5 {
			wants(t, res, "u", 1, 2)
		} else {
			wants(t, res, "u", 3, 4)
		}
	}
}

// Tolerance of sums of float8 codes, relative to the sum of the products' magnitudes. Hopper's tensor cores add the products of 32 codes at
// a time to accumulators of 14 bits, cutting off what lies below: 2^-13 of the sum each time at most. Exact sums are as on the processor.
const tolCodesFast = 16 * 0x1p-13 // of up to 512 codes

// Tolerance of the amaxes of llama's layers, which carry what the layers before them lost. Nine of ten are within it.
const tolAmaxFast = 2e-2

// gpuTolerances are those of runtimetest for sums of codes and for amaxes within the given ones. Products in float32 and functions are as on the
// processor.
func gpuTolerances(codes, amax float64) runtimetest.Tolerances {
	tol := runtimetest.Default()
	tol.Codes = codes
	tol.Decoded = 0x1p-8
	tol.Amax = amax
	return tol
}

func TestSuiteOnAGPU(t *testing.T) {
	for _, c := range []struct {
		name        string
		opt         Options
		codes, amax float64
	}{{"exact", Options{Exact: true}, 0, 0}, {"fast", Options{}, tolCodesFast, tolAmaxFast}} {
		t.Run(c.name, func(t *testing.T) {
			runtimetest.Run(t, onGPU(t, c.opt), map[string]string{
				"bits": "cuBLASLt chooses its kernels by the number of rows, and promises no bits",
				"workers/amaxes are joined before the cast": "the GPU cannot call out in the middle of a run; Open refuses such a model",
				"workers/a failure to join ends the run":    "the GPU cannot call out in the middle of a run; Open refuses such a model",
			}, gpuTolerances(c.codes, c.amax))
		})
	}
}

// Tolerances of ‖got − want‖ / ‖want‖ of a model's outputs against the embedded engine's. In float8 a difference in the last bit
// moves a value to the next code now and then, which is a sixteenth of it, and that again the values after it: two engines that both compute
// well end about as far from each other as float8 itself is from the original. So what counts there is that they are equally far from it.
const (
	tolModelFloat32  = 1e-5 // sums in another order
	tolModelBFloat16 = 1e-2 // every value between the layers rounded to 8 bits
	tolModelFloat8   = 0.12
	tolModelExact    = 3e-2 // where sums are in float32 on both; without such a value at all it is tolModelFloat32

	tolFarther         = 1.35 // of float8's distance from the original: the GPU's by the processor's
	tolFartherBFloat16 = 2
)

// modelCase is a model of testdata and inputs for it.
type modelCase struct {
	name, path string
	inputs     []map[string]runtime.Value
}

func modelCases() []modelCase {
	r := rand.New(rand.NewPCG(3, 4))
	ids := func(rows, columns int64) map[string]runtime.Value {
		v := make([]int64, rows*columns)
		for i := range v {
			v[i] = r.Int64N(256)
		}
		return map[string]runtime.Value{"input_ids": runtime.FromTensor(tensor.Int64s(tensor.Shape{rows, columns}, v...))}
	}
	images := func(rows int64) map[string]runtime.Value {
		v := make([]float32, rows*64)
		for i := range v {
			v[i] = float32(r.IntN(17))
		}
		return map[string]runtime.Value{"image": runtime.FromTensor(tensor.Float32s(tensor.Shape{rows, 64}, v...))}
	}
	// Each shape comes again with other content, so that what is left over from a run before is seen.
	text := []map[string]runtime.Value{ids(1, 7), ids(2, 128), ids(3, 64), ids(1, 7), ids(2, 128), ids(3, 64)}
	pictures := []map[string]runtime.Value{images(1), images(50), images(33), images(1), images(50), images(33)}
	return []modelCase{
		{"llama", "llama/model.onnx", text}, {"gpt2", "gpt2/model.onnx", text},
		{"digits_mlp", "digits/digits_mlp.onnx", pictures}, {"digits_cnn", "digits/digits_cnn.onnx", pictures},
	}
}

// load opens a model of testdata, converted or as it is. variables are the scales of the layers' inputs.
func load(t testing.TB, path string, convert bool, weights rewrite.Weights) (m *graph.Model, variables []string) {
	t.Helper()
	f, err := onnxio.Open(filepath.Join("..", "..", "testdata", "models", path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if !convert {
		return f.Model, nil
	}
	res, err := rewrite.Convert(t.Context(), f.Model, rewrite.Options{Recipe: scaling.DefaultRecipe(), Weights: weights})
	if err != nil {
		t.Fatal(err)
	}
	graph.WalkNodes(res.Model.Graph.Nodes, func(n *graph.Node) {
		if ops.IsFloat8Linear(n) {
			variables = append(variables, n.Input(ops.InScaleInput))
		}
	})
	return res.Model, variables
}

// settle runs both sessions once, and gives their layers the scale that follows from what the first one saw.
func settle(t testing.TB, in map[string]runtime.Value, variables []string, sessions ...runtime.Session) {
	t.Helper()
	if len(variables) == 0 {
		return
	}
	res, err := sessions[0].Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range res.Layers {
		for _, s := range sessions {
			if err := s.Set(variables[i], tensor.Float32s(tensor.Shape{}, ops.QuantMax(0)/max(l.AmaxInput, 1e-6))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// fix is m with the scales that follow from a run, as constants.
func fix(t testing.TB, m *graph.Model, variables []string, in map[string]runtime.Value) *graph.Model {
	t.Helper()
	s, err := cpu.New().Open(t.Context(), m, runtime.Options{Variables: variables})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	c := *m
	c.Graph = m.Graph.Clone()
	for i, l := range res.Layers {
		c.Graph.Initializer(variables[i]).Tensor = tensor.Float32s(tensor.Shape{}, ops.QuantMax(0)/max(l.AmaxInput, 1e-6))
	}
	return &c
}

// distance is ‖got − want‖ / ‖want‖ of float32 tensors.
func distance(t testing.TB, got, want *tensor.Tensor) float64 {
	t.Helper()
	if !got.Shape.Equal(want.Shape) || got.DType != want.DType {
		t.Errorf("%s%s, want %s%s", got.DType, got.Shape, want.DType, want.Shape)
		return math.Inf(1)
	}
	a, err := got.AsFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	b, err := want.AsFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	var off, all float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		off += d * d
		all += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(off / all)
}

func TestModelsOnAGPUAgreeWithTheProcessor(t *testing.T) {
	for _, compute := range []string{"float32 exact", "float32", "bfloat16"} {
		name, _, exact := strings.Cut(compute, " ")
		b := onGPU(t, Options{Compute: name, Exact: exact})
		for _, c := range modelCases() {
			for _, form := range []string{"original", "float8", "float8 with fixed scales", "float8 with original weights"} {
				t.Run(fmt.Sprintf("%s/%s/%s", compute, c.name, form), func(t *testing.T) {
					weights := rewrite.Float8Weights
					if form == "float8 with original weights" {
						weights = rewrite.OriginalWeights
					}
					m, variables := load(t, c.path, form != "original", weights)
					if form == "float8 with fixed scales" {
						m, variables = fix(t, m, variables, c.inputs[1]), nil
					}
					// Counted casts are kernels of their own; otherwise they are part of what comes before them.
					opt := runtime.Options{Variables: variables, Statistics: form == "float8 with original weights"}
					tol, farther := tolModelFloat32, tolFarther
					if compute == "bfloat16" {
						farther = tolFartherBFloat16
					}
					switch {
					case form != "original" && exact:
						tol = tolModelExact
					case form != "original":
						tol = tolModelFloat8
					case compute == "bfloat16":
						tol = tolModelBFloat16
					}
					var original runtime.Session
					if form != "original" {
						plain, _ := load(t, c.path, false, weights)
						var err error
						if original, err = cpu.New().Open(t.Context(), plain, runtime.Options{}); err != nil {
							t.Fatal(err)
						}
						defer original.Close()
					}
					agree(t, b, m, original, opt, c.inputs, variables, tol, farther)
				})
			}
		}
	}
}

// agree runs m on both engines, several times: what is replayed must be what was launched, bit for bit.
func agree(t *testing.T, b *Backend, m *graph.Model, original runtime.Session, opt runtime.Options, inputs []map[string]runtime.Value, variables []string, tol, farther float64) {
	t.Helper()
	want, err := cpu.New().Open(t.Context(), m, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	got, err := b.Open(t.Context(), m, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := got.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	settle(t, inputs[1], variables, want, got)
	first := map[int]*runtime.Result{}
	nearest := math.Inf(1)
	for round := range 3 {
		for i, in := range inputs {
			g, err := got.Run(t.Context(), in)
			if err != nil {
				t.Fatalf("inputs %d, round %d: %v", i, round, err)
			}
			if round > 0 {
				same(t, fmt.Sprintf("inputs %d, round %d", i, round), g, first[i])
				continue
			}
			first[i] = g
			w, err := want.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if original != nil {
				o, err := original.Run(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				here, there := distance(t, g.Values["logits"].Tensor, o.Values["logits"].Tensor), distance(t, w.Values["logits"].Tensor, o.Values["logits"].Tensor)
				t.Logf("inputs %d: from the original: %.3g, on the processor %.3g", i, here, there)
				if !(here <= farther*there) {
					t.Errorf("inputs %d: %.3g from the original, on the processor %.3g", i, here, there)
				}
			}
			for name := range w.Values {
				d := distance(t, g.Values[name].Tensor, w.Values[name].Tensor)
				t.Logf("inputs %d: %s: %.3g", i, name, d)
				nearest = min(nearest, d)
				if !(d <= tol) {
					t.Errorf("inputs %d: %s: ‖got − want‖/‖want‖ is %.3g, want at most %.3g", i, name, d, tol)
				}
			}
			seen(t, g.Layers, w.Layers, 3*tol)
		}
	}
	if tol == tolModelExact && nearest > tolModelFloat32 {
		t.Errorf("no inputs gave what the processor gives: the nearest are off by %.3g", nearest)
	}
	for _, p := range got.(runtime.Placer).Placements() {
		t.Logf("node %q (%s): %s: %s", p.Node, p.Op, p.Where, p.Why)
	}
}

// same holds two results of one session against each other.
func same(t *testing.T, what string, a, b *runtime.Result) {
	t.Helper()
	for name, v := range a.Values {
		x, err := v.Tensor.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		y, err := b.Values[name].Tensor.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%s: %s has other bits than before", what, name)
		}
	}
	for i := range a.Layers {
		if a.Layers[i] != b.Layers[i] {
			t.Errorf("%s: layer %+v, was %+v", what, a.Layers[i], b.Layers[i])
		}
	}
}

// seen holds what layers saw against what they should have: an amax is one value of many, and moves with it.
func seen(t *testing.T, got, want []runtime.LayerStats, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d layers, want %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		off := math.Abs(float64(g.AmaxInput)/float64(w.AmaxInput) - 1)
		if g.Layer != w.Layer || g.Runs != w.Runs || g.Counted != w.Counted || g.AmaxWeight != w.AmaxWeight || g.Input.Elements != w.Input.Elements ||
			g.Weight != w.Weight || !(off <= tol) {
			t.Errorf("layer %+v, want %+v", g, w)
		}
	}
}

func TestSessionsOnAGPURunAtTheSameTime(t *testing.T) {
	b := onGPU(t, Options{Compute: "bfloat16"})
	var wait sync.WaitGroup
	cases := modelCases()[:2]
	for _, c := range append(cases, cases...) {
		m, variables := load(t, c.path, true, rewrite.Float8Weights)
		s, err := b.Open(t.Context(), m, runtime.Options{Variables: variables})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		settle(t, c.inputs[0], variables, s)
		var want []*runtime.Result
		for _, in := range c.inputs {
			res, err := s.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, res)
		}
		wait.Go(func() {
			for round := range 10 {
				for i, in := range c.inputs {
					res, err := s.Run(t.Context(), in)
					if err != nil {
						t.Error(err)
						return
					}
					same(t, fmt.Sprintf("%s, round %d", c.name, round), res, want[i])
				}
			}
		})
	}
	wait.Wait()
}

func TestGPUProfile(t *testing.T) {
	for _, compute := range []string{"float32", "bfloat16"} {
		b := onGPU(t, Options{Compute: compute})
		for _, convert := range []bool{false, true} {
			c := modelCases()[0]
			m, variables := load(t, c.path, convert, rewrite.Float8Weights)
			s, err := b.Open(t.Context(), m, runtime.Options{Variables: variables})
			if err != nil {
				t.Fatal(err)
			}
			settle(t, c.inputs[1], variables, s)
			p, err := s.(runtime.Profiler).Profile(t.Context(), c.inputs[1], 10)
			if err != nil {
				t.Fatal(err)
			}
			var sum time.Duration
			for _, st := range p.Steps {
				sum += st.Time
				if st.Time <= 0 || st.Kernel == "" {
					t.Errorf("step %+v", st)
				}
				t.Logf("%9v %-40s %s", st.Time, st.Kernel, st.Node)
			}
			start := time.Now()
			for range 10 {
				if _, err := s.Run(t.Context(), c.inputs[1]); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%s, float8 %v: %v replayed, %v in %d steps, %v a run; weights %d, arena %d", compute, convert, p.Total, sum, len(p.Steps),
				time.Since(start)/10, p.Weights, p.Arena)
			if p.Total <= 0 || len(p.Totals) != 10 || p.Weights == 0 || p.Arena == 0 {
				t.Errorf("%+v", p)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Tolerances of calibrated state: the part of amaxes and scales that lies within 1e-2 of the processor's, and the largest difference. One
// value that rounds to the next code moves the amaxes of the layers after it a little, their scales follow, and with another scale all
// codes are others: what differs at all ends as far off as float8's own noise, here as between any two engines.
const (
	tolStateExact, tolStateExactLargest = 0.95, 3e-2
	tolStateFast, tolStateFastLargest   = 0.90, 6e-2
)

func TestCalibratedStateOnAGPU(t *testing.T) {
	for _, exact := range []bool{true, false} {
		b := onGPU(t, Options{Exact: exact})
		for _, weights := range []rewrite.Weights{rewrite.Float8Weights, rewrite.OriginalWeights} {
			m, _ := load(t, "llama/model.onnx", true, weights)
			var states [2]map[string][]float32
			for i, engine := range []runtime.Backend{b, cpu.New()} {
				set, err := samples.Open(filepath.Join("..", "..", "testdata", "models", "llama", "data.npz"),
					samples.Options{Model: m.Graph.Inputs, Prefix: "calib_", BatchSize: 8})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				res, err := calibrate.Run(t.Context(), m, engine, set, calibrate.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %d steps in %v", engine.Name(), res.Steps, time.Since(start))
				if err := set.Close(); err != nil {
					t.Fatal(err)
				}
				states[i] = stateOf(t, res.Model)
			}
			var off []float64
			for name, want := range states[1] {
				for j, v := range states[0][name] {
					if want[j] != 0 {
						off = append(off, math.Abs(float64(v)/float64(want[j])-1))
					}
				}
			}
			slices.Sort(off)
			near, _ := slices.BinarySearch(off, 1e-2)
			t.Logf("exact %v, %v weights: %d of %d within 1e-2, the largest difference %.3g", exact, weights, near, len(off), off[len(off)-1])
			part, largest := tolStateFast, tolStateFastLargest
			if exact {
				part, largest = tolStateExact, tolStateExactLargest
			}
			if float64(near) < part*float64(len(off)) || off[len(off)-1] > largest {
				t.Errorf("want %g of them, and all within %g", part, largest)
			}
		}
	}
}

// stateOf is the state of the inputs' scales: every initializer that a calibration moves.
func stateOf(t *testing.T, m *graph.Model) map[string][]float32 {
	t.Helper()
	state := map[string][]float32{}
	for _, n := range m.Graph.Nodes {
		if !ops.IsFloat8Linear(n) {
			continue
		}
		for _, i := range []int{ops.InScaleInput, ops.InAmaxHistoryInput} {
			v, err := m.Graph.Initializer(n.Input(i)).Tensor.AsFloat32s()
			if err != nil {
				t.Fatal(err)
			}
			state[n.Input(i)] = v
		}
	}
	return state
}
