package rewrite

import (
	"context"
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite/quantize"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// NonFiniteWeightError says that a weight has elements that no scale can be made from.
type NonFiniteWeightError struct {
	Layer, Weight string
	Amax          float32
}

func (e *NonFiniteWeightError) Error() string {
	return fmt.Sprintf("rewrite: layer %s: weight %s has the amax %v: it cannot be stored as float8", quote(e.Layer), quote(e.Weight), e.Amax)
}

// Freeze is m with every original weight of a Float8Linear stored as float8, in the scale of its own amax, as conversion stores one: the
// scales that calibration left for it, which were for casting at every step, are replaced. Weights that several layers share are
// stored once; the original goes unless something else reads it. Codes are computed when they are written. m stays as it is, and a model
// without an original weight is given back as it is.
func Freeze(ctx context.Context, m *graph.Model) (*graph.Model, error) {
	text, _ := m.Property(ops.MetadataRecipe)
	recipe, err := scaling.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("rewrite: the model's recipe: %w", err)
	}
	f := freezer{ctx: ctx, model: clone(m), recipe: recipe, buffers: new(quantize.Buffers), made: map[frozenKey]*graph.Initializer{}}
	f.names = graph.NewNames(f.model)
	before := graph.Uses(f.model.Graph)
	if err := f.graph(graph.NewScope(f.model.Graph, nil, nil)); err != nil {
		return nil, err
	}
	if len(f.made) == 0 {
		return m, nil
	}
	for _, v := range f.variants {
		if _, err := ops.Declare(f.model, v); err != nil {
			return nil, err
		}
	}
	ops.DropUnused(f.model)
	cleanup(f.model, before)
	return f.model, nil
}

// frozenKey is one stored weight: layers with the same weight and the same place for its scale share it.
type frozenKey struct{ weight, scale *graph.Initializer }

type freezer struct {
	ctx      context.Context
	model    *graph.Model
	recipe   scaling.Recipe
	buffers  *quantize.Buffers
	names    *graph.Names
	made     map[frozenKey]*graph.Initializer
	variants []ops.Variant
}

func (f *freezer) graph(s *graph.Scope) error {
	for _, n := range s.Graph.Nodes {
		if isFloat8Linear(n) {
			if err := f.layer(s, n); err != nil {
				return err
			}
		}
		for _, inner := range n.Subgraphs() {
			if err := f.graph(s.Inner(inner, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *freezer) layer(s *graph.Scope, n *graph.Node) error {
	l, err := ops.ReadLayer(n)
	if err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	if l.Variant.Weight == ops.WeightFloat8 {
		return nil
	}
	name := ops.LayerName(n)
	weight, scale, history := s.Find(l.Weight), s.Find(l.ScaleWeight), s.Find(l.AmaxHistoryWeight)
	for _, c := range []struct {
		name string
		graph.Source
	}{{l.Weight, weight}, {l.ScaleWeight, scale}, {l.AmaxHistoryWeight, history}} {
		if c.Constant == nil || c.Input != nil {
			return fmt.Errorf("rewrite: layer %s: %s is not an initializer of its own", quote(name), quote(c.name))
		}
	}
	key := frozenKey{weight.Constant, scale.Constant}
	codes := f.made[key]
	if codes == nil {
		if codes, err = f.store(name, l.QuantMax, weight.Constant, scale.Constant, history.Constant); err != nil {
			return err
		}
		weight.Scope.Graph.Initializers = append(weight.Scope.Graph.Initializers, codes)
		f.made[key] = codes
	}
	n.Inputs[ops.InWeight] = codes.Name
	v := l.Variant
	v.Weight = ops.WeightFloat8
	v = v.Canonical()
	n.OpType = v.FunctionName()
	f.variants = append(f.variants, v)
	return nil
}

// store makes the codes of a weight, and writes their scale and amax into the state that the layer names.
func (f *freezer) store(layer string, quantMax float32, weight, scale, history *graph.Initializer) (*graph.Initializer, error) {
	t := weight.Tensor
	if len(t.Shape) != 2 {
		return nil, fmt.Errorf("rewrite: layer %s: weight %s has shape %s, want two axes", quote(layer), quote(weight.Name), t.Shape)
	}
	matrix := quantize.Matrix{Source: t, N: t.Shape[0], K: t.Shape[1]}
	perChannel := len(scale.Tensor.Shape) > 0
	if perChannel && !scale.Tensor.Shape.Equal(tensor.Shape{matrix.N}) {
		return nil, fmt.Errorf("rewrite: layer %s: scale %s has shape %s, want [%d]", quote(layer), quote(scale.Name), scale.Tensor.Shape, matrix.N)
	}
	amax, err := quantize.Measure(f.ctx, matrix, perChannel)
	if err != nil {
		return nil, fmt.Errorf("rewrite: layer %s: %w", quote(layer), err)
	}
	if math.IsNaN(float64(amax.Tensor)) || math.IsInf(float64(amax.Tensor), 0) {
		return nil, &NonFiniteWeightError{layer, weight.Name, amax.Tensor}
	}
	r := f.recipe
	r.Margin = 0 // quantMax has it
	of := []float32{amax.Tensor}
	if perChannel {
		of = amax.Channel
	}
	scales, values := make([]scaling.QuantScale, len(of)), make([]float32, len(of))
	for i, a := range of {
		scales[i] = r.Scale(quantMax, a, 1)
		values[i] = float32(scales[i])
	}
	codes, err := quantize.NewWeight(matrix, scales, f.buffers)
	if err != nil {
		return nil, fmt.Errorf("rewrite: layer %s: %w", quote(layer), err)
	}
	h := make([]float32, history.Tensor.Elements())
	if len(h) > 0 {
		h[0] = amax.Tensor
	}
	scale.Tensor = tensor.Float32s(scale.Tensor.Shape, values...)
	history.Tensor = tensor.Float32s(history.Tensor.Shape, h...)
	return &graph.Initializer{Name: f.names.Fresh(ops.StateName(layer, ops.InWeight)),
		Tensor: &tensor.Tensor{DType: tensor.Float8E4M3FN, Shape: t.Shape.Clone(), Data: codes}}, nil
}
