package specialize

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// sample is one of the models in testdata.
type sample struct {
	path, input, folder string
	shapes              []tensor.Shape
	left                string // operators of the static model
	converted           string // of that with Float8Linear
}

var samples = []sample{
	{"llama/model.onnx", "input_ids", "llama", []tensor.Shape{{1, 1}, {1, 128}, {3, 17}, {8, 64}},
		"Add 8, Attention 4, Gather 1, MatMul 29, Mul 8, RMSNormalization 9, Reshape 16, RotaryEmbedding 8, Sigmoid 4, Transpose 16",
		"Add 8, Attention 4, Float8Linear 29, Gather 1, Mul 8, RMSNormalization 9, Reshape 16, RotaryEmbedding 8, Sigmoid 4, Transpose 16"},
	{"gpt2/model.onnx", "input_ids", "gpt2", []tensor.Shape{{1, 1}, {1, 128}, {3, 17}, {8, 64}},
		"Add 9, Attention 4, Gather 1, Gelu 4, Gemm 16, LayerNormalization 9, MatMul 1, Reshape 44, Split 4, Transpose 17",
		"Add 25, Attention 4, Float8Linear 17, Gather 1, Gelu 4, LayerNormalization 9, Reshape 44, Split 4, Transpose 16"},
	{"digits/digits_mlp.onnx", "image", "digits", []tensor.Shape{{1, 64}, {5, 64}}, "Gemm 3, Relu 2", "Add 3, Float8Linear 3, Relu 2"},
	{"digits/digits_cnn.onnx", "image", "digits", []tensor.Shape{{1, 64}, {5, 64}}, "Conv 2, Flatten 1, Gemm 2, Relu 3, Reshape 1",
		"Add 2, Conv 2, Flatten 1, Float8Linear 2, Relu 3, Reshape 1"},
}

func TestStaticModelsComputeWhatTheOriginalsDo(t *testing.T) {
	for _, c := range samples {
		m := load(t, c.path)
		x := npz(t, c.folder+"/data.npz", "eval_"+c.input)
		for _, s := range c.shapes {
			in := map[string]*tensor.Tensor{c.input: block(t, x, s[0], s[1])}
			st := specialized(t, m, in)
			if got := counts(st.Model); got != c.left {
				t.Errorf("%s %s: operators %s, want %s", c.path, s, got, c.left)
			}
			whole(t, st)
			want := run(t, m, runtime.Options{}, in).Values["logits"].Tensor
			got := run(t, st.Model, runtime.Options{}, in).Values["logits"].Tensor
			if d := distance(t, want, got); !(d < 2e-6) {
				t.Errorf("%s %s: differs by %g", c.path, s, d)
			}
		}
	}
}

// whole checks what a Static promises: every value has a type, producers stand before readers, large tensors are the original's.
func whole(t testing.TB, st *Static) {
	t.Helper()
	known := map[string]bool{"": true}
	for _, v := range st.Model.Graph.Inputs {
		known[v.Name] = true
	}
	for _, i := range st.Model.Graph.Initializers {
		known[i.Name] = true
	}
	for _, n := range st.Model.Graph.Nodes {
		for _, in := range n.Inputs {
			if !known[in] {
				t.Errorf("node %q reads %q, which nobody has made", n.Name, in)
			}
		}
		for _, o := range n.Outputs {
			if _, ok := st.Types[o]; !ok && o != "" {
				t.Errorf("output %q of %s %q has no type", o, n.OpType, n.Name)
			}
			known[o] = true
		}
	}
	for _, o := range st.Model.Graph.Outputs {
		if !known[o.Name] {
			t.Errorf("nobody makes output %q", o.Name)
		}
	}
}

// variables are the initializers of a rewritten model that calibration moves.
func variables(m *graph.Model) []string {
	var names []string
	m.Graph.Walk(func(g *graph.Graph) {
		for _, i := range g.Initializers {
			if _, at, ok := ops.ParseStateName(i.Name); ok && (at == ops.InScaleInput || at == ops.InScaleWeight) {
				names = append(names, i.Name)
			}
		}
	})
	return names
}

