package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// saveCheckpoints makes what makeCheckpoints makes.
func saveCheckpoints(t testing.TB, dir string) {
	t.Helper()
	if err := makeCheckpoints(dir); err != nil {
		t.Fatal(err)
	}
}

// writeCheckpoints makes the same in a script's folder.
func writeCheckpoints(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: checkpoints")
	}
	ts.Check(makeCheckpoints(ts.MkAbs(".")))
}

// makeCheckpoints makes a small decoder in two files, called llama, and two layers in one, called layers.safetensors.
func makeCheckpoints(dir string) error {
	var errs []error
	r := rand.New(rand.NewPCG(11, 12))
	matrix := func(name string, shape ...int64) safetensors.Tensor {
		n, err := tensor.Shape(shape).Elements()
		errs = append(errs, err)
		b := make([]byte, 0, 2*n)
		for range n {
			v := float8.BFloat16FromFloat32(float32(r.NormFloat64() * 0.05))
			b = append(b, byte(v), byte(v>>8))
		}
		made, err := tensor.New(tensor.BFloat16, shape, tensor.Bytes(b))
		errs = append(errs, err)
		return safetensors.Tensor{Name: name, Tensor: made}
	}
	save := func(path string, tensors []safetensors.Tensor) {
		var b bytes.Buffer
		_, err := safetensors.Write(&b, tensors, map[string]string{"format": "pt"})
		errs = append(errs, err, os.WriteFile(path, b.Bytes(), 0o666))
	}
	save(filepath.Join(dir, "layers.safetensors"), []safetensors.Tensor{matrix("fc1.weight", 32, 16), matrix("fc1.bias", 32), matrix("fc2.weight", 8, 32)})
	llama := filepath.Join(dir, "llama")
	errs = append(errs, os.MkdirAll(llama, 0o777))
	places := map[string]string{}
	for i := range 2 {
		p := fmt.Sprintf("model.layers.%d.", i)
		list := []safetensors.Tensor{matrix(p+"self_attn.q_proj.weight", 128, 128), matrix(p+"self_attn.k_proj.weight", 64, 128),
			matrix(p+"self_attn.v_proj.weight", 64, 128), matrix(p+"self_attn.o_proj.weight", 128, 128), matrix(p+"mlp.gate_proj.weight", 192, 128),
			matrix(p+"mlp.up_proj.weight", 192, 128), matrix(p+"mlp.down_proj.weight", 128, 192), matrix(p+"input_layernorm.weight", 128)}
		if i == 0 {
			list = append(list, matrix("model.embed_tokens.weight", 32, 128), matrix("lm_head.weight", 32, 128))
		}
		name := fmt.Sprintf("model-%05d-of-00002.safetensors", i+1)
		save(filepath.Join(llama, name), list)
		for _, x := range list {
			places[x.Name] = name
		}
	}
	index, err := json.Marshal(map[string]any{"weight_map": places})
	errs = append(errs, err)
	for name, content := range map[string]string{"model.safetensors.index.json": string(index), "tokenizer.json": "{}\n",
		"config.json": `{"architectures":["LlamaForCausalLM"],"model_type":"llama","num_attention_heads":2,"tie_word_embeddings":false,"dtype":"bfloat16"}`} {
		errs = append(errs, os.WriteFile(filepath.Join(llama, name), []byte(content), 0o666))
	}
	return errors.Join(errs...)
}

// TestInputScalesAreThoseOfCalibration: what --input-scales reads from a calibrated model is what inspect shows of it, and what stands in the
// checkpoint is that divided by 448.
func TestInputScalesAreThoseOfCalibration(t *testing.T) {
	t.Parallel()
	sh, dir := shell(t), t.TempDir()
	copyFile(t, "../../testdata/models/digits/digits_mlp.onnx", filepath.Join(dir, "mlp.onnx"))
	copyFile(t, "../../testdata/models/digits/data.npz", filepath.Join(dir, "data.npz"))
	values := []safetensors.Tensor{}
	for name, shape := range map[string]tensor.Shape{"0.weight": {128, 64}, "2.weight": {128, 128}, "4.weight": {10, 128}} {
		n, err := shape.Elements()
		if err != nil {
			t.Fatal(err)
		}
		made, err := tensor.New(tensor.BFloat16, shape, tensor.Bytes(bytes.Repeat([]byte{0x80, 0x3f}, int(n))))
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, safetensors.Tensor{Name: name, Tensor: made})
	}
	safetensors.Order(values)
	var file bytes.Buffer
	if _, err := safetensors.Write(&file, values, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mlp.safetensors"), file.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	var shown string
	for _, line := range []string{
		"fp8rewrite convert mlp.onnx -o mlp.fp8.onnx -q",
		"fp8rewrite calibrate mlp.fp8.onnx --data data.npz --prefix calib_ -o mlp.cal.onnx -q",
		"fp8rewrite convert mlp.safetensors -o comfy.safetensors --layout comfy --input-scales mlp.cal.onnx -q",
		"fp8rewrite convert mlp.safetensors -o state.safetensors --input-scales mlp.cal.onnx -q",
		"fp8rewrite convert mlp.safetensors -o again.safetensors --layout comfy --input-scales state.safetensors -q",
		"fp8rewrite inspect mlp.cal.onnx --json",
	} {
		out, err := run1(sh, dir, line)
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		shown = string(out)
	}
	var inspected struct {
		Layers []struct {
			Name   string
			Float8 struct {
				Amax []float32 `json:"amax_input"`
			}
		}
	}
	if err := json.Unmarshal([]byte(shown), &inspected); err != nil {
		t.Fatal(err)
	}
	if len(inspected.Layers) != 3 {
		t.Fatalf("%d layers", len(inspected.Layers))
	}
	for _, name := range []string{"comfy.safetensors", "again.safetensors"} {
		f, err := safetensors.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, l := range inspected.Layers {
			want := float32(0)
			for _, a := range l.Float8.Amax {
				want = max(want, a)
			}
			scale := f.Tensor(l.Name + ".input_scale")
			if scale == nil {
				t.Fatalf("%s: no input scale of %q", name, l.Name)
			}
			got, err := scale.AsFloat32s()
			if err != nil || len(got) != 1 || got[0] != want/448 || want == 0 {
				t.Errorf("%s: input scale %v of %q (%v), want %v", name, got, l.Name, err, want/448)
			}
		}
	}
}
