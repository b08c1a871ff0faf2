package specialize

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// microsoft is the domain of the operators that ONNX Runtime's optimizer writes, defined in
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md.
const microsoft = "com.microsoft"

// spell puts ONNX's own operators in place of those of ONNX Runtime that say the same in one word: of Gelu, of norms with a sum before them,
// of attention without mask and cache, of products of transposed matrices. They need the target version; before it, and in other forms, they
// stay.
func (w *work) spell() bool {
	if !w.lifted {
		return false
	}
	changed := false
	local := map[string]bool{}
	for _, f := range w.m.Functions {
		if f.Domain == microsoft {
			local[f.Name] = true
		}
	}
	s := &speller{work: w}
	nodes := w.g.Nodes[:0:0]
	for _, n := range w.g.Nodes {
		s.made = nil
		if n.Domain == microsoft && !local[n.OpType] && s.node(n) {
			nodes = append(nodes, s.made...)
			changed = true
		} else {
			nodes = append(nodes, n)
		}
	}
	w.g.Nodes = nodes
	return changed
}

// speller makes the nodes in place of one.
type speller struct {
	*work
	made []*graph.Node
}

// add makes a node and gives its first output, which has a fresh name unless out names it.
func (s *speller) add(from *graph.Node, op, out string, inputs []string, attrs ...*graph.Attribute) string {
	if out == "" {
		out = s.names.Fresh(from.Output(0) + "/" + op)
	}
	s.made = append(s.made, &graph.Node{Name: s.names.Fresh(from.Name + "/" + op), OpType: op, Inputs: inputs, Outputs: []string{out}, Attributes: attrs,
		Metadata: from.Metadata})
	return out
}

// only reports whether n has no attributes but these, and no outputs but those at these indices.
func only(n *graph.Node, attrs []string, outputs ...int) bool {
	for _, a := range n.Attributes {
		if !slices.Contains(attrs, a.Name) {
			return false
		}
	}
	for i, o := range n.Outputs {
		if o != "" && !slices.Contains(outputs, i) {
			return false
		}
	}
	return n.Output(0) != "" && n.Input(0) != ""
}

func (s *speller) node(n *graph.Node) bool {
	x, out := n.Input(0), n.Output(0)
	switch n.OpType {
	case "Gelu", "BiasGelu", "FastGelu":
		if !only(n, nil, 0) {
			return false
		}
		if b := n.Input(1); b != "" {
			x = s.add(n, "Add", "", []string{x, b})
		}
		how := "none"
		if n.OpType == "FastGelu" {
			how = "tanh"
		}
		s.add(n, "Gelu", out, []string{x}, graph.Str("approximate", how))
		return true
	case "SkipLayerNormalization", "SkipSimplifiedLayerNormalization":
		return s.skipNorm(n)
	case "Attention":
		return s.attention(n)
	case "MultiHeadAttention":
		return s.multiHead(n)
	case "FusedMatMul":
		return s.product(n)
	}
	return false
}

// skipNorm: y = norm(x + skip + bias), and output 3 is the sum.
func (s *speller) skipNorm(n *graph.Node) bool {
	if !only(n, []string{"epsilon"}, 0, 3) || n.Input(1) == "" || n.Input(2) == "" {
		return false
	}
	full := n.OpType == "SkipLayerNormalization"
	bias := n.Input(3)
	if full {
		bias = n.Input(4)
	}
	var sum string
	if bias == "" {
		sum = s.add(n, "Add", n.Output(3), []string{n.Input(0), n.Input(1)})
	} else {
		sum = s.add(n, "Add", "", []string{n.Input(0), n.Input(1)})
		sum = s.add(n, "Add", n.Output(3), []string{sum, bias})
	}
	attrs := []*graph.Attribute{graph.Int("axis", -1), graph.Float("epsilon", n.AttrFloat("epsilon", 1e-12))}
	switch {
	case !full:
		s.add(n, "RMSNormalization", n.Output(0), []string{sum, n.Input(2)}, attrs...)
	case n.Input(3) != "":
		s.add(n, "LayerNormalization", n.Output(0), []string{sum, n.Input(2), n.Input(3)}, attrs...)
	default:
		s.add(n, "LayerNormalization", n.Output(0), []string{sum, n.Input(2)}, attrs...)
	}
	return true
}

