package program

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// summary is how often each kernel is in steps, by kernelsOf's names.
func summary(steps []Step) string {
	n := map[string]int{}
	for _, name := range strings.Split(kernelsOf(steps), ", ") {
		n[name]++
	}
	var s []string
	for _, name := range slices.Sorted(maps.Keys(n)) {
		s = append(s, fmt.Sprintf("%d %s", n[name], name))
	}
	return strings.Join(s, ", ")
}

// TestModelsAreTheStepsTheyShouldBe counts what a run of each model launches. In the converted llama and gpt2 the norms and activations
// write the codes of the layers after them, and so does attention.
func TestModelsAreTheStepsTheyShouldBe(t *testing.T) {
	const static, dynamic = "i:del,w:del,go:del h16 max", "i:dyn,w:dyn,go:dyn h16 max"
	original := Options{Compute: kernels.F32}
	for _, c := range []struct {
		name, model string
		shape       tensor.Shape
		recipe      string // "": as it is
		weights     rewrite.Weights
		variables   bool
		opt         Options
		setup, want string
	}{
		{name: "llama", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, opt: original,
			want: "4 attention, 1 gather, 29 matmul float32, 1 rms norm, 8 rms norm of a sum, 8 rotary, 4 silu_mul"},
		{name: "llama, static scales", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, recipe: static, opt: Options{Compute: kernels.BF16},
			want: "4 attention, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 4 silu_mul"},
		{name: "llama, while it is calibrated", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, recipe: static, variables: true, opt: original,
			setup: "1 reciprocals of scales",
			want:  "4 attention, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 4 silu_mul"},
		{name: "llama, counted", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, recipe: static, opt: Options{Compute: kernels.BF16, Statistics: true},
			want: "4 attention, 17 cast e4m3, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 4 silu_mul"},
		{name: "llama, dynamic scales", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, recipe: dynamic, opt: Options{Compute: kernels.BF16},
			setup: "17 stored scale",
			want:  "4 attention, 17 cast e4m3, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 17 scale from amax, 4 silu_mul, 1 stored scales"},
		{name: "llama, original weights", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, recipe: static, weights: rewrite.OriginalWeights, variables: true,
			opt: Options{Compute: kernels.BF16}, setup: "29 cast e4m3, 1 reciprocals of scales",
			want: "4 attention, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 4 silu_mul"},
		{name: "gpt2", model: "gpt2/model.onnx", shape: tensor.Shape{2, 32}, opt: original,
			want: "4 attention, 1 chain, 1 gather, 4 gelu_tanh, 1 layer norm, 8 layer norm of a sum, 17 matmul float32"},
		{name: "gpt2, static scales", model: "gpt2/model.onnx", shape: tensor.Shape{2, 32}, recipe: static, opt: Options{Compute: kernels.BF16},
			want: "4 attention, 1 chain, 1 gather, 4 gelu_tanh, 1 layer norm, 8 layer norm of a sum, 17 matmul e4m3"},
		{name: "digits", model: "digits/digits_mlp.onnx", shape: tensor.Shape{5, 64}, opt: original, want: "3 matmul float32, 2 relu"},
		{name: "digits, static scales", model: "digits/digits_mlp.onnx", shape: tensor.Shape{5, 64}, recipe: static, opt: Options{Compute: kernels.BF16},
			want: "1 cast e4m3, 1 copy, 3 matmul e4m3, 2 relu"},
		{name: "digits with convolutions", model: "digits/digits_cnn.onnx", shape: tensor.Shape{5, 64}, recipe: static, opt: Options{Compute: kernels.BF16},
			want: "1 convert, 1 copy, 1 cpu, 2 matmul e4m3, 2 relu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := load(t, c.model)
			if c.recipe != "" {
				m = converted(t, m, c.recipe, c.weights)
			}
			p, _ := build(t, m, c.shape, c.variables, c.opt)
			sound(t, p)
			setup := ""
			if len(p.Setup) > 0 {
				setup = summary(p.Setup)
			}
			if got := summary(p.Steps); got != c.want || setup != c.setup {
				t.Errorf("setup %s\nwant  %s\nsteps %s\nwant  %s\n%s", setup, c.setup, got, c.want, text(p))
			}
			for _, l := range p.Layers {
				if l.AmaxInput == nil {
					t.Errorf("layer %q has no amax", l.Name)
				}
			}
		})
	}
}

