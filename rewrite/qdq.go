package rewrite

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite/opset"
	"github.com/fp8rewrite/fp8rewrite/rewrite/quantize"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/shape"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// qdqOpset is the opset that a lowered model has where it can be lifted so far: ONNX Runtime 1.21 miscomputes float16 at 19.
const qdqOpset = 21

// ConvertQDQ lowers every Float8Linear of m to the form that TensorRT takes:
//
//	QuantizeLinear → DequantizeLinear on the activation, float8 weight → DequantizeLinear, then MatMul or Gemm.
//
// Scales are DequantScales in the type of the activation. A model without a Float8Linear is converted first, which helps for
// weight-only recipes alone: a delayed layer without observations is a NotCalibratedError, a dynamic one has no scale to store.
func ConvertQDQ(ctx context.Context, m *graph.Model, opt Options) (*Result, error) {
	layers := decide(m, &opt)
	res := &Result{Model: m, Recipe: opt.Recipe}
	if countExisting(layers) == 0 {
		var err error
		if res, err = Convert(ctx, m, opt); err != nil || !res.Changed {
			return res, err
		}
		return res, res.lowerOwn(&opt)
	}
	work := clone(m)
	res.liftForQDQ(work)
	res.keepRecipe()
	layers = decide(work, &opt)
	if err := lower(work, layers); err != nil {
		return nil, err
	}
	for _, l := range layers {
		if l.rewritten() && l.row.Rule != report.RuleQDQ {
			l.keep(report.Because(report.ReasonNotConverted))
			l.row.Shape = l.weight.tensor.Shape.Clone()
		}
	}
	res.Model, res.Changed, res.layers = work, true, layers
	res.Warnings = append(res.Warnings, report.NewWarning(report.WarnQDQRuntime, "model"))
	return res, nil
}

// liftForQDQ lifts m to qdqOpset where that is possible without a loss; otherwise it stays at an opset that has the operators too.
func (res *Result) liftForQDQ(m *graph.Model) {
	if m.OpsetVersion("") >= qdqOpset {
		return
	}
	if lifted, err := opset.Lift(m, qdqOpset); err == nil {
		res.Changes = append(res.Changes, report.NewChange(report.ChangeOpsetLifted, "ai.onnx", lifted.From, lifted.To))
	}
}

// lowerOwn lowers the layers that Convert has just made; the rows stay those of the conversion.
func (res *Result) lowerOwn(opt *Options) error {
	res.liftForQDQ(res.Model)
	res.Warnings = append(res.Warnings, report.NewWarning(report.WarnQDQRuntime, "model"))
	if err := lower(res.Model, decide(res.Model, opt)); err != nil {
		return err
	}
	kept := res.Changes[:0]
	for _, c := range res.Changes {
		if c.Code != report.ChangeFunctionAdded {
			kept = append(kept, c)
		}
	}
	res.Changes = kept
	return nil
}

// lower replaces the Float8Linear nodes among layers, which belong to m.
func lower(m *graph.Model, layers []*layer) error {
	before := graph.Uses(m.Graph)
	l := &lowering{buffers: new(quantize.Buffers), names: graph.NewNames(m), shapes: shape.Infer(m),
		instead: map[*graph.Node][]*graph.Node{}, zero: map[*graph.Graph]string{}, codes: map[codesKey]string{}}
	for _, row := range layers {
		if row.row.Op != opFloat8Linear {
			continue
		}
		if row.row.Reason != nil && row.row.Reason.Code == report.ReasonModelInvalid {
			return fmt.Errorf("rewrite: qdq: layer %q: %s", row.row.Name, row.row.Reason.Sentence)
		}
		if err := l.layer(row); err != nil {
			return err
		}
		if before[graph.Key{Graph: row.scope.Graph, Name: row.node.Output(ops.OutAmaxInput)}] > 0 {
			return fmt.Errorf("rewrite: qdq: layer %q: its amax %q is read, and the lowered layer has none; convert without --observe",
				row.row.Name, row.node.Output(ops.OutAmaxInput))
		}
		row.row.Decision, row.row.Rule, row.row.Reason = report.Rewritten, report.RuleQDQ, nil
	}
	replace(m.Graph, l.instead)
	cleanup(m, before)
	ops.DropUnused(m)
	return nil
}

// codesKey tells one lowered weight from another: layers that share a weight share its codes, a MatMul's [K, N] or a Gemm's [N, K].
type codesKey struct {
	graph  *graph.Graph
	weight string
	gemm   bool
}

// lowering holds what the layers of one model share.
type lowering struct {
	buffers *quantize.Buffers
	names   *graph.Names
	shapes  *shape.Info
	instead map[*graph.Node][]*graph.Node
	zero    map[*graph.Graph]string // the zero point of a graph
	codes   map[codesKey]string     // the float8 weights that have been stored
}

