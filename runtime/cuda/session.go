package cuda

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// session is a model on a GPU.
type session struct {
	backend *Backend
	model   *graph.Model
	opt     runtime.Options
	opened  context.Context // that Open was called with: its end while Plan makes a program ends that
	compute kernels.Type
	outputs []string
	layers  []string

	variables map[string]*tensor.Tensor // their content at the moment
	version   int                       // counts what Set changed

	*gpu
	mem memory

	programs []*compiled // the one used last is last
	resident []*compiled // that have something on the GPU, in the same order; known to the GPU's thread alone, as mem is
	last     *compiled   // of the last run
	host     runtime.Session
	onHost   bool // the last run was the host's
	closed   bool

	launchOnly bool // never records; for tests
}

var (
	_ runtime.Session  = (*session)(nil)
	_ runtime.Placer   = (*session)(nil)
	_ runtime.Profiler = (*session)(nil)
)

// mostPrograms is how many sets of input shapes are kept.
const mostPrograms = 16

// open makes a session: what the model is gets known, the GPU is taken, nothing is uploaded yet.
func (b *Backend) open(ctx context.Context, m *graph.Model, opt runtime.Options) (s *session, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opt.Threads <= 0 {
		opt.Threads = goruntime.GOMAXPROCS(0)
	}
	s = &session{backend: b, model: m, opt: opt, opened: ctx, variables: map[string]*tensor.Tensor{}}
	if s.compute, err = computeType(b.opt.Compute); err != nil {
		return nil, err
	}
	if err := s.read(ctx); err != nil {
		return nil, err
	}
	if opt.AllReduceMax != nil {
		if err := refuseDynamic(m); err != nil {
			return nil, err
		}
	}
	if s.gpu, err = b.shared(); err != nil {
		return nil, err
	}
	s.mem = memory{card: s.dev.Info().Name, bound: opt.MaxMemory, weights: map[weightKey]*weight{}}
	return s, nil
}

// read finds out what the session has to answer for: layers, outputs, variables, operators that nobody has. The host's engine compiles the
// model for that, with its large tensors as inputs, so that none of them is read.
func (s *session) read(ctx context.Context) error {
	const large = 64 << 10
	m := *s.model
	g := *m.Graph
	m.Graph = &g
	g.Inputs, g.Initializers = slices.Clone(g.Inputs), nil
	var variables []string
	for _, init := range s.model.Graph.Initializers {
		if init.Tensor.Size() <= large {
			g.Initializers = append(g.Initializers, init)
			continue
		}
		if slices.Contains(s.opt.Variables, init.Name) {
			variables = append(variables, init.Name)
		}
		if !slices.ContainsFunc(g.Inputs, func(v *graph.Value) bool { return v.Name == init.Name }) {
			g.Inputs = append(g.Inputs, &graph.Value{Name: init.Name, Type: typeOf(init.Tensor)})
		}
	}
	opt := runtime.Options{Threads: s.opt.Threads, Keep: s.opt.Keep}
	for _, v := range s.opt.Variables {
		if !slices.Contains(variables, v) {
			opt.Variables = append(opt.Variables, v)
		}
	}
	host, err := s.backend.opt.Host.Open(ctx, &m, opt)
	if err != nil {
		return s.named(err)
	}
	s.outputs, s.layers = host.Outputs(), host.Layers()
	if err := host.Close(); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, v := range s.opt.Variables {
		wanted[v] = true
	}
	s.model.Graph.Walk(func(g *graph.Graph) {
		for _, init := range g.Initializers {
			if wanted[init.Name] && s.variables[init.Name] == nil {
				s.variables[init.Name] = init.Tensor
			}
		}
	})
	for _, v := range s.opt.Variables {
		if s.variables[v] == nil {
			return fmt.Errorf("cuda: variable %q: the model has no such initializer", v)
		}
	}
	return nil
}

// named is an error of the host's engine under this one's name, where it is about an operator that neither has.
func (s *session) named(err error) error {
	if lacking, ok := errors.AsType[*runtime.UnsupportedError](err); ok {
		mine := *lacking
		mine.Backend = s.backend.Name()
		return &mine
	}
	return err
}

// typeOf is the type that t has as a value.
func typeOf(t *tensor.Tensor) *graph.Type {
	typ := &graph.Type{DType: t.DType, HasShape: true, Shape: []graph.Dim{}}
	for _, d := range t.Shape {
		typ.Shape = append(typ.Shape, graph.Dim{Value: d})
	}
	return typ
}

// refuseDynamic is an error if a layer makes a scale in the middle of a run, where other workers cannot be asked: a run is recorded and
// replayed as a whole.
func refuseDynamic(m *graph.Model) (err error) {
	look := func(n *graph.Node) {
		if v, ok := ops.ParseVariant(n.OpType); ok && ops.IsFloat8Linear(n) && v.Dynamic() && err == nil {
			err = fmt.Errorf("cuda: layer %q: its scale is made in the middle of a run, where the GPU cannot ask other workers; use device cpu", ops.LayerName(n))
		}
	}
	graph.WalkNodes(m.Graph.Nodes, look)
	for _, f := range m.Functions {
		if graph.CanonicalDomain(f.Domain) != ops.Domain {
			graph.WalkNodes(f.Nodes, look)
		}
	}
	return err
}

