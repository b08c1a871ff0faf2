package program

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// linears is a model of layers that all read the input "x" [m, k].
type linears struct {
	m, n, k  int64
	layers   int
	variant  ops.Variant
	channels bool
	bias     bool
	scales   []float32 // of the inputs, by layer; 1 where they are none
	observe  bool      // the amaxes are outputs
}

func (c linears) model(t testing.TB) *graph.Model {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	g := &graph.Graph{Name: "linears"}
	m := &graph.Model{IRVersion: 10, Graph: g, Opsets: []graph.Opset{{Version: 23}}}
	value := func(name string, d tensor.DType, dims ...int64) *graph.Value {
		typ := &graph.Type{DType: d, HasShape: true}
		for _, x := range dims {
			typ.Shape = append(typ.Shape, graph.Dim{Value: x})
		}
		return &graph.Value{Name: name, Type: typ}
	}
	add := func(name string, x *tensor.Tensor) string {
		g.Initializers = append(g.Initializers, &graph.Initializer{Name: name, Tensor: x})
		return name
	}
	g.Inputs = append(g.Inputs, value("x", tensor.Float32, c.m, c.k))
	for i := range c.layers {
		name := fmt.Sprintf("layer%d", i)
		scale := float32(1)
		if i < len(c.scales) {
			scale = c.scales[i]
		}
		weights := make([]float32, c.n*c.k)
		for j := range weights {
			weights[j] = r.Float32() - 0.5
		}
		w := tensor.Float32s(tensor.Shape{c.n, c.k}, weights...)
		if c.variant.Weight == ops.WeightFloat8 {
			codes := make([]byte, c.n*c.k)
			for j := range codes {
				codes[j] = byte(r.IntN(0x70))
			}
			w = &tensor.Tensor{DType: tensor.Float8E4M3FN, Shape: tensor.Shape{c.n, c.k}, Data: tensor.Bytes(codes)}
		}
		sw := tensor.Float32s(tensor.Shape{}, 2)
		if c.channels {
			v := make([]float32, c.n)
			for j := range v {
				v[j] = 1 + r.Float32()
			}
			sw = tensor.Float32s(tensor.Shape{c.n}, v...)
		}
		state := func(i int) string { return ops.StateName(name, i) }
		l := ops.Layer{
			Name: name, Variant: c.variant, Input: "x", Weight: add(state(ops.InWeight), w),
			ScaleInput:  add(state(ops.InScaleInput), tensor.Float32s(tensor.Shape{}, scale)),
			ScaleWeight: add(state(ops.InScaleWeight), sw), Output: name + ".y", AmaxInput: name + ".amax",
			Original: ops.MatMul(""), QuantMax: 448,
		}
		g.Nodes = append(g.Nodes, l.Node())
		out := l.Output
		if c.bias {
			b := make([]float32, c.n)
			out = name + ".biased"
			g.Nodes = append(g.Nodes, &graph.Node{Name: name + ".add", OpType: "Add", Inputs: []string{l.Output, add(name+".bias", tensor.Float32s(tensor.Shape{c.n}, b...))},
				Outputs: []string{out}})
		}
		g.Outputs = append(g.Outputs, value(out, tensor.Float32, c.m, c.n))
		if c.observe {
			g.Outputs = append(g.Outputs, value(l.AmaxInput, tensor.Float32))
		}
	}
	if _, err := ops.Declare(m, c.variant); err != nil {
		t.Fatal(err)
	}
	return m
}

func (c linears) build(t testing.TB, variables bool, opt Options) *Program {
	t.Helper()
	p, _ := build(t, c.model(t), tensor.Shape{c.m, c.k}, variables, opt)
	return p
}

// kernelsOf are the kernels of steps, in order, with the sizes of products left out.
func kernelsOf(steps []Step) string {
	var s []string
	for _, x := range steps {
		k := x.Kernel
		if i := strings.Index(k, " "); strings.HasPrefix(k, "matmul") {
			k = k[:i+1+strings.IndexByte(k[i+1:]+" ", ' ')]
		}
		s = append(s, k)
	}
	return strings.Join(s, ", ")
}

