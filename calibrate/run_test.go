package calibrate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// rows is batches of one input, "x" or another name: a batch is a list of rows of equal length.
type rows struct {
	name    string
	batches [][][]float32
}

func (r rows) Steps() int        { return len(r.batches) }
func (r rows) Rows(step int) int { return len(r.batches[step]) }
func (r rows) width() int64      { return int64(len(r.batches[0][0])) }
func (r rows) first(n int) rows  { return rows{r.name, r.batches[:n]} }

func (r rows) Batch(_ context.Context, step, lo, hi int) (map[string]*tensor.Tensor, error) {
	var flat []float32
	for _, row := range r.batches[step][lo:hi] {
		flat = append(flat, row...)
	}
	return map[string]*tensor.Tensor{r.name: tensor.Float32s(tensor.Shape{int64(hi - lo), r.width()}, flat...)}, nil
}

// layerModel is x [n, 4] → Float8Linear a → Relu → Float8Linear b, converted with opt.
func layerModel(t testing.TB, opt rewrite.Options) *graph.Model {
	t.Helper()
	weight := func(name string, v ...float32) *graph.Initializer {
		return &graph.Initializer{Name: name, Tensor: tensor.Float32s(tensor.Shape{4, 4}, v...)}
	}
	value := func(name string) *graph.Value {
		return &graph.Value{Name: name, Type: &graph.Type{DType: tensor.Float32, HasShape: true, Shape: []graph.Dim{{Value: -1, Param: "n"}, {Value: 4}}}}
	}
	m := &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 19}}, Graph: &graph.Graph{
		Name:   "two",
		Inputs: []*graph.Value{value("x")}, Outputs: []*graph.Value{value("y")},
		Initializers: []*graph.Initializer{
			weight("a", 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, -3, 0, 0, 0, 0, 0.3),
			weight("b", 0.5, 1, 0, 0, 0, 0.5, 1, 0, 0, 0, 0.5, 1, 1, 0, 0, 0.5),
		},
		Nodes: []*graph.Node{
			{Name: "a", OpType: "MatMul", Inputs: []string{"x", "a"}, Outputs: []string{"h"}},
			{Name: "relu", OpType: "Relu", Inputs: []string{"h"}, Outputs: []string{"r"}},
			{Name: "b", OpType: "MatMul", Inputs: []string{"r", "b"}, Outputs: []string{"y"}},
		},
	}}
	if opt.Recipe.HistoryLen == 0 {
		opt.Recipe = scaling.DefaultRecipe()
		opt.Recipe.HistoryLen = 3
	}
	return convert(t, m, opt)
}

