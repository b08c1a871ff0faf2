package rewrite

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite/quantize"
	"github.com/fp8rewrite/fp8rewrite/shape"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// layer is one MatMul, Gemm or Float8Linear with the decision about it.
type layer struct {
	row   report.Layer
	node  *graph.Node
	scope *graph.Scope

	// The rest is set for a layer that is rewritten.
	weight *constant
	matrix quantize.Matrix
	input  string // the operand that is not constant
	left   bool   // the constant is the first operand
	rank   int    // of input, where left needs it
	amax   quantize.Amax

	// What the layer's state is, in the resulting model.
	delayed, initialized bool
}

func (l *layer) rewritten() bool { return l.row.Decision == report.Rewritten }

// keep turns the decision to no.
func (l *layer) keep(r *report.Reason) {
	l.row.Decision, l.row.Rule, l.row.Reason = report.Kept, "", r
	l.row.InputScaling = ""
	if l.row.DTypeAfter != "" {
		l.row.DTypeAfter = l.row.DTypeBefore
	}
}

// decider walks a model and decides on every layer; it changes nothing.
type decider struct {
	model  *graph.Model
	opt    *Options
	shapes *shape.Info
	names  map[string]int // the names given, each with the suffix to try next
	layers []*layer
}

// decide finds every MatMul, Gemm and Float8Linear of the model, in graph order, functions last.
func decide(m *graph.Model, opt *Options) []*layer {
	d := &decider{model: m, opt: opt, shapes: shape.Infer(m), names: map[string]int{}}
	d.graph(graph.NewScope(m.Graph, nil, nil), "", "")
	for _, f := range m.Functions {
		if isOwnDomain(f.Domain) {
			continue
		}
		body := &graph.Graph{Nodes: f.Nodes, Values: f.Values}
		for _, in := range f.Inputs {
			body.Inputs = append(body.Inputs, &graph.Value{Name: in})
		}
		name := f.Domain + "::" + f.Name
		d.graph(graph.NewScope(body, nil, nil), "function "+name, name)
	}
	return d.layers
}

// graph decides on the layers of one graph, which lies at path; function names the function around it, "" for none.
func (d *decider) graph(s *graph.Scope, path, function string) {
	for i, n := range s.Graph.Nodes {
		switch {
		case n.Is("MatMul"), n.Is("Gemm"):
			d.layers = append(d.layers, d.linear(s, n, path, function))
		case isFloat8Linear(n):
			d.layers = append(d.layers, d.existing(s, n, path))
		}
		for _, a := range n.Attributes {
			holder := n.Name
			if holder == "" {
				holder = fmt.Sprintf("%s_%d", n.OpType, i)
			}
			at := holder + "/" + a.Name
			if path != "" {
				at = path + "/" + at
			}
			if a.Graph != nil {
				d.graph(s.Inner(a.Graph, n), at, function)
			}
			for j, g := range a.Graphs {
				d.graph(s.Inner(g, n), fmt.Sprintf("%s[%d]", at, j), function)
			}
		}
	}
}

// linear decides on one MatMul or Gemm.
func (d *decider) linear(s *graph.Scope, n *graph.Node, path, function string) *layer {
	l := &layer{node: n, scope: s}
	l.row = report.Layer{Node: n.Name, Op: n.OpType, Graph: path, Decision: report.Kept, Shape: []int64{}}
	a, b := operands(s, n, d.model.IRVersion, d.opt.AssumeConstant)
	weight := b
	if b == nil {
		weight, l.left = a, a != nil
	}
	l.row.Name = d.unique(layerName(n, weightName(weight)))
	switch {
	case len(n.Inputs) < 2 || n.Input(0) == "" || n.Input(1) == "" || n.Output(0) == "":
		l.keep(report.Because(report.ReasonModelInvalid, report.Text("it lacks an operand or its output")))
		return l
	case weight == nil:
		l.keep(report.Because(report.ReasonNoConstantOperand))
		return l
	}
	l.describe(weight)
	switch {
	case a != nil && b != nil:
		l.keep(report.Because(report.ReasonBothConstant))
	case weight.problem != nil:
		l.keep(weight.problem)
	case function != "":
		why := d.opt.notInlined
		if why == "" {
			why = "none of its calls is expanded"
		}
		l.keep(report.Because(report.ReasonInFunction, function, report.Text(why)))
	default:
		l.weight = weight
		if r := d.match(l); r != nil {
			l.keep(r)
		}
	}
	return l
}

func weightName(c *constant) string {
	if c == nil {
		return ""
	}
	return c.name
}

// describe fills in what the report says of a constant operand, whatever becomes of it.
func (l *layer) describe(c *constant) {
	l.row.Weight = c.name
	l.row.DTypeBefore = c.dtype.String()
	if c.tensor == nil {
		return
	}
	l.row.DTypeBefore = c.tensor.DType.String()
	l.row.DTypeAfter = l.row.DTypeBefore
	if len(c.tensor.Shape) > 0 {
		l.row.Shape = c.tensor.Shape.Clone()
	}
	l.row.Elements = c.tensor.Elements()
	l.row.BytesBefore = c.tensor.Size()
	l.row.BytesAfter = l.row.BytesBefore
}

