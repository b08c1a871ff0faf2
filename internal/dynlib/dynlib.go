package dynlib

import (
	"errors"
	"fmt"
	"unsafe"
)

// ErrBuiltWithout is the cause of every error of a program that was built without a loader.
var ErrBuiltWithout = errors.New("built without the means to open shared libraries")

// Library is a library that is in the process. It is never closed: the libraries opened here start threads, which would run on in
// memory that is gone.
type Library struct {
	name   string
	handle uintptr
}

// Open brings the library called name into the process: a path, or a bare name that the system's loader searches for. With global its
// symbols serve the libraries that are loaded after it, which a library with plug-ins of its own, such as Open MPI, needs; Windows has
// no such difference. A library that is open already is the same one again. The error is the loader's own text, which names the file.
func Open(name string, global bool) (*Library, error) {
	handle, err := open(name, global)
	if err != nil {
		return nil, err
	}
	return &Library{name: name, handle: handle}, nil
}

// Name is what the library was opened as.
func (l *Library) Name() string { return l.name }

// Sym is the address of what the library calls name: of a function, for [Call], or of a variable.
func (l *Library) Sym(name string) (uintptr, error) {
	at, err := sym(l.handle, name)
	if err != nil {
		return 0, fmt.Errorf("library %q: symbol %q: %w", l.name, name, err)
	}
	return at, nil
}

// Call calls the C function at address fn and gives what it returns, of which only the bits of the function's own result type are
// meaningful: convert to int32 first where that is an int. Every argument is an integer or a pointer; floating-point numbers and
// structs by value cannot be passed.
//
// A pointer to Go memory is written as uintptr(unsafe.Pointer(p)) in the argument list itself: it then stays where it is and alive
// until the function returns. Memory that C keeps for longer, or reaches through another pointer, must be pinned or be C's own.
//
//go:uintptrescapes
func Call(fn uintptr, args ...uintptr) uintptr {
	if fn == 0 {
		panic("dynlib: a call of the null function")
	}
	return call(fn, args...)
}

// At is the pointer that address p is, for memory that does not belong to Go.
func At(p uintptr) unsafe.Pointer {
	// The detour over a pointer to p keeps vet from taking the conversion for arithmetic on a Go pointer.
	return *(*unsafe.Pointer)(unsafe.Pointer(&p))
}

// String is the text, ended by a zero byte, that lies at address p; "" for the null pointer.
func String(p uintptr) string {
	if p == 0 {
		return ""
	}
	start := At(p)
	n := 0
	for *(*byte)(unsafe.Add(start, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(start), n))
}