func TestEveryVariantIsLoweredSoundly(t *testing.T) {
	for _, v := range ops.Variants() {
		for _, size := range [][3]int64{{1, 10, 20}, {4, 32, 64}, {7, 3, 16}} {
			if testing.Short() && size[0] > 1 {
				continue
			}
			for _, channels := range []bool{false, true} {
				for _, variables := range []bool{false, true} {
					for _, opt := range []Options{{Compute: kernels.F32}, {Compute: kernels.BF16}, {Compute: kernels.BF16, Statistics: true}} {
						c := linears{m: size[0], n: size[1], k: size[2], layers: 2, variant: v, channels: channels, bias: true, observe: true}
						p := c.build(t, variables, opt)
						what := fmt.Sprintf("%v %v, channels %t, variables %t, %v, statistics %t", v, size, channels, variables, opt.Compute, opt.Statistics)
						n := sound(t, p)
						products := n["matmul e4m3"]
						if v.Input == ops.InputOff {
							products = n["matmul float32"] + n["matmul bfloat16"]
						}
						if products != 2 || len(p.Placed) > 0 {
							t.Errorf("%s: %d products: %v, %v", what, products, n, p.Placed)
						}
						for _, l := range p.Layers {
							if l.AmaxInput == nil || (l.AmaxWeight != nil) != (v.Weight != ops.WeightFloat8) || (l.Weight > 0) != (l.AmaxWeight != nil) ||
								(l.CountInput != nil) != (opt.Statistics && v.Input != ops.InputOff) || (l.CountWeight != nil) != (opt.Statistics && l.AmaxWeight != nil) ||
								(l.Input == size[0]*size[2]) != (v.Input != ops.InputOff) {
								t.Errorf("%s: statistics %+v", what, l)
							}
						}
						for _, out := range p.Outputs {
							if out.Tensor == nil || out.Tensor.T != kernels.F32 {
								t.Errorf("%s: output %+v", what, out)
							}
						}
					}
				}
			}
		}
	}
}

func TestLayersThatReadAValueWithEqualScalesShareACast(t *testing.T) {
	for _, c := range []struct {
		scales    []float32
		variables bool
		casts     int
		equal     [][]string
	}{
		{[]float32{2, 2, 2}, false, 1, nil},
		{[]float32{2, 3, 2}, false, 2, nil},
		{[]float32{2, 2, 2}, true, 1, [][]string{{"layer0.fp8_scale_input", "layer1.fp8_scale_input", "layer2.fp8_scale_input"}}},
		{[]float32{2, 3, 2}, true, 2, [][]string{{"layer0.fp8_scale_input", "layer2.fp8_scale_input"}}},
	} {
		p := linears{m: 4, n: 32, k: 64, layers: 3, scales: c.scales}.build(t, c.variables, Options{})
		n := sound(t, p)
		if n["cast_e4m3_float"] != c.casts || n["matmul e4m3"] != 3 || !slices.EqualFunc(p.Equal, c.equal, slices.Equal[[]string]) {
			t.Errorf("%v, variables %t: %v, equal %q", c.scales, c.variables, n, p.Equal)
		}
		if p.Layers[0].AmaxInput != p.Layers[2].AmaxInput {
			t.Errorf("%v: an amax for each of two layers that read one value", c.scales)
		}
	}
}

func TestABiasIsAddedByTheProductWhereItRoundsOnce(t *testing.T) {
	for _, c := range []struct {
		opt  Options
		n    int64
		want string
	}{
		{Options{Compute: kernels.BF16}, 32, "cast e4m3, matmul e4m3"},
		{Options{Compute: kernels.BF16}, 10, "cast e4m3, matmul e4m3, copy"}, // of the columns that are not padding
		{Options{Compute: kernels.F32}, 32, "cast e4m3, matmul e4m3, chain"},
	} {
		p := linears{m: 4, n: c.n, k: 64, layers: 1, bias: true}.build(t, false, c.opt)
		sound(t, p)
		if got := kernelsOf(p.Steps); got != c.want {
			t.Errorf("N %d: %s, want %s", c.n, got, c.want)
		}
	}
}

