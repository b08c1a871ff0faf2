package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func as(err error, target any) bool { return errors.As(err, target) }

// codesOf is a weight of random finite codes.
func codesOf(name string, shape ...int64) safetensors.Tensor {
	return made(name, tensor.Float8E4M3FN, shape, func(i int) float32 { return float32((i * 37) % 127) })
}

// TestSpellings restores what others write. want gives the scale of element (r, c).
func TestSpellings(t *testing.T) {
	t.Parallel()
	const n, k = 200, 300 // no multiples of 128
	grid := func(name string, d tensor.DType, shape ...int64) safetensors.Tensor {
		return made(name, d, shape, func(i int) float32 { return float32(i+1) / 8 })
	}
	exponents := func(name string, shape ...int64) safetensors.Tensor { // 2^(i-127+120)
		return made(name, tensor.Float8E8M0, shape, func(i int) float32 { return float32(120 + i) })
	}
	for _, c := range []struct {
		name   string
		config string
		beside []safetensors.Tensor
		want   func(r, c int) float32
	}{
		{"DeepSeek-V3: blocks, the last ones not full", `{"quantization_config":{"quant_method":"fp8","weight_block_size":[128,128]}}`,
			[]safetensors.Tensor{grid("m.weight_scale_inv", tensor.Float32, 2, 3)}, func(r, c int) float32 { return float32(r/128*3+c/128+1) / 8 }},
		{"blocks of another size", `{"quantization_config":{"quant_method":"fp8","weight_block_size":[100,50]}}`,
			[]safetensors.Tensor{grid("m.weight_scale_inv", tensor.Float32, 2, 6)}, func(r, c int) float32 { return float32(r/100*6+c/50+1) / 8 }},
		{"exponents", "", []safetensors.Tensor{exponents("m.weight_scale_inv", 2, 3)}, func(r, c int) float32 { return float32(math.Ldexp(1, r/128*3+c/128-7)) }},
		{"DeepSeek-V4's name", "", []safetensors.Tensor{grid("m.scale", tensor.Float32, 2, 3)}, func(r, c int) float32 { return float32(r/128*3+c/128+1) / 8 }},
		{"a bfloat16 scale per channel", "", []safetensors.Tensor{grid("m.weight_scale", tensor.BFloat16, n, 1)}, func(r, c int) float32 { return float8.BFloat16FromFloat32(float32(r+1) / 8).Float32() }},
		{"a flat scale per channel", "", []safetensors.Tensor{grid("m.weight_scale", tensor.Float32, n)}, func(r, c int) float32 { return float32(r+1) / 8 }},
		{"ModelOpt's blocks", "", []safetensors.Tensor{grid("m.weight_scale", tensor.Float32, 2, 1, 3, 1)}, func(r, c int) float32 { return float32(r/128*3+c/128+1) / 8 }},
		{"ComfyUI's older names", "", []safetensors.Tensor{grid("m.scale_weight", tensor.Float32), grid("m.scale_input", tensor.Float32), made("scaled_fp8", tensor.Float8E4M3FN, tensor.Shape{2}, noise(1))},
			func(r, c int) float32 { return 1.0 / 8 }},
		{"ComfyUI's settings beside the weight", "", []safetensors.Tensor{grid("m.weight_scale", tensor.Float32), made("m.comfy_quant", tensor.Uint8, tensor.Shape{3}, noise(1))},
			func(r, c int) float32 { return 1.0 / 8 }},
		{"scales of a cache", "", []safetensors.Tensor{grid("m.weight_scale", tensor.Float32), grid("m.k_scale", tensor.Float32), grid("m.v_scale", tensor.Float32, 1)},
			func(r, c int) float32 { return 1.0 / 8 }},
		{"no scale", "", nil, func(r, c int) float32 { return 1 }},
		{"a multiplier into float8 without its amax", "", []safetensors.Tensor{made("m.fp8_scale_weight", tensor.Float32, tensor.Shape{1}, func(int) float32 { return 4 })}, func(r, c int) float32 { return 0.25 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := filepath.Join(t.TempDir(), "in")
			weight := codesOf("m.weight", n, k)
			saveFolder(t, in, c.config, append([]safetensors.Tensor{weight, made("m.bias", tensor.Float32, tensor.Shape{n}, noise(3))}, c.beside...))
			r, err := NewRestoration(open(t, in), tensor.Float32)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "out")
			if _, err := r.Run(context.Background(), out, RunOptions{}); err != nil {
				t.Fatal(err)
			}
			back := open(t, out)
			if len(back.tensors) != 2 {
				t.Errorf("%d tensors are left, want the weight and its bias", len(back.tensors))
			}
			got, err := back.tensors["m.weight"].AsFloat32s()
			if err != nil {
				t.Fatal(err)
			}
			codes, _ := weight.Bytes()
			for i, v := range got {
				if want := float8.E4M3FN(codes[i]).Float32() * c.want(i/k, i%k); v != want {
					t.Fatalf("element (%d,%d): %v, want %v", i/k, i%k, v, want)
				}
			}
			if back.Config != nil && back.Config.Has("quantization_config") {
				t.Error("config.json still has a quantization_config")
			}
			if len(c.beside) == 0 != (len(r.Warnings()) == 1) {
				t.Errorf("warnings: %v", r.Warnings())
			}
		})
	}
}

