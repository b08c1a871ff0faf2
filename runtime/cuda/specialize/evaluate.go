package specialize

import (
	"context"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// tooLarge says that a constant exceeds Options.MaxFold.
type tooLarge struct {
	name  string
	bytes int64
}

func (e *tooLarge) Error() string {
	return fmt.Sprintf("specialize: value %q takes %d bytes", e.name, e.bytes)
}

// workspace is what the engine may hold at a time, as a multiple of the largest constant.
const workspace = 4

// evaluate runs nodes, which read constants alone, and gives the wanted ones of their values. Constants of more than freeFold bytes are
// inputs of the run, so that no engine keeps what it makes of them while it opens the model.
func (w *work) evaluate(ctx context.Context, part []*graph.Node, want []string) (map[string]*tensor.Tensor, error) {
	if len(want) == 0 {
		return nil, nil
	}
	m := *w.m
	m.Graph = &graph.Graph{Name: "constants", Nodes: part}
	inputs, made := map[string]runtime.Value{}, map[string]bool{"": true}
	for _, n := range part {
		for _, o := range n.Outputs {
			made[o] = true
		}
	}
	for _, n := range part {
		for _, r := range n.Reads() {
			if made[r] {
				continue
			}
			made[r] = true
			t := w.consts[r]
			if t.Size() <= freeFold || t.DType == tensor.String {
				m.Graph.Initializers = append(m.Graph.Initializers, &graph.Initializer{Name: r, Tensor: t})
				continue
			}
			typ := &graph.Type{DType: t.DType, HasShape: true}
			for _, d := range t.Shape {
				typ.Shape = append(typ.Shape, graph.Dim{Value: d})
			}
			m.Graph.Inputs = append(m.Graph.Inputs, &graph.Value{Name: r, Type: typ})
			inputs[r] = runtime.FromTensor(t)
		}
	}
	for _, o := range want {
		m.Graph.Outputs = append(m.Graph.Outputs, &graph.Value{Name: o})
	}
	s, err := w.opt.Engine.Open(ctx, &m, runtime.Options{MaxMemory: max(workspace*w.opt.MaxFold, 1<<26)})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	res, err := s.Run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	out := map[string]*tensor.Tensor{}
	for _, o := range want {
		v := res.Values[o]
		if v.Kind != runtime.TensorValue || v.Tensor == nil {
			return nil, fmt.Errorf("specialize: value %q is not a tensor", o)
		}
		out[o] = v.Tensor
	}
	return out, nil
}