// match sets the rule, or says why none applies. The rules are
//
//	matmul       x · W                     = Float8Linear(x, Wᵀ)
//	matmul-left  W · x                     = Float8Linear(xᵀ, W)ᵀ
//	gemm         α · op(x) · op(W) + β · c = α · Float8Linear(op(x), op(W)ᵀ) + β · c, and the same with W on the left
//
// where xᵀ exchanges the last two axes.
func (d *decider) match(l *layer) *report.Reason {
	n, c := l.node, l.weight
	if name := wrongAttribute(n); name != "" {
		return report.Because(report.ReasonModelInvalid, report.Text("its attribute "+quote(name)+" has the wrong type"))
	}
	gemm := n.OpType == "Gemm"
	l.input = n.Input(0)
	transW := n.AttrInt("transB", 0) != 0
	if l.left {
		l.input = n.Input(1)
		transW = n.AttrInt("transA", 0) != 0
	}
	rank, rankKnown := d.shapes.Rank(l.scope.Graph, l.input)
	dims := c.shape
	switch {
	case len(dims) < 2:
		return report.Because(report.ReasonWeightRank, c.name, len(dims))
	case len(dims) > 2 && (l.left || gemm):
		if gemm {
			return report.Because(report.ReasonWeightRank, c.name, len(dims))
		}
		return report.Because(report.ReasonLeftConstantBatched, c.name, len(dims))
	case len(dims) > 2:
		// One matrix with leading axes of length 1 gives the same result as the matrix alone where x has as many axes.
		for _, dim := range dims[:len(dims)-2] {
			if dim != 1 {
				return report.Because(report.ReasonWeightBatched, c.name, dims)
			}
		}
		if !rankKnown || rank < len(dims) {
			return report.Because(report.ReasonWeightBatched, c.name, dims)
		}
		dims = dims[len(dims)-2:]
	}
	if dims[0] == 0 || dims[1] == 0 {
		return report.Because(report.ReasonWeightEmpty, c.name, c.shape)
	}
	switch c.dtype {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
	default:
		return report.Because(report.ReasonWeightDType, c.name, c.dtype)
	}
	switch t := d.shapes.DType(l.scope.Graph, l.input); t {
	case tensor.Undefined, c.dtype:
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
		return report.Because(report.ReasonModelInvalid, report.Text(fmt.Sprintf("its operands are %s and %s", t, c.dtype)))
	default:
		return report.Because(report.ReasonInputDType, l.input, t)
	}
	if gemm && rankKnown && rank != 2 {
		return report.Because(report.ReasonGemmInputRank, l.input, rank)
	}
	if l.left && !gemm {
		if !rankKnown {
			return report.Because(report.ReasonLeftConstantRankUnknown, c.name, l.input)
		}
		if dims[1] == 1 {
			// An outer product with positions or frequencies, as in a rotary embedding: nothing is summed.
			return report.Because(report.ReasonLeftConstantOuter, c.name, c.shape)
		}
	}
	l.rank = rank
	if gemm {
		l.rank = 2
	}
	// The operand is [N, K] on the left, [K, N] on the right, the other way round under trans.
	nFirst := l.left != transW
	l.matrix = quantize.Matrix{Source: c.tensor, N: dims[1], K: dims[0], Transposed: nFirst == c.turned}
	if nFirst {
		l.matrix.N, l.matrix.K = dims[0], dims[1]
	}
	if err := l.matrix.Check(); err != nil {
		return report.Because(report.ReasonModelInvalid, report.Text(err.Error()))
	}
	if d.opt.Weights == OriginalWeights && c.tensor.DType != c.dtype {
		return report.Because(report.ReasonWeightUnresolved, c.name, report.Text("Cast"))
	}
	if r := d.opt.filter(l.row.Name, l.matrix.N, l.matrix.K); r != nil {
		return r
	}
	l.row.Decision = report.Rewritten
	switch {
	case gemm:
		l.row.Rule = report.RuleGemm
	case l.left:
		l.row.Rule = report.RuleMatMulLeft
	default:
		l.row.Rule = report.RuleMatMul
	}
	l.row.Shape = []int64{l.matrix.N, l.matrix.K}
	return nil
}

// wrongAttribute is the name of an attribute of a Gemm that is not of the type that the operator gives it, "" when there is none.
func wrongAttribute(n *graph.Node) string {
	if n.OpType != "Gemm" {
		return ""
	}
	for _, want := range []struct {
		name string
		kind graph.AttributeKind
	}{{"transA", graph.AttrInt}, {"transB", graph.AttrInt}, {"alpha", graph.AttrFloat}, {"beta", graph.AttrFloat}} {
		if a := n.Attr(want.name); a != nil && (a.Kind != want.kind || a.Ref != "") {
			return want.name
		}
	}
	return ""
}

// unique makes name one that no layer before has: name_2, name_3 and so on where it is taken.
func (d *decider) unique(name string) string {
	out := name
	i, taken := d.names[name]
	for ; taken; i++ {
		out = fmt.Sprintf("%s_%d", name, i)
		_, taken = d.names[out]
	}
	d.names[name] = max(i, 2)
	if out != name {
		d.names[out] = 2
	}
	return out
}
