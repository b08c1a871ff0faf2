package shape

import (
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// walker goes through the graphs of one model.
type walker struct {
	info        *Info
	opset       int64
	fixedInputs bool               // IR 3: an initializer that is also an input is a constant
	functions   map[[2]string]bool // domain and name of the model's own operators
	rules       map[string]func(*call)
	contrib     map[string]func(*call)
}

// scope is one graph with the facts of its own values.
type scope struct {
	graph    *graph.Graph
	outer    *scope
	depth    int
	facts    map[string]fact
	declared map[string]fact
	repeated map[string]bool
}

// find looks a name up here and further out.
func (s *scope) find(name string) (fact, bool) {
	if name == "" {
		return fact{}, false
	}
	for ; s != nil; s = s.outer {
		if f, ok := s.facts[name]; ok {
			return f, true
		}
	}
	return fact{}, false
}

// set records what was inferred for a value, joined with its declaration.
func (s *scope) set(name string, f fact) {
	if name == "" || s.repeated[name] {
		return
	}
	if d, ok := s.declared[name]; ok {
		f = merge(f, d)
	}
	if n, ok := foldLength(f.ext); !ok || n != len(f.vals) {
		f.vals = nil
	}
	s.facts[name] = f
}

// open makes the scope of g with everything that needs no node: declarations and constants. given are facts of the graph's
// inputs that its holder knows.
func (w *walker) open(g *graph.Graph, outer *scope, given []fact) *scope {
	s := &scope{graph: g, outer: outer, facts: map[string]fact{}, declared: map[string]fact{}, repeated: map[string]bool{}}
	if outer != nil {
		s.depth = outer.depth + 1
	}
	w.info.scopes[g] = s
	defined := map[string]bool{}
	define := func(name string) {
		if defined[name] {
			s.repeated[name] = true
		}
		defined[name] = true
	}
	for _, vs := range [][]*graph.Value{g.Values, g.Outputs} {
		for _, v := range vs {
			if v.Type != nil {
				s.declared[v.Name] = declared(v.Type)
			}
		}
	}
	inputs := map[string]bool{}
	for i, v := range g.Inputs {
		define(v.Name)
		inputs[v.Name] = true
		f := declared(v.Type)
		if i < len(given) {
			f = merge(given[i], f)
		}
		s.facts[v.Name] = f
	}
	for _, i := range g.Initializers {
		if !inputs[i.Name] {
			define(i.Name)
			s.facts[i.Name] = constant(i.Tensor)
			continue
		}
		// A default that a caller may replace fixes the element type only.
		if f := constant(i.Tensor); w.fixedInputs {
			s.facts[i.Name] = f
		} else {
			s.facts[i.Name] = merge(fact{elem: f.elem}, s.facts[i.Name])
		}
	}
	for _, sp := range g.Sparse {
		define(sp.Name)
		s.facts[sp.Name] = fact{ext: fixed(sp.Shape)}
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			if o != "" {
				define(o)
				s.facts[o] = s.declared[o]
			}
		}
	}
	for name := range s.repeated {
		s.facts[name] = fact{}
	}
	return s
}

// graph infers every node of the scope's graph.
func (w *walker) graph(s *scope) {
	for _, n := range order(s.graph) {
		w.node(s, n)
	}
}

// The domain and name that Float8Linear and its variants have in every model.
const (
	float8Domain = "ai.fp8rewrite"
	float8Prefix = "Float8Linear"
)

func (w *walker) node(s *scope, n *graph.Node) {
	c := &call{walker: w, scope: s, node: n}
	domain := graph.CanonicalDomain(n.Domain)
	switch {
	case domain == float8Domain && strings.HasPrefix(n.OpType, float8Prefix):
		float8Linear(c)
	case domain == "" && !w.functions[[2]string{"", n.OpType}]:
		if rule := w.rules[n.OpType]; rule != nil {
			rule(c)
		}
	case domain == microsoft && !w.functions[[2]string{microsoft, n.OpType}]:
		if rule := w.contrib[n.OpType]; rule != nil {
			rule(c)
		}
	}
	// Graphs that the operator's rule did not enter are looked at with what they declare themselves.
	for _, g := range n.Subgraphs() {
		if w.info.scopes[g] == nil || w.info.scopes[g].outer != s {
			w.graph(w.open(g, s, nil))
		}
	}
}

