package mpi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	goruntime "runtime"
	"time"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
)

// Group is the processes of a job.
type Group struct {
	launch     Launch
	lib        *library
	rank, size int

	calls  chan func()
	broken error // why no further call can be made
	closed bool
}

// Join makes this process part of its job: all processes must call it. It returns nil, and no error, where no launcher started more than
// this process. A process that has joined ends with Close, when all went well on all ranks, or with Abort.
func Join() (*Group, error) {
	l, launched, err := Detect(os.Getenv)
	if err != nil || !launched {
		return nil, err
	}
	restore := keepSignals()
	lib, err := open(l)
	if err != nil {
		restore()
		return nil, err
	}
	g := &Group{launch: l, lib: lib, calls: make(chan func())}
	started := make(chan error)
	go g.serve(started)
	err = <-started
	restore()
	if err != nil {
		return nil, err
	}
	if l.Size != 0 && g.size != l.Size {
		err := fmt.Errorf("mpi: %s started %d processes and %s (%s) sees %d: launcher and library are of different kinds, name the launcher's "+
			"library in %s (with srun, choose the kind by --mpi)", l.By, l.Size, lib.name, lib.version, g.size, Variable)
		// Each process is alone in its own view, so leaving keeps nobody waiting.
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// serve initializes MPI and then makes every call, on one thread.
func (g *Group) serve(started chan<- error) {
	goruntime.LockOSThread()
	started <- g.start()
	// The channel is never closed: the thread that initialized MPI stays until the process ends.
	for f := range g.calls {
		f()
	}
}

func (g *Group) start() error {
	const funneled = 1 // MPI_THREAD_FUNNELED: several threads, one of which calls
	provided := new(int32)
	if rc := int32(dynlib.Call(g.lib.init, 0, 0, funneled, uintptr(unsafe.Pointer(provided)))); rc != 0 {
		return g.lib.failed("MPI_Init_thread", rc)
	}
	// Errors come back as codes instead of ending the process without a word of ours.
	if rc := int32(dynlib.Call(g.lib.setErrors, g.lib.world, g.lib.errorsReturn)); rc != 0 {
		return g.lib.failed("MPI_Comm_set_errhandler", rc)
	}
	size, rank := new(int32), new(int32)
	if rc := int32(dynlib.Call(g.lib.size, g.lib.world, uintptr(unsafe.Pointer(size)))); rc != 0 {
		return g.lib.failed("MPI_Comm_size", rc)
	}
	if rc := int32(dynlib.Call(g.lib.rank, g.lib.world, uintptr(unsafe.Pointer(rank)))); rc != 0 {
		return g.lib.failed("MPI_Comm_rank", rc)
	}
	g.size, g.rank = int(*size), int(*rank)
	return nil
}

func (l *library) failed(what string, rc int32) error {
	text, n := make([]byte, textSize), new(int32)
	dynlib.Call(l.errorText, uintptr(rc), uintptr(unsafe.Pointer(&text[0])), uintptr(unsafe.Pointer(n)))
	return fmt.Errorf("mpi: %s (%s): %s: error %d: %s", l.name, l.version, what, rc, cut(text))
}

// Rank is this process's number, from 0.
func (g *Group) Rank() int { return g.rank }

// Size is the number of processes.
func (g *Group) Size() int { return g.size }

// LocalRank is this process's number among those on its machine, for the choice of a device; -1 where the launcher does not say.
func (g *Group) LocalRank() int { return g.launch.LocalRank }

// Library is the library's file and what it calls itself, for a report.
func (g *Group) Library() (file, version string) { return g.lib.name, g.lib.version }

// do makes calls on MPI's thread and waits for them, or for the end of ctx. After that, or an error, the group is broken: this rank is no
// longer where the others believe it to be.
func (g *Group) do(ctx context.Context, calls func() error) error {
	if g.broken != nil {
		return g.broken
	}
	if g.closed {
		return errors.New("mpi: the group is closed")
	}
	if err := ctx.Err(); err != nil {
		g.broken = fmt.Errorf("mpi: rank %d of %d left the others: %w", g.rank, g.size, context.Cause(ctx))
		return g.broken
	}
	done := make(chan error, 1)
	g.calls <- func() { done <- calls() }
	select {
	case err := <-done:
		g.broken = err
		return err
	case <-ctx.Done():
		g.broken = fmt.Errorf("mpi: rank %d of %d left the others: %w", g.rank, g.size, context.Cause(ctx))
		return g.broken
	}
}

// most is how many elements one call takes: counts are 32 bits wide.
const most = 1 << 28

// AllReduceMax replaces every element by the largest over all ranks, and by NaN where one rank has NaN.
func (g *Group) AllReduceMax(ctx context.Context, v []float32) error {
	// MPI's maximum does with a NaN what the library's comparison happens to do. Integers that are ordered as the numbers are, with NaN above
	// all, leave no doubt. A copy also keeps v out of a call that ctx no longer waits for.
	keys := make([]int32, len(v))
	for i, x := range v {
		keys[i] = key(x)
	}
	err := g.do(ctx, func() error {
		for at := 0; at < len(keys); at += most {
			part := keys[at:min(at+most, len(keys))]
			if rc := int32(dynlib.Call(g.lib.reduce, g.lib.inPlace, uintptr(unsafe.Pointer(&part[0])), uintptr(len(part)), g.lib.int32, g.lib.max,
				g.lib.world)); rc != 0 {
				return g.lib.failed("MPI_Allreduce", rc)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, k := range keys {
		v[i] = number(k)
	}
	return nil
}

// key orders float32 as integers: -Inf < … < -0 < 0 < … < Inf < NaN.
func key(x float32) int32 {
	if x != x {
		return math.MaxInt32
	}
	k := int32(math.Float32bits(x))
	if k < 0 {
		k ^= math.MaxInt32
	}
	return k
}

func number(k int32) float32 {
	if k < 0 {
		k ^= math.MaxInt32
	}
	return math.Float32frombits(uint32(k)) // the largest key is the bits of a NaN
}

// AllReduceSum replaces every element by the sum over all ranks.
func (g *Group) AllReduceSum(ctx context.Context, v []int64) error {
	w := append([]int64(nil), v...)
	err := g.do(ctx, func() error {
		for at := 0; at < len(w); at += most {
			part := w[at:min(at+most, len(w))]
			if rc := int32(dynlib.Call(g.lib.reduce, g.lib.inPlace, uintptr(unsafe.Pointer(&part[0])), uintptr(len(part)), g.lib.int64, g.lib.sum,
				g.lib.world)); rc != 0 {
				return g.lib.failed("MPI_Allreduce", rc)
			}
		}
		return nil
	})
	if err == nil {
		copy(v, w)
	}
	return err
}

// Barrier returns when all ranks have come to it.
func (g *Group) Barrier(ctx context.Context) error {
	return g.do(ctx, func() error {
		if rc := int32(dynlib.Call(g.lib.barrier, g.lib.world)); rc != 0 {
			return g.lib.failed("MPI_Barrier", rc)
		}
		return nil
	})
}

// Broadcast gives every rank the bytes of rank 0; what the others pass is not looked at.
func (g *Group) Broadcast(ctx context.Context, b []byte) ([]byte, error) {
	size := []int64{0}
	if g.rank == 0 {
		size[0] = int64(len(b))
	}
	if err := g.AllReduceSum(ctx, size); err != nil {
		return nil, err
	}
	out := make([]byte, size[0])
	if g.rank == 0 {
		copy(out, b)
	}
	err := g.do(ctx, func() error {
		for at := 0; at < len(out); at += most {
			part := out[at:min(at+most, len(out))]
			if rc := int32(dynlib.Call(g.lib.broadcast, uintptr(unsafe.Pointer(&part[0])), uintptr(len(part)), g.lib.bytes, 0, g.lib.world)); rc != 0 {
				return g.lib.failed("MPI_Bcast", rc)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Close leaves the job in order: it waits until all ranks do. A group that is broken cannot be closed: Abort it.
func (g *Group) Close() error {
	if g.closed {
		return nil
	}
	err := g.do(context.Background(), func() error {
		if rc := int32(dynlib.Call(g.lib.finalize)); rc != 0 {
			return g.lib.failed("MPI_Finalize", rc)
		}
		return nil
	})
	g.closed = true
	return err
}

// abortPatience is how long Abort waits for MPI's thread, which may be in a call that never ends.
const abortPatience = time.Second

// Abort ends all processes of the job with an exit code that is not 0. It does not return.
func (g *Group) Abort(code int) {
	if code == 0 {
		code = 1
	}
	if g.closed { // MPI takes no calls any more
		os.Exit(code)
	}
	select {
	case g.calls <- func() { dynlib.Call(g.lib.abort, g.lib.world, uintptr(code)) }:
		// MPI_Abort ends this process too, but the standard does not promise it.
		time.Sleep(10 * abortPatience)
	case <-time.After(abortPatience):
		// The thread waits in a call. A process that ends without MPI_Finalize makes its launcher end the others.
	}
	os.Exit(code)
}
