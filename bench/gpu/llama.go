package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// llama is the shape of a model. The zero sizes are none; sevenB is what is measured.
type llama struct {
	layers, hidden, intermediate, heads int64
	dtype                               tensor.DType // bfloat16 or float32
}

// sevenB is Llama 7B with four of its 32 layers, and without embedding and head.
var sevenB = llama{layers: 4, hidden: 4096, intermediate: 11008, heads: 32, dtype: tensor.BFloat16}

const (
	epsilon = 1e-5
	theta   = 10000.0
)

// check refuses sizes of which no model can be made.
func (l llama) check() error {
	switch {
	case l.layers < 1 || l.hidden < 2 || l.intermediate < 1 || l.heads < 1:
		return fmt.Errorf("model: %d layers, hidden %d, intermediate %d, %d heads: want 1 or more of each", l.layers, l.hidden, l.intermediate, l.heads)
	case l.hidden%l.heads != 0 || l.hidden/l.heads%2 != 0:
		return fmt.Errorf("model: hidden %d, want an even number for each of the %d heads", l.hidden, l.heads)
	case l.dtype != tensor.BFloat16 && l.dtype != tensor.Float32:
		return fmt.Errorf("model: type %s, want bfloat16 or float32", l.dtype)
	}
	return nil
}

// model is the graph, in the operators that torch's exporter writes: RMSNorm in float32 with a Cast on both sides, rotary embedding by
// Slice, Neg and Concat with tables from Cos and Sin, a causal mask from Range, LessOrEqual and Where, attention by MatMul and Softmax. The
// input is hidden_states [batch, seq, hidden], as an embedding would give them, the output last_hidden_state. Weights [K,N] are random and
// made while the file is written.
func (l llama) model() *graph.Model {
	b := &builder{llama: l}
	states := func(name string) *graph.Value {
		return &graph.Value{Name: name, Type: &graph.Type{DType: l.dtype, HasShape: true,
			Shape: []graph.Dim{{Value: -1, Param: "batch"}, {Value: -1, Param: "seq"}, {Value: l.hidden}}}}
	}
	b.g.Name = "llama"
	b.g.Inputs = []*graph.Value{states("hidden_states")}
	b.g.Outputs = []*graph.Value{states("last_hidden_state")}
	b.constants()
	b.positions()
	x := "hidden_states"
	for i := range l.layers {
		x = b.layer("model.layers."+strconv.FormatInt(i, 10)+".", x)
	}
	b.node("Identity", "last_hidden_state", b.norm("model.norm", x))
	return &graph.Model{IRVersion: 10, ProducerName: "fp8rewrite bench/gpu", Opsets: []graph.Opset{{Version: 20}}, Graph: &b.g}
}

type builder struct {
	llama
	g    graph.Graph
	seed uint64
}

func (b *builder) constant(name string, t *tensor.Tensor) string {
	b.g.Initializers = append(b.g.Initializers, &graph.Initializer{Name: name, Tensor: t})
	return name
}

// node adds an operator whose only output is called name.
func (b *builder) node(op, name string, inputs ...string) string {
	b.g.Nodes = append(b.g.Nodes, &graph.Node{Name: "node_" + name, OpType: op, Inputs: inputs, Outputs: []string{name}})
	return name
}

// with gives the node that was added last an attribute.
func (b *builder) with(a *graph.Attribute) { b.g.Nodes[len(b.g.Nodes)-1].SetAttr(a) }

func (b *builder) transpose(name, x string, perm ...int64) string {
	b.node("Transpose", name, x)
	b.with(graph.Ints("perm", perm...))
	return name
}

func (b *builder) cast(name, x string, to tensor.DType) string {
	if b.dtype == tensor.Float32 {
		return x // the model is in float32 already
	}
	b.node("Cast", name, x)
	b.with(graph.Int("to", int64(to)))
	return name
}

// one is a vector with one integer.
func one(v int64) *tensor.Tensor { return tensor.Int64s(tensor.Shape{1}, v) }

// scalar is a constant of the model's type.
func (b *builder) scalar(v float32) *tensor.Tensor {
	if b.dtype == tensor.Float32 {
		return tensor.Float32s(tensor.Shape{}, v)
	}
	return &tensor.Tensor{DType: tensor.BFloat16, Shape: tensor.Shape{}, Data: tensor.Bytes(binary.LittleEndian.AppendUint16(nil, rounded(v)))}
}

