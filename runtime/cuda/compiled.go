package cuda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/program"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// largestHead is that of the attention kernels.
const largestHead = 128

// compiled is the program for inputs of certain shapes, and what it has on the GPU.
type compiled struct {
	key  string
	st   *specialize.Static
	prog *program.Program

	setup, steps *phase
	set          int // the session's version that setup ran for, -1 before it did
	equal        int // the session's version that stillEqual was true for

	// On the GPU; nothing before load.
	loaded     bool
	place      map[*program.Buffer]driver.Ptr // of weights and of what is kept; the arena's follow from their offsets
	weights    []*weight
	state      driver.Ptr
	stateBytes int64
	offsets    map[*program.Buffer]int64 // in state
	marks      []*program.Buffer         // that the results of layers and faults lie in, one after the other in state
	segments   map[*program.Segment]runtime.Session
}

// phase is a list of steps, in stretches that run on the GPU alone, with the segments between them.
type phase struct {
	cleared   []*program.Buffer
	stretches []*stretch
	runs      int // that were launched, or replayed
}

// stretch is steps that the GPU runs without the host, and then perhaps a segment. The first one clears what is to be zero.
type stretch struct {
	steps   []*program.Step
	clear   []*program.Buffer
	segment *program.Step
	graph   *driver.Graph
}

// newPhase cuts steps into stretches.
func newPhase(steps []program.Step, cleared []*program.Buffer) *phase {
	p := &phase{cleared: cleared}
	last := &stretch{clear: cleared}
	p.stretches = []*stretch{last}
	for i := range steps {
		s := &steps[i]
		if s.Segment == nil {
			last.steps = append(last.steps, s)
			continue
		}
		last.segment = s
		last = &stretch{}
		p.stretches = append(p.stretches, last)
	}
	return p
}

// forget gives recorded graphs back: addresses in them are no longer right.
func (p *phase) forget(c *driver.Context) error {
	var errs []error
	for _, s := range p.stretches {
		errs = append(errs, c.FreeGraph(s.graph))
		s.graph = nil
	}
	return errors.Join(errs...)
}

// forget gives all of the program's recorded graphs back.
func (p *compiled) forget(c *driver.Context) error {
	return errors.Join(p.setup.forget(c), p.steps.forget(c))
}

// compile makes the program for the inputs that shapes names; types are theirs. It touches the GPU to ask cuBLASLt alone.
func (s *session) compile(ctx context.Context, shapes map[string]tensor.Shape) (*compiled, error) {
	key := spell(shapes)
	if i := slices.IndexFunc(s.programs, func(p *compiled) bool { return p.key == key }); i >= 0 {
		p := s.programs[i]
		if s.stillEqual(p) {
			s.programs = append(slices.Delete(s.programs, i, i+1), p) // the one used last is last
			return p, nil
		}
		if err := s.dev.Do(func(c *driver.Context) error { return s.unload(c, p) }); err != nil {
			return nil, err
		}
		s.programs = slices.Delete(s.programs, i, i+1)
	}
	st, prog, err := s.backend.lower(ctx, s, shapes)
	if err != nil {
		return nil, err
	}
	if n := len(s.programs) - mostPrograms + 1; n > 0 {
		if err := s.evict(n); err != nil {
			return nil, err
		}
	}
	p := &compiled{key: key, st: st, prog: prog, set: -1, equal: s.version, setup: newPhase(prog.Setup, prog.SetupCleared), steps: newPhase(prog.Steps, prog.Cleared),
		place: map[*program.Buffer]driver.Ptr{}, segments: map[*program.Segment]runtime.Session{}}
	p.layOut()
	s.programs = append(s.programs, p)
	return p, nil
}

// evict lets go of the n programs that were not used for longest.
func (s *session) evict(n int) error {
	err := s.dev.Do(func(c *driver.Context) error {
		var errs []error
		for _, p := range s.programs[:n] {
			errs = append(errs, s.unload(c, p))
		}
		return errors.Join(errs...)
	})
	if err == nil {
		s.programs = slices.Delete(s.programs, 0, n)
	}
	return err
}

