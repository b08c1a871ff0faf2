package rewrite

import (
	"encoding/binary"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite/quantize"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// MetadataRule is the key under which every node that a rule made carries the rule's name.
const MetadataRule = "ai.fp8rewrite.rule"

// applier puts the decisions into the model.
type applier struct {
	model   *graph.Model
	opt     *Options
	buffers *quantize.Buffers
	variant ops.Variant
	names   *graph.Names
	weights map[weightKey]*storedWeight
	homes   map[weightKey]*graph.Graph // the graph that gets the stored weight
	// instead holds what stands in a rewritten node's place.
	instead map[*graph.Node][]*graph.Node
}

// apply rewrites every layer that was decided on, in m, which the layers belong to.
func (res *Result) apply(m *graph.Model, opt *Options) error {
	before := graph.Uses(m.Graph)
	a := &applier{model: m, opt: opt, buffers: new(quantize.Buffers), variant: variant(opt), names: graph.NewNames(m), homes: map[weightKey]*graph.Graph{},
		weights: map[weightKey]*storedWeight{}, instead: map[*graph.Node][]*graph.Node{}}
	added, err := ops.Declare(m, a.variant)
	if err != nil {
		return err
	}
	if added {
		res.Changes = append(res.Changes, report.NewChange(report.ChangeFunctionAdded, a.variant.FunctionName(),
			ops.Domain+"::"+a.variant.FunctionName()))
	}
	for _, l := range res.layers {
		if l.rewritten() {
			a.settle(l)
		}
	}
	for _, l := range res.layers {
		if l.rewritten() {
			a.layer(l)
		}
	}
	replace(m.Graph, a.instead)
	res.dropAssumedInputs(m)
	cleanup(m, before)
	setProperty(m, ops.MetadataRecipe, opt.Recipe.String())
	res.weights = a.weights
	res.originalsThatStayed(m)
	return nil
}

// replace puts what stands in instead of each node in its place, at every depth.
func replace(g *graph.Graph, instead map[*graph.Node][]*graph.Node) {
	g.Walk(func(g *graph.Graph) {
		var nodes []*graph.Node
		for _, n := range g.Nodes {
			if made, ok := instead[n]; ok {
				nodes = append(nodes, made...)
			} else {
				nodes = append(nodes, n)
			}
		}
		g.Nodes = nodes
	})
}

// variant is the body that a recipe needs.
func variant(opt *Options) ops.Variant {
	v := ops.Variant{PowerOfTwo: opt.Recipe.PowerOfTwo}
	switch opt.Recipe.Input {
	case scaling.Dynamic:
		v.Input = ops.InputDynamic
	case scaling.Off:
		v.Input = ops.InputOff
	}
	if opt.Weights == OriginalWeights {
		v.Weight = ops.WeightDelayed
		if opt.Recipe.Weight == scaling.Dynamic {
			v.Weight = ops.WeightDynamic
		}
	}
	return v.Canonical()
}

// layer makes the nodes that stand in for one MatMul or Gemm (see match for the equations).
func (a *applier) layer(l *layer) {
	n, name := l.node, l.row.Name
	w := a.weight(l)
	gemm := n.OpType == "Gemm"
	original := ops.MatMul(l.weight.name)
	original.ConstantLeft = l.left
	if gemm {
		original.Op = "Gemm"
		original.TransA, original.TransB = n.AttrInt("transA", 0) != 0, n.AttrInt("transB", 0) != 0
		original.Alpha, original.Beta = n.AttrFloat("alpha", 1), n.AttrFloat("beta", 1)
	}
	c := &chain{applier: a, layer: l}
	x := l.input
	switch {
	case l.left && gemm && !original.TransB, !l.left && original.TransA, l.left && !gemm && l.rank > 1:
		x = c.transpose(x)
	}
	steps := c.after(original, n)
	f := ops.Layer{
		Name: n.Name, Variant: a.variant, Input: x, Weight: w.name, ScaleWeight: w.scale, AmaxHistoryWeight: w.history,
		AmaxInput: a.names.Fresh(name + ".fp8_amax_input"), Original: original, QuantMax: ops.QuantMax(a.opt.Recipe.Margin),
	}
	h := int64(a.opt.Recipe.HistoryLen)
	f.ScaleInput = a.state(l, ops.InScaleInput, tensor.Float32s(tensor.Shape{}, 1))
	f.AmaxHistoryInput = a.state(l, ops.InAmaxHistoryInput, zeros(h))
	f.ScaleGradOutput = a.state(l, ops.InScaleGradOutput, tensor.Float32s(tensor.Shape{}, 1))
	f.AmaxHistoryGradOutput = a.state(l, ops.InAmaxHistoryGradOutput, zeros(h))
	f.Initialized = a.state(l, ops.InInitialized, tensor.Bools(tensor.Shape{}, false))
	f.Output = n.Output(0)
	if steps > 0 {
		f.Output = a.names.Fresh(name + ".fp8_output")
	}
	node := f.Node()
	node.Doc = n.Doc
	node.Metadata = append([]graph.Property(nil), n.Metadata...)
	c.append(node)
	c.finish(f.Output, original, n, steps)
	a.instead[n] = c.nodes
	l.delayed = delayed(a.variant)
	l.row.DTypeAfter = w.tensor.DType.String()
	l.row.InputScaling = map[scaling.Mode]string{scaling.Delayed: "delayed", scaling.Dynamic: "dynamic", scaling.Off: "off"}[a.opt.Recipe.Input]
}

// chain collects the nodes around one Float8Linear.
type chain struct {
	*applier
	layer *layer
	nodes []*graph.Node
}

func (c *chain) append(n *graph.Node) {
	n.Metadata = append(n.Metadata, graph.Property{Key: MetadataRule, Value: string(c.layer.row.Rule)})
	c.nodes = append(c.nodes, n)
}

// op adds a node whose name and output begin with the layer's name; out "" makes up the output's name.
func (c *chain) op(opType, out string, in []string, attributes ...*graph.Attribute) string {
	if out == "" {
		out = c.names.Fresh(c.layer.row.Name + ".fp8_" + opType)
	}
	c.append(&graph.Node{Name: c.names.Fresh(c.layer.row.Name + "/" + opType), OpType: opType, Inputs: in, Outputs: []string{out},
		Attributes: attributes})
	return out
}

// transpose exchanges the last two axes of a value of rank l.rank.
func (c *chain) transpose(x string) string { return c.turn(x, "") }

func (c *chain) turn(x, out string) string {
	perm := make([]int64, c.layer.rank)
	for i := range perm {
		perm[i] = int64(i)
	}
	r := len(perm)
	perm[r-2], perm[r-1] = perm[r-1], perm[r-2]
	return c.op("Transpose", out, []string{x}, graph.Ints("perm", perm...))
}

// after counts the nodes that finish adds.
func (c *chain) after(o ops.Original, n *graph.Node) int {
	steps := 0
	if c.turnsBack(o) {
		steps++
	}
	if o.Op == "Gemm" {
		if o.Alpha != 1 {
			steps++
		}
		if n.Input(2) != "" && o.Beta != 0 {
			steps++
		}
	}
	return steps
}

func (c *chain) turnsBack(o ops.Original) bool {
	return o.ConstantLeft && c.layer.rank > 1
}

// finish adds what comes after the Float8Linear: the transpose back, alpha, and the bias times beta, which stays an Add in the
// model's own type. The last node has the original output's name.
func (c *chain) finish(y string, o ops.Original, n *graph.Node, steps int) {
	out := func() string {
		if steps--; steps == 0 {
			return n.Output(0)
		}
		return ""
	}
	if c.turnsBack(o) {
		y = c.turn(y, out())
	}
	if o.Op != "Gemm" {
		return
	}
	if o.Alpha != 1 {
		y = c.times(y, "alpha", o.Alpha, out())
	}
	if bias := n.Input(2); bias != "" && o.Beta != 0 {
		if o.Beta != 1 {
			bias = c.scaledBias(bias, o.Beta)
		}
		c.op("Add", out(), []string{y, bias})
	}
}

// times multiplies y by v, in the layer's type where that holds v exactly, else in float32: float16 would make an infinity of 1e5.
func (c *chain) times(y, what string, v float32, out string) string {
	t := c.layer.weight.dtype
	b, exact := encode(t, v)
	if exact {
		return c.op("Mul", out, []string{y, c.scalar(what, &tensor.Tensor{DType: t, Shape: tensor.Shape{}, Data: tensor.Bytes(b)})})
	}
	y = c.op("Cast", "", []string{y}, graph.Int("to", int64(tensor.Float32)))
	y = c.op("Mul", "", []string{y, c.scalar(what, tensor.Float32s(tensor.Shape{}, v))})
	return c.op("Cast", out, []string{y}, graph.Int("to", int64(t)))
}

func (c *chain) scalar(what string, t *tensor.Tensor) string {
	return c.initializer(c.layer.scope.Graph, c.layer.row.Name+".fp8_"+what, t)
}

// maxFoldedBias is how large a constant bias is multiplied by beta here and now, in elements.
const maxFoldedBias = 1 << 20

// scaledBias is beta times the bias: a new constant where the bias is one (ONNX Runtime warns of a float16 product of constants that
// it cannot fold), a Mul otherwise.
func (c *chain) scaledBias(bias string, beta float32) string {
	k := resolve(c.layer.scope, bias, c.model.IRVersion, c.opt.AssumeConstant)
	if k == nil || k.problem != nil || k.input != nil || k.turned || k.dtype != k.tensor.DType || k.tensor.Elements() > maxFoldedBias {
		return c.times(bias, "beta", beta, "")
	}
	data, err := k.tensor.Bytes()
	if err != nil {
		return c.times(bias, "beta", beta, "")
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i += k.dtype.Bits() / 8 {
		b, _ := encode(k.dtype, beta*decode(k.dtype, data[i:]))
		out = append(out, b...)
	}
	return c.scalar("bias", &tensor.Tensor{DType: k.dtype, Shape: k.shape, Data: tensor.Bytes(out)})
}

// encode is v in one of the types that a layer may have, and whether that is v itself.
func encode(t tensor.DType, v float32) (b []byte, exact bool) {
	switch t {
	case tensor.Float16:
		h := float8.Float16FromFloat32(v)
		return []byte{byte(h), byte(h >> 8)}, h.Float32() == v
	case tensor.BFloat16:
		h := float8.BFloat16FromFloat32(v)
		return []byte{byte(h), byte(h >> 8)}, h.Float32() == v
	}
	return binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)), true
}