// TestWhatCannotBeRestored says what is wrong.
func TestWhatCannotBeRestored(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		tensors []safetensors.Tensor
		want    string
	}{
		{"nothing in float8", []safetensors.Tensor{made("m.weight", tensor.Float32, tensor.Shape{2, 2}, noise(1))}, "the checkpoint has no float8 weights"},
		{"a scale of another shape", []safetensors.Tensor{codesOf("m.weight", 6, 10), made("m.weight_scale", tensor.Float32, tensor.Shape{5}, func(int) float32 { return 1 })},
			`tensor "m.weight": scale "m.weight_scale": shape [5] does not fit a weight of shape [6,10]`},
		{"a scale that is no number", []safetensors.Tensor{codesOf("m.weight", 2, 2), made("m.weight_scale", tensor.Float32, tensor.Shape{}, func(int) float32 { return float32(math.NaN()) })},
			"holds NaN, want finite multipliers that are not negative"},
		{"a scale of whole numbers", []safetensors.Tensor{codesOf("m.weight", 2, 2), made("m.weight_scale", tensor.Int8, tensor.Shape{1}, func(int) float32 { return 1 })}, "is int8, want float32"},
		{"packed weights", []safetensors.Tensor{codesOf("m.weight", 2, 2), made("n.weight_packed", tensor.Uint8, tensor.Shape{2, 2}, noise(1))}, "packed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := filepath.Join(t.TempDir(), "in.safetensors")
			saveFile(t, in, c.tensors...)
			_, err := NewRestoration(open(t, in), tensor.Undefined)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestFloat16CannotHoldAll: a value beyond it is an error, not an infinity.
func TestFloat16CannotHoldAll(t *testing.T) {
	t.Parallel()
	in := filepath.Join(t.TempDir(), "in.safetensors")
	saveFile(t, in, codesOf("m.weight", 16, 16), made("m.weight_scale", tensor.Float32, tensor.Shape{}, func(int) float32 { return 1000 }))
	r, err := NewRestoration(open(t, in), tensor.Float16)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := r.Run(context.Background(), filepath.Join(dir, "out.safetensors"), RunOptions{}); err == nil || !strings.Contains(err.Error(), "which float16 cannot") {
		t.Errorf("got %v", err)
	}
	if files := tree(t, dir); len(files) > 0 {
		t.Errorf("%d files are left", len(files))
	}
}

// TestStackedExperts are taken apart for engines, and transposed stacks turned.
func TestStackedExperts(t *testing.T) {
	t.Parallel()
	const e, i, h = 3, 8, 16
	value := func(x, r, c int) float32 { return float32(x*1000+r*20+c+1) / 64 }
	plain := []safetensors.Tensor{
		made("m.experts.gate_up_proj", tensor.Float32, tensor.Shape{e, 2 * i, h}, func(n int) float32 { return value(n/(2*i*h), n/h%(2*i), n%h) }),
		made("m.experts.down_proj", tensor.Float32, tensor.Shape{e, h, i}, noise(1)),
	}
	turned := []safetensors.Tensor{
		made("m.experts.gate_up_proj", tensor.Float32, tensor.Shape{e, h, 2 * i}, func(n int) float32 { return value(n/(2*i*h), n%(2*i), n/(2*i)%h) }),
		plain[1],
	}
	turned[1] = made("m.experts.down_proj", tensor.Float32, tensor.Shape{e, i, h}, noise(1))
	var codes [2]map[string]string
	for j, c := range []struct {
		family  string
		tensors []safetensors.Tensor
	}{{"mixtral", plain}, {"llama4_text", turned}} {
		in := filepath.Join(t.TempDir(), "in")
		saveFolder(t, in, fmt.Sprintf(`{"model_type":%q}`, c.family), c.tensors)
		out, _ := convert(t, in, Options{Layout: find(t, "compressed-tensors")}, RunOptions{})
		back := open(t, out)
		codes[j] = map[string]string{}
		for x := range e {
			for half, name := range []string{"gate_proj", "up_proj"} {
				full := fmt.Sprintf("m.experts.%d.%s.weight", x, name)
				got := back.tensors[full]
				if got == nil || !got.Shape.Equal(tensor.Shape{i, h}) {
					t.Fatalf("%s: no %s of shape [%d,%d]", c.family, full, i, h)
				}
				b, _ := got.Bytes()
				codes[j][full] = string(b)
				scales, err := back.tensors[fmt.Sprintf("m.experts.%d.%s.weight_scale", x, name)].AsFloat32s()
				if err != nil || len(scales) != i {
					t.Fatal(err, len(scales))
				}
				for n, q := range b {
					v := value(x, half*i+n/h, n%h)
					if want := float8.E4M3FNFromFloat32(v/scales[n/h], float8.Saturate); q != uint8(want) {
						t.Fatalf("%s: %s element %d: code %#x, want %#x", c.family, full, n, q, want)
					}
				}
			}
		}
		if back.tensors["m.experts.gate_up_proj"] != nil || back.tensors["m.experts.2.down_proj.weight"] == nil {
			t.Errorf("%s: the stack is still there, or an expert is not", c.family)
		}
	}
	for name, b := range codes[0] {
		if codes[1][name] != b {
			t.Errorf("%s differs between the two orders", name)
		}
	}
}

// FuzzFiles opens whatever it is given and plans both ways, without a panic and without taking memory that a file does not hold.
func FuzzFiles(f *testing.F) {
	seed := func(tensors ...safetensors.Tensor) {
		var b bytes.Buffer
		if _, err := safetensors.Write(&b, tensors, nil); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	one := func(int) float32 { return 1 }
	seed(codesOf("m.weight", 4, 6), made("m.weight_scale", tensor.Float32, tensor.Shape{4, 1}, one))
	seed(codesOf("m.weight", 1<<40, 0), made("m.weight_scale", tensor.Float32, tensor.Shape{}, one))
	seed(codesOf("experts.gate_up_proj", 1<<40, 0, 4), made("experts.gate_up_proj_scale_inv", tensor.Float32, tensor.Shape{1}, one))
	seed(codesOf("m.weight", 4, 4), made("m.fp8_scale_weight", tensor.Float32, tensor.Shape{1}, one), made("m.fp8_amax_weight", tensor.Float32, tensor.Shape{1}, one))
	seed(made("m.weight", tensor.Float32, tensor.Shape{3, 5}, one), made("experts.gate_up_proj", tensor.BFloat16, tensor.Shape{2, 4, 3}, one))
	seed(made("m.weight", tensor.Float32, tensor.Shape{0, 1 << 40}, one), made("experts.down_proj", tensor.BFloat16, tensor.Shape{1 << 40, 0, 3}, one))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "in.safetensors")
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		src, err := Open(path)
		if err != nil {
			return
		}
		defer src.Close()
		out := filepath.Join(t.TempDir(), "out.safetensors")
		if r, err := NewRestoration(src, tensor.BFloat16); err == nil {
			r.Run(context.Background(), out, RunOptions{Workers: 1})
			r.Rows(true)
		}
		for _, name := range []string{"float8-linear", "comfy"} {
			if c, err := NewConversion(src, Options{Layout: find(t, name)}); err == nil {
				c.Run(context.Background(), out+name, RunOptions{Workers: 1})
				c.Rows()
			}
		}
	})
}