func (b *builder) constants() {
	head := b.hidden / b.heads
	for i, v := range map[string]int64{"c0": 0, "c1": 1, "c2": 2, "c3": 3, "minus1": -1, "head": head, "half": head / 2, "end": math.MaxInt64} {
		b.constant(i, one(v))
	}
	b.constant("from", tensor.Int64s(tensor.Shape{}, 0))
	b.constant("step", tensor.Int64s(tensor.Shape{}, 1))
	b.constant("two", tensor.Float32s(tensor.Shape{}, 2))
	b.constant("epsilon", tensor.Float32s(tensor.Shape{}, epsilon))
	b.constant("scaling", b.scalar(float32(1/math.Sqrt(float64(head)))))
	b.constant("zero", b.scalar(0))
	b.constant("lowest", b.scalar(lowest(b.dtype)))
	frequencies := make([]float32, head/2)
	for i := range frequencies {
		frequencies[i] = float32(math.Pow(theta, -2*float64(i)/float64(head)))
	}
	b.constant("inv_freq", tensor.Float32s(tensor.Shape{1, head / 2, 1}, frequencies...))
}

// lowest is the smallest finite number of the type, which exporters mask with.
func lowest(d tensor.DType) float32 {
	if d == tensor.BFloat16 {
		return math.Float32frombits(0xff7f0000)
	}
	return -math.MaxFloat32
}

// positions makes what all layers share: the causal mask and the tables of the rotary embedding.
func (b *builder) positions() {
	for i, name := range []string{"batch", "seq"} {
		b.node("Shape", name+"_1", "hidden_states")
		b.with(graph.Int("start", int64(i)))
		b.with(graph.Int("end", int64(i)+1))
	}
	b.node("Squeeze", "seq_0", "seq_1")
	b.node("Range", "arange", "from", "seq_0", "step")
	b.node("Unsqueeze", "positions", "arange", "c0")
	b.node("Unsqueeze", "key_1", "positions", "c1")
	b.node("Unsqueeze", "key_positions", "key_1", "c2")
	b.node("Unsqueeze", "query_1", "positions", "c1")
	b.node("Unsqueeze", "query_positions", "query_1", "c3")
	b.node("LessOrEqual", "visible", "key_positions", "query_positions")
	b.node("Where", "mask", "visible", "zero", "lowest")

	b.node("Unsqueeze", "positions_1", "positions", "c1")
	b.node("Cast", "positions_f", "positions_1")
	b.with(graph.Int("to", int64(tensor.Float32)))
	b.transpose("angles", b.node("MatMul", "angles_t", "inv_freq", "positions_f"), 0, 2, 1)
	b.node("Concat", "emb", "angles", "angles")
	b.with(graph.Int("axis", -1))
	for _, op := range []string{"Cos", "Sin"} {
		name := map[string]string{"Cos": "cos", "Sin": "sin"}[op]
		t := b.cast(name+"_cast", b.node(op, name+"_f", "emb"), b.dtype)
		b.node("Unsqueeze", name, t, "c1")
	}
	b.node("Concat", "split", "batch_1", "seq_1", "minus1", "head")
	b.with(graph.Int("axis", 0))
	b.node("Concat", "join", "batch_1", "seq_1", "minus1")
	b.with(graph.Int("axis", 0))
}

func (b *builder) layer(p, x string) string {
	n := b.norm(p+"input_layernorm", x)
	a := p + "self_attn."
	q := b.rotate(a+"q_rotated", b.heads4(a+"q", b.linear(a+"q_proj", n, b.hidden, b.hidden)))
	k := b.rotate(a+"k_rotated", b.heads4(a+"k", b.linear(a+"k_proj", n, b.hidden, b.hidden)))
	v := b.heads4(a+"v", b.linear(a+"v_proj", n, b.hidden, b.hidden))
	s := b.node("MatMul", a+"scores", q, b.transpose(a+"k_t", k, 0, 1, 3, 2))
	s = b.node("Add", a+"masked", b.node("Mul", a+"scaled", s, "scaling"), "mask")
	// Softmax is taken in float32, as the exporter writes softmax(dtype=float32).
	s = b.node("Softmax", a+"weights_f", b.cast(a+"masked_f", s, tensor.Float32))
	b.with(graph.Int("axis", -1))
	s = b.cast(a+"weights", s, b.dtype)
	s = b.transpose(a+"mixed_t", b.node("MatMul", a+"mixed", s, v), 0, 2, 1, 3)
	s = b.node("Reshape", a+"joined", s, "join")
	x = b.node("Add", p+"residual1", x, b.linear(a+"o_proj", s, b.hidden, b.hidden))
	n = b.norm(p+"post_attention_layernorm", x)
	m := p + "mlp."
	g := b.linear(m+"gate_proj", n, b.hidden, b.intermediate)
	h := b.node("Mul", m+"silu", g, b.node("Sigmoid", m+"sigmoid", g))
	h = b.node("Mul", m+"gated", h, b.linear(m+"up_proj", n, b.hidden, b.intermediate))
	return b.node("Add", p+"residual2", x, b.linear(m+"down_proj", h, b.intermediate, b.hidden))
}

