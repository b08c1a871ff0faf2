package calibrate

import (
	"context"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// prefetch reads the batch that is wanted next while the engine computes. The zero value has read nothing.
type prefetch struct {
	step, lo, hi int
	got          chan fetched // nil: nothing is being read
}

type fetched struct {
	batch map[string]*tensor.Tensor
	err   error
}

// start begins to read rows [lo, hi) of a step.
func (p *prefetch) start(ctx context.Context, src Source, step, lo, hi int) {
	p.wait()
	got := make(chan fetched, 1)
	p.step, p.lo, p.hi, p.got = step, lo, hi, got
	go func() {
		b, err := src.Batch(ctx, step, lo, hi)
		got <- fetched{b, err}
	}()
}

// take is rows [lo, hi) of a step: what was begun, if it is that.
func (p *prefetch) take(ctx context.Context, src Source, step, lo, hi int) (map[string]*tensor.Tensor, error) {
	if f, ok := p.wait(); ok && p.step == step && p.lo == lo && p.hi == hi {
		return f.batch, f.err
	}
	return src.Batch(ctx, step, lo, hi)
}

// wait ends what is being read. Nothing may be read any more once a run has returned: the caller closes the source then.
func (p *prefetch) wait() (f fetched, ok bool) {
	if p.got == nil {
		return fetched{}, false
	}
	f = <-p.got
	p.got = nil
	return f, true
}