func run(t testing.TB, m *graph.Model, src calibrate.Source, opt calibrate.Options) *calibrate.Result {
	t.Helper()
	res, err := calibrate.Run(context.Background(), m, cpu.New(), src, opt)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// stateOf is every state initializer of a model, by name.
func stateOf(t testing.TB, m *graph.Model) map[string]string {
	t.Helper()
	out := map[string]string{}
	m.Graph.Walk(func(g *graph.Graph) {
		for _, i := range g.Initializers {
			if _, at, ok := ops.ParseStateName(i.Name); ok && at != ops.InWeight {
				b, err := i.Tensor.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				out[i.Name] = fmt.Sprintf("%s%s %x", i.Tensor.DType, i.Tensor.Shape, b)
			}
		}
	})
	return out
}

// facts is a result without its model: what has to be equal, bit by bit, between two ways to the same end.
func facts(t testing.TB, res *calibrate.Result) string {
	t.Helper()
	r := *res
	r.Model = nil
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", r.Provenance)
	for _, l := range r.Layers {
		fmt.Fprintf(&b, "%s %s %s %d %v %v\n", l.Name, l.Graph, l.Variant, l.Ran, l.Initialized, l.Input)
		if l.Weight != nil {
			fmt.Fprintf(&b, "  %v\n", *l.Weight)
		}
	}
	state := stateOf(t, res.Model)
	for _, name := range slices.Sorted(mapKeys(state)) {
		fmt.Fprintf(&b, "%s %s\n", name, state[name])
	}
	return b.String()
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// some are five batches of 1 to 9 rows, made by a fixed rule.
func some() rows {
	r := rows{name: "x"}
	at := uint32(1)
	for _, n := range []int{8, 3, 9, 8, 1} {
		var batch [][]float32
		for range n {
			row := make([]float32, 4)
			for i := range row {
				at = at*1664525 + 1013904223
				row[i] = float32(int32(at)>>8) / (1 << 20)
			}
			batch = append(batch, row)
		}
		r.batches = append(r.batches, batch)
	}
	return r
}

func TestTheFirstScaleIsThatOfTheFirstAmax(t *testing.T) {
	m := layerModel(t, rewrite.Options{})
	before := stateOf(t, m)
	data := rows{"x", [][][]float32{{{1, -7, 2, 0}}, {{3.5, 0, 0, 1}}, {{1, 1, 1, 1}}, {{2, 2, 2, 2}}}}
	res := run(t, m, data, calibrate.Options{})
	a := res.Layers[0]
	if got, want := a.Input.Amaxes, []float32{7, 3.5, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("amaxes %v, want %v", got, want)
	}
	if got, want := a.Input.Scales, []float32{64, 64, 64, 128}; !slices.Equal(got, want) {
		t.Errorf("scales %v, want %v: a window of three", got, want)
	}
	if got, want := a.Input.History, []float32{2, 1, 3.5}; !slices.Equal(got, want) {
		t.Errorf("history %v, want %v: the first amax entered once and has left", got, want)
	}
	if a.Name != "a" || !a.Initialized || a.Ran != 4 || a.Weight != nil || a.Input.Mode != scaling.Delayed {
		t.Errorf("layer %+v", a)
	}
	// No element saturates in the first step: it was cast with a scale of its own.
	if one := run(t, m, data.first(1), calibrate.Options{}); one.Layers[0].Input.Counts.Saturated != 0 || one.Layers[0].Input.Counts.Elements != 4 {
		t.Errorf("counts of the first step: %+v", one.Layers[0].Input.Counts)
	}
	if !reflect.DeepEqual(before, stateOf(t, m)) {
		t.Error("the input model's state changed")
	}
	after := stateOf(t, res.Model)
	for name := range after {
		_, at, _ := ops.ParseStateName(name)
		moved := at == ops.InScaleInput || at == ops.InAmaxHistoryInput || at == ops.InInitialized
		if (after[name] != before[name]) != moved {
			t.Errorf("%s: before %s, after %s", name, before[name], after[name])
		}
	}
	if need, have := calibrate.Calibrated(res.Model); need != 2 || have != 2 {
		t.Errorf("calibrated: %d of %d layers, want 2 of 2", have, need)
	}

	// A calibrated model goes on where it is: no first batch again.
	again := run(t, res.Model, rows{"x", [][][]float32{{{448, 0, 0, 0}}}}, calibrate.Options{})
	if got := again.Layers[0].Input; got.Counts.Saturated != 1 || !slices.Equal(got.History, []float32{448, 2, 1}) || got.Scales[0] != 1 {
		t.Errorf("the next run: %+v", got)
	}
}

func TestWithoutAmaxInitializationTheFirstScaleIsOne(t *testing.T) {
	res := run(t, layerModel(t, rewrite.Options{Weights: rewrite.OriginalWeights}), rows{"x", [][][]float32{{{448, -600, 2, 0}}, {{1, 1, 1, 1}}}}, calibrate.Options{NoAmaxInit: true})
	in, w := res.Layers[0].Input, res.Layers[0].Weight
	if in.Counts.Saturated != 1 || !slices.Equal(in.Amaxes, []float32{600, 1}) || !slices.Equal(in.History, []float32{1, 600, 0}) {
		t.Errorf("input %+v", in)
	}
	if w == nil || !slices.Equal(w.Amaxes, []float32{3, 3}) || w.Scales[1] != float32(scaling.DefaultRecipe().Scale(448, 3, 1)) || w.Counts.Elements != 32 {
		t.Errorf("weight %+v", w)
	}
	if res.GradOutput != calibrate.GradInitial || res.Provenance.AmaxInit {
		t.Errorf("gradients %q, provenance %+v", res.GradOutput, res.Provenance)
	}
}

func TestAmaxesThatAreNotUsableAreRejectedAndCounted(t *testing.T) {
	m := layerModel(t, rewrite.Options{})
	data := rows{"x", [][][]float32{{{0, 0, 0, 0}}, {{nan, 1, 1, 1}}, {{1, 2, 3, 3.5}}, {{inf, 1, 1, 1}, {nan, 1, 1, 1}}, {{1, -inf, 0, 0}}, {{1, 1, 1, 1}}}}
	res := run(t, m, data, calibrate.Options{})
	a := res.Layers[0].Input
	if got, want := a.Rejected, (scaling.Rejected{Zero: 1, Inf: 1, NaN: 2}); got != want {
		t.Errorf("rejected %+v, want %+v", got, want)
	}
	if !slices.Equal(a.History, []float32{1, 3.5, 0}) || !slices.Equal(a.Scales, []float32{1, 1, 128, 128, 128, 128}) {
		t.Errorf("history %v, scales %v", a.History, a.Scales)
	}
	if a.Counts.NonFinite != 4 {
		t.Errorf("%d elements that are not finite, want 4", a.Counts.NonFinite)
	}
	if got, want := res.Provenance.Windows[0], (calibrate.Window{History: "a.fp8_amax_history_input", Steps: []int{5, 2, -1}}); !reflect.DeepEqual(got, want) {
		t.Errorf("window %+v, want %+v", got, want)
	}
	var codes []report.WarningCode
	for _, w := range res.Warnings() {
		codes = append(codes, w.Code)
	}
	if !slices.Contains(codes, report.WarnAmaxRejected) {
		t.Errorf("warnings %v", codes)
	}
	text := res.Section()
	if text.Layers[0].Input.RejectedNaN != 2 || len(text.Layers[0].Input.Amax) != 6 {
		t.Errorf("section %+v", text.Layers[0].Input)
	}
}

// ranks runs the same calibration on n ranks of a local group and returns every rank's result.
func ranks(t *testing.T, n int, m *graph.Model, src calibrate.Source, opt calibrate.Options) []*calibrate.Result {
	t.Helper()
	results, errs := make([]*calibrate.Result, n), make([]error, n)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var wg sync.WaitGroup
	for i, g := range calibrate.Local(n) {
		wg.Go(func() {
			o := opt
			o.Group, o.Threads = g, 1
			if i > 0 {
				o.Resume = nil // only that of rank 0 counts
			}
			if results[i], errs[i] = calibrate.Run(ctx, m, cpu.New(), src, o); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("rank %d of %d: %v", i, n, err)
		}
	}
	return results
}

func TestRanksHoldTheStateOfOneProcess(t *testing.T) {
	perChannel := scaling.DefaultRecipe()
	perChannel.PerChannel, perChannel.HistoryLen = true, 3
	dynamic, _ := perChannel.ParseModes("i:dyn,w:dyn")
	bad := some()
	bad.batches[2][4][1], bad.batches[3][7][0] = nan, inf
	zero := rows{"x", append([][][]float32{{{0, 0, 0, 0}, {0, 0, 0, 0}}}, some().batches...)}
	for name, c := range map[string]struct {
		m    *graph.Model
		data rows
		opt  calibrate.Options
	}{
		"float8 weights":              {layerModel(t, rewrite.Options{}), some(), calibrate.Options{}},
		"original weights":            {layerModel(t, rewrite.Options{Weights: rewrite.OriginalWeights}), some(), calibrate.Options{}},
		"a scale per channel":         {layerModel(t, rewrite.Options{Weights: rewrite.OriginalWeights, Recipe: perChannel}), some(), calibrate.Options{}},
		"dynamic scales":              {layerModel(t, rewrite.Options{Weights: rewrite.OriginalWeights, Recipe: dynamic}), some(), calibrate.Options{}},
		"without amax initialization": {layerModel(t, rewrite.Options{Weights: rewrite.OriginalWeights}), some(), calibrate.Options{NoAmaxInit: true}},
		"elements that are NaN":       {layerModel(t, rewrite.Options{}), bad, calibrate.Options{}},
		"a first batch of zeros":      {layerModel(t, rewrite.Options{}), zero, calibrate.Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			want := facts(t, run(t, c.m, c.data, c.opt))
			for _, n := range []int{1, 2, 3, 4, 7} {
				for i, res := range ranks(t, n, c.m, c.data, c.opt) {
					if f := facts(t, res); f != want {
						t.Fatalf("rank %d of %d:\n%s\nwant\n%s", i, n, f, want)
					}
				}
			}
		})
	}
}

func TestResumeAtAnyStepGivesTheSame(t *testing.T) {
	bad := some()
	bad.batches[1][2][1] = nan
	m := layerModel(t, rewrite.Options{Weights: rewrite.OriginalWeights})
	want := facts(t, run(t, m, bad, calibrate.Options{Fingerprint: "f"}))
	for stop := 1; stop < bad.Steps(); stop++ {
		for _, interrupted := range []bool{true, false} {
			for _, n := range []int{1, 3} {
				if n > 1 && interrupted {
					continue // ranks are saved after every so many steps only
				}
				var saved []byte
				ctx, cancel := context.WithCancel(context.Background())
				opt := calibrate.Options{Fingerprint: "f", Save: func(c *calibrate.Checkpoint) error {
					if c.Steps != stop {
						return nil
					}
					var err error
					saved, err = c.Marshal()
					return err
				}}
				if interrupted {
					opt.Progress = func(p calibrate.Progress) {
						if p.Done == stop {
							cancel()
						}
					}
					if _, err := calibrate.Run(ctx, m, cpu.New(), bad, opt); !errors.Is(err, context.Canceled) {
						t.Fatalf("interrupted after step %d: %v", stop, err)
					}
				} else {
					opt.Every = 1
					ranks(t, n, m, bad, opt)
				}
				cancel()
				c, err := calibrate.UnmarshalCheckpoint(saved)
				if err != nil {
					t.Fatal(err)
				}
				// A run may go on with another number of ranks.
				for i, res := range ranks(t, 4-n, m, bad, calibrate.Options{Fingerprint: "f", Resume: c}) {
					if got := facts(t, res); got != want {
						t.Errorf("stopped after step %d (interrupted: %v, ranks: %d), rank %d:\n%s\nwant\n%s", stop, interrupted, n, i, got, want)
					}
				}
			}
		}
	}
}

func TestAWrongCheckpointIsRefused(t *testing.T) {
	m := layerModel(t, rewrite.Options{})
	var good []byte
	run(t, m, some(), calibrate.Options{Fingerprint: "f", Every: 2, Save: func(c *calibrate.Checkpoint) (err error) {
		good, err = c.Marshal()
		return err
	}})
	var bad *calibrate.CheckpointError
	for name, b := range map[string][]byte{
		"nothing":         nil,
		"another file":    []byte("hello\nworld"),
		"cut short":       good[:len(good)-3],
		"another version": []byte(strings.Replace(string(good), "checkpoint 1", "checkpoint 2", 1)),
		"a changed byte":  []byte(strings.Replace(string(good), `"Steps":4`, `"Steps":3`, 1)),
	} {
		if _, err := calibrate.UnmarshalCheckpoint(b); !errors.As(err, &bad) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c, err := calibrate.UnmarshalCheckpoint(good)
	if err != nil || c.Steps != 4 {
		t.Fatalf("%+v, %v", c, err)
	}
	other := layerModel(t, rewrite.Options{Weights: rewrite.OriginalWeights})
	for name, try := range map[string]struct {
		m   *graph.Model
		src rows
		opt calibrate.Options
	}{
		"another fingerprint": {m, some(), calibrate.Options{Fingerprint: "g", Resume: c}},
		"another model":       {other, some(), calibrate.Options{Fingerprint: "f", Resume: c}},
		"fewer steps":         {m, some().first(3), calibrate.Options{Fingerprint: "f", Resume: c}},
	} {
		if _, err := calibrate.Run(context.Background(), try.m, cpu.New(), try.src, try.opt); !errors.As(err, &bad) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestShardsMerge(t *testing.T) {
	for _, weights := range []rewrite.Weights{rewrite.Float8Weights, rewrite.OriginalWeights} {
		m := layerModel(t, rewrite.Options{Weights: weights})
		data := some()
		data.batches = append(data.batches[:1], data.batches[2], data.batches[3], data.batches[0])
		data.batches[1][8][2], data.batches[2][0][1] = nan, 9 // shard 4 misses a step
		single := run(t, m, data, calibrate.Options{})
		var parts []*graph.Model
		for i := range 4 {
			parts = append(parts, run(t, m, data, calibrate.Options{Shard: calibrate.Shard{Index: i, Count: 4}}).Model)
		}
		merged, err := calibrate.Merge(context.Background(), parts...)
		if err != nil {
			t.Fatal(err)
		}
		if p := merged.Provenance; p.Steps != 4 || p.Merged != 4 || p.Shard != "" || p.Rows != single.Rows {
			t.Errorf("provenance %+v", p)
		}
		// The first layer's amaxes do not depend on scales: of every step, the largest of its parts. The step with the NaN is one
		// that the single run rejected and three shards did not.
		s := graph.NewScope(merged.Model.Graph, nil, nil)
		h, err := s.Find("a.fp8_amax_history_input").Constant.Tensor.AsFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		for i, step := range []int{3, 2, 1} {
			want := float32(0)
			for _, row := range data.batches[step] {
				if step == 1 && math.IsNaN(float64(row[2])) {
					continue
				}
				for _, v := range row {
					want = max(want, v, -v)
				}
			}
			lo, _ := calibrate.Part(9, 3, 4)
			if step == 1 { // all rows of the shard that saw the NaN
				want = 0
				for _, row := range data.batches[step][:lo] {
					for _, v := range row {
						want = max(want, v, -v)
					}
				}
			}
			if h[i] != want {
				t.Errorf("step %d: amax %v, want %v", step, h[i], want)
			}
		}
		if f, err := s.Find("a.fp8_scale_input").Constant.Tensor.AsFloat32s(); err != nil || f[0] != float32(scaling.DefaultRecipe().Scale(448, slices.Max(h), 1)) {
			t.Errorf("scale %v of history %v", f, h)
		}

		var bad *calibrate.MergeError
		other := run(t, layerModel(t, rewrite.Options{Weights: rewrite.OriginalWeights + rewrite.Float8Weights - weights}), data, calibrate.Options{Shard: calibrate.Shard{Index: 1, Count: 4}})
		fewer := run(t, m, data.first(2), calibrate.Options{Shard: calibrate.Shard{Index: 3, Count: 4}})
		for name, models := range map[string][]*graph.Model{
			"one twice":                  {parts[0], parts[0], parts[1], parts[2]},
			"another model":              {parts[0], other.Model, parts[2], parts[3]},
			"fewer steps":                {parts[0], parts[1], parts[2], fewer.Model},
			"a shard and a whole":        {parts[0], single.Model},
			"one that is not calibrated": {parts[0], m},
		} {
			if _, err := calibrate.Merge(context.Background(), models...); !errors.As(err, &bad) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if _, err := calibrate.Merge(context.Background(), parts[:3]...); err == nil || !strings.Contains(err.Error(), "shard 4/4 is missing") {
			t.Errorf("a missing shard: got %v", err)
		}
	}
}

func TestWhatCannotBeCalibratedIsRefused(t *testing.T) {
	ctx, data := context.Background(), some()
	if _, err := calibrate.Run(ctx, openModel(t, "digits", "digits_mlp.onnx"), cpu.New(), data, calibrate.Options{}); !errors.Is(err, calibrate.ErrNotConverted) {
		t.Errorf("a model that was not converted: %v", err)
	}
	frozen := run(t, layerModel(t, rewrite.Options{}), data, calibrate.Options{}).Model
	if err := calibrate.MarkFrozen(frozen); err != nil {
		t.Fatal(err)
	}
	if _, err := calibrate.Run(ctx, frozen, cpu.New(), data, calibrate.Options{}); !errors.Is(err, calibrate.ErrFrozen) {
		t.Errorf("a frozen model: %v", err)
	}
	run(t, frozen, data, calibrate.Options{Force: true})

	node := func(m *graph.Model, i int) *graph.Node {
		for _, n := range m.Graph.Nodes {
			if ops.IsFloat8Linear(n) {
				if i--; i < 0 {
					return n
				}
			}
		}
		t.Fatal("no such layer")
		return nil
	}
	var state *calibrate.StateError
	for name, c := range map[string]struct {
		edit func(*graph.Model)
		want string
	}{
		"state that is left out": {func(m *graph.Model) { node(m, 0).Inputs[ops.InAmaxHistoryInput] = "" }, `layer "a": amax_history_input: left out`},
		"state that is not there": {func(m *graph.Model) { node(m, 0).Inputs[ops.InScaleInput] = "gone" },
			`layer "a": scale_input "gone": nothing of that name`},
		"state that is computed": {func(m *graph.Model) { node(m, 1).Inputs[ops.InScaleInput] = "x" }, `scale_input "x": not an initializer`},
		"shared state": {func(m *graph.Model) { node(m, 1).Inputs[ops.InScaleInput] = node(m, 0).Input(ops.InScaleInput) },
			`scale_input "a.fp8_scale_input": layer "a" has the same one`},
		"a history of another length": {func(m *graph.Model) {
			m.Graph.Initializer("a.fp8_amax_history_input").Tensor = tensor.Float32s(tensor.Shape{2}, 0, 0)
		}, `history of 2 amaxes, want 3`},
		"a scale that is none": {func(m *graph.Model) {
			m.Graph.Initializer("b.fp8_scale_input").Tensor = tensor.Float32s(tensor.Shape{}, nan)
		},
			`layer "b": scale_input "b.fp8_scale_input": element 0 is NaN`},
	} {
		m := layerModel(t, rewrite.Options{})
		c.edit(m)
		if _, err := calibrate.Run(ctx, m, cpu.New(), data, calibrate.Options{}); !errors.As(err, &state) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}

	var spread *calibrate.SpreadError
	fixed := layerModel(t, rewrite.Options{})
	fixed.Graph.Inputs[0].Type = &graph.Type{DType: tensor.Float32, HasShape: true, Shape: []graph.Dim{{Value: 8}, {Value: 4}}}
	if _, err := calibrate.Run(ctx, fixed, cpu.New(), data, calibrate.Options{Group: calibrate.Local(2)[0]}); !errors.As(err, &spread) {
		t.Errorf("a fixed batch axis on two ranks: %v", err)
	}
	if _, err := calibrate.Run(ctx, branches(t), cpu.New(), data, calibrate.Options{Group: calibrate.Local(2)[0]}); !errors.As(err, &spread) || !strings.Contains(err.Error(), "inside the If") {
		t.Errorf("a layer in a branch on two ranks: %v", err)
	}
	if _, err := calibrate.Run(ctx, layerModel(t, rewrite.Options{}), cpu.New(), data, calibrate.Options{Shard: calibrate.Shard{Index: 0, Count: 4}}); !errors.As(err, &spread) {
		t.Errorf("a step with fewer rows than shards: %v", err)
	}
}

// branches is a model whose If takes one of two layers with the same weight: "then" where the first element of x is above 0.
func branches(t testing.TB) *graph.Model {
	t.Helper()
	value := func(name string) *graph.Value {
		return &graph.Value{Name: name, Type: &graph.Type{DType: tensor.Float32, HasShape: true, Shape: []graph.Dim{{Value: -1, Param: "n"}, {Value: 4}}}}
	}
	branch := func(name string) *graph.Graph {
		return &graph.Graph{Name: name, Outputs: []*graph.Value{value(name + "_y")},
			Nodes: []*graph.Node{{Name: name, OpType: "MatMul", Inputs: []string{"x", "w_" + name}, Outputs: []string{name + "_y"}}}}
	}
	eye := tensor.Float32s(tensor.Shape{4, 4}, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)
	m := &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 19}}, Graph: &graph.Graph{
		Name: "branches", Inputs: []*graph.Value{value("x")}, Outputs: []*graph.Value{value("y")},
		Initializers: []*graph.Initializer{{Name: "w_then", Tensor: eye}, {Name: "w_else", Tensor: eye},
			{Name: "zero", Tensor: tensor.Int64s(tensor.Shape{1, 2}, 0, 0)}, {Name: "nought", Tensor: tensor.Float32s(tensor.Shape{}, 0)},
			{Name: "none", Tensor: tensor.Int64s(tensor.Shape{0})}},
		Nodes: []*graph.Node{
			{Name: "first", OpType: "GatherND", Inputs: []string{"x", "zero"}, Outputs: []string{"first"}},
			{Name: "scalar", OpType: "Reshape", Inputs: []string{"first", "none"}, Outputs: []string{"scalar"}},
			{Name: "above", OpType: "Greater", Inputs: []string{"scalar", "nought"}, Outputs: []string{"above"}},
			{Name: "if", OpType: "If", Inputs: []string{"above"}, Outputs: []string{"y"},
				Attributes: []*graph.Attribute{
					{Name: "then_branch", Kind: graph.AttrGraph, Graph: branch("then")},
					{Name: "else_branch", Kind: graph.AttrGraph, Graph: branch("else")}}},
		},
	}}
	r := scaling.DefaultRecipe()
	r.HistoryLen = 3
	return convert(t, m, rewrite.Options{Recipe: r})
}

func TestABranchThatDidNotRunKeepsItsState(t *testing.T) {
	up, down := [][]float32{{7, 0, 0, 0}}, [][]float32{{-3.5, 0, 0, 0}}
	m := branches(t)
	res := run(t, m, rows{"x", [][][]float32{up, up, down, up}}, calibrate.Options{})
	byName := map[string]calibrate.Layer{}
	for _, l := range res.Layers {
		byName[l.Name] = l
	}
	then, other := byName["w_then"], byName["w_else"]
	if then.Ran != 3 || !slices.Equal(then.Input.Amaxes, []float32{7, 7, calibrate.Unobserved, 7}) || !slices.Equal(then.Input.History, []float32{7, 7, 7}) {
		t.Errorf("then: %+v", then)
	}
	// The other branch is initialized by its own amax when it first runs, in the third step.
	if other.Ran != 1 || !slices.Equal(other.Input.History, []float32{3.5, 0, 0}) || !slices.Equal(other.Input.Scales, []float32{1, 1, 128, 128}) || !other.Initialized {
		t.Errorf("else: %+v", other)
	}
	if then.Graph != "if/then_branch" {
		t.Errorf("graph %q", then.Graph)
	}
	dead := run(t, m, rows{"x", [][][]float32{up, up}}, calibrate.Options{})
	if w := dead.Warnings(); len(w) != 1 || w[0].Code != report.WarnDeadLayer || w[0].Subject != "w_else" {
		t.Errorf("warnings %+v", w)
	}
	if need, have := calibrate.Calibrated(dead.Model); need != 2 || have != 1 {
		t.Errorf("%d of %d calibrated, want 1 of 2", have, need)
	}
}
