package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// library is a loaded ONNX Runtime. It stays until the process ends.
type library struct {
	path      string
	version   string
	fn        [numFunctions]uintptr
	env       uintptr
	allocator uintptr // of the CPU; not to be released
}

// load tries the places in order and gives the first library that is one of ours to use.
func load(given string) (*library, error) {
	unavailable := &runtime.UnavailableError{Backend: name, Err: errors.New("no libonnxruntime of version " + oldestRelease + " or newer was found")}
	if !dynlib.Supported {
		unavailable.Err = dynlib.ErrBuiltWithout
		return nil, unavailable
	}
	found, empty := places(given, os.Getenv)
	for _, p := range found {
		name := p.name
		// The loader takes a name without a slash for one that it is to search for: so it is, but for a file of the working folder that
		// was named. A file that merely lies there was not asked for, and its code must not run.
		if named := given != "" || p.from != ""; named && !filepath.IsAbs(name) {
			if _, err := os.Stat(name); err == nil {
				if abs, err := filepath.Abs(name); err == nil {
					name = abs
				}
			}
		}
		lib, err := loadOne(name)
		if err == nil {
			return lib, nil
		}
		// The loader's text often starts with the name itself.
		unavailable.Looked = append(unavailable.Looked, p.String()+": "+strings.TrimPrefix(err.Error(), p.name+": "))
	}
	for _, e := range empty {
		unavailable.Looked = append(unavailable.Looked, e+": no such file")
	}
	if given == "" && os.Getenv(EnvLibrary) == "" {
		unavailable.Looked = append(unavailable.Looked, "$"+EnvLibrary+": not set")
	}
	return nil, unavailable
}

// loadOne opens one library and makes it ready.
func loadOne(path string) (*library, error) {
	so, err := dynlib.Open(path, false)
	if err != nil {
		return nil, err
	}
	getBase, err := so.Sym("OrtGetApiBase")
	if err != nil {
		return nil, errors.New("not ONNX Runtime: no function OrtGetApiBase")
	}
	// OrtApiBase holds two functions: GetApi(version) and GetVersionString().
	base := dynlib.Call(getBase)
	if base == 0 {
		return nil, errors.New("OrtGetApiBase gives nothing")
	}
	functions := unsafe.Slice((*uintptr)(dynlib.At(base)), 2)
	l := &library{path: path, version: dynlib.String(dynlib.Call(functions[1]))}
	// An old library prints to stderr when it is asked for a table that it does not have, so the version is looked at first.
	if !newEnough(l.version) {
		return nil, fmt.Errorf("ONNX Runtime %s, want %s or newer", l.version, oldestRelease)
	}
	table := dynlib.Call(functions[0], apiVersion)
	if table == 0 {
		return nil, fmt.Errorf("ONNX Runtime %s has no API of version %d", l.version, apiVersion)
	}
	copy(l.fn[:], unsafe.Slice((*uintptr)(dynlib.At(table)), numFunctions))
	id := cstring("fp8rewrite")
	if err := l.call(fnCreateEnv, logFatal, uintptr(unsafe.Pointer(&id[0])), uintptr(unsafe.Pointer(&l.env))); err != nil {
		return nil, err
	}
	if err := l.call(fnGetAllocator, uintptr(unsafe.Pointer(&l.allocator))); err != nil {
		return nil, err
	}
	return l, nil
}

// newEnough reports whether version, such as "1.21.1", has the table that is asked for.
func newEnough(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(major)
	if err != nil {
		return false
	}
	b, err := strconv.Atoi(minor)
	return err == nil && (a > 1 || a == 1 && b >= oldestMinor)
}

// call calls a function that returns a status. See [dynlib.Call] for what the arguments may be.
//
//go:uintptrescapes
func (l *library) call(f function, args ...uintptr) error {
	if status := dynlib.Call(l.fn[f], args...); status != 0 {
		return l.failure(status)
	}
	return nil
}

// release calls one of the functions that give an object back; the null object is nothing.
func (l *library) release(f function, object uintptr) {
	if object != 0 {
		dynlib.Call(l.fn[f], object)
	}
}

// failure is the error that a status tells; the status is given back.
func (l *library) failure(status uintptr) error {
	defer l.release(fnReleaseStatus, status)
	return &statusError{
		code:    int32(dynlib.Call(l.fn[fnGetErrorCode], status)),
		message: clean(dynlib.String(dynlib.Call(l.fn[fnGetErrorMessage], status))),
	}
}

// cstring is s with the zero byte at its end that C wants.
func cstring(s string) []byte { return append([]byte(s), 0) }
