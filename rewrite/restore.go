package rewrite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite/quantize"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/shape"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// ErrNothingToRestore says that a model has no Float8Linear.
var ErrNothingToRestore = errors.New("the model has no Float8Linear")

// Restored is a model whose Float8Linear nodes are MatMul and Gemm again.
type Restored struct {
	Model *graph.Model
	Rows  []report.Layer
}

// Restore gives every Float8Linear of m its MatMul or Gemm back:
//
//	Float8Linear(x, W8) → MatMul(x, Wᵀ), Gemm(x, Wᵀ) or Gemm(x, W, transB=1), W = T(W8 · amax/448)
//
// in the type T of the activation, which dtype names where it is not Undefined. The nodes around the layer that did what alpha, beta and a
// transposed activation ask for stay, and so does the opset. m is not changed.
func Restore(m *graph.Model, dtype tensor.DType) (*Restored, error) {
	work := clone(m)
	opt := Options{Recipe: scaling.DefaultRecipe()}
	layers := decide(work, &opt)
	if countExisting(layers) == 0 {
		return nil, ErrNothingToRestore
	}
	r := &restoring{lowering: lowering{buffers: new(quantize.Buffers), names: graph.NewNames(work), shapes: shape.Infer(work),
		instead: map[*graph.Node][]*graph.Node{}, codes: map[codesKey]string{}}, dtype: dtype}
	before := graph.Uses(work.Graph)
	out := &Restored{Model: work}
	for _, l := range layers {
		if l.row.Op != opFloat8Linear {
			continue
		}
		if l.row.Reason != nil && l.row.Reason.Code == report.ReasonModelInvalid {
			return nil, fmt.Errorf("rewrite: restore: layer %q: %s", l.row.Name, l.row.Reason.Sentence)
		}
		amax := l.node.Output(ops.OutAmaxInput)
		if before[graph.Key{Graph: l.scope.Graph, Name: amax}] > 0 {
			return nil, fmt.Errorf("rewrite: restore: layer %q: its amax %q is read, and a MatMul has none; convert the original without --observe", l.row.Name, amax)
		}
		row, err := r.layer(l)
		if err != nil {
			return nil, fmt.Errorf("rewrite: restore: layer %q: %w", l.row.Name, err)
		}
		out.Rows = append(out.Rows, row)
	}
	replace(work.Graph, r.instead)
	cleanup(work, before)
	ops.DropUnused(work)
	var kept []graph.Property
	for _, p := range work.Metadata {
		if p.Key != ops.MetadataRecipe {
			kept = append(kept, p)
		}
	}
	work.Metadata = kept
	return out, nil
}

// restoring holds what the layers of one model share; of lowering it uses what both ways back need.
type restoring struct {
	lowering
	dtype tensor.DType
}

func (r *restoring) layer(l *layer) (report.Layer, error) {
	row := report.Layer{Name: l.row.Name, Node: l.row.Node, Op: l.row.Op, Graph: l.row.Graph, Decision: report.Rewritten, Rule: report.RuleRestore}
	f, err := ops.ReadLayer(l.node)
	if err != nil {
		return row, err
	}
	t := r.shapes.DType(l.scope.Graph, f.Input)
	if t == tensor.Undefined {
		t = r.shapes.DType(l.scope.Graph, f.Output)
	}
	switch {
	case t == tensor.Undefined && r.dtype != tensor.Undefined:
		t = r.dtype
	case t != tensor.Float32 && t != tensor.Float16 && t != tensor.BFloat16:
		return row, fmt.Errorf("the type of the activation %q is not known; got %s, want float32, float16 or bfloat16", f.Input, t)
	case r.dtype != tensor.Undefined && r.dtype != t:
		return row, fmt.Errorf("its activation is %s, and a product has one type: %s was asked for", t, r.dtype)
	}
	src := l.scope.Find(f.Weight)
	if src.Constant == nil || len(src.Constant.Tensor.Shape) != 2 {
		return row, fmt.Errorf("the weight %q is no constant matrix", f.Weight)
	}
	w := src.Constant.Tensor
	row.Weight, row.Shape, row.DTypeBefore, row.DTypeAfter = f.Weight, w.Shape.Clone(), w.DType.String(), t.String()
	row.Elements, row.BytesBefore = w.Elements(), w.Size()
	rows := f.Original.Op == "Gemm" && f.Original.TransB // the weight was stored as [N, K]
	key := codesKey{src.Scope.Graph, f.Weight, rows}
	name, stored := r.codes[key]
	if !stored {
		full, err := r.full(l, f, w, t, rows)
		if err != nil {
			return row, err
		}
		want := f.Original.Weight
		if want == "" {
			want = l.row.Name + ".weight"
		}
		name = r.names.Fresh(want)
		src.Scope.Graph.Initializers = append(src.Scope.Graph.Initializers, &graph.Initializer{Name: name, Tensor: full})
		r.codes[key] = name
	}
	row.BytesAfter = row.Elements * int64(t.Bits()/8)
	n := &graph.Node{Name: l.node.Name, OpType: "MatMul", Inputs: []string{f.Input, name}, Outputs: []string{f.Output}, Metadata: withoutRule(l.node.Metadata)}
	if f.Original.Op == "Gemm" {
		n.OpType = "Gemm"
	}
	if rows {
		n.Attributes = []*graph.Attribute{graph.Int("transB", 1)}
	}
	r.instead[l.node] = []*graph.Node{n}
	return row, nil
}

