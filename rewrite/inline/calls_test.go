package inline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// node makes "name: domain.Op in1 in2 -> out1 out2"; "_" leaves an argument out.
func node(s string, attrs ...*graph.Attribute) *graph.Node {
	n := &graph.Node{Attributes: attrs}
	if name, rest, ok := strings.Cut(s, ":"); ok {
		n.Name, s = name, rest
	}
	head, tail, _ := strings.Cut(s, "->")
	in := strings.Fields(head)
	n.OpType = in[0]
	if at := strings.LastIndex(in[0], "."); at >= 0 {
		n.Domain, n.OpType = in[0][:at], in[0][at+1:]
	}
	for _, x := range in[1:] {
		n.Inputs = append(n.Inputs, strings.Trim(x, "_"))
	}
	for _, x := range strings.Fields(tail) {
		n.Outputs = append(n.Outputs, strings.Trim(x, "_"))
	}
	return n
}

// lines writes nodes as node reads them, graphs inside them indented.
func lines(nodes []*graph.Node) []string {
	arg := func(names []string) string {
		s := ""
		for _, n := range names {
			if n == "" {
				n = "_"
			}
			s += " " + n
		}
		return s
	}
	var out []string
	for _, n := range nodes {
		op := n.OpType
		if n.Domain != "" {
			op = n.Domain + "." + op
		}
		s := n.Name + ": " + op + arg(n.Inputs) + " ->" + arg(n.Outputs)
		for _, a := range n.Attributes {
			switch {
			case a.Ref != "":
				s += fmt.Sprintf(" %s=@%s", a.Name, a.Ref)
			case a.Kind == graph.AttrInt:
				s += fmt.Sprintf(" %s=%d", a.Name, a.Int)
			case a.Kind == graph.AttrGraph:
				s += " " + a.Name
			}
		}
		out = append(out, s)
		for _, g := range n.Subgraphs() {
			for _, l := range lines(g.Nodes) {
				out = append(out, "  "+l)
			}
			for _, o := range g.Outputs {
				out = append(out, "  => "+o.Name)
			}
		}
	}
	return out
}

func same(t *testing.T, nodes []*graph.Node, want ...string) {
	t.Helper()
	if got := lines(nodes); !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func function(name, in, out string, nodes ...*graph.Node) *graph.Function {
	return &graph.Function{Name: name, Domain: "f", Inputs: strings.Fields(in), Outputs: strings.Fields(out), Nodes: nodes,
		Opsets: []graph.Opset{{Version: 19}}}
}

func model(functions []*graph.Function, nodes ...*graph.Node) *graph.Model {
	return &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 19}, {Domain: "f", Version: 1}},
		Graph: &graph.Graph{Name: "g", Nodes: nodes, Inputs: []*graph.Value{{Name: "x"}}, Outputs: []*graph.Value{{Name: "y"}}}, Functions: functions}
}

func all(*graph.Function) bool { return true }

