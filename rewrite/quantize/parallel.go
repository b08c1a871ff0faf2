package quantize

import (
	"fmt"
	goruntime "runtime"
	"runtime/debug"
	"sync"
)

// inOrder computes items 0..n-1 on all processors and hands the results to emit in order. At most ahead results exist that
// emit has not seen, which bounds memory. The first error ends the work; a fault on a page of a mapped file (the file became
// shorter while it was read) is an error too.
func inOrder[T any](n int, compute func(i int) (T, error), emit func(i int, v T) error) error {
	workers := min(goruntime.GOMAXPROCS(0), n)
	ahead := workers + 2
	type result struct {
		v   T
		err error
	}
	slots := make([]chan result, n)
	for i := range slots {
		slots[i] = make(chan result, 1)
	}
	next := make(chan int)
	tickets := make(chan struct{}, ahead)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				v, err := guarded(func() (T, error) { return compute(i) })
				slots[i] <- result{v, err}
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for i := range n {
			select {
			case tickets <- struct{}{}:
			case <-stop:
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
		r := <-slots[i]
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
