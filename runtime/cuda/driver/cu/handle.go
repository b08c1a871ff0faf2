//go:build cu && cgo

package cu

import (
	"unsafe"

	lib "gorgonia.org/cu"
)

// object is a type of the module's that wraps one of CUDA's handles in a field that it does not export.
type object interface {
	lib.Stream | lib.Event | lib.Module | lib.Function
}

// They are the handle and nothing else, or this does not compile.
var _ = [...][unsafe.Sizeof(uintptr(0))]byte{
	[unsafe.Sizeof(lib.Stream{})]byte{}, [unsafe.Sizeof(lib.Event{})]byte{}, [unsafe.Sizeof(lib.Module{})]byte{}, [unsafe.Sizeof(lib.Function{})]byte{},
}

// handle is CUDA's own value in an object of the module's.
func handle[T object](v T) uintptr { return *(*uintptr)(unsafe.Pointer(&v)) }

// as is the object of the module's that holds a handle.
func as[T object, H ~uintptr](h H) T { return *(*T)(unsafe.Pointer(&h)) }