// order is the nodes of g with producers before users, where that is possible; nodes on a cycle come in any order.
func order(g *graph.Graph) []*graph.Node {
	producer := make(map[string]int, len(g.Nodes))
	for i, n := range g.Nodes {
		for _, o := range n.Outputs {
			if o != "" {
				producer[o] = i
			}
		}
	}
	needs := make([][]int, len(g.Nodes))
	sorted := true
	for i, n := range g.Nodes {
		add := func(name string) {
			if p, ok := producer[name]; ok && p != i {
				needs[i] = append(needs[i], p)
				sorted = sorted && p < i
			}
		}
		for _, in := range n.Inputs {
			add(in)
		}
		// Names of inner graphs may be their own; an order too strict does no harm.
		for _, sub := range n.Subgraphs() {
			for _, o := range sub.Outputs {
				add(o.Name)
			}
			graph.WalkNodes(sub.Nodes, func(inner *graph.Node) {
				for _, in := range inner.Inputs {
					add(in)
				}
				for _, deeper := range inner.Subgraphs() {
					for _, o := range deeper.Outputs {
						add(o.Name)
					}
				}
			})
		}
	}
	if sorted {
		return g.Nodes
	}
	const (
		open = iota + 1
		done
	)
	state := make([]uint8, len(g.Nodes))
	out := make([]*graph.Node, 0, len(g.Nodes))
	var stack []int
	for root := range g.Nodes {
		stack = append(stack[:0], root)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			if state[i] == 0 {
				state[i] = open
				for _, p := range needs[i] {
					if state[p] == 0 {
						stack = append(stack, p)
					}
				}
				continue
			}
			stack = stack[:len(stack)-1]
			if state[i] == open {
				state[i] = done
				out = append(out, g.Nodes[i])
			}
		}
	}
	return out
}

// call is one node under its operator's rule.
type call struct {
	*walker
	scope *scope
	node  *graph.Node
}

// in is the fact of the i-th input; nothing is known of one that is left out.
func (c *call) in(i int) fact {
	f, _ := c.scope.find(c.node.Input(i))
	if f.other {
		return fact{}
	}
	return f
}

// has reports whether the i-th input is there.
func (c *call) has(i int) bool { return c.node.Input(i) != "" }

// out records the fact of the i-th output.
func (c *call) out(i int, f fact) { c.scope.set(c.node.Output(i), f) }

// ints is a list of integers that older operator versions carry as attribute name and newer ones as input i (-1: attribute
// only). known is false where it is an input of unknown content; count is the number of entries where that is known, else -1;
// given is false where the list is left out.
func (c *call) ints(name string, i int) (list []int64, known bool, count int, given bool) {
	if v, ok := c.node.AttrInts(name); ok {
		return v, true, len(v), true
	}
	if i < 0 || !c.has(i) {
		return nil, true, 0, false
	}
	f := c.in(i)
	if v, ok := f.ints(); ok {
		return v, true, len(v), true
	}
	if n, ok := f.length(); ok {
		return nil, false, n, true
	}
	return nil, false, -1, true
}

// maxFold is the number of elements up to which the content of a constant is followed.
const maxFold = 256

// constant is the fact of a tensor that the file holds.
func constant(t *tensor.Tensor) fact {
	if t == nil {
		return fact{}
	}
	f := fact{elem: sureElem(t.DType), ext: fixed(t.Shape)}
	if len(t.Shape) > 1 || t.Elements() > maxFold {
		return f
	}
	var v []int64
	switch t.DType {
	case tensor.Int64, tensor.Int32:
		var err error
		if v, err = t.AsInt64s(); err != nil {
			return f
		}
	case tensor.Bool:
		b, err := t.Bytes()
		if err != nil {
			return f
		}
		for _, x := range b {
			v = append(v, int64(min(x, 1)))
		}
	default:
		return f
	}
	if int64(len(v)) != t.Elements() {
		return f
	}
	f.vals = make([]scalar, len(v))
	for i, x := range v {
		f.vals[i] = scalar{known: true, value: x}
	}
	return f
}