func (w *lowering) layer(l *layer) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("rewrite: qdq: layer %q: "+format, append([]any{l.row.Name}, args...)...)
	}
	f, err := ops.ReadLayer(l.node)
	if err != nil {
		return fail("%w", err)
	}
	switch {
	case f.Variant.Weight != ops.WeightFloat8:
		return fail("the weight is stored in its original type; got %s, want a float8 weight", f.Variant)
	case f.Variant.Input == ops.InputDynamic:
		return fail("the input is scaled dynamically, and QuantizeLinear needs a stored scale; convert the original with --recipe delayed, then run fp8rewrite calibrate")
	case f.Variant.Input == ops.InputDelayed && !l.initialized:
		return &NotCalibratedError{l.row.Name}
	}
	t := w.shapes.DType(l.scope.Graph, f.Input)
	if t == tensor.Undefined {
		t = w.shapes.DType(l.scope.Graph, f.Output)
	}
	switch t {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
	default:
		return fail("the type of the activation %q is not known; got %s, want float32, float16 or bfloat16", f.Input, t)
	}
	weight := l.scope.Find(f.Weight)
	scaleWeight, err := w.scales(l, f.ScaleWeight)
	if err != nil {
		return fail("%w", err)
	}
	if weight.Constant == nil || weight.Constant.Tensor.DType != tensor.Float8E4M3FN || len(weight.Constant.Tensor.Shape) != 2 {
		return fail("the weight %q is no float8e4m3fn matrix", f.Weight)
	}
	var scaleInput []scaling.DequantScale
	if f.Variant.Input == ops.InputDelayed {
		if scaleInput, err = w.scales(l, f.ScaleInput); err != nil {
			return fail("%w", err)
		}
	}
	p := &pair{lowering: w, layer: l, f: f, dtype: t, home: weight.Scope.Graph}
	// A scale that the activation's type cannot hold exactly enough is kept in float32, and so is what it multiplies.
	if !fits(t, scaleInput) || !fits(t, scaleWeight) {
		p.dtype = tensor.Float32
	}
	p.emit(t, weight.Constant.Tensor, scaleInput, scaleWeight)
	w.instead[l.node] = p.nodes
	return nil
}

// scales reads stored multipliers and turns them into those of DequantizeLinear.
func (w *lowering) scales(l *layer, name string) ([]scaling.DequantScale, error) {
	src := l.scope.Find(name)
	if src.Constant == nil {
		return nil, fmt.Errorf("the scale %q is no initializer", name)
	}
	v, err := src.Constant.Tensor.AsFloat32s()
	if err != nil {
		return nil, fmt.Errorf("the scale %q: %w", name, err)
	}
	out := make([]scaling.DequantScale, len(v))
	for i, s := range v {
		d := scaling.QuantScale(s).Dequant()
		if !(d > 0) || math.IsInf(float64(d), 0) {
			return nil, fmt.Errorf("the scale %q: element %d is %v, want one above zero with a finite reciprocal", name, i, s)
		}
		out[i] = d
	}
	return out, nil
}

// fits reports whether type t holds the scales to full precision: float16 loses bits below its normal range, and bfloat16 has too
// few for anything but powers of two.
func fits(t tensor.DType, scales []scaling.DequantScale) bool {
	for _, s := range scales {
		v := float32(s)
		switch t {
		case tensor.Float16:
			if v < 0x1p-14 || v > 65504 {
				return false
			}
		case tensor.BFloat16:
			if float8.BFloat16FromFloat32(v).Float32() != v {
				return false
			}
		}
	}
	return true
}

// pair makes the nodes of one lowered layer.
type pair struct {
	*lowering
	layer *layer
	f     ops.Layer
	dtype tensor.DType // of the scales and of the product
	home  *graph.Graph // that holds the weight and gets the scales
	nodes []*graph.Node
}

