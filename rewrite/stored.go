package rewrite

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite/quantize"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// weightKey tells one stored weight from another: layers that read the same constant the same way share it.
type weightKey struct {
	graph  *graph.Graph
	source string
	n, k   int64
	turned bool
}

func (l *layer) weightKey() weightKey {
	return weightKey{l.weight.scope.Graph, l.weight.name, l.matrix.N, l.matrix.K, l.matrix.Transposed}
}

// storedWeight is the weight of one or more layers in the rewritten model, with its state.
type storedWeight struct {
	first                *layer
	name, scale, history string // of the initializers
	tensor               *tensor.Tensor
	scales               []scaling.QuantScale
	float8               *quantize.Weight // nil when the original type is kept
	digest               *digested
}

// settle finds the home of the weight of l: the graph that the layer is in, or, where layers of several graphs share the weight, the
// graph that holds the original, which all of them see.
func (a *applier) settle(l *layer) {
	key := l.weightKey()
	switch home, ok := a.homes[key]; {
	case !ok:
		a.homes[key] = l.scope.Graph
	case home != l.scope.Graph:
		a.homes[key] = key.graph
	}
}

// weight stores the weight of l, once for all layers that share it.
func (a *applier) weight(l *layer) *storedWeight {
	if w := a.weights[l.weightKey()]; w != nil {
		l.row.SharedWith = w.first.row.Name
		return w
	}
	w := &storedWeight{first: l}
	a.weights[l.weightKey()] = w
	home := a.homes[l.weightKey()]
	name := l.row.Name
	shape := tensor.Shape{l.matrix.N, l.matrix.K}
	history := make([]float32, a.opt.Recipe.HistoryLen)
	if a.opt.Weights == OriginalWeights {
		w.scales = []scaling.QuantScale{1}
		if a.opt.Recipe.PerChannel {
			w.scales = repeat(1, l.matrix.N)
		}
		w.digest = &digested{Data: quantize.Reorder(l.matrix, a.buffers)}
		w.tensor = &tensor.Tensor{DType: l.weight.dtype, Shape: shape, Data: w.digest}
		if !l.matrix.Transposed && l.weight.tensor.Shape.Equal(shape) && l.weight.scope.Graph.Initializer(l.weight.name) != nil {
			w.name = l.weight.name // it is stored as the operator wants it
		}
	} else {
		w.scales = scalesOf(a.opt.Recipe, l.amax)
		// Check has passed and there is a scale per channel or one: NewWeight has no reason to refuse.
		w.float8, _ = quantize.NewWeight(l.matrix, w.scales, a.buffers)
		w.digest = &digested{Data: w.float8}
		w.tensor = &tensor.Tensor{DType: tensor.Float8E4M3FN, Shape: shape, Data: w.digest}
		history[0] = l.amax.Tensor
	}
	if w.name == "" {
		w.name = a.initializer(home, ops.StateName(name, ops.InWeight), w.tensor)
	}
	scaleShape := tensor.Shape{}
	if a.opt.Recipe.PerChannel {
		scaleShape = tensor.Shape{l.matrix.N}
	}
	values := make([]float32, len(w.scales))
	for i, s := range w.scales {
		values[i] = float32(s)
	}
	w.scale = a.initializer(home, ops.StateName(name, ops.InScaleWeight), tensor.Float32s(scaleShape, values...))
	w.history = a.initializer(home, ops.StateName(name, ops.InAmaxHistoryWeight), tensor.Float32s(tensor.Shape{int64(len(history))}, history...))
	return w
}

// scalesOf gives a weight the scale of its own amax, or each of its channels. A channel of zeros has none and gets 1.
func scalesOf(r scaling.Recipe, a quantize.Amax) []scaling.QuantScale {
	top := float8.E4M3FNFormat.Max()
	if !r.PerChannel {
		return []scaling.QuantScale{r.Scale(top, a.Tensor, 1)}
	}
	out := make([]scaling.QuantScale, len(a.Channel))
	for i, amax := range a.Channel {
		out[i] = r.Scale(top, amax, 1)
	}
	return out
}

