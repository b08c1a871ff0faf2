//go:build !nodl && windows && (amd64 || arm64)

package dynlib

import (
	"fmt"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// Supported says whether this program can open libraries at all.
const Supported = true

func open(name string, _ bool) (uintptr, error) {
	var flags uintptr
	if filepath.IsAbs(name) {
		// The libraries that this one needs are then looked for in its own folder first.
		flags = windows.LOAD_WITH_ALTERED_SEARCH_PATH
	}
	h, err := windows.LoadLibraryEx(name, 0, flags)
	if err != nil {
		// The system's text does not say which file.
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return uintptr(h), nil
}

func sym(handle uintptr, name string) (uintptr, error) {
	return windows.GetProcAddress(windows.Handle(handle), name)
}

//go:uintptrescapes
func call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := syscall.SyscallN(fn, args...)
	return r
}