func (p *pair) emit(t tensor.DType, weight *tensor.Tensor, scaleInput, scaleWeight []scaling.DequantScale) {
	name := p.layer.row.Name
	x := p.f.Input
	if p.dtype != t {
		x = p.op("Cast", "", []string{x}, graph.Int("to", int64(p.dtype)))
	}
	if scaleInput != nil {
		s := p.initializer(name+".fp8_dequant_scale_input", p.scaleTensor(scaleInput, true))
		z := p.zeroPoint()
		x = p.op("QuantizeLinear", "", []string{x, s, z})
		x = p.op("DequantizeLinear", "", []string{x, s, z})
	}
	product, axis, attributes := "MatMul", int64(1), []*graph.Attribute(nil)
	gemm := p.f.Original.Op == "Gemm"
	if gemm {
		product, axis, attributes = "Gemm", 0, []*graph.Attribute{graph.Int("transB", 1)}
	}
	codes := p.weight(weight, gemm)
	perTensor := p.scalarWeightScale()
	s := p.initializer(name+".fp8_dequant_scale_weight", p.scaleTensor(scaleWeight, perTensor))
	var w string
	if perTensor {
		w = p.op("DequantizeLinear", "", []string{codes, s, p.zeroPoint()})
	} else {
		zeros := &tensor.Tensor{DType: tensor.Float8E4M3FN, Shape: tensor.Shape{int64(len(scaleWeight))}, Data: tensor.Bytes(make([]byte, len(scaleWeight)))}
		w = p.op("DequantizeLinear", "", []string{codes, s, p.initializer(name+".fp8_zero_point_weight", zeros)}, graph.Int("axis", axis))
	}
	if p.dtype != t {
		y := p.op(product, "", []string{x, w}, attributes...)
		p.op("Cast", p.f.Output, []string{y}, graph.Int("to", int64(t)))
		p.nodes[len(p.nodes)-2].Name = p.layer.node.Name
		return
	}
	p.op(product, p.f.Output, []string{x, w}, attributes...)
	p.nodes[len(p.nodes)-1].Name = p.layer.node.Name
}

// weight stores the codes as the product wants them, once for all layers that share them.
func (p *pair) weight(t *tensor.Tensor, gemm bool) string {
	key := codesKey{p.home, p.f.Weight, gemm}
	if name, ok := p.codes[key]; ok {
		return name
	}
	if !gemm {
		t = &tensor.Tensor{DType: t.DType, Shape: tensor.Shape{t.Shape[1], t.Shape[0]},
			Data: quantize.Reorder(quantize.Matrix{Source: t, N: t.Shape[1], K: t.Shape[0], Transposed: true}, p.buffers)}
	}
	p.codes[key] = p.initializer(p.layer.row.Name+".fp8_weight_qdq", t)
	return p.codes[key]
}

// scalarWeightScale reports whether the stored scale of the weight is a scalar rather than a list of one.
func (p *pair) scalarWeightScale() bool {
	src := p.layer.scope.Find(p.f.ScaleWeight)
	return len(src.Constant.Tensor.Shape) == 0
}

func (p *pair) op(opType, out string, in []string, attributes ...*graph.Attribute) string {
	if out == "" {
		out = p.names.Fresh(p.layer.row.Name + ".fp8_" + opType)
	}
	p.nodes = append(p.nodes, &graph.Node{Name: p.names.Fresh(p.layer.row.Name + "/" + opType), OpType: opType, Inputs: in,
		Outputs: []string{out}, Attributes: attributes,
		Metadata: append(append([]graph.Property(nil), withoutRule(p.layer.node.Metadata)...), graph.Property{Key: MetadataRule, Value: string(report.RuleQDQ)})})
	return out
}

func withoutRule(ps []graph.Property) []graph.Property {
	var out []graph.Property
	for _, p := range ps {
		if p.Key != MetadataRule {
			out = append(out, p)
		}
	}
	return out
}

func (p *pair) initializer(name string, t *tensor.Tensor) string {
	name = p.names.Fresh(name)
	p.home.Initializers = append(p.home.Initializers, &graph.Initializer{Name: name, Tensor: t})
	return name
}

// zeroPoint is the float8 zero that gives QuantizeLinear its output type; one serves a whole graph.
func (p *pair) zeroPoint() string {
	if z, ok := p.zero[p.home]; ok {
		return z
	}
	z := p.initializer("fp8_zero_point", &tensor.Tensor{DType: tensor.Float8E4M3FN, Shape: tensor.Shape{}, Data: tensor.Bytes{0}})
	p.zero[p.home] = z
	return z
}

// scaleTensor is the scales in the pair's type, a scalar or a list.
func (p *pair) scaleTensor(scales []scaling.DequantScale, scalar bool) *tensor.Tensor {
	shape := tensor.Shape{int64(len(scales))}
	if scalar {
		shape = tensor.Shape{}
	}
	var b []byte
	for _, s := range scales {
		switch p.dtype {
		case tensor.Float16:
			b = binary.LittleEndian.AppendUint16(b, uint16(float8.Float16FromFloat32(float32(s))))
		case tensor.BFloat16:
			b = binary.LittleEndian.AppendUint16(b, uint16(float8.BFloat16FromFloat32(float32(s))))
		default:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(s)))
		}
	}
	return &tensor.Tensor{DType: p.dtype, Shape: shape, Data: tensor.Bytes(b)}
}

func quote(s string) string { return strconv.Quote(s) }
