package family

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/samples/npy"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

const goldens = "../testdata/families"

// tolerance is the largest difference of an output from what transformers computes in float32.
const tolerance = 1e-4

// open opens a folder for the length of a test.
func open(t *testing.T, dir string) *checkpoint.Source {
	t.Helper()
	src, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// arrays reads a .npz file.
func arrays(t *testing.T, path string) map[string]*tensor.Tensor {
	t.Helper()
	f, err := npy.OpenZip(path, npy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]*tensor.Tensor{}
	for _, a := range f.Arrays {
		data, err := a.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		x, err := tensor.New(a.Header.DType, a.Header.Shape, tensor.Bytes(append([]byte(nil), data...)))
		if err != nil {
			t.Fatal(err)
		}
		out[a.Name] = x
	}
	return out
}

// run executes a model on the embedded engine.
func run(t *testing.T, m *graph.Model, inputs map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	t.Helper()
	s, err := cpu.New().Open(context.Background(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	values := map[string]runtime.Value{}
	for _, in := range s.Inputs() {
		if inputs[in.Name] == nil {
			t.Fatalf("the model has an input %q", in.Name)
		}
		values[in.Name] = runtime.Value{Tensor: inputs[in.Name]}
	}
	res, err := s.Run(context.Background(), values)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*tensor.Tensor{}
	for name, v := range res.Values {
		out[name] = v.Tensor
	}
	return out
}

// difference is the largest difference of two tensors.
func difference(t *testing.T, got, want *tensor.Tensor) float64 {
	t.Helper()
	a, errA := got.AsFloat32s()
	b, errB := want.AsFloat32s()
	if errA != nil || errB != nil || !got.Shape.Equal(want.Shape) {
		t.Fatalf("got %v%v, want %v%v (%v, %v)", got.DType, got.Shape, want.DType, want.Shape, errA, errB)
	}
	worst := 0.0
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if !(d <= worst) {
			worst = d
		}
	}
	return worst
}

// A graph computes what transformers computes: the goldens are made by interop/families.py.
func TestFamiliesComputeWhatTransformersDoes(t *testing.T) {
	list, err := os.ReadDir(goldens)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if !e.IsDir() {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			dir := filepath.Join(goldens, e.Name())
			data := arrays(t, filepath.Join(dir, "golden.npz"))
			m, err := Build(open(t, dir), Options{AttentionMask: data["attention_mask"] != nil, TokenTypes: data["token_type_ids"] != nil})
			if err != nil {
				t.Fatal(err)
			}
			compared := 0
			for name, got := range run(t, m, data) {
				want := data[name]
				if want == nil {
					t.Fatalf("output %q has no golden", name)
				}
				d := difference(t, got, want)
				t.Logf("%s: %.2g", name, d)
				if !(d <= tolerance) {
					t.Errorf("%s: differs by %g, want at most %g", name, d, tolerance)
				}
				compared++
			}
			for _, name := range []string{"logits", "last_hidden_state", "pooler_output"} {
				if data[name] != nil {
					compared--
				}
			}
			if compared != 0 {
				t.Errorf("the graph has %d outputs more than the golden", compared)
			}
		})
	}
	if len(list) < 12 {
		t.Errorf("%d goldens, want one for each family and variant", len(list))
	}
}

// Changing what a family is about changes its outputs by more than the tolerance: the goldens can tell.
func TestGoldensTellTheFamiliesApart(t *testing.T) {
	for _, c := range []struct{ dir, key, value string }{
		{"mistral", "sliding_window", "6"},
		{"mistral", "sliding_window", "null"},
		{"llama3", "rope_parameters", `{"rope_type": "default", "rope_theta": 10000.0}`},
		{"llama-linear-tied-bias", "rope_parameters", `{"rope_type": "linear", "rope_theta": 500.0, "factor": 2}`},
		{"gpt2", "activation_function", `"gelu"`},
		{"gpt2-by-layer", "scale_attn_by_inverse_layer_idx", "false"},
		{"bert", "layer_norm_eps", "1e-3"},
		{"gemma", "rms_norm_eps", "1e-3"},
	} {
		t.Run(c.dir+" "+c.key+" "+c.value, func(t *testing.T) {
			src := open(t, filepath.Join(goldens, c.dir))
			data := arrays(t, filepath.Join(goldens, c.dir, "golden.npz"))
			set(t, src, c.key, c.value)
			m, err := Build(src, Options{AttentionMask: data["attention_mask"] != nil, TokenTypes: data["token_type_ids"] != nil})
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for name, got := range run(t, m, data) {
				worst = max(worst, difference(t, got, data[name]))
			}
			if worst <= tolerance {
				t.Errorf("the outputs differ by %g alone", worst)
			}
		})
	}
}