// decode reads the first element of b.
func decode(t tensor.DType, b []byte) float32 {
	switch t {
	case tensor.Float16:
		return float8.Float16(binary.LittleEndian.Uint16(b)).Float32()
	case tensor.BFloat16:
		return float8.BFloat16(binary.LittleEndian.Uint16(b)).Float32()
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(b))
}

// state adds the initializer that feeds input i of a layer to the graph that the layer is in. ONNX Runtime 1.21 does not let the
// subgraphs of its own operators, such as BeamSearch, read a float8 tensor of the graph around them.
func (a *applier) state(l *layer, i int, t *tensor.Tensor) string {
	return a.initializer(l.scope.Graph, ops.StateName(l.row.Name, i), t)
}

func (a *applier) initializer(g *graph.Graph, name string, t *tensor.Tensor) string {
	name = a.names.Fresh(name)
	g.Initializers = append(g.Initializers, &graph.Initializer{Name: name, Tensor: t})
	return name
}

func zeros(n int64) *tensor.Tensor { return tensor.Float32s(tensor.Shape{n}, make([]float32, n)...) }

// dropAssumedInputs takes the inputs away that callers could have overridden and that were taken for constants.
func (res *Result) dropAssumedInputs(m *graph.Model) {
	drop := map[*graph.Value]bool{}
	for _, l := range res.layers {
		if l.rewritten() && l.weight.input != nil && !drop[l.weight.input] {
			drop[l.weight.input] = true
			res.Changes = append(res.Changes, report.NewChange(report.ChangeInputDropped, l.weight.name, l.weight.name))
			res.Warnings = append(res.Warnings, report.NewWarning(report.WarnAssumedConstant, l.weight.name, l.weight.name))
		}
	}
	m.Graph.Walk(func(g *graph.Graph) {
		var inputs []*graph.Value
		for _, v := range g.Inputs {
			if !drop[v] {
				inputs = append(inputs, v)
			}
		}
		g.Inputs = inputs
	})
}

func setProperty(m *graph.Model, key, value string) {
	for i, p := range m.Metadata {
		if p.Key == key {
			m.Metadata[i].Value = value
			return
		}
	}
	m.Metadata = append(m.Metadata, graph.Property{Key: key, Value: value})
}