// TestAValueThatIsAnOutputIsStillWritten holds that a value is left out of memory only where nobody but layers of one cast reads it.
func TestAValueThatIsAnOutputIsStillWritten(t *testing.T) {
	m := converted(t, load(t, "llama/model.onnx"), "i:del,w:del,go:del h16 max", rewrite.Float8Weights)
	var norm string
	for _, n := range m.Graph.Nodes {
		if n.OpType == "Float8Linear" {
			norm = n.Input(0)
			break
		}
	}
	m.Graph.Outputs = append(m.Graph.Outputs, &graph.Value{Name: norm, Type: &graph.Type{DType: tensor.Float32}})
	p, _ := build(t, m, tensor.Shape{1, 8}, false, Options{Compute: kernels.BF16})
	sound(t, p)
	if out := p.Outputs[1]; out.Name != norm || out.Tensor == nil || out.Tensor.T != kernels.F32 {
		t.Errorf("%+v", out)
	}
	if got := summary(p.Steps); strings.Contains(got, "cast e4m3") || !strings.Contains(got, "1 convert") {
		t.Error(got)
	}
}

// TestModelsComputeWhatTheProcessorDoes runs programs on a machine that computes each launch plainly.
func TestModelsComputeWhatTheProcessorDoes(t *testing.T) {
	const static, dynamic = "i:del,w:del,go:del h16 max", "i:dyn,w:dyn,go:dyn h16 max"
	for _, c := range []struct {
		model     string
		shape     tensor.Shape
		recipe    string
		weights   rewrite.Weights
		variables bool
	}{
		{model: "llama/model.onnx", shape: tensor.Shape{1, 3}},
		{model: "llama/model.onnx", shape: tensor.Shape{2, 2}, recipe: static, variables: true},
		{model: "llama/model.onnx", shape: tensor.Shape{1, 3}, recipe: dynamic},
		{model: "llama/model.onnx", shape: tensor.Shape{1, 3}, recipe: static, weights: rewrite.OriginalWeights, variables: true},
		{model: "gpt2/model.onnx", shape: tensor.Shape{2, 2}},
		{model: "gpt2/model.onnx", shape: tensor.Shape{1, 3}, recipe: dynamic},
		{model: "digits/digits_mlp.onnx", shape: tensor.Shape{5, 64}, recipe: static, variables: true},
		{model: "digits/digits_cnn.onnx", shape: tensor.Shape{5, 64}, recipe: dynamic},
	} {
		t.Run(fmt.Sprintf("%s %s %v", c.model, c.recipe, c.weights), func(t *testing.T) {
			m := load(t, c.model)
			if c.recipe != "" {
				m = converted(t, m, c.recipe, c.weights)
			}
			p, _ := build(t, m, c.shape, c.variables, Options{Compute: kernels.F32})
			in := m.Graph.Inputs[0]
			x := random(1, c.shape...)
			if in.Type.DType == tensor.Int64 {
				ids := make([]int64, count(c.shape))
				for i := range ids {
					ids[i] = int64(i*37+5) % 200
				}
				x = tensor.Int64s(c.shape, ids...)
			}
			inputs := map[string]*tensor.Tensor{in.Name: x}
			for _, v := range p.Variables {
				inputs[v.Name] = m.Graph.Initializer(v.Name).Tensor
			}
			machine := newMachine(t)
			got := machine.run(p, inputs)
			s, err := cpu.New().Open(context.Background(), m, runtime.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			want, err := s.Run(context.Background(), map[string]runtime.Value{in.Name: runtime.FromTensor(x)})
			if err != nil {
				t.Fatal(err)
			}
			// A code next to a boundary may be another one after a sum in another order.
			tolerance := 1e-5
			if c.recipe != "" {
				tolerance = 2e-2
			}
			for name, v := range want.Values {
				if d := distance(t, got[name], v.Tensor); !(d <= tolerance) {
					t.Errorf("%q differs by %.3g", name, d)
				}
			}
			for i, l := range want.Layers {
				at := p.Layers[i]
				if at.Name != l.Layer {
					t.Fatalf("layer %d is %q, want %q", i, at.Name, l.Layer)
				}
				same := func(what string, a *Tensor, want float32) {
					if got := machine.get(a.T, machine.addr(a.Buffer)+driver.Ptr(a.Offset), 0); math.Abs(float64(got/want-1)) > 0.02 {
						t.Errorf("layer %q: amax of its %s is %g, want %g", l.Layer, what, got, want)
					}
				}
				same("input", at.AmaxInput, l.AmaxInput)
				if (at.AmaxWeight != nil) != (l.AmaxWeight != 0) {
					t.Errorf("layer %q: amax of its weight is there: %t", l.Layer, at.AmaxWeight != nil)
				} else if at.AmaxWeight != nil {
					same("weight", at.AmaxWeight, l.AmaxWeight)
				}
			}
		})
	}
}
