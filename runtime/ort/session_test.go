package ort

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// available is the library that the environment offers.
func available(t *testing.T) *Backend {
	t.Helper()
	b := New("")
	if err := b.Check(); err != nil {
		t.Skip(err)
	}
	return b
}

func floats(shape ...int) *graph.Type {
	t := &graph.Type{DType: tensor.Float32, HasShape: true, Shape: []graph.Dim{}}
	for _, d := range shape {
		t.Shape = append(t.Shape, graph.Dim{Value: int64(d)})
	}
	return t
}

// layerModel is one layer of v called "layer" on x [2, 64], its weight [1024, 64].
func layerModel(t *testing.T, v ops.Variant) *graph.Model {
	t.Helper()
	m := &graph.Model{IRVersion: ops.MinIRVersion, Graph: &graph.Graph{Name: "main"}}
	m.SetOpset("", ops.MinOpset)
	if _, err := ops.Declare(m, v); err != nil {
		t.Fatal(err)
	}
	weight := make([]float32, 1024*64)
	for i := range weight {
		weight[i] = float32(i%17) - 8
	}
	w := tensor.Float32s(tensor.Shape{1024, 64}, weight...)
	if v.Weight == ops.WeightFloat8 {
		w = &tensor.Tensor{DType: tensor.Float8E4M3FN, Shape: w.Shape, Data: tensor.Bytes(make([]byte, len(weight)))}
	}
	g := m.Graph
	g.Inputs = []*graph.Value{{Name: "x", Type: floats(2, 64)}}
	g.Outputs = []*graph.Value{{Name: "y", Type: floats(2, 1024)}}
	g.Initializers = []*graph.Initializer{{Name: "w", Tensor: w}, {Name: "sx", Tensor: tensor.Float32s(tensor.Shape{}, 2)},
		{Name: "sw", Tensor: tensor.Float32s(tensor.Shape{}, 4)}}
	g.Nodes = []*graph.Node{{Name: "layer", Domain: ops.Domain, OpType: v.FunctionName(), Inputs: []string{"x", "w", "sx", "sw"}, Outputs: []string{"y"}}}
	return m
}

func ramp() map[string]runtime.Value {
	x := make([]float32, 128)
	for i := range x {
		x[i] = float32(i) - 100
	}
	return map[string]runtime.Value{"x": runtime.FromTensor(tensor.Float32s(tensor.Shape{2, 64}, x...))}
}

