package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// made is a tensor of a test's checkpoint.
func made(name string, d tensor.DType, shape tensor.Shape, value func(i int) float32) safetensors.Tensor {
	n, err := shape.Elements()
	if err != nil {
		panic(err)
	}
	var b []byte
	for i := range int(n) {
		v := value(i)
		switch d {
		case tensor.Float32:
			u := math.Float32bits(v)
			b = append(b, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
		case tensor.Float16:
			u := float8.Float16FromFloat32(v)
			b = append(b, byte(u), byte(u>>8))
		case tensor.BFloat16:
			u := float8.BFloat16FromFloat32(v)
			b = append(b, byte(u), byte(u>>8))
		default:
			b = append(b, byte(v))
		}
	}
	t, err := tensor.New(d, shape, tensor.Bytes(b))
	if err != nil {
		panic(err)
	}
	return safetensors.Tensor{Name: name, Tensor: t}
}

// noise gives small random values, the same for the same seed.
func noise(seed uint64) func(int) float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(int) float32 { return float32(r.NormFloat64() * 0.05) }
}

// saveFile writes a file of tensors.
func saveFile(t testing.TB, path string, tensors ...safetensors.Tensor) {
	t.Helper()
	var b bytes.Buffer
	if _, err := safetensors.Write(&b, tensors, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// saveFolder writes a checkpoint of shards.
func saveFolder(t testing.TB, dir, config string, shards ...[]safetensors.Tensor) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if config != "" {
		if err := os.WriteFile(filepath.Join(dir, configFile), []byte(config), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if len(shards) == 1 {
		saveFile(t, filepath.Join(dir, "model.safetensors"), shards[0]...)
		return
	}
	places := map[string]string{}
	for i, tensors := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		saveFile(t, filepath.Join(dir, name), tensors...)
		for _, x := range tensors {
			places[x.Name] = name
		}
	}
	b, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": places})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model"+safetensors.IndexSuffix), b, 0o666); err != nil {
		t.Fatal(err)
	}
}

const llamaConfig = `{"architectures":["LlamaForCausalLM"],"model_type":"llama","num_attention_heads":4,"tie_word_embeddings":false,"dtype":"bfloat16"}`

// decoder is a small decoder of two blocks in two shards. A group of joined layers lies in both.
func decoder(d tensor.DType) (shards [2][]safetensors.Tensor) {
	seed := uint64(0)
	add := func(shard int, name string, shape ...int64) {
		seed++
		shards[shard] = append(shards[shard], made(name, d, shape, noise(seed)))
	}
	add(0, "model.embed_tokens.weight", 32, 128)
	for i := range 2 {
		p := fmt.Sprintf("model.layers.%d.", i)
		for _, name := range []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"} {
			n, k := int64(128), int64(128)
			switch name {
			case "mlp.gate_proj", "mlp.up_proj":
				n = 256
			case "mlp.down_proj":
				k = 256
			}
			shard := i
			if i == 0 && name == "mlp.up_proj" {
				shard = 1
			}
			add(shard, p+name+".weight", n, k)
		}
		add(i, p+"self_attn.q_proj.bias", 128)
		add(i, p+"input_layernorm.weight", 128)
	}
	add(1, "lm_head.weight", 32, 128)
	return shards
}

func saveDecoder(t testing.TB, d tensor.DType) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	shards := decoder(d)
	saveFolder(t, dir, llamaConfig, shards[0], shards[1])
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tokenizer.json": "{}", "sub/notes.txt": "as it is"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t testing.TB, path string) *Source {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func find(t testing.TB, name string) layout.Layout {
	t.Helper()
	l, err := layout.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// convert converts the checkpoint at in and gives the place of the output.
func convert(t testing.TB, in string, opt Options, run RunOptions) (string, *Conversion) {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(in))
	c, err := NewConversion(open(t, in), opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Run(context.Background(), out, run); err != nil {
		t.Fatal(err)
	}
	return out, c
}

// tree is every file below path with its content.
func tree(t testing.TB, path string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(path, p)
		files[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sameTree fails where two folders differ.
func sameTree(t testing.TB, what string, a, b map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if other, ok := b[name]; !ok {
			t.Errorf("%s: %s is missing", what, name)
		} else if other != a[name] {
			t.Errorf("%s: %s differs", what, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			t.Errorf("%s: %s is too many", what, name)
		}
	}
}
