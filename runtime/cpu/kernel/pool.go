package kernel

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Pool is the threads that an operator may use.
type Pool struct {
	threads int
	stop    atomic.Pointer[func() error]
}

// Stopped is what For panics with once the pool's stop says so. An engine recovers it.
type Stopped struct{ Err error }

// StopWhen makes For look before every range whether to go on: where stop gives an error, For panics with [Stopped] as soon as the ranges
// under way are done. nil ends that.
func (p *Pool) StopWhen(stop func() error) {
	if stop == nil {
		p.stop.Store(nil)
		return
	}
	p.stop.Store(&stop)
}

// look panics where the pool is to stop.
func look(stop *func() error) {
	if stop != nil {
		if err := (*stop)(); err != nil {
			panic(Stopped{err})
		}
	}
}

// NewPool makes a pool of so many threads, at least one.
func NewPool(threads int) *Pool { return &Pool{threads: max(1, threads)} }

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
	stop := p.stop.Load()
	if workers == 1 {
		for lo := 0; lo < n; lo += grain {
			look(stop)
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
			look(stop)
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
