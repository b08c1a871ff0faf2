package nvrtc

import (
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
)

// Pinned is the version whose PTX is in the tree: the newest that writes .version 8.1, the oldest PTX with float8 conversions, so that
// drivers since CUDA 12.1 take it. The Python registry has it as nvidia-cuda-nvrtc-cu12==12.1.105.
const Pinned = "12.1"

// Variable is the environment variable that names the folder of the library.
const Variable = "FP8REWRITE_NVRTC"

// Library is an opened libnvrtc.
type Library struct {
	lib *dynlib.Library
}

// Open opens the library in the folder that [Variable] names, else the one that the system's loader finds.
func Open() (*Library, error) {
	folder := os.Getenv(Variable)
	if folder != "" {
		// The library opens its builtins by name alone, which finds them only if they are in the process already.
		found, err := filepath.Glob(filepath.Join(folder, "libnvrtc-builtins.so*"))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if _, err := dynlib.Open(f, true); err != nil {
				return nil, err
			}
		}
	}
	lib, err := dynlib.Open(filepath.Join(folder, "libnvrtc.so.12"), false)
	if err != nil {
		return nil, fmt.Errorf("open NVRTC (set %s to its folder): %w", Variable, err)
	}
	return &Library{lib}, nil
}

// status is an nvrtcResult: 0 is success.
func (l *Library) call(function string, args ...uintptr) error {
	at, err := l.lib.Sym(function)
	if err != nil {
		return err
	}
	if r := int32(dynlib.Call(at, args...)); r != 0 {
		return fmt.Errorf("%s: nvrtcResult %d", function, r)
	}
	return nil
}

// Version is the library's version, such as "12.1".
func (l *Library) Version() (string, error) {
	v := new([2]int32)
	var pin goruntime.Pinner
	defer pin.Unpin()
	pin.Pin(v)
	at := uintptr(unsafe.Pointer(v))
	if err := l.call("nvrtcVersion", at, at+4); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d.%d", v[0], v[1]), nil
}

// Compile makes PTX of an expanded source. A source with errors is an error with the compiler's log, and so is one with warnings.
func (l *Library) Compile(name, expanded string) (string, error) {
	var pin goruntime.Pinner
	defer pin.Unpin()
	text := func(s string) uintptr {
		b := append([]byte(s), 0)
		pin.Pin(&b[0])
		return uintptr(unsafe.Pointer(&b[0]))
	}
	program := new(uintptr)
	pin.Pin(program)
	if err := l.call("nvrtcCreateProgram", uintptr(unsafe.Pointer(program)), text(expanded), text(name), 0, 0, 0); err != nil {
		return "", err
	}
	given := Options(name)
	options := make([]uintptr, len(given))
	for i, o := range given {
		options[i] = text(o)
	}
	pin.Pin(&options[0])
	failed := l.call("nvrtcCompileProgram", *program, uintptr(len(options)), uintptr(unsafe.Pointer(&options[0])))
	log, err := l.output("nvrtcGetProgramLog", *program)
	if err != nil {
		return "", err
	}
	if failed != nil || log != "" {
		return "", fmt.Errorf("%s: %v\n%s", name, failed, log)
	}
	ptx, err := l.output("nvrtcGetPTX", *program)
	if err != nil {
		return "", err
	}
	return ptx, l.call("nvrtcDestroyProgram", uintptr(unsafe.Pointer(program)))
}

// output reads a text whose size a second function tells, the end's zero byte included.
func (l *Library) output(function string, program uintptr) (string, error) {
	var pin goruntime.Pinner
	defer pin.Unpin()
	size := new(uintptr)
	pin.Pin(size)
	if err := l.call(function+"Size", program, uintptr(unsafe.Pointer(size))); err != nil {
		return "", err
	}
	b := make([]byte, *size+1)
	pin.Pin(&b[0])
	if err := l.call(function, program, uintptr(unsafe.Pointer(&b[0]))); err != nil {
		return "", err
	}
	return string(b[:max(int(*size)-1, 0)]), nil
}
