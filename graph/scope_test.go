package graph

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func node(op string, inputs []string, outputs []string, inside ...*Graph) *Node {
	n := &Node{Name: op, OpType: op, Inputs: inputs, Outputs: outputs}
	for _, g := range inside {
		n.Attributes = append(n.Attributes, &Attribute{Name: g.Name, Kind: AttrGraph, Graph: g})
	}
	return n
}

func values(names ...string) []*Value {
	var vs []*Value
	for _, n := range names {
		vs = append(vs, &Value{Name: n})
	}
	return vs
}

func constant(name string) *Initializer {
	return &Initializer{Name: name, Tensor: tensor.Float32s(nil, 1)}
}

// nested is a graph with a branch that shadows the initializer w and reads x, y and the unknown name "gone" from outside.
func nested() (main, branch *Graph, holder *Node) {
	branch = &Graph{
		Name:         "then",
		Initializers: []*Initializer{constant("w")},
		Nodes:        []*Node{node("Add", []string{"y", "w"}, []string{"a"}), node("Mul", []string{"x", "gone", ""}, []string{"b"})},
		Outputs:      values("a", "b", "y"),
	}
	holder = node("If", []string{"c"}, []string{"z"}, branch)
	main = &Graph{
		Name:         "main",
		Inputs:       values("x", "c", "d"),
		Initializers: []*Initializer{constant("w"), constant("d")},
		Sparse:       []*Sparse{{Name: "s"}},
		Nodes:        []*Node{node("MatMul", []string{"x", "w"}, []string{"y", ""}), holder},
		Outputs:      values("z", "y"),
	}
	return main, branch, holder
}

func TestFindSaysWhatDefinesAName(t *testing.T) {
	g, _, _ := nested()
	s := NewScope(g, nil, nil)
	for _, c := range []struct {
		name                          string
		node, constant, sparse, input bool
	}{
		{"y", true, false, false, false},
		{"w", false, true, false, false},
		{"s", false, false, true, false},
		{"x", false, false, false, true},
		{"d", false, true, false, true}, // an input with a default
		{"a", false, false, false, false},
		{"gone", false, false, false, false},
		{"", false, false, false, false},
	} {
		src := s.Find(c.name)
		if (src.Node != nil) != c.node || (src.Constant != nil) != c.constant || (src.Sparse != nil) != c.sparse || (src.Input != nil) != c.input {
			t.Errorf("%q: %+v", c.name, src)
		}
		if exists := c.node || c.constant || c.sparse || c.input; exists != (src.Scope == s) || src.Repeated {
			t.Errorf("%q: scope %p, want the graph's own only where the name exists; repeated %v", c.name, src.Scope, src.Repeated)
		}
	}
	if src := s.Find("y"); src.Node != g.Nodes[0] {
		t.Errorf("y comes from %+v", src.Node)
	}
}

func TestFindLooksInnermostFirst(t *testing.T) {
	g, branch, holder := nested()
	outer := NewScope(g, nil, nil)
	inner := outer.Inner(branch, holder)
	if inner.Outer != outer || inner.Holder != holder || inner.Graph != branch {
		t.Errorf("inner scope %+v", inner)
	}
	if src := inner.Find("w"); src.Scope != inner || src.Constant != branch.Initializers[0] {
		t.Errorf("w in the branch: %+v, want the branch's own", src)
	}
	if src := outer.Find("w"); src.Scope != outer || src.Constant != g.Initializers[0] {
		t.Errorf("w outside: %+v, want the main graph's", src)
	}
	if src := inner.Find("y"); src.Scope != outer || src.Node != g.Nodes[0] {
		t.Errorf("y in the branch: %+v, want the main graph's node", src)
	}
	if src := outer.Find("a"); src.Scope != nil {
		t.Errorf("a, which is the branch's, is seen outside: %+v", src)
	}
	if src := inner.Find("gone"); src.Scope != nil {
		t.Errorf("gone: %+v", src)
	}
}

func TestFindTellsOfRepeatedNames(t *testing.T) {
	twice := &Graph{Nodes: []*Node{node("A", nil, []string{"v"}), node("B", nil, []string{"v"})}}
	both := &Graph{Initializers: []*Initializer{constant("v")}, Nodes: []*Node{node("A", nil, []string{"v"})}}
	same := &Graph{Initializers: []*Initializer{constant("v"), constant("v")}}
	within := &Graph{Nodes: []*Node{node("Split", nil, []string{"v", "v"})}}
	for name, g := range map[string]*Graph{"two nodes": twice, "initializer and node": both, "two initializers": same, "one node": within} {
		if !NewScope(g, nil, nil).Find("v").Repeated {
			t.Errorf("%s: not repeated", name)
		}
		shadow := NewScope(&Graph{Initializers: []*Initializer{constant("v")}}, NewScope(g, nil, nil), nil)
		if shadow.Find("v").Repeated {
			t.Errorf("%s: the one that shadows them is called repeated", name)
		}
	}
	omitted := &Graph{Nodes: []*Node{node("A", nil, []string{"", "v"}), node("B", nil, []string{""})}}
	if NewScope(omitted, nil, nil).Find("v").Repeated {
		t.Error("outputs that are left out count as one name")
	}
}

func TestTypeStopsAtWhatShadows(t *testing.T) {
	f32, f16 := &Type{DType: tensor.Float32}, &Type{DType: tensor.Float16}
	g := &Graph{
		Inputs: []*Value{{Name: "x", Type: f32}},
		Values: []*Value{{Name: "w", Type: f32}, {Name: "y", Type: f16}, {Name: "x", Type: f16}},
	}
	outer := NewScope(g, nil, nil)
	inner := outer.Inner(&Graph{Initializers: []*Initializer{constant("w")}, Nodes: []*Node{node("A", nil, []string{"y"})}}, nil)
	for _, c := range []struct {
		s    *Scope
		name string
		want *Type
	}{{outer, "x", f32}, {outer, "w", f32}, {outer, "none", nil}, {inner, "x", f32}, {inner, "w", nil}, {inner, "y", nil}} {
		if got := c.s.Type(c.name); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestUsesCountsReadersAtEveryDepth(t *testing.T) {
	g, branch, _ := nested()
	uses := Uses(g)
	want := map[Key]int{
		{g, "x"}: 2, {g, "c"}: 1, {g, "w"}: 1, {g, "y"}: 3, {g, "z"}: 1, // y: Add in the branch, the branch's output, the graph's output
		{branch, "w"}: 1, {branch, "a"}: 1, {branch, "b"}: 1,
	}
	for k, n := range want {
		if uses[k] != n {
			t.Errorf("%s of %s: %d uses, want %d", k.Name, k.Graph.Name, uses[k], n)
		}
	}
	if len(uses) != len(want) {
		t.Errorf("%d values are used, want %d: %v", len(uses), len(want), uses)
	}
}