func must(t *testing.T, m *graph.Model) []Inlined {
	t.Helper()
	done, err := Calls(m, all, nil)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func branch(name string, outputs string, nodes ...*graph.Node) *graph.Attribute {
	g := &graph.Graph{Name: name, Nodes: nodes}
	for _, o := range strings.Fields(outputs) {
		g.Outputs = append(g.Outputs, &graph.Value{Name: o})
	}
	return &graph.Attribute{Name: name, Kind: graph.AttrGraph, Graph: g}
}

func TestACallBecomesItsBody(t *testing.T) {
	linear := function("Linear", "a w b", "r", node("mm:MatMul a w -> t"), node("Add t b -> r"))
	linear.Values = []*graph.Value{{Name: "t", Type: &graph.Type{DType: tensor.Float32}}, {Name: "r", Type: &graph.Type{}}}
	first := node("fc1:f.Linear x w1 b1 -> h")
	first.Metadata = []graph.Property{{Key: "namespace", Value: "net.fc1"}}
	m := model([]*graph.Function{linear}, first, node("fc2:f.Linear h w2 b2 -> y"))
	linear.Nodes[1].Metadata = []graph.Property{{Key: "own", Value: "1"}}

	done := must(t, m)
	same(t, m.Graph.Nodes,
		"fc1/mm: MatMul x w1 -> fc1/t",
		"fc1/Add: Add fc1/t b1 -> h",
		"fc2/mm: MatMul h w2 -> fc2/t",
		"fc2/Add: Add fc2/t b2 -> y")
	if len(m.Functions) != 0 {
		t.Errorf("got %d functions, want none", len(m.Functions))
	}
	want := []Inlined{{"f::Linear", "fc1", 2}, {"f::Linear", "fc2", 2}}
	if !slices.Equal(done, want) {
		t.Errorf("got %v, want %v", done, want)
	}
	for i, w := range []string{"namespace", "own", "", "own"} {
		got := ""
		for _, p := range m.Graph.Nodes[i].Metadata {
			got += p.Key
		}
		if got != w {
			t.Errorf("node %d has metadata %q, want %q", i, got, w)
		}
	}
	if len(m.Graph.Values) != 2 || m.Graph.Values[0].Name != "fc1/t" || m.Graph.Values[1].Name != "fc2/t" {
		t.Errorf("got value types %v, want those of fc1/t and fc2/t", m.Graph.Values)
	}
	if linear.Nodes[0].Inputs[0] != "a" || linear.Values[0].Name != "t" {
		t.Error("the function itself was changed")
	}
}

func TestNamesAreFresh(t *testing.T) {
	f := function("F", "a", "r", node("n:Relu a -> t"), node("n:Relu t -> r"))
	m := model([]*graph.Function{f}, node("c/n:Neg x -> c/t"), node("c:f.F c/t -> u"), node("c:f.F u -> v"), node("f.F v -> y"))
	must(t, m)
	same(t, m.Graph.Nodes,
		"c/n: Neg x -> c/t",
		"c/n_2: Relu c/t -> c/t_2", "c/n_3: Relu c/t_2 -> u",
		"c/n_4: Relu u -> c/t_3", "c/n_5: Relu c/t_3 -> v",
		"F/n: Relu v -> F/t", "F/n_2: Relu F/t -> y")
}

func TestArgumentsLeftOutStayOut(t *testing.T) {
	f := function("F", "a lo hi", "r s", node("c:Clip a lo hi -> r"), node("d:Dropout r -> q s"))
	m := model([]*graph.Function{f}, node("p:f.F x _ h -> y"), node("q:f.F y l -> z m"), node("r:f.F z -> _ k"))
	must(t, m)
	same(t, m.Graph.Nodes,
		"p/c: Clip x _ h -> y", "p/d: Dropout y -> p/q p/s",
		"q/c: Clip y l -> z", "q/d: Dropout z -> q/q m",
		"r/c: Clip z -> r/r", "r/d: Dropout r/r -> r/q k")
}

func TestOutputsThatAreInputsOrTwins(t *testing.T) {
	f := function("F", "a", "a r r", node("n:Relu a -> r"))
	m := model([]*graph.Function{f}, node("c:f.F x -> p q y"), node("d:f.F x -> _ _ z"))
	must(t, m)
	same(t, m.Graph.Nodes, "c/n: Relu x -> q", "c/Identity: Identity x -> p", "c/Identity_2: Identity q -> y", "d/n: Relu x -> z")
}

func TestAttributesComeFromTheCallOrTheDefault(t *testing.T) {
	f := function("F", "a", "r", node("n:Op a -> r", graph.Ref("axis", "ax", graph.AttrInt), graph.Ref("keep", "kd", graph.AttrInt),
		graph.Ref("gone", "nothing", graph.AttrInt), graph.Int("own", 5)))
	f.Attributes = []string{"ax", "nothing"}
	f.Defaults = []*graph.Attribute{graph.Int("kd", 1)}
	m := model([]*graph.Function{f}, node("c:f.F x -> u", graph.Int("ax", 3)), node("d:f.F u -> y", graph.Int("kd", 0)))
	must(t, m)
	same(t, m.Graph.Nodes, "c/n: Op x -> u axis=3 keep=1 own=5", "d/n: Op u -> y keep=0 own=5")
}

func TestNestedCalls(t *testing.T) {
	inner := function("Inner", "a", "r", node("n:Op a -> r", graph.Ref("k", "k", graph.AttrInt)))
	outer := function("Outer", "a", "r", node("i:f.Inner a -> t", graph.Ref("k", "deep", graph.AttrInt)), node("j:f.Inner t -> r", graph.Int("k", 2)))
	m := model([]*graph.Function{outer, inner}, node("c:f.Outer x -> y", graph.Int("deep", 7)))
	m.Graph.Nodes[0].Metadata = []graph.Property{{Key: "k", Value: "v"}}
	done := must(t, m)
	same(t, m.Graph.Nodes, "c/i/n: Op x -> c/t k=7", "c/j/n: Op c/t -> y k=2")
	if len(m.Functions) != 0 {
		t.Errorf("got %d functions, want none", len(m.Functions))
	}
	if _, ok := m.Graph.Nodes[0].Property("k"); !ok {
		t.Error("metadata did not reach the innermost node")
	}
	want := []Inlined{{"f::Outer", "c", 2}, {"f::Inner", "c/i", 1}, {"f::Inner", "c/j", 1}}
	if !slices.Equal(done, want) {
		t.Errorf("got %v, want %v", done, want)
	}
}

func TestOnlyWantedFunctionsGo(t *testing.T) {
	build := func() *graph.Model {
		inner := function("Inner", "a", "r", node("n:Relu a -> r", graph.Ref("k", "k", graph.AttrInt)))
		outer := function("Outer", "a", "r", node("i:f.Inner a -> r", graph.Ref("k", "deep", graph.AttrInt)))
		unused := function("Unused", "a", "r", node("u:f.Inner a -> r"))
		return model([]*graph.Function{outer, inner, unused}, node("c:f.Outer x -> u"), node("d:f.Inner u -> y"))
	}
	m := build()
	if _, err := Calls(m, func(f *graph.Function) bool { return f.Name != "Outer" }, nil); err != nil {
		t.Fatal(err)
	}
	same(t, m.Graph.Nodes, "c: f.Outer x -> u", "d/n: Relu u -> y")
	// The functions that stay lose their calls too, and hand the attribute on.
	same(t, m.Functions[0].Nodes, "i/n: Relu a -> r k=@deep")
	same(t, m.Functions[1].Nodes, "u/n: Relu a -> r")
	if len(m.Functions) != 2 || m.Functions[1].Name != "Unused" {
		t.Errorf("got %d functions, want Outer and Unused", len(m.Functions))
	}

	m = build()
	if _, err := Calls(m, func(f *graph.Function) bool { return f.Name == "Outer" }, nil); err != nil {
		t.Fatal(err)
	}
	same(t, m.Graph.Nodes, "c/i: f.Inner x -> u", "d: f.Inner u -> y")
	if len(m.Functions) != 2 {
		t.Errorf("got %d functions, want Inner and Unused", len(m.Functions))
	}
	if done, err := Calls(m, func(f *graph.Function) bool { return f.Name == "Outer" }, nil); done != nil || err != nil {
		t.Errorf("a second time: got %v, %v, want nothing to do", done, err)
	}
}

func TestGraphsInsideBodiesAreRenamed(t *testing.T) {
	f := function("F", "c a", "r", node("n:Neg a -> t"),
		node("if:If c -> r", branch("then_branch", "p", node("m:MatMul t a -> p")), branch("else_branch", "p", node("m:Relu t -> p"))))
	m := model([]*graph.Function{f}, node("c:f.F cond x -> u"), node("d:f.F cond u -> y"))
	must(t, m)
	same(t, m.Graph.Nodes,
		"c/n: Neg x -> c/t", "c/if: If cond -> u then_branch else_branch",
		"  c/m: MatMul c/t x -> c/p", "  => c/p", "  c/m_2: Relu c/t -> c/p_2", "  => c/p_2",
		"d/n: Neg u -> d/t", "d/if: If cond -> y then_branch else_branch",
		"  d/m: MatMul d/t u -> d/p", "  => d/p", "  d/m_2: Relu d/t -> d/p_2", "  => d/p_2")
}

func TestCallsInsideGraphs(t *testing.T) {
	f := function("F", "a", "r", node("n:Relu a -> t"), node("o:Neg t -> r"))
	f.Values = []*graph.Value{{Name: "t"}}
	m := model([]*graph.Function{f}, node("if:If cond -> y",
		branch("then_branch", "p", node("c:f.F x -> p")), branch("else_branch", "q", node("d:f.F x -> q"))))
	must(t, m)
	same(t, m.Graph.Nodes, "if: If cond -> y then_branch else_branch",
		"  c/n: Relu x -> c/t", "  c/o: Neg c/t -> p", "  => p", "  d/n: Relu x -> d/t", "  d/o: Neg d/t -> q", "  => q")
	if v := m.Graph.Nodes[0].Subgraphs()[0].Values; len(v) != 1 || v[0].Name != "c/t" {
		t.Errorf("the type of c/t must stand in the branch, got %v there", v)
	}
}

func TestGraphsHandedOver(t *testing.T) {
	f := function("F", "c a", "r", node("n:Neg a -> t"),
		node("if:If c -> r", graph.Ref("then_branch", "g", graph.AttrGraph), graph.Ref("else_branch", "g", graph.AttrGraph)))
	// The graph sees t of its own surroundings, which is not the t of the function.
	m := model([]*graph.Function{f}, node("k:Relu x -> t"), node("c:f.F cond x -> y", branch("g", "p", node("m:Abs t -> p"))))
	must(t, m)
	same(t, m.Graph.Nodes, "k: Relu x -> t", "c/n: Neg x -> c/t", "c/if: If cond -> y then_branch else_branch",
		"  m: Abs t -> p", "  => p", "  c/m: Abs t -> c/p", "  => c/p")
}

func TestOverloadsAndDomainsTellFunctionsApart(t *testing.T) {
	a, b, c := function("F", "a", "r", node("n:Relu a -> r")), function("F", "a", "r", node("n:Neg a -> r")), function("F", "a", "r", node("n:Abs a -> r"))
	b.Overload, c.Domain = "o", "ai.onnx"
	m := model([]*graph.Function{a, b, c}, node("p:f.F x -> t"), node("q:f.F t -> u"), node("s:F u -> y"))
	m.Graph.Nodes[1].Overload = "o"
	must(t, m)
	same(t, m.Graph.Nodes, "p/n: Relu x -> t", "q/n: Neg t -> u", "s/n: Abs u -> y")
}

func TestOpsetsOfTheBody(t *testing.T) {
	t.Run("a domain that the model lacks is imported", func(t *testing.T) {
		f := function("F", "a", "r", node("n:com.x.Op a -> r"))
		f.Opsets = append(f.Opsets, graph.Opset{Domain: "com.x", Version: 3}, graph.Opset{Domain: "never", Version: 3})
		m := model([]*graph.Function{f}, node("c:f.F x -> y"))
		must(t, m)
		if m.OpsetVersion("com.x") != 3 || m.OpsetVersion("never") != 0 {
			t.Errorf("got opsets %v, want com.x at 3 and nothing else new", m.Opsets)
		}
	})
	t.Run("another version of another domain is an error", func(t *testing.T) {
		f := function("F", "a", "r", node("n:com.x.Op a -> r"))
		f.Opsets = append(f.Opsets, graph.Opset{Domain: "com.x", Version: 3})
		m := model([]*graph.Function{f}, node("c:f.F x -> y"))
		m.SetOpset("com.x", 2)
		_, err := Calls(m, all, nil)
		var e *OpsetError
		if !errors.As(err, &e) || e.Domain != "com.x" || e.From != 3 || e.To != 2 || e.Call != "c" {
			t.Fatalf("got %v, want an OpsetError on com.x", err)
		}
	})
	t.Run("a domain of functions has no version", func(t *testing.T) {
		g := function("G", "a", "r", node("n:Relu a -> r"))
		f := function("F", "a", "r", node("i:f.G a -> r"))
		f.Opsets = append(f.Opsets, graph.Opset{Domain: "f", Version: 9})
		m := model([]*graph.Function{f, g}, node("c:f.F x -> y"))
		must(t, m)
		same(t, m.Graph.Nodes, "c/i/n: Relu x -> y")
	})
	t.Run("an older body is lifted", func(t *testing.T) {
		f := function("F", "a", "r s", node("n:Old a -> r"), node("o:Old r -> s"))
		f.Opsets = []graph.Opset{{Version: 11}}
		m := model([]*graph.Function{f}, node("c:f.F x -> y"))
		done, err := Calls(m, all, func(nodes []*graph.Node, live []string, names *graph.Names, from, to int64) ([]*graph.Node, error) {
			if from != 11 || to != 19 || !slices.Equal(live, []string{"y"}) {
				t.Errorf("lift from %d to %d with %v, want 11, 19, [y]", from, to, live)
			}
			between := names.Fresh(nodes[0].Outputs[0])
			out := []*graph.Node{node("u:New " + nodes[0].Inputs[0] + " -> " + between), node("v:New " + between + " -> " + nodes[0].Outputs[0])}
			return append(out, nodes[1:]...), nil
		})
		if err != nil || len(done) != 1 || done[0].Nodes != 3 {
			t.Fatalf("got %v, %v, want one call of 3 nodes", done, err)
		}
		same(t, m.Graph.Nodes, "u: New x -> y_2", "v: New y_2 -> y", "c/o: Old y -> c/s")
	})
	t.Run("without a lift it is an error and nothing changes", func(t *testing.T) {
		f := function("F", "a", "r", node("n:Relu a -> r"))
		f.Opsets = []graph.Opset{{Version: 11}}
		good := function("G", "a", "r", node("n:Relu a -> r"))
		m := model([]*graph.Function{good, f}, node("b:f.G x -> t"), node("if:If cond -> y", branch("then_branch", "p", node("b:f.G x -> p")),
			branch("else_branch", "p", node("c:f.F x -> p"))))
		before := lines(m.Graph.Nodes)
		_, err := Calls(m, all, nil)
		var e *OpsetError
		if !errors.As(err, &e) || e.Domain != "" || e.From != 11 || e.To != 19 {
			t.Fatalf("got %v, want an OpsetError", err)
		}
		same(t, m.Graph.Nodes, before...)
		if len(m.Functions) != 2 {
			t.Errorf("got %d functions, want 2", len(m.Functions))
		}
		why := errors.New("no way")
		_, err = Calls(m, all, func([]*graph.Node, []string, *graph.Names, int64, int64) ([]*graph.Node, error) { return nil, why })
		if !errors.Is(err, why) {
			t.Errorf("got %v, want the lift's own error inside", err)
		}
	})
	t.Run("a newer body is an error", func(t *testing.T) {
		f := function("F", "a", "r", node("n:Relu a -> r"))
		f.Opsets = []graph.Opset{{Version: 21}}
		_, err := Calls(model([]*graph.Function{f}, node("c:f.F x -> y")), all, func(n []*graph.Node, _ []string, _ *graph.Names, _, _ int64) ([]*graph.Node, error) {
			return n, nil
		})
		if want := `inline: node "c": function "f::F" imports "ai.onnx" at version 21, the caller at 19`; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestRecursionIsAnError(t *testing.T) {
	a := function("A", "a", "r", node("f.B a -> r"))
	b := function("B", "a", "r", node("if:If a -> r", branch("then_branch", "p", node("f.A a -> p"))))
	_, err := Calls(model([]*graph.Function{a, b}, node("c:f.A x -> y")), all, nil)
	var e *RecursionError
	if !errors.As(err, &e) || !slices.Equal(e.Chain, []string{"f::A", "f::B", "f::A"}) {
		t.Fatalf("got %v, want A calls B calls A", err)
	}
}

func TestExponentialGrowthIsAnError(t *testing.T) {
	fs := []*graph.Function{function("F0", "a", "r", node("Relu a -> r"))}
	for i := range 60 {
		fs = append(fs, function(fmt.Sprintf("F%d", i+1), "a", "r", node(fmt.Sprintf("f.F%d a -> t", i)), node(fmt.Sprintf("f.F%d t -> r", i))))
	}
	m := model(fs, node("f.F60 x -> y"))
	_, err := calls(m, all, nil, 5000)
	var e *SizeError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a SizeError", err)
	}
	same(t, m.Graph.Nodes, ": f.F60 x -> y")
	if m := model(fs[:11], node("f.F10 x -> y")); len(must(t, m)) != 1<<11-1 || len(m.Graph.Nodes) != 1<<10 {
		t.Errorf("got %d nodes below the limit, want %d", len(m.Graph.Nodes), 1<<10)
	}
}

func TestBadFunctionsAreNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		f    *graph.Function
		call string
		want string
	}{
		{"a name from nowhere", function("F", "a", "r", node("n:Add a b -> r")), "c:f.F x -> y",
			`inline: node "c": function "f::F": node "n": input "b": nothing defines it`},
		{"an output from nowhere", function("F", "a", "r", node("n:Relu a -> b")), "c:f.F x -> y",
			`inline: node "c": function "f::F": output "r": nothing gives its value`},
		{"too many inputs", function("F", "a", "r", node("n:Relu a -> r")), "c:f.F x x -> y",
			`inline: node "c": function "f::F": called with 2 inputs and 1 outputs, has 1 and 1`},
		{"an input that a node overwrites", function("F", "a", "r", node("n:Relu a -> a"), node("Neg a -> r")), "c:f.F x -> y",
			`inline: node "c": function "f::F": input "a" is defined twice`},
		{"an output twice", function("F", "a", "r", node("n:Relu a -> r"), node("m:Neg a -> r")), "c:f.F x -> y",
			`inline: node "c": function "f::F": node "m": output "r" is defined twice`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := model([]*graph.Function{c.f}, node(c.call))
			if _, err := Calls(m, all, nil); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	f := function("F", "a", "r", node("n:Relu a -> r"))
	m := model([]*graph.Function{f, function("F", "a", "r", node("n:Neg a -> r"))}, node("c:f.F x -> y"))
	if _, err := Calls(m, all, nil); err == nil || !strings.Contains(err.Error(), "defined twice") {
		t.Errorf("got %v, want a function defined twice", err)
	}
}
