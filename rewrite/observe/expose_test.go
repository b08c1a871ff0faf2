package observe

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// linear is a layer as rewrite makes it.
func linear(layer, in, out string) *graph.Node {
	l := ops.Layer{Name: "/" + layer, Input: in, Output: out, AmaxInput: layer + ".fp8_amax_input", Original: ops.MatMul("w"), QuantMax: 448,
		Weight: "w", ScaleInput: ops.StateName(layer, ops.InScaleInput), ScaleWeight: ops.StateName(layer, ops.InScaleWeight)}
	return l.Node()
}

// node makes "name: Op in1 in2 -> out1 out2"; "_" leaves an argument out.
func node(s string, attrs ...*graph.Attribute) *graph.Node {
	name, s, _ := strings.Cut(s, ":")
	head, tail, _ := strings.Cut(s, "->")
	in := strings.Fields(head)
	n := &graph.Node{Name: name, OpType: in[0], Attributes: attrs}
	for _, x := range in[1:] {
		n.Inputs = append(n.Inputs, strings.Trim(x, "_"))
	}
	for _, x := range strings.Fields(tail) {
		n.Outputs = append(n.Outputs, strings.Trim(x, "_"))
	}
	return n
}

func sub(name, in, out string, nodes ...*graph.Node) *graph.Attribute {
	g := &graph.Graph{Name: name, Nodes: nodes}
	for _, s := range strings.Fields(in) {
		g.Inputs = append(g.Inputs, &graph.Value{Name: s})
	}
	for _, s := range strings.Fields(out) {
		g.Outputs = append(g.Outputs, &graph.Value{Name: s})
	}
	return &graph.Attribute{Name: name, Kind: graph.AttrGraph, Graph: g}
}

func model(out string, nodes ...*graph.Node) *graph.Model {
	return &graph.Model{IRVersion: 10, Opsets: []graph.Opset{{Version: 21}, {Domain: ops.Domain, Version: 1}}, Graph: sub("main", "x", out, nodes...).Graph}
}

// lines writes graphs as text: inputs, nodes, outputs; Float8Linear's state is left out.
func lines(g *graph.Graph, indent string) []string {
	names := func(vs []*graph.Value) string {
		var s []string
		for _, v := range vs {
			s = append(s, v.Name)
		}
		return strings.Join(s, " ")
	}
	out := []string{indent + "in " + names(g.Inputs)}
	for _, n := range g.Nodes {
		in := n.Inputs
		if ops.IsFloat8Linear(n) {
			in = in[:1]
		}
		s := indent + n.OpType + " " + strings.Join(in, " ") + " -> " + strings.Join(n.Outputs, " ")
		if a := n.Attr("value"); a != nil {
			v, err := a.Tensor.AsFloat32s()
			s += fmt.Sprint(" ", v, err)
		}
		out = append(out, s)
		for _, g := range n.Subgraphs() {
			out = append(out, lines(g, indent+"  ")...)
		}
	}
	return append(out, indent+"out "+names(g.Outputs))
}

func same(t *testing.T, m *graph.Model, want string) {
	t.Helper()
	w := strings.Split(strings.Trim(want, "\n"), "\n")
	for i := range w {
		w[i] = strings.TrimPrefix(w[i], "\t\t")
	}
	if got := lines(m.Graph, ""); !slices.Equal(got, w) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(w, "\n"))
	}
	scalars(t, m.Graph, map[string]bool{})
}

// scalars checks that names are unique across nested graphs and that every value added is typed.
func scalars(t *testing.T, g *graph.Graph, outer map[string]bool) {
	t.Helper()
	mine := map[string]bool{}
	for n := range outer {
		mine[n] = true
	}
	define := func(name string) {
		if name != "" && mine[name] {
			t.Errorf("graph %q: %q is defined twice or hides one further out", g.Name, name)
		}
		mine[name] = true
	}
	for _, v := range g.Inputs {
		define(v.Name)
	}
	for _, n := range g.Nodes {
		for _, s := range n.Subgraphs() {
			scalars(t, s, mine)
		}
		for _, o := range n.Outputs {
			define(o)
		}
	}
	for _, v := range append(slices.Clone(g.Inputs), g.Outputs...) {
		if strings.Contains(v.Name, "fp8") && (v.Type == nil || v.Type.DType != tensor.Float32 || !v.Type.HasShape || len(v.Type.Shape) != 0) {
			t.Errorf("graph %q: %q has type %v, want a float32 scalar", g.Name, v.Name, v.Type)
		}
	}
}

