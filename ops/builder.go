package ops

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// builder collects the nodes of a body in order, constants apart so that they come first. A node is called after its output.
type builder struct {
	constants, nodes []*graph.Node
	made             map[string]bool
}

// add appends a node of one output and returns it for its attributes.
func (b *builder) add(op, out string, in ...string) *graph.Node {
	n := &graph.Node{Name: out, OpType: op, Inputs: in, Outputs: []string{out}}
	b.nodes = append(b.nodes, n)
	b.made[out] = true
	return n
}

// constant makes the constant called name once.
func (b *builder) constant(name string, value *graph.Attribute) string {
	if !b.made[name] {
		b.made[name] = true
		b.constants = append(b.constants, &graph.Node{
			Name: name, OpType: "Constant", Outputs: []string{name}, Attributes: []*graph.Attribute{value},
		})
	}
	return name
}

func (b *builder) float(name string, v float32) string {
	return b.constant(name, graph.Float("value_float", v))
}

func (b *builder) ints(name string, v ...int64) string {
	return b.constant(name, graph.Ints("value_ints", v...))
}

// quantMax is the call's own quant_max.
func (b *builder) quantMax() string {
	return b.constant("quant_max", graph.Ref("value_float", AttrQuantMax, graph.AttrFloat))
}

// The normal powers of two of float32, as exponents. Below them the inverse of a scale soon overflows.
const minPower, maxPower = -126, 127

func (b *builder) powersOfTwo() string {
	powers := make([]float32, 0, maxPower-minPower+1)
	for e := minPower; e <= maxPower; e++ {
		powers = append(powers, float32(math.Ldexp(1, e)))
	}
	return b.constant("powers_of_two", graph.TensorAttr("value", tensor.Float32s(tensor.Shape{int64(len(powers))}, powers...)))
}
