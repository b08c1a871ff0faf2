package rewrite

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// maxCallDepth bounds how deep calls of functions are followed; ONNX forbids recursion, but files are not to be trusted.
const maxCallDepth = 32

// holdLayers finds the functions that hold a MatMul or Gemm with a constant matrix, be it a Constant of the body or an argument
// that is constant at a call, and the functions that call those. State and weights of a layer are initializers, which a function
// cannot have: these functions have to be inlined.
func holdLayers(m *graph.Model, opt *Options) map[*graph.Function]bool {
	h := holder{model: m, opt: opt, functions: map[[3]string]*graph.Function{}, hold: map[*graph.Function]bool{}}
	for _, f := range m.Functions {
		if !isOwnDomain(f.Domain) {
			h.functions[[3]string{graph.CanonicalDomain(f.Domain), f.Name, f.Overload}] = f
		}
	}
	if len(h.functions) > 0 {
		h.calls(graph.NewScope(m.Graph, nil, nil), 0)
	}
	return h.hold
}

type holder struct {
	model     *graph.Model
	opt       *Options
	functions map[[3]string]*graph.Function
	hold      map[*graph.Function]bool
}

// calls looks at every call in the graph of s and in those inside it, and reports whether one of them holds a layer.
func (h *holder) calls(s *graph.Scope, depth int) bool {
	found := false
	for _, n := range s.Graph.Nodes {
		if f := h.functions[[3]string{graph.CanonicalDomain(n.Domain), n.OpType, n.Overload}]; f != nil && depth < maxCallDepth {
			if h.body(s, n, f, depth+1) {
				h.hold[f], found = true, true
			}
		}
		for _, g := range n.Subgraphs() {
			if h.calls(s.Inner(g, n), depth) {
				found = true
			}
		}
	}
	return found
}

// body reports whether the body of f holds a layer when n calls it.
func (h *holder) body(s *graph.Scope, n *graph.Node, f *graph.Function, depth int) bool {
	body := &graph.Graph{Nodes: f.Nodes}
	for i, name := range f.Inputs {
		c := resolve(s, n.Input(i), h.model.IRVersion, h.opt.AssumeConstant)
		if c == nil || c.problem != nil {
			body.Inputs = append(body.Inputs, &graph.Value{Name: name})
			continue
		}
		// Only the shape counts here, so a turned constant may stand for itself.
		t := &tensor.Tensor{DType: c.dtype, Shape: c.shape, Data: c.tensor.Data}
		body.Initializers = append(body.Initializers, &graph.Initializer{Name: name, Tensor: t})
	}
	inner := graph.NewScope(body, nil, nil)
	return h.layers(inner) || h.calls(inner, depth)
}

// layers reports whether the graph of s, or one inside it, has a MatMul or Gemm with one constant operand.
func (h *holder) layers(s *graph.Scope) bool {
	for _, n := range s.Graph.Nodes {
		if n.Is("MatMul") || n.Is("Gemm") {
			a, b := operands(s, n, h.model.IRVersion, h.opt.AssumeConstant)
			if (a == nil) != (b == nil) {
				c := a
				if c == nil {
					c = b
				}
				if c.problem == nil && len(c.shape) >= 2 {
					return true
				}
			}
		}
		for _, g := range n.Subgraphs() {
			if h.layers(s.Inner(g, n)) {
				return true
			}
		}
	}
	return false
}
