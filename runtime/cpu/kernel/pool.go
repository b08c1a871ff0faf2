package kernel

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Pool is the threads that an operator may use.
type Pool struct{ threads int }

// NewPool makes a pool of so many threads, at least one.
func NewPool(threads int) *Pool { return &Pool{max(1, threads)} }

// Threads is how many ranges For works on at a time.
func (p *Pool) Threads() int { return p.threads }

// For calls f for ranges that together are [0, n), from several goroutines at a time. Every range but the last has grain elements,
// whatever the number of threads: a result that is put together per range is then the same on every machine. A panic in f is raised
// again in the caller. f may not call For.
func (p *Pool) For(n, grain int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	grain = max(1, grain)
	ranges := (n + grain - 1) / grain
	workers := min(p.threads, ranges)
	if workers == 1 {
		for lo := 0; lo < n; lo += grain {
			f(lo, min(lo+grain, n))
		}
		return
	}
	var next atomic.Int64
	var failed atomic.Pointer[any]
	work := func() {
		defer func() {
			if r := recover(); r != nil {
				failed.CompareAndSwap(nil, &r)
			}
		}()
		for failed.Load() == nil {
			i := int(next.Add(1)) - 1
			if i >= ranges {
				return
			}
			f(i*grain, min((i+1)*grain, n))
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(func() {
			// Weights lie in mapped files: a page that is gone must not end the process.
			debug.SetPanicOnFault(true)
			work()
		})
	}
	work()
	wg.Wait()
	if r := failed.Load(); r != nil {
		panic(*r)
	}
}
