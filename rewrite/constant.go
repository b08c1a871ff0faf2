package rewrite

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// constant is an operand whose value the file fixes: an initializer or a Constant node, seen through Transpose, Identity, Cast and
// Reshape; through QuantizeLinear and DequantizeLinear too, as a problem.
type constant struct {
	tensor *tensor.Tensor // as stored
	name   string         // of the initializer or of the Constant node's output
	scope  *graph.Scope   // of the graph that holds it
	// shape and dtype are what the operand has after the operators in between.
	shape tensor.Shape
	dtype tensor.DType
	// turned is set when the stored bytes are those of the operand with its last two axes exchanged.
	turned bool
	// input is the graph input that the constant is the default of, where a caller can override it.
	input *graph.Value
	// problem says why the constant cannot become a weight; the other fields may be empty then.
	problem *report.Reason
}

// maxChain bounds how many operators may stand between a constant and its use; real exports have at most three.
const maxChain = 64

// maxSteps bounds the work on one operand: a Reshape follows its shape too, so a chain of them could branch at each step.
const maxSteps = 1024

// resolve finds the constant behind name, as seen from s; nil when the value depends on the model's inputs.
func resolve(s *graph.Scope, name string, irVersion int64, assumeConstant bool) *constant {
	steps := maxSteps
	r := resolver{irVersion: irVersion, assumeConstant: assumeConstant, steps: &steps}
	return r.value(s, name, 0)
}

// operands finds the constants behind the two operands of a MatMul or Gemm, nil for one that is none. Where one is fixed and the
// other the default of a graph input, that one is an activation: a caller may give it.
func operands(s *graph.Scope, n *graph.Node, irVersion int64, assumeConstant bool) (a, b *constant) {
	a = resolve(s, n.Input(0), irVersion, assumeConstant)
	b = resolve(s, n.Input(1), irVersion, assumeConstant)
	if a != nil && b != nil && !assumeConstant && (a.input == nil) != (b.input == nil) {
		if a.input != nil {
			return nil, b
		}
		return a, nil
	}
	return a, b
}

type resolver struct {
	irVersion      int64
	assumeConstant bool
	steps          *int // left
}

func (r resolver) value(s *graph.Scope, name string, depth int) *constant {
	if *r.steps--; depth > maxChain || *r.steps < 0 {
		return nil
	}
	src := s.Find(name)
	if src.Scope == nil {
		return nil
	}
	switch {
	case src.Sparse != nil:
		return &constant{name: name, scope: src.Scope, shape: src.Sparse.Shape,
			problem: report.Because(report.ReasonWeightSparse, name)}
	case src.Constant != nil:
		c := &constant{tensor: src.Constant.Tensor, name: name, scope: src.Scope,
			shape: src.Constant.Tensor.Shape, dtype: src.Constant.Tensor.DType}
		if src.Repeated {
			c.problem = report.Because(report.ReasonNameRepeated, name)
		}
		// Before IR version 4 every initializer had to be an input too, and stayed a constant.
		if src.Input != nil && r.irVersion >= 4 {
			c.input = src.Input
			if !r.assumeConstant {
				c.problem = report.Because(report.ReasonWeightOverridable, name)
			}
		}
		return c
	case src.Node != nil:
		c := r.node(src, name, depth)
		if c != nil && src.Repeated && c.problem == nil {
			c.problem = report.Because(report.ReasonNameRepeated, name)
		}
		return c
	}
	return nil
}

func (r resolver) node(src graph.Source, name string, depth int) *constant {
	n := src.Node
	if graph.CanonicalDomain(n.Domain) != "" {
		return nil
	}
	if n.OpType == "Constant" {
		return constantNode(src, name)
	}
	switch n.OpType {
	case "Identity", "Transpose", "Cast", "Reshape", "QuantizeLinear", "DequantizeLinear":
	default:
		return nil
	}
	c := r.value(src.Scope, n.Input(0), depth+1)
	if c == nil || c.problem != nil {
		return c
	}
	switch n.OpType {
	case "Transpose":
		return c.transpose(n)
	case "Cast":
		return c.cast(n)
	case "Reshape":
		return c.reshape(n, r.reshapeTo(src.Scope, n, depth))
	case "QuantizeLinear":
		// The codes are computed when the model runs, from a weight that is stored unquantized.
		c.problem = report.Because(report.ReasonWeightQuantized, c.name, r.codes(src.Scope, n, depth))
	case "DequantizeLinear":
		c.problem = report.Because(report.ReasonWeightQuantized, c.name, c.dtype)
	}
	return c
}

