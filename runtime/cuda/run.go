package cuda

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/program"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Run executes the model; see [runtime.Session]. The first run with inputs of new shapes makes the program for them and launches it step by
// step, which also loads the kernels; the second records it, and later ones replay what was recorded.
func (s *session) Run(ctx context.Context, inputs map[string]runtime.Value) (res *runtime.Result, err error) {
	p, err := s.prepare(ctx, inputs)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return s.runOnHost(ctx, inputs)
	}
	err = s.on(ctx, p, func(x *exec) error {
		if err := x.start(inputs); err != nil {
			return err
		}
		if err := x.phase(p.steps); err != nil {
			return err
		}
		res, err = x.result()
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// prepare checks the inputs and makes the program for them; nil where one of them is no tensor.
func (s *session) prepare(ctx context.Context, inputs map[string]runtime.Value) (p *compiled, err error) {
	if s.closed {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.dev.Lost(); err != nil {
		return nil, err
	}
	if err := runtime.CheckInputs(s.model, inputs); err != nil {
		return nil, err
	}
	shapes, ok := shapesOf(inputs)
	if !ok {
		return nil, nil
	}
	err = guard(func() error {
		p, err = s.compile(ctx, shapes)
		return err
	})
	if err != nil {
		return nil, s.named(explain(err, s.mem.card, "a run of the model"))
	}
	return p, nil
}

// on calls f on the GPU's thread, with the program's memory in place.
func (s *session) on(ctx context.Context, p *compiled, f func(*exec) error) error {
	err := s.dev.Do(func(c *driver.Context) error {
		s.pinned.threads = s.opt.Threads
		err := guard(func() error {
			if err := s.load(ctx, c, p); err != nil {
				return err
			}
			x := &exec{session: s, compiled: p, ctx: ctx, c: c, host: map[string]runtime.Value{}}
			x.launcher = &program.Launcher{Context: c, Kernels: s.kernels, LT: s.products, Stream: s.stream, Base: x.base}
			return f(x)
		})
		if err != nil && s.dev.Lost() == nil {
			// What was launched may still use the pinned buffers.
			err = errors.Join(err, c.Sync(s.stream))
			s.pinned.synced()
		}
		return err
	})
	if err == nil {
		s.last, s.onHost = p, false
		return nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil && s.dev.Lost() == nil {
		return ctxErr
	}
	return s.named(explain(err, s.mem.card, "a run of the model"))
}

// exec is one run of a program, on the GPU's thread.
type exec struct {
	*session
	*compiled
	ctx      context.Context
	c        *driver.Context
	launcher *program.Launcher
	host     map[string]runtime.Value // inputs, variables, and what segments made
	layers   map[string]runtime.LayerStats
}

// base is where a buffer lies.
func (x *exec) base(b *program.Buffer) driver.Ptr {
	if b.Home == program.Arena {
		if b.Offset+b.Bytes > x.mem.size {
			panic(fmt.Sprintf("an array ends at byte %d of an arena of %d", b.Offset+b.Bytes, x.mem.size))
		}
		return x.mem.arena.Add(b.Offset)
	}
	at, ok := x.place[b]
	if !ok {
		panic(fmt.Sprintf("a buffer of %d bytes has no place", b.Bytes))
	}
	return at
}

// start brings the inputs, and after a change of the variables runs Setup.
func (x *exec) start(inputs map[string]runtime.Value) error {
	for name, v := range inputs {
		x.host[name] = v
	}
	for name, t := range x.variables {
		if _, given := inputs[name]; !given {
			x.host[name] = runtime.FromTensor(t)
		}
	}
	if x.set != x.version {
		if err := x.bring(x.prog.Variables); err != nil {
			return err
		}
		x.set = -1
		if err := x.phase(x.setup); err != nil {
			return err
		}
		x.set = x.version
	}
	return x.bring(x.prog.Inputs)
}

// bring uploads values of the host.
func (x *exec) bring(list []program.Transfer) error {
	var pieces []piece
	for _, t := range list {
		if t.Tensor == nil {
			continue
		}
		v, err := x.hostTensor(t.Name)
		if err != nil {
			return err
		}
		b, err := v.Bytes()
		if err != nil {
			return fmt.Errorf("cuda: value %q: %w", t.Name, err)
		}
		if want := t.Tensor.Elements() * t.Tensor.T.Size(); int64(len(b)) != want {
			return &runtime.InputError{Input: t.Name, Got: fmt.Sprintf("%s%s of %d bytes", v.DType, v.Shape, len(b)), Want: fmt.Sprintf("%d bytes", want)}
		}
		if !t.Tensor.Contiguous() {
			return fmt.Errorf("cuda: internal error: value %q is to be copied to an array that is not contiguous", t.Name)
		}
		pieces = append(pieces, piece{x.launcher.Addr(t.Tensor), b})
	}
	return x.pinned.upload(x.c, pieces, x.stream)
}

// hostTensor is a tensor that the host has.
func (x *exec) hostTensor(name string) (*tensor.Tensor, error) {
	v, ok := x.host[name]
	if !ok {
		init := x.st.Model.Graph.Initializer(name)
		if init == nil {
			return nil, fmt.Errorf("cuda: internal error: value %q is not on the host", name)
		}
		return init.Tensor, nil
	}
	if v.Kind != runtime.TensorValue || v.Tensor == nil {
		return nil, fmt.Errorf("cuda: internal error: value %q is no tensor", name)
	}
	return v.Tensor, nil
}

// phase runs a list of steps.
func (x *exec) phase(p *phase) error {
	for _, st := range p.stretches {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		if err := x.stretch(st, p.runs > 0 && !x.launchOnly); err != nil {
			return err
		}
		if st.segment != nil {
			if err := x.segment(st.segment); err != nil {
				return stepError(st.segment.Node, st.segment.Op, err)
			}
		}
	}
	p.runs++
	return nil
}

// stretch launches steps; record makes a graph of them, which is launched from then on.
func (x *exec) stretch(st *stretch, record bool) error {
	if len(st.steps) == 0 && len(st.clear) == 0 {
		return nil
	}
	if !record {
		return x.launch(st)
	}
	if st.graph == nil {
		g, err := x.c.Capture(x.stream, func() error { return x.launch(st) })
		if errors.Is(err, driver.ErrNoGraphs) {
			return x.launch(st)
		}
		if err != nil {
			return err
		}
		st.graph = g
	}
	return x.c.Replay(st.graph, x.stream)
}

// launch gives the steps of a stretch to the stream, one by one.
func (x *exec) launch(st *stretch) error {
	if err := x.clear(st.clear); err != nil {
		return err
	}
	for _, step := range st.steps {
		if err := step.Launch(x.launcher); err != nil {
			return stepError(step.Node, step.Op, err)
		}
	}
	return nil
}

// clear sets buffers to zero; those that lie side by side at once.
func (x *exec) clear(buffers []*program.Buffer) error {
	type span struct {
		at driver.Ptr
		n  int64
	}
	var spans []span
	for _, b := range buffers {
		at := x.base(b)
		if n := len(spans); n > 0 && spans[n-1].at.Add(aligned(spans[n-1].n)) == at {
			spans[n-1].n = aligned(spans[n-1].n) + b.Bytes
			continue
		}
		spans = append(spans, span{at, b.Bytes})
	}
	for _, s := range spans {
		if err := x.c.Set8(s.at, 0, s.n, x.stream); err != nil {
			return err
		}
	}
	return nil
}

// segment runs a part of the model on the host.
func (x *exec) segment(step *program.Step) error {
	seg := step.Segment
	session := x.segments[seg]
	values := map[string]runtime.Value{}
	var pieces []piece
	for _, t := range seg.In {
		in := input(seg.Model, t.Name)
		if in == nil || in.Type == nil {
			return fmt.Errorf("internal error: the host is to get %q, which it does not read", t.Name)
		}
		v, b, err := blank(in.Type.DType, t.Tensor)
		if err != nil {
			return err
		}
		values[t.Name] = runtime.FromTensor(v)
		pieces = append(pieces, piece{x.launcher.Addr(t.Tensor), b})
	}
	if len(pieces) > 0 {
		if err := x.pinned.download(x.c, pieces, x.stream); err != nil {
			return err
		}
	}
	for _, in := range seg.Model.Graph.Inputs {
		if _, ok := values[in.Name]; ok {
			continue
		}
		if v, ok := x.host[in.Name]; ok {
			values[in.Name] = v
			continue
		}
		if runtime.HasDefault(seg.Model.Graph, in.Name) {
			continue
		}
		t, err := x.hostTensor(in.Name)
		if err != nil {
			return err
		}
		values[in.Name] = runtime.FromTensor(t)
	}
	res, err := session.Run(x.ctx, values)
	if err != nil {
		return err
	}
	for name, v := range res.Values {
		x.host[name] = v
	}
	for _, l := range res.Layers {
		if x.layers == nil {
			x.layers = map[string]runtime.LayerStats{}
		}
		x.layers[l.Layer] = l
	}
	return x.bring(seg.Out)
}

// input is the input of m's main graph called name, nil where there is none.
func input(m *graph.Model, name string) *graph.Value {
	for _, v := range m.Graph.Inputs {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// blank is a tensor of the host for what lies at t, and its bytes.
func blank(dtype tensor.DType, t *program.Tensor) (*tensor.Tensor, []byte, error) {
	if !t.Contiguous() {
		return nil, nil, errors.New("internal error: an array that is not contiguous is to be read")
	}
	shape := append(tensor.Shape{}, t.Dims...)
	size, err := dtype.ByteSize(t.Elements())
	if err != nil {
		return nil, nil, err
	}
	if size != t.Elements()*t.T.Size() {
		return nil, nil, fmt.Errorf("internal error: an array of %s is to be read as %s", t.T, dtype)
	}
	b := make([]byte, size)
	v, err := tensor.New(dtype, shape, tensor.Bytes(b))
	return v, b, err
}

// result reads outputs and statistics back, and waits for them once.
func (x *exec) result() (*runtime.Result, error) {
	res := &runtime.Result{Values: map[string]runtime.Value{}}
	var pieces []piece
	for _, o := range x.prog.Outputs {
		if o.Tensor == nil {
			v, err := x.left(o.Name)
			if err != nil {
				return nil, err
			}
			res.Values[o.Name] = v
			continue
		}
		typ, ok := x.st.Types[o.Name]
		if !ok {
			return nil, fmt.Errorf("cuda: internal error: output %q lies on the GPU and has no type", o.Name)
		}
		v, b, err := blank(typ.DType, o.Tensor)
		if err != nil {
			return nil, fmt.Errorf("cuda: output %q: %w", o.Name, err)
		}
		res.Values[o.Name] = runtime.FromTensor(v)
		pieces = append(pieces, piece{x.launcher.Addr(o.Tensor), b})
	}
	for _, name := range x.outputs {
		if _, ok := res.Values[name]; !ok {
			return nil, fmt.Errorf("cuda: internal error: no output %q", name)
		}
	}
	read, err := x.read(pieces)
	if err != nil {
		return nil, err
	}
	res.Layers = x.stats(read)
	return res, nil
}

// read waits for a run and reads pieces and marks back. The error is a fault's where the data made a node impossible.
func (x *exec) read(pieces []piece) (marks map[*program.Buffer][]byte, err error) {
	marks = make(map[*program.Buffer][]byte, len(x.marks))
	for _, b := range x.marks {
		marks[b] = make([]byte, b.Bytes)
		pieces = append(pieces, piece{x.base(b), marks[b]})
	}
	if err := x.pinned.download(x.c, pieces, x.stream); err != nil {
		return nil, err
	}
	for _, f := range x.prog.Faults {
		if binary.LittleEndian.Uint32(marks[f.Flag.Buffer][f.Flag.Offset:]) != 0 {
			return nil, &runtime.NodeError{Node: f.Node, Op: f.Op, Err: errors.New(f.Message)}
		}
	}
	return marks, nil
}

// left is an output that the host has. It is the caller's own afterwards.
func (x *exec) left(name string) (runtime.Value, error) {
	if v, ok := x.host[name]; ok {
		return copyOf(v)
	}
	t, err := x.hostTensor(name)
	if err != nil {
		return runtime.Value{}, err
	}
	return copyOf(runtime.FromTensor(t))
}

// copyOf is v with content of its own.
func copyOf(v runtime.Value) (runtime.Value, error) {
	out := runtime.Value{Kind: v.Kind}
	for _, item := range v.Items {
		c, err := copyOf(item)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, c)
	}
	if t := v.Tensor; t != nil {
		mine := &tensor.Tensor{DType: t.DType, Shape: t.Shape.Clone()}
		for _, s := range t.Strings {
			mine.Strings = append(mine.Strings, slices.Clone(s))
		}
		if t.Data != nil {
			b, err := t.Bytes()
			if err != nil {
				return out, err
			}
			mine.Data = tensor.Bytes(slices.Clone(b))
		}
		out.Tensor = mine
	}
	return out, nil
}

// stats are what the layers saw, from the marks as they were read. A layer that the static model does not have did not run.
func (x *exec) stats(read map[*program.Buffer][]byte) []runtime.LayerStats {
	number := func(t *program.Tensor) float32 {
		if t == nil {
			return 0
		}
		return math.Float32frombits(binary.LittleEndian.Uint32(read[t.Buffer][t.Offset:]))
	}
	counts := func(t *program.Tensor, elements int64) runtime.Counts {
		if t == nil {
			return runtime.Counts{}
		}
		b := read[t.Buffer][t.Offset:]
		at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
		return runtime.Counts{Elements: elements, Saturated: at(0), Flushed: at(1), NonFinite: at(2)}
	}
	out := make([]runtime.LayerStats, len(x.session.layers))
	index := map[string]int{}
	for i := len(out) - 1; i >= 0; i-- {
		out[i].Layer = x.session.layers[i]
		index[out[i].Layer] = i
	}
	for _, l := range x.prog.Layers {
		i, ok := index[l.Name]
		if !ok {
			continue
		}
		if l.Segment != nil {
			continue
		}
		o := &out[i]
		o.Runs++
		o.AmaxInput = larger(o.AmaxInput, number(l.AmaxInput))
		o.AmaxWeight = larger(o.AmaxWeight, number(l.AmaxWeight))
		o.Input = o.Input.Add(counts(l.CountInput, l.Input))
		o.Weight = o.Weight.Add(counts(l.CountWeight, l.Weight))
		o.Counted = x.opt.Statistics
	}
	for name, l := range x.layers {
		if i, ok := index[name]; ok {
			out[i] = l
		}
	}
	return out
}

// larger is the larger of two amaxes, NaN if one is.
func larger(a, b float32) float32 {
	if a != a || b != b {
		return float32(math.NaN())
	}
	return max(a, b)
}

// runOnHost runs the whole model there: inputs that are no tensors have no shapes that a program could be made for.
func (s *session) runOnHost(ctx context.Context, inputs map[string]runtime.Value) (*runtime.Result, error) {
	if s.host == nil {
		var names []string
		for name := range s.variables {
			names = append(names, name)
		}
		slices.Sort(names)
		host, err := s.backend.opt.Host.Open(ctx, s.model, runtime.Options{Threads: s.opt.Threads, Keep: s.opt.Keep, Variables: names, Statistics: s.opt.Statistics})
		if err != nil {
			return nil, s.named(err)
		}
		for _, name := range names {
			if err := host.Set(name, s.variables[name]); err != nil {
				return nil, errors.Join(err, host.Close())
			}
		}
		s.host = host
	}
	res, err := s.host.Run(ctx, inputs)
	if err == nil {
		s.onHost = true
	}
	return res, err
}
