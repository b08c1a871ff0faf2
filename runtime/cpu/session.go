package cpu

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// session is a compiled model.
type session struct {
	backend *backend
	model   *graph.Model
	opt     runtime.Options
	pool    *kernel.Pool
	budget  *budget
	arena   *kernel.Arena
	main    *program
	cells   map[string][]*constant // of Options.Variables
	layers  []*layer
	scratch int64 // what runs took beyond the values that their plan knew
	planned runtime.Plan
	shapes  string // those that planned is for
	closed  bool
}

// Inputs are the graph's inputs without a default.
func (s *session) Inputs() []*graph.Value { return runtime.Required(s.model) }

// Outputs are the graph's outputs, then the kept values.
func (s *session) Outputs() []string {
	var out []string
	for _, v := range s.model.Graph.Outputs {
		out = append(out, v.Name)
	}
	return append(out, s.opt.Keep...)
}

// Layers are the names of the Float8Linear layers.
func (s *session) Layers() []string {
	var names []string
	for _, l := range s.layers {
		names = append(names, l.name)
	}
	return names
}

// Set replaces the content of a variable.
func (s *session) Set(variable string, t *tensor.Tensor) error {
	cells := s.cells[variable]
	if len(cells) == 0 {
		return fmt.Errorf("%s: %q is not one of the session's variables", name, variable)
	}
	v, err := kernel.FromTensor(t)
	if err != nil {
		return fmt.Errorf("%s: variable %q: %w", name, variable, err)
	}
	for _, c := range cells {
		if old := c.value.(*kernel.Tensor); v.String() != old.String() {
			return fmt.Errorf("%s: variable %q: got %s, want %s", name, variable, v, old)
		}
	}
	for _, c := range cells {
		c.value = v
	}
	return nil
}

// Run executes the model.
func (s *session) Run(ctx context.Context, inputs map[string]runtime.Value) (res *runtime.Result, err error) {
	if s.closed {
		return nil, fmt.Errorf("%s: the session is closed", name)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	values, err := s.bind(inputs)
	if err != nil {
		return nil, err
	}
	if err := s.fits(ctx, inputs); err != nil {
		return nil, err
	}
	if s.arena == nil {
		s.arena = s.newArena()
	}
	for _, l := range s.layers {
		l.stats = runtime.LayerStats{Layer: l.name}
	}
	s.pool.StopWhen(ctx.Err)
	defer s.pool.StopWhen(nil)
	x := &exec{session: s, ctx: ctx}
	err = guard(func() error {
		out, err := x.run(s.main, nil, values)
		if err != nil {
			return err
		}
		res, err = s.result(out)
		return err
	})
	if err == nil && s.opt.MaxMemory > 0 && s.planned.Unknown == 0 {
		s.scratch = max(s.scratch, s.arena.Peak()-s.planned.Activations)
	}
	if err != nil {
		s.arena = nil // values of the failed run may still count there
		return nil, err
	}
	return res, nil
}

// fits refuses a run whose plan exceeds Options.MaxMemory. Without inputs it speaks of every run: of what the model itself fixes.
func (s *session) fits(ctx context.Context, inputs map[string]runtime.Value) error {
	if s.opt.MaxMemory <= 0 {
		return nil
	}
	shapes := map[string]tensor.Shape{}
	for n, v := range inputs {
		if v.Kind == runtime.TensorValue && v.Tensor != nil {
			shapes[n] = v.Tensor.Shape
		}
	}
	if spelled := fmt.Sprint(shapes); spelled != s.shapes || s.shapes == "" {
		p, err := s.plan(shapes)
		if err != nil {
			return err
		}
		s.planned, s.shapes = p, spelled
	}
	// Weights in the engine's own form are quicker, not needed.
	if room := s.opt.MaxMemory - s.planned.Activations; room >= 0 && room < s.planned.Weights && room < s.budget.limit {
		return s.compileAgain(ctx, room)
	}
	if need := s.planned.Weights + s.planned.Activations; need > s.opt.MaxMemory {
		return &runtime.MemoryError{Need: need, Have: s.opt.MaxMemory, For: "a run of the model"}
	}
	return nil
}

// compileAgain makes the programs anew with less memory for weights.
func (s *session) compileAgain(ctx context.Context, weights int64) error {
	n := &session{backend: s.backend, model: s.model, opt: s.opt, pool: s.pool, budget: &budget{limit: weights}, cells: map[string][]*constant{}}
	if err := guard(func() error { return compile(ctx, n) }); err != nil {
		return err
	}
	for variable, cells := range n.cells {
		for _, c := range cells {
			c.value = s.cells[variable][0].value
		}
	}
	s.main, s.cells, s.layers, s.budget, s.arena = n.main, n.cells, n.layers, n.budget, nil
	s.planned.Weights = n.budget.used
	return nil
}

func (s *session) newArena() *kernel.Arena {
	// More than the machine has would end the process.
	limit := totalMemory()
	if s.opt.MaxMemory > 0 {
		limit = s.opt.MaxMemory
	}
	limit = max(1, limit-s.budget.used)
	a := kernel.NewArena(limit)
	if s.backend.poison {
		a.Poison()
	}
	return a
}

// result takes the outputs over.
func (s *session) result(out []kernel.Value) (*runtime.Result, error) {
	res := &runtime.Result{Values: make(map[string]runtime.Value, len(out))}
	for i, n := range s.Outputs() {
		v, err := toValue(out[i])
		if err != nil {
			return nil, fmt.Errorf("%s: output %q: %w", name, n, err)
		}
		kernel.Release(out[i])
		res.Values[n] = v
	}
	for _, l := range s.layers {
		res.Layers = append(res.Layers, l.stats)
	}
	return res, nil
}

// Close lets go of everything.
func (s *session) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.arena, s.main, s.layers = nil, nil, nil
	clear(s.cells)
	if s.budget.used > largeSession {
		// The next session of the same model takes as much again, and the garbage collector would let both stand side by side.
		debug.FreeOSMemory()
	}
	return nil
}

// largeSession is how many bytes of packed weights are worth the time of a collection.
const largeSession = 256 << 20
