package rewrite

import (
	"fmt"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

const (
	// maxCallDepth bounds how deep calls of functions are followed; ONNX forbids recursion, but files are not to be trusted.
	maxCallDepth = 32
	// maxHoldWork bounds how many nodes and arguments of functions are looked at in all, about a second of work. Real models
	// need a few thousand; functions that are called in very many different ways have no layers after that.
	maxHoldWork = 1 << 20
)

// holdLayers finds the functions that hold a MatMul or Gemm with a constant matrix, be it a Constant of the body or an argument
// that is constant at a call, and the functions that call those. State and weights of a layer are initializers, which a function
// cannot have: these functions have to be inlined.
//
// A function of ONNX's own domain is left alone: a runtime may have an operator of that name and take it instead of the body.
func holdLayers(m *graph.Model, opt *Options) map[*graph.Function]bool {
	h := holder{model: m, opt: opt, functions: map[[3]string]*graph.Function{}, hold: map[*graph.Function]bool{},
		known: map[callKey]answer{}, work: maxHoldWork}
	for _, f := range m.Functions {
		if domain := graph.CanonicalDomain(f.Domain); domain != "" && !isOwnDomain(domain) {
			h.functions[[3]string{domain, f.Name, f.Overload}] = f
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
	known     map[callKey]answer
	work      int // what is left of maxHoldWork
}

// callKey is all that a call can change about what its function holds.
type callKey struct {
	function  *graph.Function
	constants string // the arguments that are constant; see signature
}

// answer is what is known of calls with one key. A call that was followed until the depth ran out, or that is being followed
// now, says nothing about one that is less deep.
type answer struct {
	holds bool
	depth int
	whole bool // nothing was left out
}

// calls looks at every call in the graph of s and in those inside it. It reports whether one of them holds a layer, and whether
// everything was looked at.
func (h *holder) calls(s *graph.Scope, depth int) (found, whole bool) {
	whole = true
	for _, n := range s.Graph.Nodes {
		if depth > 0 && !h.spend(1) {
			return found, false
		}
		if f := h.functions[[3]string{graph.CanonicalDomain(n.Domain), n.OpType, n.Overload}]; f != nil {
			a := h.call(s, n, f, depth+1)
			if a.holds {
				h.hold[f], found = true, true
			}
			whole = whole && a.whole
		}
		for _, g := range n.Subgraphs() {
			inFound, inWhole := h.calls(s.Inner(g, n), depth)
			found, whole = found || inFound, whole && inWhole
		}
	}
	return found, whole
}

func (h *holder) spend(work int) bool {
	h.work -= work
	return h.work >= 0
}

// call says whether the body of f holds a layer when n calls it.
func (h *holder) call(s *graph.Scope, n *graph.Node, f *graph.Function, depth int) answer {
	if depth > maxCallDepth || !h.spend(1+len(f.Inputs)) {
		return answer{depth: depth}
	}
	body := &graph.Graph{Nodes: f.Nodes}
	var constants strings.Builder
	for i, name := range f.Inputs {
		c := resolve(s, n.Input(i), h.model.IRVersion, h.opt.AssumeConstant)
		if c == nil || c.problem != nil {
			body.Inputs = append(body.Inputs, &graph.Value{Name: name})
			continue
		}
		// Only the shape counts here, so a turned constant may stand for itself.
		t := &tensor.Tensor{DType: c.dtype, Shape: c.shape, Data: c.tensor.Data}
		body.Initializers = append(body.Initializers, &graph.Initializer{Name: name, Tensor: t})
		fmt.Fprintf(&constants, "%d:%s;", i, signature(t))
	}
	key := callKey{f, constants.String()}
	if a, ok := h.known[key]; ok && (a.holds || a.whole || a.depth <= depth) {
		return a
	}
	a := answer{depth: depth}
	h.known[key] = a // what the call finds when it comes back to itself
	scope := graph.NewScope(body, nil, nil)
	layers := h.layers(scope)
	found, whole := h.calls(scope, depth)
	a.holds, a.whole = layers || found, whole && h.work >= 0
	h.known[key] = a
	return a
}

// signature is what may matter of a constant inside a function: its type and shape, and the values of one that could be the
// target of a Reshape.
func signature(t *tensor.Tensor) string {
	if (t.DType == tensor.Int64 || t.DType == tensor.Int32) && t.Elements() <= 8 {
		if v, err := t.AsInt64s(); err == nil {
			return fmt.Sprint(t.DType, t.Shape, v)
		}
	}
	return fmt.Sprint(t.DType, t.Shape)
}

// layers reports whether the graph of s, or one inside it, has a MatMul or Gemm with one constant operand.
func (h *holder) layers(s *graph.Scope) bool {
	for _, n := range s.Graph.Nodes {
		if !h.spend(1) {
			return false
		}
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
