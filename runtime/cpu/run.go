package cpu

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// exec is one run.
type exec struct {
	*session
	ctx context.Context
}

// guard runs f and turns a panic into an error: an index out of range in an operator, or the fault of a mapped page that is no
// longer there.
func guard(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
	}()
	return f()
}

// panicError is the error that a recovered panic stands for.
func panicError(p any) error {
	if stopped, ok := p.(kernel.Stopped); ok {
		return stopped.Err
	}
	if _, fault := p.(interface{ Addr() uintptr }); fault { // what a fault's runtime.Error has and no other one
		return fmt.Errorf("memory of the model could not be read: its file was cut short or its disk failed")
	}
	if err, ok := p.(error); ok {
		return fmt.Errorf("internal error: %w", err)
	}
	return fmt.Errorf("internal error: %v", p)
}

// run executes p with inputs, whose references it takes over, inside a frame of the program around it (nil for the main one). The
// outputs' references are the caller's. After an error some references are lost: the arena must not be used again.
func (x *exec) run(p *program, around []kernel.Value, inputs []kernel.Value) ([]kernel.Value, error) {
	f := p.frame
	for _, c := range p.fixed {
		f[c.slot] = c.value.value
	}
	for _, c := range p.captures {
		kernel.Retain(around[c.from])
		f[c.to] = around[c.from]
	}
	for i, v := range inputs {
		f[p.inputs[i]] = v
	}
	p.drop(p.unread)
	for _, s := range p.steps {
		if err := x.step(s, f); err != nil {
			clear(f)
			return nil, err
		}
		p.drop(s.free)
	}
	out := make([]kernel.Value, len(p.outputs))
	for i, o := range p.outputs {
		kernel.Retain(f[o])
		out[i] = f[o]
	}
	for i := range f {
		if f[i] != nil && !p.isConst[i] {
			kernel.Release(f[i])
		}
		f[i] = nil
	}
	return out, nil
}

// drop ends the life of slots.
func (p *program) drop(slots []int) {
	for _, i := range slots {
		if p.frame[i] != nil {
			kernel.Release(p.frame[i])
			p.frame[i] = nil
		}
	}
}

// step executes one step in a frame.
func (x *exec) step(s *step, f []kernel.Value) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	c := &s.call
	c.Ctx, c.Pool, c.Mem = x.ctx, x.pool, x.arena
	for i, slot := range s.in {
		c.In[i] = nil
		if slot != absent {
			c.In[i] = f[slot]
		}
	}
	clear(c.Out)
	var err error
	if s.control != nil {
		err = s.control.run(x, f, c)
	} else {
		err = guarded(func() error { return s.fn(c) })
	}
	if err != nil {
		return x.failed(s, err)
	}
	for i, slot := range s.out {
		v := c.Out[i]
		c.Out[i] = nil
		switch {
		case slot == absent:
			if v != nil {
				kernel.Release(v)
			}
		case v == nil:
			return x.failed(s, fmt.Errorf("output %d was not computed", i))
		default:
			f[slot] = v
		}
	}
	clear(c.In)
	return nil
}

// guarded is f with its panics as errors, in a goroutine that guard prepared.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
	}()
	return f()
}

// failed is the error of a step.
func (x *exec) failed(s *step, err error) error {
	if ctxErr := x.ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	var inside *runtime.NodeError
	var memory *runtime.MemoryError
	if errors.As(err, &inside) || errors.As(err, &memory) {
		return err
	}
	var full *kernel.LimitError
	if errors.As(err, &full) {
		return &runtime.MemoryError{Need: full.Need + x.budget.used, Have: full.Limit + x.budget.used, For: fmt.Sprintf("node %q (%s)", s.name, s.op())}
	}
	return &runtime.NodeError{Node: s.name, Op: s.op(), Err: err}
}
