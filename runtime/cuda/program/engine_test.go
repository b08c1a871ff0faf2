package program

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/runtime/runtimetest"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// engine executes models as the GPU would: static models, programs, and a machine in the GPU's place.
type engine struct {
	t       testing.TB
	compute kernels.Type
}

func (engine) Name() string { return "machine" }
func (engine) Check() error { return nil }

// Open asks the processor's engine for what is the same.
func (e engine) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	host, err := cpu.New().Open(ctx, m, opt)
	if err != nil {
		return nil, err
	}
	s := &engineSession{Session: host, e: e, m: m, opt: opt, variables: map[string]*tensor.Tensor{}}
	m.Graph.Walk(func(g *graph.Graph) {
		for _, c := range g.Initializers {
			if slices.Contains(opt.Variables, c.Name) {
				s.variables[c.Name] = c.Tensor
			}
		}
	})
	return s, nil
}

type engineSession struct {
	runtime.Session
	e         engine
	m         *graph.Model
	opt       runtime.Options
	variables map[string]*tensor.Tensor
	closed    bool
}

func (s *engineSession) Close() error {
	s.closed = true
	return s.Session.Close()
}

// Set gives a variable another content.
func (s *engineSession) Set(name string, t *tensor.Tensor) error {
	if err := s.Session.Set(name, t); err != nil {
		return err
	}
	raw, err := t.Bytes()
	if err != nil {
		return err
	}
	s.variables[name] = &tensor.Tensor{DType: t.DType, Shape: t.Shape.Clone(), Data: tensor.Bytes(slices.Clone(raw))}
	return nil
}

// Run makes a program for the inputs' shapes and runs it.
func (s *engineSession) Run(ctx context.Context, inputs map[string]runtime.Value) (*runtime.Result, error) {
	shapes := map[string]tensor.Shape{}
	tensors := map[string]*tensor.Tensor{}
	for name, v := range inputs {
		if v.Kind != runtime.TensorValue || v.Tensor == nil {
			return s.Session.Run(ctx, inputs)
		}
		shapes[name], tensors[name] = v.Tensor.Shape, v.Tensor
	}
	if s.closed || ctx.Err() != nil || runtime.CheckInputs(s.m, inputs) != nil {
		return s.Session.Run(ctx, inputs) // it has the error
	}
	so := specialize.Options{Shapes: shapes, Keep: s.opt.Keep, Engine: cpu.New(), MaxHead: 128}
	for name := range s.variables {
		if inputs[name].Tensor == nil {
			so.Variables = append(so.Variables, name)
			tensors[name] = s.variables[name]
		}
	}
	slices.Sort(so.Variables)
	st, err := specialize.Specialize(ctx, s.m, so)
	if err != nil {
		return nil, err
	}
	variables := map[string]*tensor.Tensor{}
	for _, name := range so.Variables {
		variables[name] = s.variables[name]
	}
	p, err := Build(st, Options{Card: hopper, Compute: s.e.compute, Variables: variables, Statistics: s.opt.Statistics, Layers: s.Layers()})
	if err != nil {
		return nil, err
	}
	sound(s.e.t, p)
	return s.compute(ctx, st, p, tensors)
}

