package calibrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Run calibrates m on all batches of src with engine b. m stays as it is; the result's model shares its tensors, apart from the
// state. The error is [ErrNotConverted], [ErrFrozen], [ErrShard], a [StateError], a [SpreadError], a [CheckpointError], what src or the engine
// said, or ctx's.
func Run(ctx context.Context, m *graph.Model, b runtime.Backend, src Source, opt Options) (*Result, error) {
	r, err := newRun(ctx, m, b, src, opt)
	if err != nil {
		return nil, err
	}
	defer r.close()
	defer r.next.wait()
	for ; r.done < src.Steps(); r.done++ {
		if err := r.step(ctx, r.done); err != nil {
			if ctx.Err() != nil && r.group.Size() == 1 && r.done > 0 {
				if failed := r.save(context.WithoutCancel(ctx), r.done); failed != nil {
					err = errors.Join(err, failed)
				}
			}
			return nil, err
		}
		if err := r.afterStep(ctx, r.done+1); err != nil {
			return nil, err
		}
	}
	r.close()
	if err := r.total(ctx, r.layers); err != nil {
		return nil, err
	}
	return r.result()
}

// run is a calibration under way.
type run struct {
	*subject
	backend runtime.Backend
	source  Source
	opt     Options
	group   Group

	done      int   // steps
	rows, all int64 // of this shard: so far, and in all steps

	planned bool // Options.Planned has heard
	session runtime.Session
	inside  []ops.Variant // the variant in which each layer runs in session
	stale   []*operand    // operands whose scale the session does not have yet
	next    prefetch
}

func newRun(ctx context.Context, m *graph.Model, b runtime.Backend, src Source, opt Options) (*run, error) {
	s, err := read(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := mayMove(m, opt.Force); err != nil {
		return nil, err
	}
	if src.Steps() < 1 {
		return nil, fmt.Errorf("calibrate: the data has no batch")
	}
	r := &run{subject: s, backend: b, source: src, opt: opt, group: opt.Group}
	if r.group == nil {
		r.group = alone{}
	}
	for i := range src.Steps() {
		n := src.Rows(i)
		if n < max(1, opt.Shard.Count) {
			if opt.Shard.Count > 1 {
				return nil, &SpreadError{fmt.Sprintf("%d shards", opt.Shard.Count), fmt.Sprintf("step %d has %d rows", i+1, n)}
			}
			return nil, fmt.Errorf("calibrate: step %d has %d rows, want at least 1", i+1, n)
		}
		lo, hi := opt.Shard.rows(n)
		r.all += int64(hi - lo)
	}
	if err := r.canShare(); err != nil {
		return nil, err
	}
	if err := r.independentRows(ctx); err != nil {
		return nil, err
	}
	return r, r.resume(ctx)
}

// mayMove refuses a model whose state an earlier calibration left for something else than to go on from.
func mayMove(m *graph.Model, force bool) error {
	was, err := ReadProvenance(m)
	if err != nil || was == nil || force {
		return err
	}
	if was.Frozen {
		return ErrFrozen
	}
	if s, err := shardOf(was); err != nil {
		return err
	} else if s.Count > 1 {
		return fmt.Errorf("shard %s: %w", s, ErrShard)
	}
	return nil
}

// canShare refuses several ranks where the state could not become that of one process: a fixed number of rows, or a layer whose
// use may depend on which rows a rank has.
func (r *run) canShare() error {
	n, over := r.group.Size(), r.over()
	if d, says := r.source.(divisible); says && over != "" {
		if err := d.Divisible(); err != nil {
			return &SpreadError{over, err.Error()}
		}
	}
	if n == 1 {
		return nil
	}
	defaults := map[string]bool{}
	for _, i := range r.model.Graph.Initializers {
		defaults[i.Name] = true
	}
	batched, says := r.source.(batcher)
	for _, in := range r.model.Graph.Inputs {
		if defaults[in.Name] || in.Type == nil || !in.Type.HasShape || len(in.Type.Shape) == 0 || says && !batched.Batched(in.Name) {
			continue
		}
		if rows := in.Type.Shape[0].Value; rows >= 0 {
			return &SpreadError{over, fmt.Sprintf("the first axis of input %q is fixed at %d", in.Name, rows)}
		}
	}
	for _, l := range r.layers {
		if l.inside != "" {
			return &SpreadError{over, fmt.Sprintf("layer %q is inside the %s at %q, which may take another course for other rows", l.name, l.inside, l.graph)}
		}
	}
	return nil
}

// step runs one batch and moves the state.
func (r *run) step(ctx context.Context, step int) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	lo, hi := r.rowsOf(step)
	stats := make([]runtime.LayerStats, len(r.layers))
	if lo == hi {
		if err := r.standIn(ctx); err != nil {
			return err
		}
	} else {
		res, err := r.execute(ctx, step, lo, hi)
		if err != nil {
			return fmt.Errorf("step %d: %w", step+1, err)
		}
		stats = res.Layers
	}
	return r.observe(ctx, step, stats)
}