func expose(t *testing.T, m *graph.Model, want ...Observed) {
	t.Helper()
	got, err := Expose(m)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// A second time finds the same and changes nothing.
	before := lines(m.Graph, "")
	again, err := Expose(m)
	if err != nil || !slices.Equal(again, want) {
		t.Errorf("a second time: got %+v, %v, want %+v", again, err, want)
	}
	if after := lines(m.Graph, ""); !slices.Equal(after, before) {
		t.Errorf("a second time changed the model to\n%s", strings.Join(after, "\n"))
	}
}

func TestLayersOfTheMainGraph(t *testing.T) {
	second := linear("b", "h", "y")
	second.Outputs[1] = "other"
	third := linear("c", "y", "z")
	third.Outputs = third.Outputs[:1]
	for i := ops.InScaleInput; i < ops.NumInputs; i++ {
		third.Inputs[i] = ""
	}
	m := model("z", linear("a", "x", "h"), second, third, node("u: Neg other -> v"))
	m.Graph.Values = []*graph.Value{{Name: "h"}, {Name: "a.fp8_amax_input"}}
	expose(t, m, Observed{Layer: "a", Output: "a.fp8_amax_input"}, Observed{Layer: "b", Output: "b.fp8_amax_input"},
		Observed{Layer: "/c", Output: "/c.fp8_amax_input"})
	same(t, m, `
		in x
		Float8Linear x -> h a.fp8_amax_input
		Float8Linear h -> y b.fp8_amax_input
		Float8Linear y -> z /c.fp8_amax_input
		Neg b.fp8_amax_input -> v
		out z a.fp8_amax_input b.fp8_amax_input /c.fp8_amax_input`)
	if len(m.Graph.Values) != 1 || m.Graph.Values[0].Name != "h" {
		t.Errorf("got value types %v, want only that of h", m.Graph.Values)
	}
}

func TestTwoLayersOfOneName(t *testing.T) {
	second := linear("a", "h", "y")
	second.Outputs[1] = "a.fp8_amax_input_2"
	inner := linear("a", "x", "p")
	inner.Outputs[1] = "a.fp8_amax_input_3"
	m := model("y z", linear("a", "x", "h"), second,
		node("if: If c -> z", sub("then_branch", "", "p", inner), sub("else_branch", "", "q", node("n: Neg x -> q"))))
	expose(t, m, Observed{Layer: "a", Output: "a.fp8_amax_input"}, Observed{Layer: "a", Output: "a.fp8_amax_input_2"},
		Observed{Layer: "a", Output: "a.fp8_amax_input_3"})
}

func TestIfReportsTheBranchNotTaken(t *testing.T) {
	m := model("y", node("if: If c -> y", sub("then_branch", "", "p", linear("a", "x", "p")),
		sub("else_branch", "", "q", linear("b", "x", "r"), linear("c", "r", "q"))))
	expose(t, m, Observed{Layer: "a", Output: "a.fp8_amax_input"}, Observed{Layer: "b", Output: "b.fp8_amax_input"},
		Observed{Layer: "c", Output: "c.fp8_amax_input"})
	same(t, m, `
		in x
		If c -> y a.fp8_amax_input b.fp8_amax_input c.fp8_amax_input
		  in 
		  Float8Linear x -> p a.fp8_amax_input.inner
		  Constant  -> b.fp8_amax_input.inner_2 [-1] <nil>
		  Constant  -> c.fp8_amax_input.inner_2 [-1] <nil>
		  out p a.fp8_amax_input.inner b.fp8_amax_input.inner_2 c.fp8_amax_input.inner_2
		  in 
		  Float8Linear x -> r b.fp8_amax_input.inner
		  Float8Linear r -> q c.fp8_amax_input.inner
		  Constant  -> a.fp8_amax_input.inner_2 [-1] <nil>
		  out q a.fp8_amax_input.inner_2 b.fp8_amax_input.inner c.fp8_amax_input.inner
		out y a.fp8_amax_input b.fp8_amax_input c.fp8_amax_input`)
}