func repeat(s scaling.QuantScale, n int64) []scaling.QuantScale {
	out := make([]scaling.QuantScale, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// measure finds the amax of every weight to be rewritten, once per weight, and keeps the layers whose weight is not finite.
func measure(ctx context.Context, layers []*layer, opt *Options) error {
	seen := map[weightKey]quantize.Amax{}
	var done, total int64
	for _, l := range layers {
		if l.rewritten() {
			total += l.matrix.Source.Size()
		}
	}
	for _, l := range layers {
		if !l.rewritten() {
			continue
		}
		a, ok := seen[l.weightKey()]
		if !ok {
			var err error
			if a, err = quantize.Measure(ctx, l.matrix, opt.Recipe.PerChannel); err != nil {
				return err
			}
			seen[l.weightKey()] = a
		}
		if done += l.matrix.Source.Size(); opt.Progress != nil {
			opt.Progress(done, total)
		}
		l.amax = a
		l.row.SetAmax(a.Tensor)
		if math.IsInf(float64(a.Tensor), 0) || math.IsNaN(float64(a.Tensor)) {
			count, err := quantize.CountNonfinite(l.matrix)
			if err != nil {
				return err
			}
			l.row.Shape = l.weight.tensor.Shape.Clone()
			l.keep(report.Because(report.ReasonWeightNonfinite, l.weight.name, count))
		}
	}
	return nil
}

// originalsThatStayed records the weights that something else still reads.
func (res *Result) originalsThatStayed(m *graph.Model) {
	uses := graph.Uses(m.Graph)
	for _, l := range res.layers {
		if !l.rewritten() {
			continue
		}
		w := res.weights[l.weightKey()]
		l.row.BytesAfter = w.tensor.Size()
		left := uses[graph.Key{Graph: l.weight.scope.Graph, Name: l.weight.name}]
		if left == 0 || w.name == l.weight.name {
			continue
		}
		l.row.BytesAfter += l.weight.tensor.Size()
		if l == w.first {
			res.Changes = append(res.Changes, report.NewChange(report.ChangeWeightDuplicated, l.weight.name, l.weight.name, left))
		}
	}
}

// Measured computes the weights that have not been written, so that Layers is complete without a save. A cancelled context stops it
// with the context's cause.
func (res *Result) Measured(ctx context.Context) error {
	for _, l := range res.layers {
		if w := res.weights[l.weightKeyOrNone()]; w != nil && w.first == l && w.digest.sum == "" {
			if _, err := w.digest.WriteTo(untilDone{ctx}); err != nil {
				return err
			}
		}
	}
	return nil
}

// untilDone takes bytes and forgets them, until its context ends.
type untilDone struct{ ctx context.Context }

func (u untilDone) Write(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return len(b), nil
}

// weightKeyOrNone is the key of no weight for a layer that keeps its weight, a lowered one among them.
func (l *layer) weightKeyOrNone() weightKey {
	if !l.rewritten() || l.weight == nil {
		return weightKey{}
	}
	return l.weightKey()
}

// Layers are the rows of the report, in graph order. What is only known once a weight has been written (its digest, its SQNR, the
// counts) is there after the model has been saved, or after Measured.
func (res *Result) Layers() []report.Layer {
	out := make([]report.Layer, len(res.layers))
	for i, l := range res.layers {
		row := &l.row
		if w := res.weights[l.weightKeyOrNone()]; w != nil {
			row.WeightXXH64 = w.digest.sum
			if w.float8 != nil {
				values := make([]float32, len(w.scales))
				for i, s := range w.scales {
					values[i] = float32(s)
				}
				row.QuantScale = report.NewQuantScale(values, len(values) > 1)
				if st, ok := w.float8.Stats(); ok {
					row.SetWeightSQNR(st.SQNR())
					row.Saturated, row.Flushed = st.Saturated, st.Flushed
				}
			}
		}
		out[i] = *row
	}
	return out
}

// digested is data that remembers the 64-bit xxHash of what it wrote.
type digested struct {
	tensor.Data
	sum string
}

// WriteTo writes the data.
func (d *digested) WriteTo(w io.Writer) (int64, error) {
	h := xxhash.New()
	n, err := d.Data.WriteTo(io.MultiWriter(w, h))
	if err == nil {
		d.sum = fmt.Sprintf("%016x", h.Sum64())
	}
	return n, err
}