// TestALayerMayLeaveItsAmaxOut: such a node, which others may write, would end the process in some versions.
func TestALayerMayLeaveItsAmaxOut(t *testing.T) {
	b := available(t)
	m := layerModel(t, ops.Variant{Weight: ops.WeightDelayed})
	s, err := b.Open(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.Run(t.Context(), ramp())
	if err != nil {
		t.Fatal(err)
	}
	if want := (runtime.LayerStats{Layer: "layer", Runs: 1, AmaxInput: 100, AmaxWeight: 8}); res.Layers[0] != want {
		t.Errorf("%+v, want %+v", res.Layers[0], want)
	}
	if len(m.Graph.Nodes[0].Outputs) != 1 {
		t.Error("the model is not what it was")
	}
}

// TestLargeModelsGoThroughAFolder: the same numbers, and nothing is left behind.
func TestLargeModelsGoThroughAFolder(t *testing.T) {
	b := available(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	m := layerModel(t, ops.Variant{Weight: ops.WeightDelayed})
	var outputs [2][]float32
	defer func(limit int64) { throughMemory = limit }(throughMemory)
	for i, limit := range []int64{throughMemory, 0} {
		throughMemory = limit
		s, err := b.Open(t.Context(), m, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Run(t.Context(), ramp())
		if err != nil {
			t.Fatal(err)
		}
		if outputs[i], err = res.Values["y"].Tensor.AsFloat32s(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(outputs[0], outputs[1]) {
		t.Error("the two ways give different numbers")
	}
	// A model that ONNX Runtime refuses leaves nothing behind either.
	m.Functions = nil
	if _, err := b.Open(t.Context(), m, runtime.Options{}); err == nil {
		t.Error("a layer without a body was opened")
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRefusesWhatItCannotDo(t *testing.T) {
	b := available(t)
	join := func(context.Context, []float32) error { return nil }
	for _, c := range []struct {
		variant ops.Variant
		opt     runtime.Options
		says    string // "" where it can
	}{
		{ops.Variant{}, runtime.Options{MaxMemory: 1 << 30}, "memory"},
		{ops.Variant{Input: ops.InputDynamic}, runtime.Options{AllReduceMax: join}, `layer "layer"`},
		{ops.Variant{Weight: ops.WeightDynamic}, runtime.Options{AllReduceMax: join}, `layer "layer"`},
		{ops.Variant{Weight: ops.WeightDelayed}, runtime.Options{AllReduceMax: join}, ""},
		{ops.Variant{Input: ops.InputDynamic}, runtime.Options{}, ""},
	} {
		s, err := b.Open(t.Context(), layerModel(t, c.variant), c.opt)
		if err == nil {
			s.Close()
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %+v: %v, want %q", c.variant, c.opt, err, c.says)
		}
	}
}

// TestAVariableMayBeWhatABranchHandsOut: a branch's output that is an initializer there cannot become an input of the main graph as
// it is.
func TestAVariableMayBeWhatABranchHandsOut(t *testing.T) {
	b := available(t)
	branch := func(name string, v float32) *graph.Graph {
		return &graph.Graph{Name: name, Initializers: []*graph.Initializer{{Name: name + ".c", Tensor: tensor.Float32s(tensor.Shape{1}, v)}},
			Outputs: []*graph.Value{{Name: name + ".c", Type: floats(1)}}}
	}
	m := &graph.Model{IRVersion: 9, Graph: &graph.Graph{Name: "main"}}
	m.SetOpset("", 19)
	m.Graph.Inputs = []*graph.Value{{Name: "condition", Type: &graph.Type{DType: tensor.Bool, HasShape: true}}}
	m.Graph.Outputs = []*graph.Value{{Name: "y", Type: floats(1)}}
	m.Graph.Nodes = []*graph.Node{{Name: "if", OpType: "If", Inputs: []string{"condition"}, Outputs: []string{"y"}, Attributes: []*graph.Attribute{
		{Name: "then_branch", Kind: graph.AttrGraph, Graph: branch("then", 1)}, {Name: "else_branch", Kind: graph.AttrGraph, Graph: branch("else", 2)}}}}
	s, err := b.Open(t.Context(), m, runtime.Options{Variables: []string{"then.c"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Set("then.c", tensor.Float32s(tensor.Shape{1}, 5)); err != nil {
		t.Fatal(err)
	}
	for condition, want := range map[bool]float32{true: 5, false: 2} {
		res, err := s.Run(t.Context(), map[string]runtime.Value{"condition": runtime.FromTensor(tensor.Bools(tensor.Shape{}, condition))})
		if err != nil {
			t.Fatal(err)
		}
		if y, _ := res.Values["y"].Tensor.AsFloat32s(); len(y) != 1 || y[0] != want {
			t.Errorf("%v gives %v, want %v", condition, y, want)
		}
	}
}

// TestOptionals: one that holds something, and one that does not.
func TestOptionals(t *testing.T) {
	b := available(t)
	maybe := &graph.Type{Kind: graph.OptionalKind, Elem: floats(2)}
	m := &graph.Model{IRVersion: 9, Graph: &graph.Graph{Name: "main"}}
	m.SetOpset("", 19)
	m.Graph.Inputs = []*graph.Value{{Name: "x", Type: floats(2)}}
	m.Graph.Outputs = []*graph.Value{{Name: "some", Type: maybe}}
	m.Graph.Nodes = []*graph.Node{{Name: "some", OpType: "Optional", Inputs: []string{"x"}, Outputs: []string{"some"}}}
	s, err := b.Open(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.Run(t.Context(), map[string]runtime.Value{"x": runtime.FromTensor(tensor.Float32s(tensor.Shape{2}, 3, 4))})
	if err != nil {
		t.Fatal(err)
	}
	some := res.Values["some"]
	if some.Kind != runtime.OptionalValue || len(some.Items) != 1 {
		t.Fatalf("kind %d with %d elements, want an optional of one", some.Kind, len(some.Items))
	}
	if v, _ := some.Items[0].Tensor.AsFloat32s(); !slices.Equal(v, []float32{3, 4}) {
		t.Errorf("holds %v", v)
	}
	if _, err := b.lib.newValue(runtime.Value{Kind: runtime.OptionalValue}); err == nil {
		t.Error("an empty optional was given to ONNX Runtime")
	}
}

// TestALayerInAFunctionShowsAsNotRun: its amax cannot leave the function.
func TestALayerInAFunctionShowsAsNotRun(t *testing.T) {
	b := available(t)
	m := layerModel(t, ops.Variant{Weight: ops.WeightDelayed})
	f := &graph.Function{Name: "Block", Domain: "com.example", Inputs: []string{"a", "b", "c", "d"}, Outputs: []string{"e"},
		Opsets: []graph.Opset{{Version: ops.MinOpset}, {Domain: ops.Domain, Version: ops.Version}}}
	inner := m.Graph.Nodes[0].Clone()
	inner.Inputs, inner.Outputs = []string{"a", "b", "c", "d"}, []string{"e"}
	f.Nodes = []*graph.Node{inner}
	m.Functions = append(m.Functions, f)
	m.SetOpset("com.example", 1)
	m.Graph.Nodes = []*graph.Node{{Name: "block", Domain: "com.example", OpType: "Block", Inputs: []string{"x", "w", "sx", "sw"}, Outputs: []string{"y"}}}
	s, err := b.Open(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.Run(t.Context(), ramp())
	if err != nil {
		t.Fatal(err)
	}
	if want := []runtime.LayerStats{{Layer: "layer"}}; !slices.Equal(res.Layers, want) {
		t.Errorf("%+v, want %+v", res.Layers, want)
	}
	if len(inner.Outputs) != 1 {
		t.Error("the model is not what it was")
	}
}

func TestAmaxOfAWeight(t *testing.T) {
	half := func(bits ...byte) *tensor.Tensor {
		return &tensor.Tensor{DType: tensor.Float16, Shape: tensor.Shape{int64(len(bits) / 2)}, Data: tensor.Bytes(bits)}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		t    *tensor.Tensor
		want float32
	}{
		{tensor.Float32s(tensor.Shape{3}, 1, -2.5, 0), 2.5},
		{tensor.Float32s(tensor.Shape{3}, 1, nan, inf), nan},
		{tensor.Float32s(tensor.Shape{0}), 0},
		{half(0x00, 0x3c, 0x00, 0xc1), 2.5}, // 1 and -2.5
		{half(0x01, 0x80), 0x1p-24},
		{half(0xff, 0x7b), 65504},
		{half(0x00, 0xfc), inf},
		{half(0x00, 0xfc, 0x01, 0x7e), nan},
		{&tensor.Tensor{DType: tensor.BFloat16, Shape: tensor.Shape{2}, Data: tensor.Bytes{0x80, 0x3f, 0x20, 0xc0}}, 2.5},
	} {
		got, err := amax(c.t)
		if err != nil || got != c.want && !(got != got && c.want != c.want) {
			t.Errorf("%s %s: %g (%v), want %g", c.t.DType, c.t.Shape, got, err, c.want)
		}
	}
	if _, err := amax(tensor.Int64s(tensor.Shape{1}, 1)); err == nil {
		t.Error("an amax of int64")
	}
}