// rowsOf is rows [lo, hi) of a step's batch that this process takes.
func (r *run) rowsOf(step int) (lo, hi int) {
	first, last := r.opt.Shard.rows(r.source.Rows(step))
	lo, hi = Part(last-first, r.group.Rank(), r.group.Size())
	return first + lo, first + hi
}

// prepare makes the session ready for the next step: opened anew where a layer has to run in another form, its scales those of now.
func (r *run) prepare(ctx context.Context) error {
	want := make([]ops.Variant, len(r.layers))
	same := r.session != nil
	for i, l := range r.layers {
		want[i] = r.form(l)
		same = same && want[i] == r.inside[i]
	}
	if same {
		for _, o := range r.stale {
			if err := r.session.Set(o.scale.Name, o.scaleTensor()); err != nil {
				return fmt.Errorf("set %q: %w", o.scale.Name, err)
			}
		}
		r.stale = r.stale[:0]
		return nil
	}
	r.close()
	m, err := r.variant(want)
	if err != nil {
		return err
	}
	opt := runtime.Options{Threads: r.opt.Threads, MaxMemory: r.opt.MaxMemory, Statistics: true}
	for _, o := range r.operands {
		if o.state != nil {
			opt.Variables = append(opt.Variables, o.scale.Name)
		}
	}
	for _, v := range want {
		if v.Dynamic() && r.group.Size() > 1 {
			opt.AllReduceMax = duringRun(r.group)
		}
	}
	if r.session, err = r.backend.Open(ctx, m, opt); err != nil {
		return err
	}
	names := r.session.Layers()
	for i, l := range r.layers {
		if i >= len(names) || len(names) != len(r.layers) || names[i] != l.name {
			return fmt.Errorf("device %q: it runs the layers %q, want %q at %d", r.backend.Name(), names, l.name, i)
		}
	}
	r.inside, r.stale = want, r.stale[:0]
	return nil
}

// form is the variant in which a layer runs: its own, but dynamic for an operand whose first scale is to be that of its own amax.
func (r *run) form(l *layer) ops.Variant {
	v := l.op.Variant
	if r.opt.NoAmaxInit {
		return v
	}
	if l.input.uninitialized() {
		v.Input, v.PowerOfTwo = ops.InputDynamic, r.recipe.PowerOfTwo
	}
	if l.weight.uninitialized() {
		v.Weight, v.PowerOfTwo = ops.WeightDynamic, r.recipe.PowerOfTwo
	}
	return v
}

// variant is a copy of the model with the scales of now, each layer in the form that want gives.
func (r *run) variant(want []ops.Variant) (*graph.Model, error) {
	r.put()
	m := clone(r.model)
	i := 0
	graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
		if ops.IsFloat8Linear(n) {
			n.OpType = want[i].FunctionName() // both walks are in the same order
			i++
		}
	})
	for i, v := range want {
		if v != r.layers[i].op.Variant {
			if _, err := ops.Declare(m, v); err != nil {
				return nil, fmt.Errorf("calibrate: %w", err)
			}
		}
	}
	return m, nil
}

func (r *run) execute(ctx context.Context, step, lo, hi int) (*runtime.Result, error) {
	inputs, err := r.batch(ctx, step, lo, hi)
	if err != nil {
		return nil, err
	}
	if err := r.plan(inputs); err != nil {
		return nil, err
	}
	if step+1 < r.source.Steps() {
		if lo, hi := r.rowsOf(step + 1); lo < hi {
			r.next.start(ctx, r.source, step+1, lo, hi)
		}
	}
	res, err := r.session.Run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	if len(res.Layers) != len(r.layers) {
		return nil, fmt.Errorf("device %q: statistics of %d layers, want %d", r.backend.Name(), len(res.Layers), len(r.layers))
	}
	if r.opt.Outputs != nil {
		return res, r.opt.Outputs(step, res.Values)
	}
	return res, nil
}

// batch is rows [lo, hi) of a step as the engine takes them.
func (r *run) batch(ctx context.Context, step, lo, hi int) (map[string]runtime.Value, error) {
	batch, err := r.next.take(ctx, r.source, step, lo, hi)
	if err != nil {
		return nil, err
	}
	inputs := make(map[string]runtime.Value, len(batch))
	for name, t := range batch {
		inputs[name] = runtime.FromTensor(t)
	}
	return inputs, nil
}

// plan tells Options.Planned about the first batch.
func (r *run) plan(inputs map[string]runtime.Value) error {
	if r.opt.Planned == nil || r.planned {
		return nil
	}
	shapes := make(map[string]tensor.Shape, len(inputs))
	for name, v := range inputs {
		shapes[name] = v.Tensor.Shape
	}
	p, err := r.session.Plan(shapes)
	if err != nil {
		return err
	}
	r.planned = true
	r.opt.Planned(p)
	return nil
}

