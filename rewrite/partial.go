package rewrite

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Partial is original with just the named layers in float8, each with the recipe and the state that it has in rewritten, which convert
// made of original and calibrate may have filled. It is how the cost of one layer is told from that of all. Both models stay as they
// are. The error names a layer that rewritten does not have, or that original no longer gives.
func Partial(ctx context.Context, original, rewritten *graph.Model, layers []string) (*graph.Model, error) {
	if len(layers) == 0 {
		return original, nil
	}
	states := layersOf(rewritten)
	opt := Options{Weights: Float8Weights}
	text, _ := rewritten.Property(ops.MetadataRecipe)
	recipe, err := scaling.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the rewritten model's recipe: %w", err)
	}
	opt.Recipe = recipe
	quoted := make([]string, len(layers))
	for i, name := range layers {
		state, ok := states[name]
		if !ok {
			return nil, fmt.Errorf("the rewritten model has no layer %q", name)
		}
		if state.layer.Variant.Weight != ops.WeightFloat8 {
			opt.Weights = OriginalWeights
		}
		quoted[i] = regexp.QuoteMeta(name)
	}
	only, err := ParsePattern("re:^(?:" + strings.Join(quoted, "|") + ")$")
	if err != nil {
		return nil, err
	}
	opt.Include = []Pattern{only}
	opt.AssumeConstant = true // what rewritten has was decided when it was made
	res, err := Convert(ctx, original, opt)
	if err != nil {
		return nil, err
	}
	made := layersOf(res.Model)
	for _, name := range layers {
		to, ok := made[name]
		if !ok {
			return nil, fmt.Errorf("layer %q of the rewritten model is not in the original: they are not the same model", name)
		}
		to.take(states[name])
	}
	return res.Model, nil
}

// placed is a Float8Linear with the initializers that hold its state, by name.
type placed struct {
	layer ops.Layer
	scope *graph.Scope
}

// layersOf finds the Float8Linear nodes of m by the names of their layers.
func layersOf(m *graph.Model) map[string]placed {
	out := map[string]placed{}
	var walk func(s *graph.Scope)
	walk = func(s *graph.Scope) {
		for _, n := range s.Graph.Nodes {
			for _, g := range n.Subgraphs() {
				walk(s.Inner(g, n))
			}
			if !ops.IsFloat8Linear(n) {
				continue
			}
			layer, err := ops.ReadLayer(n)
			if err != nil {
				continue // not a layer that this module made
			}
			out[ops.LayerName(n)] = placed{layer, s}
		}
	}
	walk(graph.NewScope(m.Graph, nil, nil))
	return out
}

// take gives p the state of from: that of the input, and that of a weight which is cast at every run.
func (p placed) take(from placed) {
	pairs := [][2]string{
		{p.layer.ScaleInput, from.layer.ScaleInput},
		{p.layer.AmaxHistoryInput, from.layer.AmaxHistoryInput},
		{p.layer.Initialized, from.layer.Initialized},
	}
	if p.layer.Variant.Weight != ops.WeightFloat8 {
		pairs = append(pairs, [2]string{p.layer.ScaleWeight, from.layer.ScaleWeight}, [2]string{p.layer.AmaxHistoryWeight, from.layer.AmaxHistoryWeight})
	}
	for _, names := range pairs {
		to, source := p.scope.Find(names[0]), from.scope.Find(names[1])
		if to.Constant == nil || source.Constant == nil {
			continue
		}
		to.Constant.Tensor = sameTensor(source.Constant.Tensor)
	}
}

// sameTensor is a copy of the header: the content is shared, and nobody writes through it.
func sameTensor(t *tensor.Tensor) *tensor.Tensor { c := *t; return &c }
