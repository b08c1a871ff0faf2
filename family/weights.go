package family

import (
	"bytes"
	"fmt"
	"sort"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TensorError says that a tensor of the checkpoint is not what config.json asks for.
type TensorError struct{ Tensor, Got, Want string }

func (e *TensorError) Error() string {
	return fmt.Sprintf("tensor %q: got %s, want %s", e.Tensor, e.Got, e.Want)
}

// weights are the tensors of a checkpoint, and which of them the graph uses.
type weights struct {
	tensors map[string]*tensor.Tensor
	used    map[string]bool
}

func readWeights(src *checkpoint.Source) *weights {
	w := &weights{tensors: map[string]*tensor.Tensor{}, used: map[string]bool{}}
	for _, shard := range src.Shards {
		for _, t := range shard.File.Tensors {
			w.tensors[t.Name] = t.Tensor
		}
	}
	return w
}

func (w *weights) has(name string) bool { return w.tensors[name] != nil }

// take is the tensor called name, which must have this shape; an extent of -1 may be any.
func (w *weights) take(name string, shape ...int64) *tensor.Tensor {
	t := w.tensors[name]
	want := tensor.Shape(shape).String()
	if t == nil {
		panic(failure{&TensorError{name, "none", want}})
	}
	fits := len(t.Shape) == len(shape)
	for i := range shape {
		fits = fits && (shape[i] == -1 || t.Shape[i] == shape[i])
	}
	if !fits {
		panic(failure{&TensorError{name, t.Shape.String(), want}})
	}
	switch t.DType {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
	default:
		panic(failure{&TensorError{name, t.DType.String(), "float32, float16 or bfloat16"}})
	}
	w.used[name] = true
	return t
}

// prefix is what stands before the name of a tensor: base, or nothing where the model was saved without its head.
func (w *weights) prefix(base, name string) string {
	if !w.has(base+name) && w.has(name) {
		return ""
	}
	return base
}

// repeats reports whether two tensors have the same content.
func (w *weights) repeats(a, b string) bool {
	x, y := w.tensors[a], w.tensors[b]
	if x.DType != y.DType || !x.Shape.Equal(y.Shape) {
		return false
	}
	p, errP := x.Bytes()
	q, errQ := y.Bytes()
	return errP == nil && errQ == nil && bytes.Equal(p, q)
}

// done refuses tensors that the graph does not use: settings that ask for less than the checkpoint holds are wrong about what it computes. Buffers
// that old versions of transformers saved hold no weights, and spare says which weights belong to heads that the architecture leaves out.
func (w *weights) done(spare func(name string) bool) {
	var left []string
	for name := range w.tensors {
		buffer := strings.HasSuffix(name, ".rotary_emb.inv_freq") || strings.HasSuffix(name, ".attn.masked_bias") || strings.HasSuffix(name, ".attn.bias") ||
			strings.HasSuffix(name, "embeddings.position_ids")
		if !w.used[name] && !buffer && (spare == nil || !spare(name)) {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		sort.Strings(left)
		panic(failure{&TensorError{left[0], w.tensors[left[0]].Shape.String(), "no such tensor, by the settings of config.json"}})
	}
}