func TestLoopCarriesTheMaximum(t *testing.T) {
	// The loop's last output, stacked, is left out by the node.
	m := model("y", node("loop: Loop n c x -> y", sub("body", "i c0 s", "c0 s2 t", linear("a", "s", "s2"), node("n: Neg s -> t"))))
	expose(t, m, Observed{Layer: "a", Output: "a.fp8_amax_input"})
	same(t, m, `
		in x
		Constant  -> fp8_unobserved [-1] <nil>
		Loop n c x fp8_unobserved -> y a.fp8_amax_input loop.unused
		  in i c0 s a.fp8_amax_input.inner_2
		  Float8Linear s -> s2 a.fp8_amax_input.inner
		  Neg s -> t
		  Add a.fp8_amax_input.inner_2 a.fp8_amax_input.inner -> a.fp8_amax_input.inner_3
		  IsNaN a.fp8_amax_input.inner_3 -> a.fp8_amax_input.inner_4
		  Max a.fp8_amax_input.inner_2 a.fp8_amax_input.inner -> a.fp8_amax_input.inner_5
		  Where a.fp8_amax_input.inner_4 a.fp8_amax_input.inner_3 a.fp8_amax_input.inner_5 -> a.fp8_amax_input.inner_6
		  out c0 s2 a.fp8_amax_input.inner_6 t
		out y a.fp8_amax_input`)
}

func TestALoopWithoutCarriedValues(t *testing.T) {
	m := model("y", node("loop: Loop n -> y", sub("body", "i c0", "c0 t", linear("a", "x", "t"))))
	expose(t, m, Observed{Layer: "a", Output: "a.fp8_amax_input"})
	n := m.Graph.Nodes[1]
	if want := []string{"n", "", "fp8_unobserved"}; !slices.Equal(n.Inputs, want) {
		t.Errorf("got inputs %q, want %q", n.Inputs, want)
	}
	if want := []string{"a.fp8_amax_input", "y"}; !slices.Equal(n.Outputs, want) {
		t.Errorf("got outputs %q, want %q", n.Outputs, want)
	}
}

func TestScanGetsAState(t *testing.T) {
	m := model("y z", node("scan: Scan s0 xs -> y z", graph.Int("num_scan_inputs", 1),
		sub("body", "s e", "s2 o", linear("a", "e", "o"), linear("b", "s", "s2"))))
	expose(t, m, Observed{Layer: "a", Output: "a.fp8_amax_input"}, Observed{Layer: "b", Output: "b.fp8_amax_input"})
	n := m.Graph.Nodes[1]
	if want := []string{"s0", "fp8_unobserved", "fp8_unobserved", "xs"}; !slices.Equal(n.Inputs, want) {
		t.Errorf("got inputs %q, want %q", n.Inputs, want)
	}
	if want := []string{"y", "a.fp8_amax_input", "b.fp8_amax_input", "z"}; !slices.Equal(n.Outputs, want) {
		t.Errorf("got outputs %q, want %q", n.Outputs, want)
	}
	b := n.Attr("body").Graph
	if len(b.Inputs) != 4 || b.Inputs[0].Name != "s" || b.Inputs[3].Name != "e" || len(b.Outputs) != 4 || b.Outputs[0].Name != "s2" || b.Outputs[3].Name != "o" {
		t.Errorf("the body goes from %v to %v: the new states belong between state and scanned", b.Inputs, b.Outputs)
	}
	scalars(t, m.Graph, map[string]bool{})
}

