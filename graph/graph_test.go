package graph

import (
	"slices"
	"testing"
)

func TestFreshNamesAreFreeEverywhere(t *testing.T) {
	g, branch, _ := nested()
	branch.Values = values("deep_2")
	branch.Nodes[0].Name = "deep"
	m := &Model{Graph: g, Functions: []*Function{{Inputs: []string{"formal"}, Nodes: []*Node{node("Op", []string{"in"}, []string{"out"})}}}}
	names := NewNames(m)
	for _, taken := range []string{"x", "c", "d", "w", "s", "y", "z", "MatMul", "If", "a", "b", "gone", "deep", "deep_2", "formal", "in", "out", "Op"} {
		if !names.Taken(taken) {
			t.Errorf("%q is not taken", taken)
		}
		if got := names.Fresh(taken); got == taken {
			t.Errorf("Fresh(%q) gave it again", taken)
		}
	}
	names = NewNames(m)
	var got []string
	for _, want := range []string{"new", "new", "new", "deep", "new_2", "new_4", "new", "", ""} {
		got = append(got, names.Fresh(want))
	}
	want := []string{"new", "new_2", "new_3", "deep_3", "new_2_2", "new_4", "new_5", "_2", "_3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if names.Taken("newer") || !names.Taken("new_5") {
		t.Error("Taken is wrong about names given out")
	}
}

func TestACloneSharesNothingThatChanges(t *testing.T) {
	g, _, _ := nested()
	g.Metadata = []Property{{"k", "v"}}
	g.Nodes[1].Metadata = []Property{{"k", "v"}}
	g.Nodes[1].Attributes = append(g.Nodes[1].Attributes, &Attribute{Name: "more", Kind: AttrGraphs, Graphs: []*Graph{{Name: "g", Inputs: values("i")}}})
	c := g.Clone()
	if c.Initializers[0].Tensor != g.Initializers[0].Tensor {
		t.Error("the clone has a tensor of its own")
	}

	deep := c.Nodes[1].Attributes[0].Graph
	deep.Nodes[0].Inputs[0] = "changed"
	deep.Initializers[0].Name = "changed"
	deep.Nodes = append(deep.Nodes, node("New", nil, nil))
	c.Nodes[1].Attributes[1].Graphs[0].Inputs[0].Name = "changed"
	c.Nodes[1].Attributes[1].Name = "changed"
	c.Nodes[1].Metadata[0].Value = "changed"
	c.Nodes[0].Outputs[0] = "changed"
	c.Nodes[0].OpType = "changed"
	c.Nodes[0].SetAttr(Int("new", 1))
	c.Inputs[0].Name, c.Outputs[0].Name, c.Sparse[0].Name, c.Metadata[0].Value = "changed", "changed", "changed", "changed"
	c.Nodes[0], c.Initializers[1] = nil, nil

	g.Walk(func(in *Graph) {
		for _, vs := range [][]*Value{in.Inputs, in.Outputs} {
			for _, v := range vs {
				if v.Name == "changed" {
					t.Errorf("graph %s: a value changed with the clone", in.Name)
				}
			}
		}
		for _, i := range in.Initializers {
			if i == nil || i.Name == "changed" {
				t.Errorf("graph %s: an initializer changed with the clone", in.Name)
			}
		}
	})
	WalkNodes(g.Nodes, func(n *Node) {
		if n == nil || n.OpType == "changed" || n.OpType == "New" || slices.Contains(n.Inputs, "changed") || slices.Contains(n.Outputs, "changed") ||
			n.Attr("changed") != nil || n.Attr("new") != nil {
			t.Errorf("node %+v changed with the clone", n)
		}
	})
	if v, _ := g.Nodes[1].Property("k"); v != "v" || g.Metadata[0].Value != "v" || g.Sparse[0].Name != "s" {
		t.Error("metadata or a sparse initializer changed with the clone")
	}
}