// raw is JSON that is set as it is.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func set(t *testing.T, src *checkpoint.Source, key, value string) {
	t.Helper()
	if value == "" {
		src.Config.Delete(key)
		return
	}
	if err := src.Config.Set(key, raw(value)); err != nil {
		t.Fatal(err)
	}
}

// Settings as transformers 4 wrote them, and keys left to their defaults, give the same graph.
func TestOldSpellingsGiveTheSameGraph(t *testing.T) {
	for _, c := range []struct {
		dir  string
		keys map[string]string
	}{
		{"llama", map[string]string{"rope_parameters": "", "rope_theta": "10000.0", "rope_scaling": "null", "head_dim": "", "rms_norm_eps": "", "attention_bias": "",
			"hidden_act": "", "torch_dtype": `"float32"`, "pretraining_tp": "1"}},
		{"llama3", map[string]string{"rope_parameters": "", "rope_theta": "10000.0",
			"rope_scaling": `{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}`}},
		{"llama-linear-tied-bias", map[string]string{"rope_parameters": "", "rope_theta": "500.0", "rope_scaling": `{"type": "linear", "factor": 4.0}`}},
		{"qwen2", map[string]string{"layer_types": ""}},
		{"gemma", map[string]string{"hidden_act": `"gelu"`, "tie_word_embeddings": ""}},
		{"gpt2", map[string]string{"n_ctx": "32", "summary_type": `"cls_index"`, "activation_function": ""}},
	} {
		t.Run(c.dir, func(t *testing.T) {
			data := arrays(t, filepath.Join(goldens, c.dir, "golden.npz"))
			src := open(t, filepath.Join(goldens, c.dir))
			for key, value := range c.keys {
				set(t, src, key, value)
			}
			m, err := Build(src, Options{AttentionMask: data["attention_mask"] != nil})
			if err != nil {
				t.Fatal(err)
			}
			for name, got := range run(t, m, data) {
				if d := difference(t, got, data[name]); !(d <= tolerance) {
					t.Errorf("%s: differs by %g, want at most %g", name, d, tolerance)
				}
			}
		})
	}
}

