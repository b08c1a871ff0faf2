package cpu

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/shape"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// The attributes of FlexAttention that hold graphs.
const (
	scoreMod = "score_mod"
	probMod  = "prob_mod"
)

// isModified reports whether a node is an attention with graphs of its own between product, softmax and product.
func isModified(n *graph.Node) bool {
	return n.OpType == "FlexAttention" && n.Domain == "ai.onnx.preview" && (n.Attr(scoreMod) != nil || n.Attr(probMod) != nil)
}

// flexAttention lowers an attention by its definition in ONNX, with the modifying graphs in place:
//
//	scores = score_mod(Q·Kᵀ · scale), Y = prob_mod(softmax(scores)) · V
//
// Query heads that share a key head are more rows of one product.
func (c *compiler) flexAttention(sc *scope, s *step) error {
	n := s.node
	for i := range 3 {
		if i >= len(s.in) || s.in[i] == absent {
			return c.unsupported(s, "queries, keys or values are missing")
		}
	}
	for _, a := range n.Attributes {
		switch a.Name {
		case scoreMod, probMod, "scale", "softmax_precision":
		default:
			return c.unsupported(s, "attribute \""+a.Name+"\" is not known")
		}
	}
	precision := int64(tensor.Float32)
	if shape.Infer(c.model).DType(sc.prog.graph, n.Input(0)) == tensor.Float64 {
		precision = int64(tensor.Float64)
	}
	precision = n.AttrInt("softmax_precision", precision)

	in := &scope{prog: sc.prog, names: map[string]int{"q": s.in[0], "k": s.in[1], "v": s.in[2]}, opsets: []graph.Opset{{Version: 21}},
		calls: sc.calls, path: s.name + "/", depth: sc.depth + 1}
	var nodes []*graph.Node
	add := func(op, out string, inputs []string, attrs ...*graph.Attribute) {
		nodes = append(nodes, &graph.Node{OpType: op, Inputs: inputs, Outputs: []string{out}, Attributes: attrs})
	}
	ints := func(out string, v ...int64) { add("Constant", out, nil, graph.Ints("value_ints", v...)) }
	to := graph.Int("to", precision)
	for _, x := range []string{"q", "k", "v"} {
		add("Shape", x+"_shape", []string{x})
	}
	ints("same", 0)
	ints("rest", -1)
	ints("axis1", 1)
	ints("axis2", 2)
	ints("axis3", 3)
	ints("axes012", 0, 1, 2)
	pick := func(out, of, axes string) { add("Gather", out, []string{of, axes}) }
	join := func(out string, parts ...string) { add("Concat", out, parts, graph.Int("axis", 0)) }
	pick("key_heads", "k_shape", "axis1")
	pick("keys", "k_shape", "axis2")
	pick("width", "q_shape", "axis3")
	pick("value_width", "v_shape", "axis3")
	pick("rows", "q_shape", "axes012")
	join("grouped", "same", "key_heads", "rest", "width")
	join("scored", "rows", "keys")
	join("grouped_scores", "same", "key_heads", "rest", "keys")
	join("valued", "rows", "value_width")
	add("Reshape", "q_grouped", []string{"q", "grouped"})
	add("Transpose", "k_turned", []string{"k"}, graph.Ints("perm", 0, 1, 3, 2))
	add("MatMul", "products", []string{"q_grouped", "k_turned"})
	add("Cast", "wide", []string{"products"}, to)
	if scale := n.Attr("scale"); scale != nil {
		add("Constant", "scale1", nil, graph.Float("value_float", scale.Float))
	} else {
		add("Cast", "width_float", []string{"width"}, graph.Int("to", int64(tensor.Float32)))
		add("Sqrt", "root", []string{"width_float"})
		add("Reciprocal", "scale1", []string{"root"})
	}
	add("Cast", "scale", []string{"scale1"}, to)
	add("Mul", "scaled", []string{"wide", "scale"})
	add("Reshape", "scores", []string{"scaled", "scored"})
	if err := c.nodes(in, nodes); err != nil {
		return err
	}
	if err := c.modify(sc, in, s, scoreMod, "scores", "modified"); err != nil {
		return err
	}
	nodes = nil
	add("Softmax", "probabilities", []string{"modified"}, graph.Int("axis", -1))
	if err := c.nodes(in, nodes); err != nil {
		return err
	}
	if err := c.modify(sc, in, s, probMod, "probabilities", "weights"); err != nil {
		return err
	}
	nodes = nil
	add("CastLike", "narrow", []string{"weights", "q"})
	add("Reshape", "weights_grouped", []string{"narrow", "grouped_scores"})
	add("MatMul", "sums", []string{"weights_grouped", "v"})
	add("Reshape", "y", []string{"sums", "valued"})
	if err := c.nodes(in, nodes); err != nil {
		return err
	}
	sc.define(n.Output(0), in.names["y"])
	return nil
}

// modify lowers the graph of an attribute in the program of the node that holds it: from and to are names in the node's own scope.
func (c *compiler) modify(sc, in *scope, s *step, attr, from, to string) error {
	a := s.node.Attr(attr)
	if a == nil {
		in.names[to] = in.names[from]
		return nil
	}
	g := a.Graph
	if g == nil || len(g.Inputs) != 1 || len(g.Outputs) != 1 {
		return c.unsupported(s, "attribute \""+attr+"\" holds no graph with one input and one output")
	}
	body := &scope{prog: sc.prog, names: map[string]int{g.Inputs[0].Name: in.names[from]}, outer: sc, opsets: sc.opsets, attrs: sc.attrs,
		inFunction: sc.inFunction, calls: sc.calls, path: in.path, depth: in.depth}
	for _, init := range g.Initializers {
		k, err := c.initializer(init)
		if err != nil {
			return err
		}
		body.define(init.Name, sc.prog.constant(k))
	}
	if err := c.nodes(body, g.Nodes); err != nil {
		return err
	}
	out, err := body.find(g.Outputs[0].Name)
	if err != nil {
		return c.unsupported(s, "attribute \""+attr+"\": "+err.Error())
	}
	in.names[to] = out
	return nil
}