// lower makes a session's model static for inputs of these shapes, and a program of it.
func lower(ctx context.Context, s *session, shapes map[string]tensor.Shape) (*specialize.Static, *program.Program, error) {
	variables := maps.Clone(s.variables)
	maps.DeleteFunc(variables, func(name string, _ *tensor.Tensor) bool { _, given := shapes[name]; return given })
	st, err := specialize.Specialize(ctx, s.model, specialize.Options{Shapes: shapes, Variables: slices.Sorted(maps.Keys(variables)),
		Keep: s.opt.Keep, Engine: s.backend.opt.Host, MaxHead: largestHead})
	if err != nil {
		return nil, nil, err
	}
	prog, err := program.Build(st, program.Options{Card: s.dev.Info(), Compute: s.compute, Exact: s.backend.opt.Exact,
		Variables: variables, Statistics: s.opt.Statistics, Layers: s.layers,
		Plan: func(p lt.Problem) (plan *lt.Plan, err error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			err = s.dev.Do(func(c *driver.Context) error {
				plan, err = s.products.Plan(c, p)
				return err
			})
			return plan, err
		}})
	return st, prog, err
}

// spell is shapes as text, one for each set.
func spell(shapes map[string]tensor.Shape) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		fmt.Fprintf(&b, "%q%v", name, shapes[name])
	}
	return b.String()
}

// layOut gives what is kept between runs its places: first the marks, then what else is cleared, inputs and variables side by side, so
// that few copies bring them, then the rest.
func (p *compiled) layOut() {
	p.offsets = map[*program.Buffer]int64{}
	add := func(b *program.Buffer) {
		if b == nil || b.Home != program.State {
			return
		}
		if _, ok := p.offsets[b]; ok {
			return
		}
		p.offsets[b] = p.stateBytes
		p.stateBytes += aligned(b.Bytes)
	}
	mark := func(t *program.Tensor) {
		if t != nil {
			add(t.Buffer)
			if !slices.Contains(p.marks, t.Buffer) {
				p.marks = append(p.marks, t.Buffer)
			}
		}
	}
	for _, l := range p.prog.Layers {
		for _, t := range []*program.Tensor{l.AmaxInput, l.AmaxWeight, l.CountInput, l.CountWeight} {
			mark(t)
		}
	}
	for _, f := range p.prog.Faults {
		mark(f.Flag)
	}
	for _, list := range [][]*program.Buffer{p.prog.Cleared, p.prog.SetupCleared} {
		for _, b := range list {
			add(b)
		}
	}
	for _, list := range [][]program.Transfer{p.prog.Inputs, p.prog.Variables} {
		for _, t := range list {
			if t.Tensor != nil {
				add(t.Tensor.Buffer)
			}
		}
	}
	for _, b := range p.prog.State {
		add(b)
	}
}

// load takes the program's memory and fills its weights. A program that is loaded may still lack an arena: another one could not grow it.
func (s *session) load(ctx context.Context, c *driver.Context, p *compiled) (err error) {
	s.touch(p)
	if p.loaded && p.prog.Arena <= s.mem.size {
		return nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.unload(c, p))
		}
	}()
	p.loaded = true
	if err := s.mem.hold(p); err != nil {
		return err
	}
	for {
		if err := s.admit(c, p); err != nil {
			return err
		}
		err := s.settle(c, p)
		if err == nil {
			break
		}
		if !driver.IsOutOfMemory(err) {
			return err
		}
		// The card has it, but not in one piece, or somebody else took it.
		more, spared := s.spare(c, p, true)
		if spared != nil || !more {
			return errors.Join(err, spared)
		}
	}
	for _, b := range p.prog.Weights {
		w := s.mem.weights[keyOf(b)]
		if w.ready {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.fill(c, w, b); err != nil {
			return err
		}
		w.ready = true
	}
	// What the host computes with is opened now, so that a run does not wait for it.
	return p.openSegments(ctx, s)
}