// full is the weight in type t, as [N, K] or as [K, N].
func (r *restoring) full(l *layer, f ops.Layer, w *tensor.Tensor, t tensor.DType, rows bool) (*tensor.Tensor, error) {
	turned := w
	if !rows {
		turned = &tensor.Tensor{DType: w.DType, Shape: tensor.Shape{w.Shape[1], w.Shape[0]},
			Data: quantize.Reorder(quantize.Matrix{Source: w, N: w.Shape[1], K: w.Shape[0], Transposed: true}, r.buffers)}
	}
	if f.Variant.Weight != ops.WeightFloat8 {
		if w.DType != t {
			return nil, fmt.Errorf("the weight %q is %s, want %s", f.Weight, w.DType, t)
		}
		return turned, nil
	}
	if w.DType != tensor.Float8E4M3FN {
		return nil, fmt.Errorf("the weight %q is %s, want float8e4m3fn", f.Weight, w.DType)
	}
	scales, err := r.dequant(l, f)
	if err != nil {
		return nil, err
	}
	if n := int64(len(scales)); n != 1 && n != w.Shape[0] {
		return nil, fmt.Errorf("%d weight scales, want 1 or %d", n, w.Shape[0])
	}
	run := w.Shape[1] // elements that one scale covers, where each channel has its own
	if !rows {
		run = 1
	}
	return &tensor.Tensor{DType: t, Shape: turned.Shape, Data: &decoded{codes: turned.Data, dtype: t, scales: scales, run: run}}, nil
}

// dequant are the multipliers back from float8, amax/448 each, in float64: so the code of the amax becomes the amax again, and a restored weight
// gets the same scale when it is converted again, which the reciprocal of the multiplier would not give. The history has the amax of the whole
// weight; that of another channel is one that gives the channel's multiplier.
func (r *restoring) dequant(l *layer, f ops.Layer) ([]float64, error) {
	if _, err := r.scales(l, f.ScaleWeight); err != nil { // holds them to be positive, with finite reciprocals
		return nil, err
	}
	quant, err := l.scope.Find(f.ScaleWeight).Constant.Tensor.AsFloat32s()
	if err != nil {
		return nil, err
	}
	whole := float32(0)
	if f.AmaxHistoryWeight != "" {
		if history := l.scope.Find(f.AmaxHistoryWeight); history.Constant != nil {
			if v, err := history.Constant.Tensor.AsFloat32s(); err == nil && len(v) > 0 && scaling.Usable(v[0]) {
				whole = v[0]
			}
		}
	}
	out := make([]float64, len(quant))
	for i, q := range quant {
		out[i] = float64(amaxOf(q, f.QuantMax, whole)) / float64(f.QuantMax)
	}
	return out, nil
}

// amaxOf is an amax that gives the multiplier quant: whole where it does, else one near quantMax/quant, and that itself where none does, as
// for multipliers that were floored to a power of two.
func amaxOf(quant, quantMax, whole float32) float32 {
	r := scaling.DefaultRecipe()
	gives := func(amax float32) bool { return float32(r.Scale(quantMax, amax, 0)) == quant }
	if whole > 0 && gives(whole) {
		return whole
	}
	near := quantMax / quant
	up, down := near, near
	for range 8 {
		if gives(down) {
			return down
		}
		if gives(up) {
			return up
		}
		up, down = math.Nextafter32(up, math.MaxFloat32), math.Nextafter32(down, 0)
	}
	return near
}

// decoded is float8 codes as values of another type, made while they are written. Element i has scale i/run modulo the number of scales.
type decoded struct {
	codes  tensor.Data
	dtype  tensor.DType
	scales []float64
	run    int64
}

// Size is the number of bytes.
func (d *decoded) Size() int64 { return d.codes.Size() * int64(d.dtype.Bits()/8) }

// WriteTo writes the values.
func (d *decoded) WriteTo(w io.Writer) (int64, error) {
	t := &decoder{decoded: d, w: w, values: make([]float32, decodePiece), words: make([]uint16, decodePiece)}
	for c := range t.table {
		t.table[c] = float64(float8.E4M3FN(c).Float32())
	}
	_, err := d.codes.WriteTo(t)
	return t.written, err
}

// decodePiece is how many codes become values at a time.
const decodePiece = 1 << 16

type decoder struct {
	*decoded
	w       io.Writer
	at      int64 // codes seen
	written int64
	table   [256]float64 // the values of the codes
	values  []float32
	words   []uint16
	bytes   []byte
}

// Write takes codes.
func (d *decoder) Write(codes []byte) (int, error) {
	for taken := 0; taken < len(codes); {
		piece := codes[taken:min(taken+decodePiece, len(codes))]
		values := d.values[:len(piece)]
		if len(d.scales) == 1 {
			for i, c := range piece {
				values[i] = float32(d.table[c] * d.scales[0])
			}
		} else {
			for i, c := range piece {
				values[i] = float32(d.table[c] * d.scales[(d.at+int64(i))/d.run%int64(len(d.scales))])
			}
		}
		if err := d.emit(values); err != nil {
			return taken, err
		}
		taken += len(piece)
		d.at += int64(len(piece))
	}
	return len(codes), nil
}

func (d *decoder) emit(values []float32) error {
	b := d.bytes[:0]
	switch d.dtype {
	case tensor.Float32:
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	default:
		words := d.words[:len(values)]
		if d.dtype == tensor.Float16 {
			float8.NarrowFloat16(words, values)
		} else {
			float8.NarrowBFloat16(words, values)
		}
		for _, v := range words {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
	}
	d.bytes = b
	n, err := d.w.Write(b)
	d.written += int64(n)
	return err
}
