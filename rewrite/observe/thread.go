package observe

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// thread leads the amaxes of the graphs inside n out into g, which holds n. before are nodes that must stand before n.
func (x *exposer) thread(g *graph.Graph, n *graph.Node) (before []*graph.Node, signals []signal, err error) {
	switch {
	case n.Is("If"):
		signals, err = x.branches(g, n)
		return nil, signals, err
	case n.Is("Loop"):
		return x.loop(g, n)
	case n.Is("Scan") && x.model.OpsetVersion("") >= 9:
		return x.scan(g, n)
	}
	op := n.OpType
	if n.Domain != "" {
		op = n.Domain + "::" + op
	}
	for _, sub := range n.Subgraphs() {
		graph.WalkNodes(sub.Nodes, func(inner *graph.Node) {
			if ops.IsFloat8Linear(inner) {
				x.found = append(x.found, Observed{Layer: ops.LayerName(inner),
					Reason: fmt.Sprintf("inside node %q (%s), whose graphs cannot hand out further values", n.Name, op)})
			}
		})
	}
	return nil, nil, nil
}

func misfit(n *graph.Node, format string, args ...any) error {
	return fmt.Errorf("observe: node %q (%s): "+format, append([]any{n.Name, n.OpType}, args...)...)
}

func body(n *graph.Node, name string) (*graph.Graph, error) {
	if a := n.Attr(name); a != nil && a.Graph != nil {
		return a.Graph, nil
	}
	return nil, misfit(n, "no graph %q", name)
}

// unobserved is a node that makes the constant Unobserved.
func unobserved(name string) *graph.Node {
	return &graph.Node{Name: name, OpType: "Constant", Outputs: []string{name},
		Attributes: []*graph.Attribute{graph.TensorAttr("value", tensor.Float32s(tensor.Shape{}, Unobserved))}}
}

// fill names the outputs that n leaves out at its end, so that more can follow.
func (x *exposer) fill(n *graph.Node, outputs int) {
	for len(n.Outputs) < outputs {
		n.Outputs = append(n.Outputs, x.names.Fresh(n.Name+".unused"))
	}
}

// branches: both branches of an If get an output per layer; in the one that does not hold the layer it is Unobserved.
func (x *exposer) branches(g *graph.Graph, n *graph.Node) ([]signal, error) {
	var both [2]*graph.Graph
	var inside [2][]signal
	for i, name := range []string{"then_branch", "else_branch"} {
		var err error
		if both[i], err = body(n, name); err != nil {
			return nil, err
		}
	}
	outputs := len(both[0].Outputs)
	if len(both[1].Outputs) != outputs || len(n.Outputs) > outputs {
		return nil, misfit(n, "%d outputs, the branches have %d and %d", len(n.Outputs), outputs, len(both[1].Outputs))
	}
	// In the order of the attributes, as the result promises.
	order := []int{0, 1}
	if n.Attributes[0].Graph == both[1] {
		order = []int{1, 0}
	}
	var signals []signal
	for _, i := range order {
		var err error
		if inside[i], err = x.graph(both[i]); err != nil {
			return nil, err
		}
		if len(inside[i]) > 0 {
			x.fill(n, outputs)
		}
		for _, s := range inside[i] {
			addOutput(both[i], s.value)
			none := unobserved(x.inner(s))
			both[1-i].Nodes = append(both[1-i].Nodes, none)
			addOutput(both[1-i], none.Outputs[0])
			s.value = x.out(g, s)
			n.Outputs = append(n.Outputs, s.value)
			signals = append(signals, s)
		}
	}
	return signals, nil
}

// loop: inputs [count, condition, carried...], the body's [iteration, condition, carried...] → [condition, carried..., stacked...],
// outputs [carried..., stacked...].
func (x *exposer) loop(g *graph.Graph, n *graph.Node) ([]*graph.Node, []signal, error) {
	b, err := body(n, "body")
	if err != nil {
		return nil, nil, err
	}
	for len(n.Inputs) < 2 {
		n.Inputs = append(n.Inputs, "")
	}
	carried := len(n.Inputs) - 2
	if len(b.Inputs) != carried+2 || len(b.Outputs) < carried+1 || len(n.Outputs) > len(b.Outputs)-1 {
		return nil, nil, misfit(n, "%d inputs and %d outputs, the body has %d and %d", len(n.Inputs), len(n.Outputs), len(b.Inputs), len(b.Outputs))
	}
	return x.carry(g, n, b, places{nodeIn: carried + 2, bodyIn: carried + 2, bodyOut: carried + 1, nodeOut: carried, outputs: len(b.Outputs) - 1})
}

// scan: inputs [states..., scanned...], the body's the same → [states..., stacked...], outputs the same.
func (x *exposer) scan(g *graph.Graph, n *graph.Node) ([]*graph.Node, []signal, error) {
	b, err := body(n, "body")
	if err != nil {
		return nil, nil, err
	}
	scanned := n.AttrInt("num_scan_inputs", 0)
	states := len(n.Inputs) - int(min(max(scanned, 0), int64(len(n.Inputs))))
	if scanned < 1 || scanned > int64(len(n.Inputs)) || len(b.Inputs) != len(n.Inputs) || len(b.Outputs) < states || len(n.Outputs) > len(b.Outputs) {
		return nil, nil, misfit(n, "%d inputs (%d scanned) and %d outputs, the body has %d and %d", len(n.Inputs), scanned, len(n.Outputs),
			len(b.Inputs), len(b.Outputs))
	}
	return x.carry(g, n, b, places{nodeIn: states, bodyIn: states, bodyOut: states, nodeOut: states, outputs: len(b.Outputs)})
}

// places are the positions at which a further carried value stands; outputs is the number of the node's when none is left out.
type places struct{ nodeIn, bodyIn, bodyOut, nodeOut, outputs int }

// carry leads the amaxes of a loop's body out by a carried scalar each, which starts as Unobserved and takes the greater of itself
// and the iteration's amax.
func (x *exposer) carry(g *graph.Graph, n *graph.Node, b *graph.Graph, at places) ([]*graph.Node, []signal, error) {
	signals, err := x.graph(b)
	if err != nil || len(signals) == 0 {
		return nil, nil, err
	}
	x.fill(n, at.outputs)
	start := unobserved(x.names.Fresh("fp8_unobserved"))
	for i, s := range signals {
		before := x.inner(s)
		after := x.greater(b, s, before)
		n.Inputs = slices.Insert(n.Inputs, at.nodeIn+i, start.Outputs[0])
		b.Inputs = slices.Insert(b.Inputs, at.bodyIn+i, value(before))
		insertOutput(b, at.bodyOut+i, after)
		signals[i].value = x.out(g, s)
		n.Outputs = slices.Insert(n.Outputs, at.nodeOut+i, signals[i].value)
	}
	return []*graph.Node{start}, signals, nil
}

// greater appends the maximum of the signal and a value to g and gives its name. ONNX does not say what Max makes of a NaN, so the
// sum decides: it is NaN exactly when one of them is, since neither is −Inf.
func (x *exposer) greater(g *graph.Graph, s signal, other string) string {
	add := func(op string, inputs ...string) string {
		out := x.inner(s)
		g.Nodes = append(g.Nodes, &graph.Node{Name: out, OpType: op, Inputs: inputs, Outputs: []string{out}})
		return out
	}
	sum := add("Add", other, s.value)
	return add("Where", add("IsNaN", sum), sum, add("Max", other, s.value))
}