// settle gives the program its places.
func (s *session) settle(c *driver.Context, p *compiled) error {
	moved, err := s.mem.grow(c, p.prog.Arena)
	if moved {
		for _, q := range s.resident {
			err = errors.Join(err, q.forget(c))
		}
	}
	if err != nil {
		return err
	}
	if p.state == 0 {
		if p.state, err = s.mem.alloc(c, p.stateBytes); err != nil {
			return err
		}
		for b, offset := range p.offsets {
			p.place[b] = p.state.Add(offset)
		}
	}
	return s.mem.take(c, p)
}

// fill uploads a weight.
func (s *session) fill(c *driver.Context, w *weight, b *program.Buffer) error {
	return s.pinned.uploadLarge(c, w.at, b.Bytes, func(dst []byte, offset int64) error {
		return parallel(s.pinned.threads, len(dst), func(from, to int) error {
			return guard(func() error { return b.Fill(dst[from:to], offset+int64(from)) })
		})
	}, s.stream)
}

// openSegments opens a session of the host for each segment.
func (p *compiled) openSegments(ctx context.Context, s *session) error {
	for _, ph := range []*phase{p.setup, p.steps} {
		for _, st := range ph.stretches {
			if st.segment == nil || p.segments[st.segment.Segment] != nil {
				continue
			}
			host, err := s.backend.opt.Host.Open(ctx, st.segment.Segment.Model, runtime.Options{Threads: s.opt.Threads, Statistics: s.opt.Statistics})
			if err != nil {
				return s.named(err)
			}
			p.segments[st.segment.Segment] = host
		}
	}
	return nil
}

// unload gives back what the program has on the GPU and on the host.
func (s *session) unload(c *driver.Context, p *compiled) error {
	var errs []error
	for _, h := range p.segments {
		errs = append(errs, h.Close())
	}
	clear(p.segments)
	errs = append(errs, p.forget(c), s.mem.drop(c, p))
	if p.state != 0 {
		errs = append(errs, s.mem.free(c, p.state, p.stateBytes))
		p.state = 0
	}
	clear(p.place)
	p.loaded, p.set = false, -1
	s.resident = without(s.resident, p)
	p.setup.runs, p.steps.runs = 0, 0
	return errors.Join(errs...)
}

// stillEqual says whether the variables that the program takes for one are equal.
func (s *session) stillEqual(p *compiled) bool {
	if p.equal == s.version {
		return true
	}
	for _, group := range p.prog.Equal {
		for _, name := range group[1:] {
			if !sameContent(s.variables[group[0]], s.variables[name]) {
				return false
			}
		}
	}
	p.equal = s.version
	return true
}

func sameContent(a, b *tensor.Tensor) bool {
	if a == nil || b == nil {
		return false
	}
	x, err := a.Bytes()
	if err != nil {
		return false
	}
	y, err := b.Bytes()
	return err == nil && string(x) == string(y)
}

// shapesOf are the shapes of tensors by name; ok is false where one is no tensor.
func shapesOf(inputs map[string]runtime.Value) (shapes map[string]tensor.Shape, ok bool) {
	shapes = map[string]tensor.Shape{}
	for name, v := range inputs {
		if v.Kind != runtime.TensorValue || v.Tensor == nil {
			return nil, false
		}
		shapes[name] = v.Tensor.Shape
	}
	return shapes, true
}

// fixed is the shape that t spells; ok is false where an extent is unknown, or it is no tensor.
func fixed(t *graph.Type) (shape tensor.Shape, ok bool) {
	if t.Kind != graph.TensorKind || !t.HasShape {
		return nil, false
	}
	shape = tensor.Shape{}
	for _, d := range t.Shape {
		if d.Value < 0 {
			return nil, false
		}
		shape = append(shape, d.Value)
	}
	return shape, true
}
