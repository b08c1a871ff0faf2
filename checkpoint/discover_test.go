package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestNames of modules as families spell them.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ module, role, group string }{
		{"model.layers.0.self_attn.q_proj", "", "model.layers.0.self_attn|q_proj"},
		{"model.layers.0.self_attn.v_proj", "", "model.layers.0.self_attn|q_proj"},
		{"model.layers.0.self_attn.o_proj", "", ""},
		{"model.layers.0.self_attn.qkv_proj", "", ""},
		{"model.layers.0.mlp.up_proj", "", "model.layers.0.mlp|gate_proj"},
		{"model.layers.0.block_sparse_moe.experts.7.w3", "", "model.layers.0.block_sparse_moe.experts.7|w1"},
		{"model.layers.0.block_sparse_moe.experts.7.w2", "", ""},
		{"model.layers.0.block_sparse_moe.gate", roleRouter, ""},
		{"model.layers.3.mlp.gate", roleRouter, ""},
		{"model.layers.3.mlp.shared_expert_gate", roleRouter, ""},
		{"model.layers.3.feed_forward.router", roleRouter, ""},
		{"model.layers.3.mlp.router.layer", roleRouter, ""},
		{"model.layers.3.self_attn.kv_a_proj_with_mqa", "", "model.layers.3.self_attn|q_a_proj"},
		{"bert.encoder.layer.0.attention.self.query", "", "bert.encoder.layer.0.attention.self|query"},
		{"bert.encoder.layer.0.attention.output.dense", "", ""},
		{"bert.embeddings.word_embeddings", roleEmbedding, ""},
		{"bert.embeddings.position_embeddings", roleEmbedding, ""},
		{"cls.predictions.decoder", roleHead, ""},
		{"model.embed_tokens", roleEmbedding, ""},
		{"transformer.wte", roleEmbedding, ""},
		{"shared", roleEmbedding, ""},
		{"encoder.block.0.layer.0.SelfAttention.relative_attention_bias", roleEmbedding, ""},
		{"lm_head", roleHead, ""},
		{"output", roleHead, ""},
		{"layers.0.attention.output", "", ""},
		{"score", roleHead, ""},
		{"model.norm", roleNorm, ""},
		{"transformer.h.0.ln_1", roleNorm, ""},
		{"fc1", "", ""},
		{"vision_tower.encoder.layers.0.mlp.fc1", roleEncoder, ""},
		{"model.visual.blocks.0.attn.qkv", roleEncoder, ""},
	} {
		if got := roleOf(c.module, true); got != c.role {
			t.Errorf("%s: role %q, want %q", c.module, got, c.role)
		}
		if got := joinKey(c.module); got != c.group {
			t.Errorf("%s: group %q, want %q", c.module, got, c.group)
		}
	}
	if got := roleOf("visual.blocks.0.attn.qkv", false); got != "" {
		t.Errorf("a model that is a picture's alone: %q", got)
	}
	if got := expertsOf("model.layers.0.mlp.experts.12.up_proj"); got != "model.layers.0.mlp.experts" {
		t.Errorf("expert: %q", got)
	}
}