// standIn is what a rank without rows does while the others run: it takes part in the reductions inside the run, one for each operand
// that is scaled by its own amax, in the engine's order.
func (r *run) standIn(ctx context.Context) error {
	reduce := duringRun(r.group)
	for i, l := range r.layers {
		if r.inside[i].Input == ops.InputDynamic {
			if err := reduce(ctx, make([]float32, 1)); err != nil {
				return err
			}
		}
		if r.inside[i].Weight == ops.WeightDynamic {
			if err := reduce(ctx, make([]float32, l.weight.perChannel)); err != nil {
				return err
			}
		}
	}
	return nil
}

// observe joins what all ranks saw in a step and moves every state once.
func (r *run) observe(ctx context.Context, step int, stats []runtime.LayerStats) error {
	n := len(r.operands)
	at := make(map[*operand]int, n)
	for i, o := range r.operands {
		at[o] = i
	}
	// The last len(layers) places say whether a layer ran at all: one whose weight ran in another layer may not have.
	amax, present := make([]float32, n+len(r.layers)), make([]bool, n+len(r.layers))
	note := func(i int, a float32) {
		if present[i] {
			a = scaling.JoinAmax(amax[i], a)
		}
		amax[i], present[i] = a, true
	}
	for i, l := range r.layers {
		s := &stats[i]
		l.inputCounts = l.inputCounts.Add(s.Input)
		if r.group.Rank() == 0 { // every rank casts the whole weight; the first has rows in every step
			l.weightCounts = l.weightCounts.Add(s.Weight)
		}
		l.counted = l.counted || s.Counted
		if s.Runs == 0 {
			continue
		}
		note(n+i, 0)
		note(at[l.input], s.AmaxInput)
		if l.weight != nil {
			note(at[l.weight], s.AmaxWeight)
		}
	}
	if err := reduceAmaxes(ctx, r.group, amax, present); err != nil {
		return err
	}
	for i, l := range r.layers {
		if present[n+i] {
			l.ran++
		}
	}
	for i, o := range r.operands {
		if err := o.advance(step, amax[i], present[i]); err != nil {
			return err
		}
		if o.state != nil {
			r.stale = append(r.stale, o)
		}
	}
	lo, hi := r.opt.Shard.rows(r.source.Rows(step))
	r.rows += int64(hi - lo)
	return nil
}

// Unobserved stands in a course of amaxes for a step in which the operand was not used.
const Unobserved = -1

// advance ends a step of the operand.
func (o *operand) advance(step int, amax float32, present bool) error {
	if !present {
		o.amaxes = append(o.amaxes, Unobserved)
	} else {
		o.amaxes = append(o.amaxes, amax)
	}
	if o.state == nil {
		if present && o.mode != scaling.Off {
			o.rejected.Add(scaling.Judge(amax))
		}
		return nil
	}
	if present {
		o.state.Observe(amax)
	} else {
		o.state.Unobserved()
	}
	v, err := o.state.Advance()
	if err != nil {
		return err
	}
	o.rejected.Add(v)
	if v == scaling.Accepted {
		copy(o.window[1:], o.window)
		o.window[0] = step
		o.rescale()
	}
	o.course = append(o.course, float32(o.state.Scale()))
	return nil
}

// rescale takes the scale of the state over; a channel's is made from its own amax, which in a stored weight is the same at every
// step.
func (o *operand) rescale() {
	if o.channels == nil {
		o.scales[0] = float32(o.state.Scale())
		return
	}
	for i, a := range o.channels {
		o.scales[i] = float32(o.recipe.Scale(o.top, a, scaling.QuantScale(o.scales[i])))
	}
}

// afterStep tells of a step and saves it where it is time to.
func (r *run) afterStep(ctx context.Context, done int) error {
	if r.opt.Progress != nil {
		r.opt.Progress(Progress{Done: done, Of: r.source.Steps(), Rows: r.rows, OfAll: r.all})
	}
	if r.opt.Every > 0 && done%r.opt.Every == 0 && done < r.source.Steps() {
		return r.save(ctx, done)
	}
	return nil
}

// total sums the counts of all ranks, in a copy where the run goes on.
func (r *run) total(ctx context.Context, layers []*layer) error {
	if r.group.Size() == 1 {
		return nil
	}
	v := make([]int64, 0, 9*len(layers))
	for _, l := range layers {
		for _, c := range []runtime.Counts{l.inputCounts, l.weightCounts} {
			v = append(v, c.Elements, c.Saturated, c.Flushed, c.NonFinite)
		}
		counted := int64(0)
		if l.counted {
			counted = 1
		}
		v = append(v, counted)
	}
	if err := r.group.AllReduceSum(ctx, v); err != nil {
		return fmt.Errorf("calibrate: rank %d of %d: sum counts: %w", r.group.Rank(), r.group.Size(), err)
	}
	for i, l := range layers {
		p := v[9*i:]
		l.inputCounts, l.weightCounts = runtime.Counts{Elements: p[0], Saturated: p[1], Flushed: p[2], NonFinite: p[3]},
			runtime.Counts{Elements: p[4], Saturated: p[5], Flushed: p[6], NonFinite: p[7]}
		l.counted = p[8] > 0
	}
	return nil
}

func (r *run) close() {
	if r.session != nil {
		_ = r.session.Close()
		r.session = nil
	}
}