// What is not understood, and what contradicts, is refused by name.
func TestRefusals(t *testing.T) {
	for _, c := range []struct{ name, dir, key, value, want string }{
		{"an unknown family", "llama", "model_type", `"mamba"`, `key "model_type": got "mamba", want one of bert, gemma, gpt2, llama, mistral, qwen2, qwen3`},
		{"no family", "llama", "model_type", "", `key "model_type": got none`},
		{"an unknown key", "llama", "attn_logit_softcapping", "50.0", `key "attn_logit_softcapping": got 50.0, want no such key`},
		{"an unknown architecture", "llama", "architectures", `["LlamaForSequenceClassification"]`, `key "architectures": got ["LlamaForSequenceClassification"], want one of LlamaForCausalLM, LlamaModel`},
		{"a missing extent", "llama", "hidden_size", "", `key "hidden_size": got none, want a whole number above 0`},
		{"an extent that is no number", "llama", "hidden_size", `"32"`, `key "hidden_size": got "32", want a whole number above 0`},
		{"an extent below 1", "llama", "num_hidden_layers", "-2", `key "num_hidden_layers": got -2, want a whole number above 0`},
		{"too many layers", "llama", "num_hidden_layers", "1000000", `want at most 10000`},
		{"an unknown activation", "llama", "hidden_act", `"relu2"`, `key "hidden_act": got "relu2"`},
		{"an unknown rope", "llama", "rope_parameters", `{"rope_type": "yarn", "rope_theta": 1e4, "factor": 2}`, `key "rope_parameters.rope_type": got "yarn", want default, linear or llama3`},
		{"an unknown key of rope", "llama", "rope_parameters", `{"rope_type": "default", "attention_factor": 2}`, `key "rope_parameters.attention_factor": got 2`},
		{"a partial rope", "llama", "rope_parameters", `{"rope_type": "default", "partial_rotary_factor": 0.5}`, `key "rope_parameters.partial_rotary_factor": got 0.5`},
		{"rope without its factor", "llama", "rope_parameters", `{"rope_type": "linear"}`, `key "rope_parameters.factor": got none, want a number above 0`},
		{"two ropes", "llama", "rope_scaling", `{"rope_type": "linear", "factor": 2}`, `key "rope_scaling": got {"rope_type":"linear","factor":2}, want no such key beside rope_parameters`},
		{"two bases", "llama", "rope_theta", `500`, `key "rope_parameters.rope_theta": got 10000.0, want 500, as rope_theta says`},
		{"heads that do not divide", "llama", "num_key_value_heads", "3", `key "num_key_value_heads": got 3, want a divisor of num_attention_heads, 4`},
		{"a window that is none", "qwen2", "use_sliding_window", "false", `key "layer_types": got ["full_attention","sliding_attention"], want full_attention alone`},
		{"layer types of another number", "qwen2", "layer_types", `["full_attention"]`, `key "layer_types": got ["full_attention"], want one for each of num_hidden_layers, 2`},
		{"attention both ways", "gemma", "use_bidirectional_attention", "true", `key "use_bidirectional_attention": got true, want false`},
		{"another activation of Gemma", "gemma", "hidden_activation", `"silu"`, `key "hidden_activation": got "silu", want gelu_pytorch_tanh`},
		{"relative positions", "bert", "position_embedding_type", `"relative_key"`, `key "position_embedding_type": got "relative_key", want "absolute"`},
		{"a decoder", "bert", "is_decoder", "true", `key "is_decoder": got true, want false`},
		{"cross attention", "gpt2", "add_cross_attention", "true", `key "add_cross_attention": got true, want false`},
		{"two numbers of positions", "gpt2", "n_ctx", "16", `key "n_ctx": got 16, want 32, as n_positions says`},
		{"a quantized model", "llama", "quantization_config", `{"quant_method": "fp8"}`, `key "quantization_config": got a quantized model, want full precision`},
		{"a bias that the settings deny", "llama-linear-tied-bias", "attention_bias", "false", `tensor "model.layers.0.self_attn.k_proj.bias": got [24], want no such tensor`},
		{"a bias that is not there", "llama", "mlp_bias", "true", `tensor "model.layers.0.mlp.gate_proj.bias": got none, want [48]`},
		{"a head that is not there", "qwen3", "tie_word_embeddings", "false", `tensor "lm_head.weight": got none, want [64,32]`},
		{"a head that is not the embedding", "llama", "tie_word_embeddings", "true", `tensor "lm_head.weight": got a tensor that differs from the embedding`},
		{"a layer more", "llama", "num_hidden_layers", "3", `tensor "model.layers.2.input_layernorm.weight": got none, want [32]`},
		{"a layer less", "llama", "num_hidden_layers", "1", `want no such tensor, by the settings`},
		{"another width", "llama", "intermediate_size", "40", `tensor "model.layers.0.mlp.gate_proj.weight": got [48,32], want [40,32]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := open(t, filepath.Join(goldens, c.dir))
			set(t, src, c.key, c.value)
			_, err := Build(src, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), filepath.Join(goldens, c.dir)) {
				t.Errorf("got %v, want the folder in front", err)
			}
		})
	}
}

// The weights are the mapped files, and rewrite sees through what stands between them and the products.
func TestWeightsAreViews(t *testing.T) {
	src := open(t, filepath.Join(goldens, "llama3"))
	m, err := Build(src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	views := 0
	for _, shard := range src.Shards {
		for _, x := range shard.File.Tensors {
			if init := m.Graph.Initializer(x.Name); init != nil && init.Tensor == x.Tensor {
				views++
			}
		}
		if views != len(shard.File.Tensors) {
			t.Errorf("%d of %d tensors are in the graph as they are", views, len(shard.File.Tensors))
		}
	}
	for _, init := range m.Graph.Initializers {
		if strings.HasPrefix(init.Name, "const_") && init.Tensor.Size() > 256 {
			t.Errorf("constant %s has %d bytes, want small ones alone", init.Name, init.Tensor.Size())
		}
	}
}
