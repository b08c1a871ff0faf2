package specialize

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/runtimetest"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// backend is the embedded engine run on static models: what a GPU engine does of a run, without the GPU.
type backend struct{ runtime.Backend }

// session specializes for each run's shapes. The session of the model as it is answers everything else, and refuses what does not fit.
type session struct {
	runtime.Session
	backend *backend
	model   *graph.Model
	opt     runtime.Options
	set     map[string]*tensor.Tensor
}

func (b *backend) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	plain := opt
	plain.AllReduceMax = nil // that is for the static model to call
	s, err := b.Backend.Open(ctx, m, plain)
	if err != nil {
		return nil, err
	}
	return &session{s, b, m, opt, map[string]*tensor.Tensor{}}, nil
}

func (s *session) Set(name string, t *tensor.Tensor) error {
	if err := s.Session.Set(name, t); err != nil {
		return err
	}
	s.set[name] = t
	return nil
}

func (s *session) Run(ctx context.Context, inputs map[string]runtime.Value) (*runtime.Result, error) {
	if res, err := s.Session.Run(ctx, inputs); err != nil || len(res.Values) == 0 {
		return res, err
	}
	opt := Options{Shapes: map[string]tensor.Shape{}, Variables: s.opt.Variables, Keep: s.opt.Keep, Engine: s.backend.Backend}
	for name, v := range inputs {
		if v.Kind == runtime.TensorValue {
			opt.Shapes[name] = v.Tensor.Shape
		}
	}
	st, err := Specialize(ctx, s.model, opt)
	if err != nil {
		return nil, fmt.Errorf("specialize: %w", err)
	}
	run := s.opt
	run.Variables, run.Keep = nil, nil
	static, err := s.backend.Backend.Open(ctx, st.Model, run)
	if err != nil {
		return nil, fmt.Errorf("static model: %w", err)
	}
	defer static.Close()
	given := maps.Clone(inputs)
	for _, name := range s.opt.Variables {
		t := s.set[name]
		s.model.Graph.Walk(func(g *graph.Graph) {
			if i := g.Initializer(name); i != nil && t == nil {
				t = i.Tensor
			}
		})
		given[name] = runtime.FromTensor(t)
	}
	res, err := static.Run(ctx, given)
	if err != nil {
		return nil, fmt.Errorf("static model: %w", err)
	}
	for name, v := range res.Values {
		if typ, ok := st.Types[name]; ok && (v.Tensor == nil || v.Tensor.DType != typ.DType || !v.Tensor.Shape.Equal(extents(typ))) {
			return nil, fmt.Errorf("static model: output %q is not of its type %s%s", name, typ.DType, extents(typ))
		}
	}
	var layers []runtime.LayerStats
	for _, name := range s.Layers() {
		i := slices.IndexFunc(res.Layers, func(l runtime.LayerStats) bool { return l.Layer == name })
		if i < 0 {
			layers = append(layers, runtime.LayerStats{Layer: name}) // in a branch that is never taken
			continue
		}
		layers = append(layers, res.Layers[i])
	}
	res.Layers = layers
	return res, nil
}

// TestSuite runs the engines' suite on static models.
func TestSuite(t *testing.T) {
	runtimetest.Run(t, &backend{cpu.New()}, nil, runtimetest.Default())
}
