package driver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Codes of CUresult that decisions are made on; cuda.h has them all.
const (
	CodeInvalidValue      = 1
	CodeOutOfMemory       = 2
	CodeStubLibrary       = 34
	CodeNoDevice          = 100
	CodeInvalidDevice     = 101
	CodeInvalidContext    = 201
	CodeNoBinary          = 209 // neither machine code nor PTX that fits the card
	CodeInvalidPTX        = 218
	CodeUnsupportedPTX    = 222 // PTX newer than the driver
	CodeNotFound          = 500
	CodeNotReady          = 600
	CodeIllegalAddress    = 700
	CodeDriverMismatch    = 803
	CodeCompatUnsupported = 804
)

// ErrClosed is the error of a call to a device that was closed.
var ErrClosed = errors.New("cuda: the device is closed")

// Error is what a function of the driver API returned.
type Error struct {
	Call string // the function, such as "cuMemAlloc"
	Code int    // the CUresult
	Name string // CUDA's name for it, such as "CUDA_ERROR_OUT_OF_MEMORY"; "" where the library does not know it
	Text string // CUDA's text for it, such as "out of memory"
}

// Error gives function, text, name and number.
func (e *Error) Error() string {
	name := e.Name
	if name == "" {
		name = "CUresult"
	}
	text := e.Text
	if text == "" {
		text = "unknown error"
	}
	s := fmt.Sprintf("cuda: %s: %s (%s, %d)", e.Call, text, name, e.Code)
	if e.Sticky() {
		s += "; the process's CUDA context is lost"
	}
	return s
}

// Sticky says whether the error ends the context: the process cannot use the GPU any more. These are the codes of which cuda.h says that
// the process must be terminated and relaunched, the hardware's uncorrectable errors, and that of a context which is gone.
//
// Most of them are raised by a kernel and told by a later call: what Call names need not be the cause.
func (e *Error) Sticky() bool {
	switch e.Code {
	case 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911:
		return true
	}
	return false
}

// LostError says that the context is gone since an earlier error.
type LostError struct{ First *Error }

// Error names the earlier error.
func (e *LostError) Error() string {
	return fmt.Sprintf("cuda: the context is lost since an earlier error, and the process cannot use the GPU any more: %v", e.First)
}

// Unwrap is the earlier error.
func (e *LostError) Unwrap() error { return e.First }

// MemoryError says that an allocation did not fit. It is told before the driver's own error, which it wraps.
type MemoryError struct {
	Where string // "GPU memory", or "pinned host memory"
	Need  int64  // bytes asked for
	Free  int64  // bytes free on the card at that time, for GPU memory; they need not be in one piece
	Total int64  // bytes of the card
	Err   error
}

// Error gives the numbers.
func (e *MemoryError) Error() string {
	s := fmt.Sprintf("cuda: out of memory: %d bytes of %s are needed", e.Need, e.Where)
	if e.Total > 0 {
		s += fmt.Sprintf(", %d of %d are free", e.Free, e.Total)
	}
	return s
}

// Unwrap is the driver's error.
func (e *MemoryError) Unwrap() error { return e.Err }

// IsOutOfMemory says whether err is that of memory which did not suffice, whichever call told it.
func IsOutOfMemory(err error) bool {
	if _, ok := errors.AsType[*MemoryError](err); ok {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == CodeOutOfMemory
}

// ModuleError says that kernels could not be loaded.
type ModuleError struct {
	Module string // what the caller calls it
	Card   Info
	Target string // what its PTX is made for, such as "sm_89"; "" where that is not known
	Log    string // what the driver's compiler said
	Err    error
}

// Error names the module, the card and the cause.
func (e *ModuleError) Error() string {
	s := fmt.Sprintf("cuda: module %q: ", e.Module)
	cuda, ok := errors.AsType[*Error](e.Err)
	switch {
	case ok && (cuda.Code == CodeNoBinary || cuda.Code == CodeInvalidPTX && e.newer()):
		s += fmt.Sprintf("it is not made for %s (compute capability %d.%d)", e.Card.Name, e.Card.Major, e.Card.Minor)
	case ok && cuda.Code == CodeUnsupportedPTX:
		s += "the NVIDIA driver is older than the kernels' PTX"
	default:
		s += fmt.Sprintf("on %s (compute capability %d.%d)", e.Card.Name, e.Card.Major, e.Card.Minor)
	}
	s += ": " + e.Err.Error()
	if e.Log != "" {
		s += ": " + strings.Join(strings.Fields(e.Log), " ")
	}
	return s
}

// newer says whether the target is a card newer than the one at hand, which the driver's compiler tells as an error in the PTX.
func (e *ModuleError) newer() bool {
	number := strings.TrimRight(strings.TrimPrefix(e.Target, "sm_"), "af")
	v, err := strconv.Atoi(number)
	return err == nil && v > 10*e.Card.Major+e.Card.Minor
}

// Unwrap is the driver's error.
func (e *ModuleError) Unwrap() error { return e.Err }

// ArgumentError says that a launch does not fit its kernel; nothing was launched.
type ArgumentError struct{ Kernel, Got, Want string }

// Error names the kernel, what it was given and what it takes.
func (e *ArgumentError) Error() string {
	return fmt.Sprintf("cuda: kernel %q: %s, want %s", e.Kernel, e.Got, e.Want)
}