func TestNestedControlFlow(t *testing.T) {
	inner := node("if: If c0 -> s2", sub("then_branch", "", "p", linear("a", "s", "p")), sub("else_branch", "", "q", node("n: Neg s -> q")))
	m := model("y", node("loop: Loop n c x -> y", sub("body", "i c0 s", "c0 s2", inner)))
	expose(t, m, Observed{Layer: "a", Output: "a.fp8_amax_input"})
	same(t, m, `
		in x
		Constant  -> fp8_unobserved [-1] <nil>
		Loop n c x fp8_unobserved -> y a.fp8_amax_input
		  in i c0 s a.fp8_amax_input.inner_4
		  If c0 -> s2 a.fp8_amax_input.inner_3
		    in 
		    Float8Linear s -> p a.fp8_amax_input.inner
		    out p a.fp8_amax_input.inner
		    in 
		    Neg s -> q
		    Constant  -> a.fp8_amax_input.inner_2 [-1] <nil>
		    out q a.fp8_amax_input.inner_2
		  Add a.fp8_amax_input.inner_4 a.fp8_amax_input.inner_3 -> a.fp8_amax_input.inner_5
		  IsNaN a.fp8_amax_input.inner_5 -> a.fp8_amax_input.inner_6
		  Max a.fp8_amax_input.inner_4 a.fp8_amax_input.inner_3 -> a.fp8_amax_input.inner_7
		  Where a.fp8_amax_input.inner_6 a.fp8_amax_input.inner_5 a.fp8_amax_input.inner_7 -> a.fp8_amax_input.inner_8
		  out c0 s2 a.fp8_amax_input.inner_8
		out y a.fp8_amax_input`)
}

func TestControlFlowWithoutLayersStays(t *testing.T) {
	m := model("y", node("loop: Loop n c x -> y", sub("body", "i c0 s", "c0 s2", node("n: Neg s -> s2"))), node("if: If c -> z",
		sub("then_branch", "", "p", node("n: Neg x -> p")), sub("else_branch", "", "q", node("n: Neg x -> q"))))
	before := lines(m.Graph, "")
	expose(t, m)
	if after := lines(m.Graph, ""); !slices.Equal(after, before) {
		t.Errorf("got\n%s", strings.Join(after, "\n"))
	}
}

func TestLayersThatCannotBeLedOutHaveAReason(t *testing.T) {
	search := node("search: BeamSearch x -> y", sub("decoder", "x2", "p", node("if: If c -> p", sub("then_branch", "", "q", linear("a", "x2", "q")),
		sub("else_branch", "", "r", node("n: Neg x2 -> r")))))
	search.Domain = "com.microsoft"
	m := model("y", search)
	m.Functions = []*graph.Function{{Name: "F", Domain: "d", Nodes: []*graph.Node{linear("b", "x", "y")}}, ops.Body(ops.Variant{}, 21)}
	expose(t, m,
		Observed{Layer: "a", Reason: `inside node "search" (com.microsoft::BeamSearch), whose graphs cannot hand out further values`},
		Observed{Layer: "b", Reason: `inside function "F"`})
	if len(m.Graph.Outputs) != 1 {
		t.Errorf("got %d outputs, want 1", len(m.Graph.Outputs))
	}
}

func TestControlFlowThatDoesNotFitIsAnError(t *testing.T) {
	layer := func() *graph.Node { return linear("a", "x", "p") }
	for _, c := range []struct {
		name string
		n    *graph.Node
		want string
	}{
		{"a loop with too few body inputs", node("l: Loop n c x -> y", sub("body", "i c0", "c0 p", layer())),
			`observe: node "l" (Loop): 3 inputs and 1 outputs, the body has 2 and 2`},
		{"a loop without a body", node("l: Loop n c x -> y", sub("other", "", "p", layer())), `observe: node "l" (Loop): no graph "body"`},
		{"branches of different length", node("i: If c -> y", sub("then_branch", "", "p", layer()), sub("else_branch", "", "")),
			`observe: node "i" (If): 1 outputs, the branches have 1 and 0`},
		{"a scan that scans more than it has", node("s: Scan x -> y", graph.Int("num_scan_inputs", 2), sub("body", "e", "p", layer())),
			`observe: node "s" (Scan): 1 inputs (2 scanned) and 1 outputs, the body has 1 and 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Expose(model("y", c.n)); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