// heads are the attributes of attention, false where one cannot be said. A causal mask is the operator's own, since without a cache there are as
// many keys as queries.
func (s *speller) heads(n *graph.Node, inputs int, more ...string) ([]*graph.Attribute, bool) {
	heads := n.AttrInt("num_heads", 0)
	if heads < 1 || !only(n, append([]string{"num_heads", "unidirectional", "scale", "mask_filter_value"}, more...), 0) {
		return nil, false
	}
	for _, in := range n.Inputs[min(inputs, len(n.Inputs)):] {
		if in != "" {
			return nil, false
		}
	}
	attrs := []*graph.Attribute{graph.Int("q_num_heads", heads), graph.Int("kv_num_heads", heads)}
	if scale := n.AttrFloat("scale", 0); scale != 0 {
		attrs = append(attrs, graph.Float("scale", scale))
	}
	if n.AttrInt("unidirectional", 0) != 0 {
		attrs = append(attrs, graph.Int("is_causal", 1))
	}
	return attrs, true
}

// attention: q, k, v = split(x·w + b), w [size, 3·hidden].
func (s *speller) attention(n *graph.Node) bool {
	attrs, ok := s.heads(n, 3)
	w := s.consts[n.Input(1)]
	if rank, known := s.info.Rank(s.g, n.Input(0)); !ok || !known || rank != 3 || w == nil || len(w.Shape) != 2 || w.Shape[1]%3 != 0 {
		return false
	}
	all := s.add(n, "MatMul", "", []string{n.Input(0), n.Input(1)})
	if b := n.Input(2); b != "" {
		all = s.add(n, "Add", "", []string{all, b})
	}
	part := func() string { return s.names.Fresh(n.Output(0) + "/part") }
	parts := []string{part(), part(), part()}
	s.made = append(s.made, &graph.Node{Name: s.names.Fresh(n.Name + "/Split"), OpType: "Split", Inputs: []string{all}, Outputs: parts,
		Attributes: []*graph.Attribute{graph.Int("axis", -1), graph.Int("num_outputs", 3)}})
	s.add(n, "Attention", n.Output(0), parts, attrs...)
	return true
}

// multiHead: q, k, v come apart, [batch, positions, hidden], with a bias over all of them in input 3. As heads or packed they stay.
func (s *speller) multiHead(n *graph.Node) bool {
	attrs, ok := s.heads(n, 4)
	if !ok || n.Input(1) == "" || n.Input(2) == "" || n.AttrInt("unidirectional", 0) != 0 {
		return false
	}
	operands := slices.Clone(n.Inputs[:3])
	for _, o := range operands {
		if rank, ok := s.info.Rank(s.g, o); !ok || rank != 3 {
			return false
		}
	}
	if b := n.Input(3); b != "" {
		t := s.consts[b]
		if t == nil || len(t.Shape) != 1 || t.Shape[0]%3 != 0 || t.DType.Bits()%8 != 0 {
			return false
		}
		raw, err := t.Bytes()
		if err != nil {
			return false
		}
		for i := range operands {
			name := s.names.Fresh(b + "/part")
			size := len(raw) / 3
			s.constant(name, &tensor.Tensor{DType: t.DType, Shape: tensor.Shape{t.Shape[0] / 3}, Data: tensor.Bytes(raw[i*size:][:size])})
			operands[i] = s.add(n, "Add", "", []string{operands[i], name})
		}
	}
	s.add(n, "Attention", n.Output(0), operands, attrs...)
	return true
}

// product: alpha·A·B, of matrices of which either is transposed first.
func (s *speller) product(n *graph.Node) bool {
	if !only(n, []string{"alpha", "transA", "transB"}, 0) || len(n.Inputs) != 2 {
		return false
	}
	operands := slices.Clone(n.Inputs)
	d := s.info.DType(s.g, n.Input(0))
	alpha := n.AttrFloat("alpha", 1)
	for i, trans := range []string{"transA", "transB"} {
		rank, ok := s.info.Rank(s.g, operands[i])
		if !ok || rank < 2 || alpha != 1 && d != tensor.Float32 {
			return false
		}
		if n.AttrInt(trans, 0) == 0 {
			continue
		}
		perm := make([]int64, rank)
		for k := range perm {
			perm[k] = int64(k)
		}
		perm[rank-2], perm[rank-1] = perm[rank-1], perm[rank-2]
		operands[i] = s.add(n, "Transpose", "", []string{operands[i]}, graph.Ints("perm", perm...))
	}
	if alpha == 1 {
		s.add(n, "MatMul", n.Output(0), operands)
		return true
	}
	name := s.names.Fresh(n.Output(0) + "/alpha")
	s.constant(name, tensor.Float32s(tensor.Shape{}, alpha))
	s.add(n, "Mul", n.Output(0), []string{s.add(n, "MatMul", "", operands), name})
	return true
}
