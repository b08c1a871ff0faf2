package cuda

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// errClosed is the error of a session that was closed.
var errClosed = errors.New("cuda: the session is closed")

// explain makes an error of the GPU one of package runtime, where that knows such errors: memory that does not suffice. what says what the
// memory was for.
func explain(err error, card, what string) error {
	if known, ok := errors.AsType[*runtime.MemoryError](err); ok {
		return known
	}
	if short, ok := errors.AsType[*driver.MemoryError](err); ok {
		of := card
		if short.Total == 0 {
			of = short.Where
		}
		return &runtime.MemoryError{Need: short.Need, Have: short.Free, For: what, Of: of}
	}
	return err
}

// stepError is the error of a step's launch.
func stepError(node, op string, err error) error {
	if lost, ok := errors.AsType[*driver.LostError](err); ok {
		return lost
	}
	if _, ok := errors.AsType[*driver.MemoryError](err); ok {
		return err
	}
	if inside, ok := errors.AsType[*runtime.NodeError](err); ok {
		return inside
	}
	return &runtime.NodeError{Node: node, Op: op, Err: err}
}

// guard runs f and turns a panic into an error: a mapped page that is no longer there, or an index out of range.
func guard(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // what a fault's runtime.Error has and no other one
			err = errors.New("memory of the model could not be read: its file was cut short or its disk failed")
		case error:
			err = fmt.Errorf("cuda: internal error: %w", p)
		default:
			err = fmt.Errorf("cuda: internal error: %v", p)
		}
	}()
	return f()
}