// Inputs are the graph's inputs without a default.
func (s *session) Inputs() []*graph.Value { return runtime.Required(s.model) }

// Outputs are the graph's outputs, then the kept values.
func (s *session) Outputs() []string { return s.outputs }

// Layers are the names of the Float8Linear layers.
func (s *session) Layers() []string { return s.layers }

// Plan says what a run takes of the GPU's memory: weights, each in the form that it is computed with; activations, with what is kept
// between runs; and cuBLASLt's workspace, which all sessions share. Without the extents of all inputs only the model's own weights are known.
func (s *session) Plan(shapes map[string]tensor.Shape) (plan runtime.Plan, err error) {
	if s.closed {
		return plan, errClosed
	}
	types, _, err := runtime.InputTypes(s.model, shapes)
	if err != nil {
		return plan, err
	}
	all := map[string]tensor.Shape{}
	known := true
	for i, v := range s.model.Graph.Inputs {
		if _, given := shapes[v.Name]; !given && runtime.HasDefault(s.model.Graph, v.Name) {
			continue
		}
		shape, ok := fixed(types[i])
		known = known && ok
		all[v.Name] = shape
	}
	if !known {
		for _, init := range s.model.Graph.Initializers {
			plan.Weights += init.Tensor.Size()
		}
		s.model.Graph.Walk(func(g *graph.Graph) {
			for _, n := range g.Nodes {
				plan.Unknown += len(n.Outputs)
			}
		})
		return plan, nil
	}
	var p *compiled
	ctx := s.opened
	if ctx.Err() != nil { // it was over before: nobody waits for its end any more
		ctx = context.Background()
	}
	if err := guard(func() (err error) { p, err = s.compile(ctx, all); return err }); err != nil {
		return plan, s.named(explain(err, s.mem.card, "a run of the model"))
	}
	seen := map[weightKey]bool{}
	for _, b := range p.prog.Weights {
		if k := keyOf(b); !seen[k] {
			seen[k] = true
			plan.Weights += aligned(b.Bytes)
		}
	}
	plan.Activations, plan.Scratch = p.prog.Arena+p.stateBytes, lt.DefaultWorkspace
	for _, n := range p.st.Model.Graph.Nodes {
		for _, o := range n.Outputs {
			if _, ok := p.st.Types[o]; !ok && o != "" {
				plan.Unknown++
			}
		}
	}
	return plan, nil
}

// Set replaces the content of a variable. The GPU gets it at the next run.
func (s *session) Set(name string, t *tensor.Tensor) error {
	if s.closed {
		return errClosed
	}
	old, ok := s.variables[name]
	if !ok {
		return fmt.Errorf("cuda: %q is not one of the session's variables", name)
	}
	if t == nil || t.DType != old.DType || !t.Shape.Equal(old.Shape) {
		return &runtime.InputError{Input: name, Got: describe(t), Want: describe(old)}
	}
	b, err := t.Bytes()
	if err != nil {
		return fmt.Errorf("cuda: variable %q: %w", name, err)
	}
	mine, err := tensor.New(t.DType, t.Shape.Clone(), tensor.Bytes(slices.Clone(b)))
	if err != nil {
		return fmt.Errorf("cuda: variable %q: %w", name, err)
	}
	s.variables[name] = mine
	s.version++
	if s.host != nil {
		return s.host.Set(name, mine)
	}
	return nil
}

func describe(t *tensor.Tensor) string {
	if t == nil {
		return "no tensor"
	}
	return fmt.Sprintf("%s%s", t.DType, t.Shape)
}

// Placements are the nodes that the host runs, and layers that are not computed in float8.
func (s *session) Placements() []runtime.Placement {
	switch {
	case s.onHost:
		var all []runtime.Placement
		for _, n := range s.model.Graph.Nodes {
			p := runtime.Placement{Node: n.Name, Op: n.OpType, Where: s.backend.opt.Host.Name(), Why: "the model has inputs that are no tensors"}
			if ops.IsFloat8Linear(n) {
				p.Layer = ops.LayerName(n)
			}
			all = append(all, p)
		}
		return all
	case s.last != nil:
		return s.last.prog.Placed
	}
	return nil
}

// Close gives back what the session has of the GPU.
func (s *session) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	if s.host != nil {
		errs = append(errs, s.host.Close())
	}
	err := s.dev.Do(s.leave)
	if s.dev.Lost() == nil { // otherwise there is nothing left to give back
		errs = append(errs, err)
	}
	for _, p := range s.programs {
		for _, h := range p.segments {
			errs = append(errs, h.Close())
		}
	}
	s.programs, s.last, s.variables = nil, nil, nil
	return errors.Join(errs...)
}
