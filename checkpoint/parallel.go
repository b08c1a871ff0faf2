package checkpoint

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
)

// pool is the workers of a job, each with its memory.
type pool struct{ workers []*scratch }

func newPool(n int) *pool {
	p := &pool{}
	for range max(n, 1) {
		p.workers = append(p.workers, newScratch())
	}
	return p
}

// each calls f for 0 … n-1 on all workers, and returns the first error; the others end early. A page of a mapped file that is no longer there is
// an error.
func (p *pool) each(ctx context.Context, n int, f func(ctx context.Context, s *scratch, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for _, s := range p.workers[:min(len(p.workers), n)] {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return
				}
				if err := mapfile.Guard(func() error { return f(ctx, s, i) }); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