func TestRewrittenModelsKeepTheirLayersAndScales(t *testing.T) {
	recipes := []struct {
		modes   string
		weights rewrite.Weights
	}{
		{"i:del,w:del,go:del", rewrite.Float8Weights},
		{"i:dyn,w:dyn,go:dyn", rewrite.Float8Weights},
		{"i:off,w:del,go:off", rewrite.Float8Weights},
		{"i:del,w:del,go:del", rewrite.OriginalWeights},
		{"i:dyn,w:dyn,go:dyn", rewrite.OriginalWeights},
	}
	for _, c := range samples {
		m := load(t, c.path)
		x := npz(t, c.folder+"/data.npz", "eval_"+c.input)
		in := map[string]*tensor.Tensor{c.input: block(t, x, 3, min(x.Shape[1], 65))}
		if c.input == "image" {
			in[c.input] = block(t, x, 3, 64)
		}
		for _, r := range recipes {
			recipe, err := scaling.DefaultRecipe().ParseModes(r.modes)
			if err != nil {
				t.Fatal(err)
			}
			res, err := rewrite.Convert(context.Background(), m, rewrite.Options{Recipe: recipe, Weights: r.weights})
			if err != nil {
				t.Fatal(err)
			}
			vars := variables(res.Model)
			// Scales as calibration would leave them, so that codes are spread over the format.
			for _, i := range res.Model.Graph.Initializers {
				if _, at, ok := ops.ParseStateName(i.Name); ok && at == ops.InScaleInput {
					i.Tensor = tensor.Float32s(i.Tensor.Shape, 20)
				}
			}
			st := specialized(t, res.Model, in, Options{Variables: vars})
			whole(t, st)
			variant := ""
			for _, n := range st.Model.Graph.Nodes {
				if ops.IsFloat8Linear(n) {
					variant = n.OpType
				}
			}
			name := fmt.Sprint(c.path, " ", r.modes, " ", r.weights)
			if got := strings.ReplaceAll(counts(st.Model), variant+" ", "Float8Linear "); sorted(got) != c.converted {
				t.Errorf("%s: operators %s, want %s", name, got, c.converted)
			}
			given := map[string]*tensor.Tensor{c.input: in[c.input]}
			for i, v := range st.Model.Graph.Inputs {
				if i == 0 && v.Name != c.input || i > 0 && v.Name != vars[i-1] {
					t.Errorf("%s: input %d is %q", name, i, v.Name)
				}
				if i > 0 {
					given[v.Name] = res.Model.Graph.Initializer(v.Name).Tensor
				}
			}
			want := run(t, res.Model, runtime.Options{Statistics: true}, in)
			got := run(t, st.Model, runtime.Options{Statistics: true}, given)
			// A value between two codes of float8 may fall on the other side.
			tolerance := 0.02
			if recipe.Input == scaling.Off {
				tolerance = 2e-6
			}
			if d := distance(t, want.Values["logits"].Tensor, got.Values["logits"].Tensor); !(d < tolerance) {
				t.Errorf("%s: differs by %g", name, d)
			}
			if len(want.Layers) != len(got.Layers) {
				t.Fatalf("%s: %d layers, want %d", name, len(got.Layers), len(want.Layers))
			}
			for i, l := range want.Layers {
				if g := got.Layers[i]; g.Layer != l.Layer || g.AmaxWeight != l.AmaxWeight || g.AmaxInput > l.AmaxInput*1.002 || g.AmaxInput < l.AmaxInput/1.002 {
					t.Errorf("%s: layer %d saw %+v, want %+v", name, i, g, l)
				}
			}
		}
	}
}

func TestWeightsAreNotCopied(t *testing.T) {
	for _, c := range samples {
		m := load(t, c.path)
		own := map[*tensor.Tensor]bool{}
		for _, i := range m.Graph.Initializers {
			own[i.Tensor] = true
		}
		x := npz(t, c.folder+"/data.npz", "eval_"+c.input)
		s := c.shapes[len(c.shapes)-1]
		st := specialized(t, m, map[string]*tensor.Tensor{c.input: block(t, x, s[0], s[1])})
		for _, i := range st.Model.Graph.Initializers {
			if b := i.Tensor.Size(); b > 64<<10 && !own[i.Tensor] {
				t.Errorf("%s: %q, %d bytes, was made anew", c.path, i.Name, b)
			}
		}
	}
}

