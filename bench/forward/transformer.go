package main

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// The shape of the generated encoder, which is BERT's at half its depth.
const (
	layers = 6
	width  = 768
	heads  = 12
	inner  = 4 * width
)

// transformer is an encoder in the operators that exporters write: LayerNormalization, MatMul and Add, softmax attention, GELU by Erf. The
// input x is [batch, seq, 768] and so is the output y; weights are normal with the usual spread, from a fixed generator.
func transformer() *graph.Model {
	b := &builder{state: 0x9e3779b97f4a7c15}
	b.g.Name = "transformer"
	float := func(name string) *graph.Value {
		return &graph.Value{Name: name, Type: &graph.Type{DType: tensor.Float32, HasShape: true,
			Shape: []graph.Dim{{Value: -1, Param: "batch"}, {Value: -1, Param: "seq"}, {Value: width}}}}
	}
	b.g.Inputs = []*graph.Value{float("x")}
	b.constant("split", tensor.Int64s(tensor.Shape{4}, 0, 0, heads, width/heads))
	b.constant("join", tensor.Int64s(tensor.Shape{3}, 0, 0, width))
	b.constant("scale", tensor.Float32s(nil, float32(1/math.Sqrt(width/heads))))
	b.constant("sqrt2", tensor.Float32s(nil, math.Sqrt2))
	b.constant("one", tensor.Float32s(nil, 1))
	b.constant("half", tensor.Float32s(nil, 0.5))
	x := "x"
	for i := range layers {
		p := "layers." + strconv.Itoa(i) + "."
		n := b.norm(p+"norm1", x)
		q := b.heads(p+"q", b.linear(p+"q_proj", n, width, width), 0, 2, 1, 3)
		k := b.heads(p+"k", b.linear(p+"k_proj", n, width, width), 0, 2, 3, 1)
		v := b.heads(p+"v", b.linear(p+"v_proj", n, width, width), 0, 2, 1, 3)
		s := b.node("Mul", p+"scaled", b.node("MatMul", p+"scores", q, k), "scale")
		s = b.node("Softmax", p+"weights", s)
		b.last().SetAttr(graph.Int("axis", -1))
		s = b.node("Transpose", p+"mixed.t", b.node("MatMul", p+"mixed", s, v))
		b.last().SetAttr(graph.Ints("perm", 0, 2, 1, 3))
		s = b.node("Reshape", p+"joined", s, "join")
		x = b.node("Add", p+"residual1", x, b.linear(p+"o_proj", s, width, width))
		n = b.norm(p+"norm2", x)
		h := b.linear(p+"fc1", n, width, inner)
		e := b.node("Erf", p+"erf", b.node("Div", p+"div", h, "sqrt2"))
		h = b.node("Mul", p+"gelu", b.node("Mul", p+"gated", h, b.node("Add", p+"plus", e, "one")), "half")
		x = b.node("Add", p+"residual2", x, b.linear(p+"fc2", h, inner, width))
	}
	b.node("Identity", "y", b.norm("norm", x))
	b.g.Outputs = []*graph.Value{float("y")}
	return &graph.Model{IRVersion: 9, ProducerName: "fp8rewrite bench/forward", Opsets: []graph.Opset{{Version: 19}}, Graph: &b.g}
}

type builder struct {
	g     graph.Graph
	state uint64
}

func (b *builder) constant(name string, t *tensor.Tensor) {
	b.g.Initializers = append(b.g.Initializers, &graph.Initializer{Name: name, Tensor: t})
}

// node adds an operator whose only output is called name.
func (b *builder) node(op, name string, inputs ...string) string {
	b.g.Nodes = append(b.g.Nodes, &graph.Node{Name: name, OpType: op, Inputs: inputs, Outputs: []string{name}})
	return name
}

func (b *builder) last() *graph.Node { return b.g.Nodes[len(b.g.Nodes)-1] }

// linear is x·W + bias with W [in, out].
func (b *builder) linear(name, x string, in, out int64) string {
	b.constant(name+".weight", b.normal(1/math.Sqrt(float64(in)), in, out))
	b.constant(name+".bias", b.normal(0.02, out))
	return b.node("Add", name, b.node("MatMul", name+".product", x, name+".weight"), name+".bias")
}

func (b *builder) norm(name, x string) string {
	ones := make([]float32, width)
	for i := range ones {
		ones[i] = 1
	}
	b.constant(name+".weight", tensor.Float32s(tensor.Shape{width}, ones...))
	b.constant(name+".bias", tensor.Float32s(tensor.Shape{width}, make([]float32, width)...))
	b.node("LayerNormalization", name, x, name+".weight", name+".bias")
	b.last().SetAttr(graph.Float("epsilon", 1e-5))
	return name
}

// heads turns [batch, seq, 768] into heads in the order of axes perm.
func (b *builder) heads(name, x string, perm ...int64) string {
	b.node("Transpose", name, b.node("Reshape", name+".split", x, "split"))
	b.last().SetAttr(graph.Ints("perm", perm...))
	return name
}

// normal is a tensor of normal values: sums of twelve uniform ones less six, from a 64-bit xorshift generator.
func (b *builder) normal(spread float64, shape ...int64) *tensor.Tensor {
	n, _ := tensor.Shape(shape).Elements()
	data := make([]byte, 0, 4*n)
	for range n {
		sum := -6.0
		for range 3 {
			b.state ^= b.state << 13
			b.state ^= b.state >> 7
			b.state ^= b.state << 17
			for w := b.state; w != 0; w >>= 16 {
				sum += float64(w&0xffff) / (1 << 16)
			}
		}
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(sum*spread)))
	}
	return &tensor.Tensor{DType: tensor.Float32, Shape: shape, Data: tensor.Bytes(data)}
}