// norm is weight · x/sqrt(mean(x²) + epsilon), the part in the middle in float32.
func (b *builder) norm(name, x string) string {
	ones := make([]byte, 0, 4*b.hidden)
	for range b.hidden {
		if b.dtype == tensor.Float32 {
			ones = binary.LittleEndian.AppendUint32(ones, math.Float32bits(1))
		} else {
			ones = binary.LittleEndian.AppendUint16(ones, rounded(1))
		}
	}
	b.constant(name+".weight", &tensor.Tensor{DType: b.dtype, Shape: tensor.Shape{b.hidden}, Data: tensor.Bytes(ones)})
	f := b.cast(name+"_f", x, tensor.Float32)
	b.node("ReduceMean", name+"_mean", b.node("Pow", name+"_pow", f, "two"), "minus1")
	b.with(graph.Int("keepdims", 1))
	r := b.node("Reciprocal", name+"_rsqrt", b.node("Sqrt", name+"_sqrt", b.node("Add", name+"_eps", name+"_mean", "epsilon")))
	n := b.cast(name+"_cast", b.node("Mul", name+"_normed", f, r), b.dtype)
	return b.node("Mul", name, name+".weight", n)
}

// linear is x·W with random W [in, out].
func (b *builder) linear(name, x string, in, out int64) string {
	b.seed++
	b.constant(name+".weight", &tensor.Tensor{DType: b.dtype, Shape: tensor.Shape{in, out},
		Data: noise{elements: in * out, spread: 1 / math.Sqrt(float64(in)), seed: b.seed, dtype: b.dtype}})
	return b.node("MatMul", name, x, name+".weight")
}

// heads4 turns [batch, seq, hidden] into [batch, heads, seq, head].
func (b *builder) heads4(name, x string) string {
	return b.transpose(name, b.node("Reshape", name+"_split", x, "split"), 0, 2, 1, 3)
}

// rotate is x·cos + (-x₂, x₁)·sin, x₁ and x₂ the halves of a head.
func (b *builder) rotate(name, x string) string {
	first := b.node("Slice", name+"_1", x, "c0", "half", "c3", "c1")
	second := b.node("Slice", name+"_2", x, "half", "end", "c3", "c1")
	b.node("Concat", name+"_turned", b.node("Neg", name+"_neg", second), first)
	b.with(graph.Int("axis", -1))
	return b.node("Add", name, b.node("Mul", name+"_cos", x, "cos"), b.node("Mul", name+"_sin", name+"_turned", "sin"))
}

// write writes model.onnx, with its weights beside it, and batches.safetensors with rows of so many tokens.
func (l llama) write(ctx context.Context, dir string, rows, tokens int64) error {
	if err := l.check(); err != nil {
		return err
	}
	if rows < 1 || tokens < 1 {
		return fmt.Errorf("model: %d rows of %d tokens, want 1 or more", rows, tokens)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if _, err := onnxio.Save(ctx, filepath.Join(dir, "model.onnx"), l.model(), onnxio.SaveOptions{ExternalData: true}); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "batches.safetensors"))
	if err != nil {
		return err
	}
	defer f.Close()
	shape := tensor.Shape{rows, tokens, l.hidden}
	batch := &tensor.Tensor{DType: l.dtype, Shape: shape, Data: noise{elements: rows * tokens * l.hidden, spread: 1, seed: 1 << 32, dtype: l.dtype}}
	if _, err := safetensors.Write(f, []safetensors.Tensor{{Name: "hidden_states", Tensor: batch}}, nil); err != nil {
		return err
	}
	return f.Close()
}