// codes is the type that a QuantizeLinear makes: that of its zero point, else the one it names, else uint8.
func (r resolver) codes(s *graph.Scope, n *graph.Node, depth int) tensor.DType {
	if zero := r.value(s, n.Input(2), depth+1); zero != nil && zero.tensor != nil {
		return zero.dtype
	}
	if t := tensor.DType(n.AttrInt("output_dtype", 0)); t != tensor.Undefined {
		return t
	}
	return tensor.Uint8
}

func constantNode(src graph.Source, name string) *constant {
	if a := src.Node.Attr("sparse_value"); a != nil {
		return &constant{name: name, scope: src.Scope, problem: report.Because(report.ReasonWeightSparse, name)}
	}
	if a := src.Node.Attr("value"); a != nil && a.Tensor != nil {
		return &constant{tensor: a.Tensor, name: name, scope: src.Scope, shape: a.Tensor.Shape, dtype: a.Tensor.DType}
	}
	// The other spellings hold scalars and lists, which are no matrix.
	if a := src.Node.Attr("value_floats"); a != nil {
		return &constant{name: name, scope: src.Scope, dtype: tensor.Float32, shape: tensor.Shape{int64(len(a.Floats))},
			tensor: tensor.Float32s(tensor.Shape{int64(len(a.Floats))}, a.Floats...)}
	}
	return nil
}

// unresolved gives up on a constant that operator op changes in a way that is not folded.
func (c *constant) unresolved(op string) *constant {
	c.problem = report.Because(report.ReasonWeightUnresolved, c.name, report.Text(op))
	return c
}

func (c *constant) transpose(n *graph.Node) *constant {
	perm, given := n.AttrInts("perm")
	if len(c.shape) < 2 {
		return c
	}
	if given && len(perm) != len(c.shape) {
		return c.unresolved("Transpose")
	}
	identity := given
	for i, p := range perm {
		identity = identity && p == int64(i)
	}
	if identity {
		return c
	}
	if len(c.shape) != 2 {
		return c.unresolved("Transpose")
	}
	c.shape = tensor.Shape{c.shape[1], c.shape[0]}
	c.turned = !c.turned
	return c
}

// cast follows widening casts only: float16 and bfloat16 to float32 keep every value.
func (c *constant) cast(n *graph.Node) *constant {
	to := tensor.DType(n.AttrInt("to", 0))
	widens := to == tensor.Float32 && (c.dtype == tensor.Float16 || c.dtype == tensor.BFloat16)
	if to != c.dtype && !widens {
		if c.dtype.IsFloat8() {
			c.problem = report.Because(report.ReasonWeightQuantized, c.name, c.dtype)
			return c
		}
		return c.unresolved("Cast")
	}
	c.dtype = to
	return c
}

// reshapeTo is the target shape of a Reshape, nil when it is not fixed by the file.
func (r resolver) reshapeTo(s *graph.Scope, n *graph.Node, depth int) tensor.Shape {
	if dims, ok := n.AttrInts("shape"); ok { // opset 1
		return dims
	}
	shape := r.value(s, n.Input(1), depth+1)
	if shape == nil || shape.problem != nil || shape.tensor == nil || shape.turned {
		return nil
	}
	dims, err := shape.tensor.AsInt64s()
	if err != nil || len(dims) > 8 {
		return nil
	}
	return dims
}

func (c *constant) reshape(n *graph.Node, to tensor.Shape) *constant {
	if to == nil || c.turned {
		return c.unresolved("Reshape")
	}
	elements, err := c.shape.Elements()
	if err != nil {
		return c.unresolved("Reshape")
	}
	out := to.Clone()
	free, known := -1, int64(1)
	for i, d := range out {
		switch {
		case d == -1 && free < 0:
			free = i
			continue
		case d == 0 && n.AttrInt("allowzero", 0) == 0 && i < len(c.shape):
			out[i] = c.shape[i]
		case d < 0 || d == 0:
			return c.unresolved("Reshape")
		}
		if known > elements || out[i] > elements {
			return c.unresolved("Reshape")
		}
		known *= out[i]
	}
	if free >= 0 {
		if known == 0 || elements%known != 0 {
			return c.unresolved("Reshape")
		}
		out[free] = elements / known
		known = elements
	}
	if known != elements {
		return c.unresolved("Reshape")
	}
	c.shape = out
	return c
}