func (s *engineSession) compute(ctx context.Context, st *specialize.Static, p *Program, tensors map[string]*tensor.Tensor) (res *runtime.Result, err error) {
	x := newMachine(s.e.t)
	host := map[string]runtime.Value{}
	for name, t := range tensors {
		host[name] = runtime.FromTensor(t)
	}
	for _, c := range st.Model.Graph.Initializers {
		host[c.Name] = runtime.FromTensor(c.Tensor)
	}
	upload := func(all []Transfer) error {
		for _, t := range all {
			v := host[t.Name].Tensor
			if v == nil {
				return fmt.Errorf("%q is not there", t.Name)
			}
			raw, err := v.Bytes()
			if err != nil {
				return err
			}
			at := x.at(x.addr(t.Tensor.Buffer)+driver.Ptr(t.Tensor.Offset), t.Tensor.Elements()*t.Tensor.T.Size())
			if copy(at, raw) != len(at) || len(raw) != len(at) {
				return fmt.Errorf("%q has %d bytes, its place %d", t.Name, len(raw), len(at))
			}
		}
		return nil
	}
	zero := func(all []*Buffer) {
		for _, b := range all {
			clear(x.at(x.addr(b), b.Bytes))
		}
	}
	l := &Launcher{Kernels: x, LT: x, Base: x.addr}
	layers := map[string]runtime.LayerStats{}
	steps := func(all []Step) error {
		for _, step := range all {
			if step.Segment == nil {
				if err := step.Launch(l); err != nil {
					return err
				}
				continue
			}
			values := map[string]runtime.Value{}
			for _, in := range step.Segment.In {
				host[in.Name] = runtime.FromTensor(x.tensor(in.Tensor, st.Types[in.Name].DType))
			}
			for _, in := range step.Segment.Model.Graph.Inputs {
				v, ok := host[in.Name]
				if !ok {
					return fmt.Errorf("segment: %q is not there", in.Name)
				}
				values[in.Name] = v
			}
			session, err := cpu.New().Open(ctx, step.Segment.Model, runtime.Options{Statistics: s.opt.Statistics, Threads: 2})
			if err != nil {
				return err
			}
			defer session.Close()
			res, err := session.Run(ctx, values)
			if err != nil {
				return err
			}
			for name, v := range res.Values {
				host[name] = v
			}
			for _, l := range res.Layers {
				layers[l.Layer] = l
			}
			if err := upload(step.Segment.Out); err != nil {
				return err
			}
		}
		return nil
	}
	for _, w := range p.Weights {
		if err := w.Fill(x.at(x.addr(w), w.Bytes), 0); err != nil {
			return nil, err
		}
	}
	zero(p.SetupCleared)
	if err := upload(p.Variables); err != nil {
		return nil, err
	}
	if err := steps(p.Setup); err != nil {
		return nil, err
	}
	zero(p.Cleared)
	if err := upload(p.Inputs); err != nil {
		return nil, err
	}
	if err := steps(p.Steps); err != nil {
		return nil, err
	}
	word := func(t *Tensor, i int64) uint64 {
		size := t.T.Size()
		b := x.at(x.addr(t.Buffer)+driver.Ptr(t.Offset+i*size), size)
		if size == 4 {
			return uint64(binary.LittleEndian.Uint32(b))
		}
		return binary.LittleEndian.Uint64(b)
	}
	for _, f := range p.Faults {
		if word(f.Flag, 0) != 0 {
			return nil, &runtime.NodeError{Node: f.Node, Op: f.Op, Err: errors.New(f.Message)}
		}
	}
	res = &runtime.Result{Values: map[string]runtime.Value{}}
	for _, o := range p.Outputs {
		if o.Tensor == nil {
			res.Values[o.Name] = host[o.Name]
			continue
		}
		res.Values[o.Name] = runtime.FromTensor(x.tensor(o.Tensor, st.Types[o.Name].DType))
	}
	for _, l := range p.Layers {
		if l.AmaxInput == nil {
			stats := layers[l.Name]
			stats.Layer, stats.Counted = l.Name, s.opt.Statistics
			res.Layers = append(res.Layers, stats)
			continue
		}
		stats := runtime.LayerStats{Layer: l.Name, Runs: 1, Counted: s.opt.Statistics, AmaxInput: x.get(kernels.F32, x.addr(l.AmaxInput.Buffer)+driver.Ptr(l.AmaxInput.Offset), 0)}
		if l.AmaxWeight != nil {
			stats.AmaxWeight = x.get(kernels.F32, x.addr(l.AmaxWeight.Buffer)+driver.Ptr(l.AmaxWeight.Offset), 0)
		}
		counts := func(t *Tensor, n int64) runtime.Counts {
			if t == nil {
				return runtime.Counts{}
			}
			return runtime.Counts{Elements: n, Saturated: int64(word(t, 0)), Flushed: int64(word(t, 1)), NonFinite: int64(word(t, 2))}
		}
		stats.Input, stats.Weight = counts(l.CountInput, l.Input), counts(l.CountWeight, l.Weight)
		res.Layers = append(res.Layers, stats)
	}
	return res, nil
}

// tensor is what lies at t.
func (m *machine) tensor(t *Tensor, d tensor.DType) *tensor.Tensor {
	raw := m.at(m.addr(t.Buffer)+driver.Ptr(t.Offset), t.Elements()*t.T.Size())
	return &tensor.Tensor{DType: d, Shape: slices.Clone(tensor.Shape(t.Dims)), Data: tensor.Bytes(slices.Clone(raw))}
}

// TestSuite is the suite that every engine passes, by programs.
func TestSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the suite takes seconds where each launch is computed element by element")
	}
	runtimetest.Run(t, engine{t, kernels.F32}, map[string]string{
		"workers/amaxes are joined before the cast": "a program has no calls in the middle of a run",
		"workers/a failure to join ends the run":    "a program has no calls in the middle of a run",
		"models":                                    "they take minutes element by element; TestModelsComputeWhatTheProcessorDoes has less of them",
		"errors/an operator that nobody has":        "the error is the processor's own here",
		"errors/a bound on memory":                  "a machine has no bound",
	}, runtimetest.Default())
}