// TestDiscovery of what is no plain linear layer.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	flat := func(name string, shape ...int64) safetensors.Tensor {
		return made(name, tensor.BFloat16, shape, func(int) float32 { return 1 })
	}
	for _, c := range []struct {
		name, config string
		tensors      []safetensors.Tensor
		want         string
	}{
		{"a bias tells a Conv1D from its width", "", []safetensors.Tensor{flat("h.0.mlp.c_fc.weight", 8, 32), flat("h.0.mlp.c_fc.bias", 32), flat("h.0.attn.c_proj.weight", 8, 8),
			flat("h.0.attn.c_proj.bias", 8), flat("h.0.attn.c_attn.weight", 8, 24)}, "h.0.attn.c_attn Linear [8 24]; h.0.attn.c_proj Conv1D [8 8]; h.0.mlp.c_fc Conv1D [32 8]"},
		{"the family says Conv1D", `{"model_type":"gpt2"}`, []safetensors.Tensor{flat("h.0.attn.c_attn.weight", 8, 24)}, "h.0.attn.c_attn Conv1D [24 8]"},
		{"the same names in a family of linear layers", `{"model_type":"gpt_bigcode"}`, []safetensors.Tensor{flat("h.0.attn.c_attn.weight", 24, 8)}, "h.0.attn.c_attn Linear [24 8]"},
		{"convolutions and tables", "", []safetensors.Tensor{flat("conv.weight", 4, 3, 3, 3), flat("table", 4, 4), flat("norm.weight", 4)}, "conv Conv [0 0] a convolution; table Tensor [0 0]"},
		{"a multimodal model", `{"model_type":"x","text_config":{"model_type":"llama"}}`, []safetensors.Tensor{flat("vision_tower.fc1.weight", 4, 4)}, "vision_tower.fc1 Linear [4 4] part of the vision or audio encoder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "in")
			safetensors.Order(c.tensors)
			saveFolder(t, dir, c.config, c.tensors)
			var got []string
			for _, l := range Discover(open(t, dir), true) {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s [%d %d] %s", l.Module, l.Op, l.N, l.K, l.Role)))
			}
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

// TestOpen refuses folders that cannot be told.
func TestOpen(t *testing.T) {
	t.Parallel()
	one := func(name string) safetensors.Tensor { return made(name, tensor.Float32, tensor.Shape{2, 2}, noise(1)) }
	index := func(dir string, places map[string]string) {
		b, err := json.Marshal(map[string]any{"weight_map": places})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		make func(dir string)
		want string
	}{
		{"nothing", func(string) {}, "no .safetensors file in this folder"},
		{"two files without an index", func(dir string) {
			saveFile(t, filepath.Join(dir, "a.safetensors"), one("a"))
			saveFile(t, filepath.Join(dir, "b.safetensors"), one("b"))
		}, "and no index that says which belong together"},
		{"a tensor that the index leaves out", func(dir string) {
			saveFile(t, filepath.Join(dir, "a.safetensors"), one("a"), one("b"))
			index(dir, map[string]string{"a": "a.safetensors"})
		}, `tensor "b" is not in the index "model.safetensors.index.json"`},
		{"a tensor that is not there", func(dir string) {
			saveFile(t, filepath.Join(dir, "a.safetensors"), one("a"))
			index(dir, map[string]string{"a": "a.safetensors", "b": "a.safetensors"})
		}, `"b" in "a.safetensors"`},
		{"a tensor in another file", func(dir string) {
			saveFile(t, filepath.Join(dir, "a.safetensors"), one("a"), one("b"))
			saveFile(t, filepath.Join(dir, "b.safetensors"), one("c"))
			index(dir, map[string]string{"a": "a.safetensors", "b": "b.safetensors", "c": "b.safetensors"})
		}, `tensor "b" is placed in another file`},
		{"a shard outside", func(dir string) { index(dir, map[string]string{"a": "../a.safetensors"}) }, "outside its folder"},
		{"settings that are none", func(dir string) {
			saveFile(t, filepath.Join(dir, "a.safetensors"), one("a"))
			os.WriteFile(filepath.Join(dir, configFile), []byte(`{"a":1,"a":2}`), 0o666)
		}, `config.json: the key "a" stands twice`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(dir)
			s, err := Open(dir)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}

// TestConfig keeps what it does not understand as it is spelled.
func TestConfig(t *testing.T) {
	t.Parallel()
	const text = "{\n  \"z\": 1.0,\n  \"a\": {\n    \"<\": \"é\\u00e9\"\n  },\n  \"n\": 12345678901234567890\n}\n"
	c, err := ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Encode()
	if err != nil || string(b) != text {
		t.Errorf("got %s (%v)", b, err)
	}
	other := c.Clone()
	if err := other.Set("q", map[string]int{"x": 1}); err != nil {
		t.Fatal(err)
	}
	other.Delete("a")
	b, _ = other.Encode()
	if string(b) != "{\n  \"z\": 1.0,\n  \"n\": 12345678901234567890,\n  \"q\": {\n    \"x\": 1\n  }\n}\n" {
		t.Errorf("got %s", b)
	}
	if !c.Has("a") || c.Has("q") {
		t.Error("a clone shares what it changes")
	}
	for _, bad := range []string{"", "[]", "{", `{"a":1}x`, `{"a"}`, "{\"\xff\":1}"} {
		if _, err := ParseConfig([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(llamaConfig))
	f.Add([]byte(`{"a":{"b":[1,2]},"text_config":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		if err != nil {
			return
		}
		out, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if twice, _ := again.Encode(); string(twice) != string(out) {
			t.Fatalf("%s became %s", out, twice)
		}
	})
}

// TestLinks as download caches make them: a folder that is a link, and files in it that are.
func TestLinks(t *testing.T) {
	t.Parallel()
	in := saveDecoder(t, tensor.BFloat16)
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	if err := os.MkdirAll(filepath.Join(cache, ".git"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name := range tree(t, in) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(cache, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(in, name), filepath.Join(cache, name)); err != nil {
			t.Skipf("SKIPPED: this system makes no links: %v", err)
		}
	}
	for name, text := range map[string]string{".git/HEAD": "x", "pytorch_model.bin": "weights"} {
		if err := os.WriteFile(filepath.Join(cache, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	linked := filepath.Join(dir, "linked")
	if err := os.Symlink(cache, linked); err != nil {
		t.Fatal(err)
	}
	opt := Options{Layout: find(t, "fp8")}
	plain, _ := convert(t, in, opt, RunOptions{})
	out, c := convert(t, linked, opt, RunOptions{})
	got := tree(t, out)
	if got["pytorch_model.bin"] != "weights" {
		t.Error("a file was not copied")
	}
	delete(got, "pytorch_model.bin")
	sameTree(t, "through links", tree(t, plain), got)
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0].Sentence, `"pytorch_model.bin"`) {
		t.Errorf("warnings: %v", w)
	}
}
