package quantize

import (
	"fmt"
	goruntime "runtime"
	"runtime/debug"
	"sync"
)

// inOrder computes items 0..n-1 on all processors and hands the results to emit in order. At most ahead results exist that
// emit has not seen, which bounds memory; admit, if not nil, is asked for each item in turn before it is computed, and may wait; it
// reports false when stop is closed first. The first error ends the work; a fault on a page of a mapped file (the file became
// shorter while it was read) is an error too.
func inOrder[T any](n int, admit func(i int, stop <-chan struct{}) bool, compute func(i int) (T, error), emit func(i int, v T) error) error {
	workers := min(goruntime.GOMAXPROCS(0), n)
	ahead := min(workers+2, n)
	type result struct {
		v   T
		err error
	}
	// Item i has slot i modulo ahead: its ticket is out until the result has left the slot.
	slots := make([]chan result, ahead)
	for i := range slots {
		slots[i] = make(chan result, 1)
	}
	next := make(chan int)
	tickets := make(chan struct{}, ahead)
	busy := make(chan struct{}, workers) // nothing is admitted that no worker could begin at once
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				v, err := guarded(func() (T, error) { return compute(i) })
				slots[i%ahead] <- result{v, err}
				<-busy
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for i := range n {
			for _, c := range []chan struct{}{tickets, busy} {
				select {
				case c <- struct{}{}:
				case <-stop:
					return
				}
			}
			if admit != nil && !admit(i, stop) {
				return
			}
			select {
			case next <- i:
			case <-stop:
				return
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	for i := range n {
		r := <-slots[i%ahead]
		if r.err != nil {
			return r.err
		}
		if err := emit(i, r.v); err != nil {
			return err
		}
		<-tickets
	}
	return nil
}

// guarded runs f and turns a memory fault into an error: the source is a mapped file, and somebody may cut it short.
func guarded[T any](f func() (T, error)) (v T, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(interface{ Addr() uintptr })
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("weight: the file changed while it was read (memory fault at %#x)", fault.Addr())
		}
	}()
	return f()
}
