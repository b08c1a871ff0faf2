package program

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
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
// write the codes of the layers after them, and only attention's result is cast on its own.
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
			want: "4 attention, 4 cast e4m3, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 4 silu_mul"},
		{name: "llama, while it is calibrated", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, recipe: static, variables: true, opt: original,
			setup: "1 reciprocals of scales",
			want:  "4 attention, 4 cast e4m3, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 4 silu_mul"},
		{name: "llama, counted", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, recipe: static, opt: Options{Compute: kernels.BF16, Statistics: true},
			want: "4 attention, 17 cast e4m3, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 4 silu_mul"},
		{name: "llama, dynamic scales", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, recipe: dynamic, opt: Options{Compute: kernels.BF16},
			setup: "17 stored scale",
			want:  "4 amax, 4 attention, 17 cast e4m3, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 17 scale from amax, 4 silu_mul, 1 stored scales"},
		{name: "llama, original weights", model: "llama/model.onnx", shape: tensor.Shape{2, 32}, recipe: static, weights: rewrite.OriginalWeights, variables: true,
			opt: Options{Compute: kernels.BF16}, setup: "29 cast e4m3, 1 reciprocals of scales",
			want: "4 attention, 4 cast e4m3, 1 gather, 29 matmul e4m3, 1 rms norm, 8 rms norm of a sum, 8 rotary, 4 silu_mul"},
		{name: "gpt2", model: "gpt2/model.onnx", shape: tensor.Shape{2, 32}, opt: original,
			want: "4 attention, 1 chain, 1 gather, 4 gelu_tanh, 1 layer norm, 8 layer norm of a sum, 17 matmul float32"},
		{name: "gpt2, static scales", model: "gpt2/model.onnx", shape: tensor.Shape{2, 32}, recipe: static, opt: Options{Compute: kernels.BF16},
			want: "4 attention, 4 cast e4m3, 1 chain, 1 gather, 4 gelu_tanh, 1 layer norm, 8 layer norm of a sum, 17 matmul e4m3"},
		{name: "digits", model: "digits/digits_mlp.onnx", shape: tensor.Shape{5, 64}, opt: original, want: "3 matmul float32, 2 relu"},
		{name: "digits, static scales", model: "digits/digits_mlp.onnx", shape: tensor.Shape{5, 64}, recipe: static, opt: Options{Compute: kernels.BF16},
			want: "1 cast e4m3, 1 convert, 1 copy, 3 matmul e4m3, 2 relu"},
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
	if got := summary(p.Steps); !strings.Contains(got, " 4 cast e4m3") || !strings.Contains(got, "1 convert") {
		t.Error(got)
	}
}