func TestWhatFloat8CannotMultiplyIsDecoded(t *testing.T) {
	refuse := func(p lt.Problem) (*lt.Plan, error) {
		if p.X.Float8() {
			return nil, &lt.UnsupportedError{Problem: p, Why: "a test refuses it"}
		}
		return &lt.Plan{Problem: p}, nil
	}
	for _, opt := range []Options{{Plan: refuse}, {Card: driver.Info{Name: "old", Major: 8, Minor: 0}}} {
		p := linears{m: 4, n: 32, k: 20, layers: 2, channels: true}.build(t, true, opt)
		n := sound(t, p)
		if n["matmul e4m3"] != 0 || n["matmul bfloat16"] != 2 || n["decode_e4m3_bf16"] != 1 {
			t.Errorf("%v", n)
		}
		if len(p.Placed) != 2 || p.Placed[0].Where != "bfloat16" || p.Placed[0].Layer != "layer0" || p.Placed[0].Why == "" {
			t.Errorf("%+v", p.Placed)
		}
	}
}

func TestPlansThatWantVectorsOrNoneGetThem(t *testing.T) {
	spread := func(p lt.Problem) (*lt.Plan, error) {
		q := p
		if p.Channels {
			q.Rows = true
		}
		return &lt.Plan{Problem: q, SpreadX: p.Channels}, nil
	}
	p := linears{m: 4, n: 32, k: 64, layers: 2, channels: true}.build(t, true, Options{Plan: spread})
	sound(t, p)
	if got, want := kernelsOf(p.Setup), "reciprocals of scales, spread scale"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	dynamic := linears{m: 4, n: 32, k: 64, layers: 1, channels: true, variant: ops.Variant{Input: ops.InputDynamic}}.build(t, true, Options{Plan: spread})
	sound(t, dynamic)
	if got, want := kernelsOf(dynamic.Steps), "stored scales, amax, scale from amax, cast e4m3, spread scale, matmul e4m3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	multiply := func(p lt.Problem) (*lt.Plan, error) {
		q := p
		q.Channels = false
		return &lt.Plan{Problem: q, MultiplyW: p.Channels}, nil
	}
	for _, n := range []int64{32, 10} {
		p := linears{m: 4, n: n, k: 64, layers: 1, channels: true, bias: true}.build(t, true, Options{Plan: multiply, Compute: kernels.BF16})
		sound(t, p)
		if got, want := kernelsOf(p.Steps), "cast e4m3, matmul e4m3, scale, "; !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestALayerThatTheGPUCannotRunIsTheProcessors(t *testing.T) {
	m := linears{m: 4, n: 32, k: 64, layers: 2}.model(t)
	// The second layer's scale is computed.
	l := m.Graph.Nodes[1]
	m.Graph.Inputs = append(m.Graph.Inputs, &graph.Value{Name: "s", Type: &graph.Type{DType: tensor.Float32, HasShape: true}})
	l.Inputs[ops.InScaleInput] = "s2"
	m.Graph.Nodes = []*graph.Node{m.Graph.Nodes[0], {Name: "exp", OpType: "Exp", Inputs: []string{"s"}, Outputs: []string{"s2"}}, l}
	st, err := specialize.Specialize(context.Background(), m, specialize.Options{Engine: cpu.New()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Build(st, Options{Card: hopper, Compute: kernels.F32, Layers: []string{"layer0", "layer1"}})
	if err != nil {
		t.Fatal(err)
	}
	sound(t, p)
	if p.Layers[0].Segment != nil || p.Layers[1].Segment == nil || p.Outputs[0].Tensor == nil || p.Outputs[1].Tensor != nil {
		t.Errorf("%+v", p.Layers)
	}
	if i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Segment != nil }); i < 0 || len(p.Steps[i].Segment.In) > 0 {
		t.Errorf("%s", text(p))
	}
}

func TestALayerThatNothingMultipliesIsTheProcessors(t *testing.T) {
	p := linears{m: 4, n: 32, k: 64, layers: 1}.build(t, false, Options{Plan: func(p lt.Problem) (*lt.Plan, error) {
		return nil, &lt.UnsupportedError{Problem: p, Why: "a test refuses all"}
	}})
	sound(t, p)
	if len(p.Steps) != 1 || p.Layers[0].Segment == nil || len(p.Placed) != 1 || p.Placed[0].Where != "cpu" {
		t.Errorf("%s %+v", text(p), p.Placed)
	}
}