func TestOpsetsKnowBothNamesOfTheirOwnDomain(t *testing.T) {
	for _, spelled := range []string{"", "ai.onnx"} {
		m := &Model{Opsets: []Opset{{"com.example", 3}, {spelled, 17}}}
		before := m.Opsets
		for _, asked := range []string{"", "ai.onnx"} {
			if v := m.OpsetVersion(asked); v != 17 {
				t.Errorf("written %q, asked for %q: version %d, want 17", spelled, asked, v)
			}
		}
		m.SetOpset("", 19)
		if len(m.Opsets) != 2 || m.Opsets[1] != (Opset{spelled, 19}) || m.OpsetVersion("com.example") != 3 {
			t.Errorf("written %q: %v after SetOpset", spelled, m.Opsets)
		}
		if before[1].Version != 17 {
			t.Error("SetOpset wrote into the list that it was given")
		}
	}
	f := &Function{}
	if v := f.OpsetVersion(""); v != 0 {
		t.Errorf("no import: version %d, want 0", v)
	}
	f.SetOpset("ai.onnx", 21)
	if f.OpsetVersion("") != 21 || len(f.Opsets) != 1 {
		t.Errorf("function: %v", f.Opsets)
	}
	if !(&Node{OpType: "Add", Domain: "ai.onnx"}).Is("Add") || (&Node{OpType: "Add", Domain: "com.example"}).Is("Add") {
		t.Error("Is takes a node of another domain, or refuses ONNX's own")
	}
}

func TestAttributesAreReadByNameAndKind(t *testing.T) {
	n := &Node{Inputs: []string{"a", ""}, Attributes: []*Attribute{Int("i", 3), Float("f", 0.5), Str("s", "text"), Ints("list", 1, 2)}}
	if n.AttrInt("i", 9) != 3 || n.AttrInt("f", 9) != 9 || n.AttrInt("none", 9) != 9 || n.AttrFloat("f", 9) != 0.5 || n.AttrFloat("i", 9) != 9 ||
		n.AttrString("s", "") != "text" || n.AttrString("i", "def") != "def" {
		t.Error("an attribute of another name or kind was read")
	}
	if v, ok := n.AttrInts("list"); !ok || !slices.Equal(v, []int64{1, 2}) {
		t.Errorf("list: %v, %v", v, ok)
	}
	before := n.Attributes
	if a := n.DropAttr("f"); a == nil || a.Name != "f" || n.Attr("f") != nil || len(n.Attributes) != 3 || before[1].Name != "f" {
		t.Errorf("DropAttr: %+v, left %d", a, len(n.Attributes))
	}
	if n.DropAttr("f") != nil {
		t.Error("an attribute was dropped twice")
	}
	n.SetAttr(Int("i", 4))
	if n.AttrInt("i", 9) != 4 || len(n.Attributes) != 3 {
		t.Error("SetAttr added instead of replacing")
	}
	if n.Input(0) != "a" || n.Input(1) != "" || n.Input(5) != "" || n.Output(0) != "" {
		t.Error("an input or output that is not there has a name")
	}
}

// TestReadsOfANode sees what graphs inside take from around them, at any depth, and nothing that they define.
func TestReadsOfANode(t *testing.T) {
	inner := &Graph{
		Inputs:       []*Value{{Name: "step"}},
		Initializers: []*Initializer{{Name: "weight"}},
		Sparse:       []*Sparse{{Name: "mask"}},
		Nodes: []*Node{
			{OpType: "Mul", Inputs: []string{"step", "weight"}, Outputs: []string{"a"}},
			{OpType: "Add", Inputs: []string{"a", "outside", "mask"}, Outputs: []string{"b"}},
			{OpType: "If", Inputs: []string{"flag"}, Outputs: []string{"c"}, Attributes: []*Attribute{{Name: "then_branch", Kind: AttrGraph,
				Graph: &Graph{Outputs: []*Value{{Name: "deep"}, {Name: "b"}}}}}},
		},
		Outputs: []*Value{{Name: "c"}, {Name: "passed"}, {Name: "outside"}},
	}
	n := &Node{OpType: "Loop", Inputs: []string{"count", "", "count"}, Attributes: []*Attribute{{Name: "body", Kind: AttrGraph, Graph: inner}}}
	if got, want := n.Reads(), []string{"count", "count", "outside", "flag", "deep", "passed"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	plain := &Node{Inputs: []string{"x", "", "y"}}
	if got := plain.Reads(); !slices.Equal(got, []string{"x", "y"}) || len(plain.Inputs) != 3 {
		t.Errorf("got %q, inputs %q", got, plain.Inputs)
	}
}
