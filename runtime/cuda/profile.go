package cuda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/program"
)

// Profile times the model on inputs that are on the GPU already: as a whole, as runs replay it, and then each step between two events.
// Steps are given to the GPU while it is still busy with replays of the same stretch, so that it never waits for the host between them.
func (s *session) Profile(ctx context.Context, inputs map[string]runtime.Value, runs int) (*runtime.Profile, error) {
	if runs < 1 {
		return nil, fmt.Errorf("cuda: profile of %d runs, want at least 1", runs)
	}
	p, err := s.prepare(ctx, inputs)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, errors.New("cuda: profile: the model has inputs that are no tensors, and runs on the host")
	}
	prof := &runtime.Profile{Device: s.dev.Info().Name}
	err = s.on(ctx, p, func(x *exec) error {
		if err := x.start(inputs); err != nil {
			return err
		}
		for i := range 3 { // load the kernels, record, warm up
			if err := x.phase(p.steps); err != nil {
				return err
			}
			if i > 0 {
				continue
			}
			if _, err := x.read(nil); err != nil { // what the data makes impossible is not timed
				return err
			}
		}
		t := &timer{exec: x, runs: runs}
		defer t.close()
		var err error
		if prof.Totals, err = t.whole(); err != nil {
			return err
		}
		prof.Total = median(prof.Totals)
		prof.Steps, err = t.each(prof.Total)
		prof.Arena = s.mem.size
		for _, w := range p.weights {
			prof.Weights += w.bytes
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return prof, nil
}

// timer times a program's parts.
type timer struct {
	*exec
	runs   int
	events []driver.Event
	empty  time.Duration // what two events with nothing between them tell
}

// at is event i, made when first wanted.
func (t *timer) at(i int) (driver.Event, error) {
	for len(t.events) <= i {
		e, err := t.c.NewEvent(true)
		if err != nil {
			return 0, err
		}
		t.events = append(t.events, e)
	}
	return t.events[i], nil
}

// mark lets event i happen when the stream has come so far.
func (t *timer) mark(i int) error {
	e, err := t.at(i)
	if err != nil {
		return err
	}
	return t.c.Record(e, t.stream)
}

// between is the time from event i to event j.
func (t *timer) between(i, j int) (time.Duration, error) {
	ms, err := t.c.Elapsed(t.events[i], t.events[j])
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

func (t *timer) close() {
	for _, e := range t.events {
		_ = t.c.DestroyEvent(e) // nothing depends on it
	}
	t.events = nil
}

// whole times runs of the model.
func (t *timer) whole() ([]time.Duration, error) {
	var all []time.Duration
	for range t.runs {
		if err := t.mark(0); err != nil {
			return nil, err
		}
		if err := t.phase(t.compiled.steps); err != nil {
			return nil, err
		}
		if err := t.mark(1); err != nil {
			return nil, err
		}
		if err := t.c.Sync(t.stream); err != nil {
			return nil, err
		}
		d, err := t.between(0, 1)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	t.pinned.synced()
	return all, nil
}

// each times each step: the median over the runs.
func (t *timer) each(total time.Duration) ([]runtime.StepTime, error) {
	if err := t.nothing(); err != nil {
		return nil, err
	}
	times := map[*program.Step][]time.Duration{}
	ahead := 1 // replays that keep the GPU busy while the host catches up
	for run := range t.runs + 1 {
		for _, st := range t.compiled.steps.stretches {
			if err := t.ctx.Err(); err != nil {
				return nil, err
			}
			started := time.Now()
			if err := t.stretchSteps(st, ahead, times); err != nil {
				return nil, err
			}
			if run == 0 { // shows how long the host takes
				launch := time.Since(started)
				ahead = max(ahead, min(100, int(launch/max(total, 10*time.Microsecond))+2))
			}
			if st.segment == nil {
				continue
			}
			started = time.Now()
			if err := t.segment(st.segment); err != nil {
				return nil, stepError(st.segment.Node, st.segment.Op, err)
			}
			times[st.segment] = append(times[st.segment], time.Since(started))
		}
		if run == 0 {
			clear(times)
		}
	}
	var out []runtime.StepTime
	for i := range t.prog.Steps {
		s := &t.prog.Steps[i]
		out = append(out, runtime.StepTime{Node: s.Node, Op: s.Op, Layer: s.Layer, Kernel: s.Kernel, Time: median(times[s]), FLOPs: s.FLOPs, Bytes: s.Bytes})
	}
	return out, nil
}

// nothing finds out what two events tell that have nothing between them, in a stream that is behind the host.
func (t *timer) nothing() error {
	const pairs = 16
	if err := t.clear(t.prog.Cleared); err != nil {
		return err
	}
	for i := range pairs {
		if err := t.mark(i); err != nil {
			return err
		}
	}
	if err := t.c.Sync(t.stream); err != nil {
		return err
	}
	var all []time.Duration
	for i := range pairs - 1 {
		d, err := t.between(i, i+1)
		if err != nil {
			return err
		}
		all = append(all, d)
	}
	t.empty = slices.Min(all)
	return nil
}

// stretchSteps launches a stretch with an event after each step.
func (t *timer) stretchSteps(st *stretch, ahead int, times map[*program.Step][]time.Duration) error {
	for range ahead {
		if err := t.stretch(st, true); err != nil {
			return err
		}
	}
	if err := t.clear(st.clear); err != nil {
		return err
	}
	if err := t.mark(0); err != nil {
		return err
	}
	for i, step := range st.steps {
		if err := step.Launch(t.launcher); err != nil {
			return stepError(step.Node, step.Op, err)
		}
		if err := t.mark(i + 1); err != nil {
			return err
		}
	}
	if err := t.c.Sync(t.stream); err != nil {
		return err
	}
	t.pinned.synced()
	for i, step := range st.steps {
		d, err := t.between(i, i+1)
		if err != nil {
			return err
		}
		times[step] = append(times[step], max(d-t.empty, 0))
	}
	return nil
}

// median is the middle one of times, 0 of none.
func median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}