// A model is specialized while somebody waits for his first batch of a shape.
func TestSpecializingIsQuick(t *testing.T) {
	m := load(t, "llama/model.onnx")
	x := npz(t, "llama/data.npz", "eval_input_ids")
	in := map[string]*tensor.Tensor{"input_ids": block(t, x, 8, 128)}
	best := time.Hour
	for range 5 {
		start := time.Now()
		specialized(t, m, in)
		best = min(best, time.Since(start))
	}
	t.Logf("%v", best)
	if best > 100*time.Millisecond {
		t.Errorf("took %v", best)
	}
}

// llama has two heads of keys for four of queries; at more than one position it is causal, and no mask is left.
func TestAttentionsOfLlama(t *testing.T) {
	m := load(t, "llama/model.onnx")
	x := npz(t, "llama/data.npz", "eval_input_ids")
	for _, s := range []tensor.Shape{{1, 1}, {3, 17}} {
		st := specialized(t, m, map[string]*tensor.Tensor{"input_ids": block(t, x, s[0], s[1])})
		for _, n := range st.Model.Graph.Nodes {
			switch n.OpType {
			case "Attention":
				if n.Input(3) != "" || (n.AttrInt("is_causal", 0) == 1) != (s[1] > 1) || n.AttrFloat("scale", 0) != 0.125 {
					t.Errorf("%s: attention of %v: %v", s, n.Inputs, n.Attributes)
				}
				for i, heads := range []int64{4, 2, 2} {
					if got := extents(st.Types[n.Input(i)]); !got.Equal(tensor.Shape{s[0], heads, s[1], 64}) {
						t.Errorf("%s: operand %d of an attention has shape %s", s, i, got)
					}
				}
			case "RotaryEmbedding":
				for i, want := range []tensor.Shape{{s[1], 32}, {s[1], 32}, {s[0], s[1]}} {
					if got := st.Model.Graph.Initializer(n.Input(i + 1)); got == nil || !got.Tensor.Shape.Equal(want) {
						t.Errorf("%s: input %d of a rotary embedding is %v, want %s", s, i+1, got, want)
					}
				}
			}
		}
	}
}

// A mask of 2·4096·4096 numbers is computed, looked at, and not held.
func TestLongSequences(t *testing.T) {
	if testing.Short() {
		t.Skip("computes a mask of 128 MiB")
	}
	m := load(t, "llama/model.onnx")
	own := map[*tensor.Tensor]bool{}
	for _, i := range m.Graph.Initializers {
		own[i.Tensor] = true
	}
	start := time.Now()
	st, err := Specialize(context.Background(), m, Options{Engine: engine, Shapes: map[string]tensor.Shape{"input_ids": {2, 4096}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", time.Since(start))
	if got := counts(st.Model); got != samples[0].left {
		t.Errorf("operators %s", got)
	}
	held := int64(0)
	for _, i := range st.Model.Graph.Initializers {
		if !own[i.Tensor] {
			held += i.Tensor.Size()
		}
	}
	if held > 2<<20 {
		t.Errorf("%d bytes of constants are held", held)
	}
}

func BenchmarkLlama(b *testing.B) {
	m := load(b, "llama/model.onnx")
	in := map[string]*tensor.Tensor{"input_ids": block(b, npz(b, "llama/data.npz", "eval_input_ids"), 8, 128)}
	st := specialized(b, m, in)
	b.Run("specialize", func(b *testing.B) {
		for b.Loop() {
			specialized(b, m, in)
		}
	})
	for name, m := range map[string]*graph.Model{"original": m, "static": st.Model} {
		b.Run(name, func(b *testing.B) {
			s, err := engine.Open(b.Context(), m, runtime.Options{Threads: 2})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			values := map[string]runtime.Value{"input_ids": runtime.FromTensor(in["input_ids"])}
			for b.Loop() {
				if _, err := s.Run(b.Context(), values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
