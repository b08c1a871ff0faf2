//go:build !nodl && !android && !ios && (darwin || linux) && (amd64 || arm64)

package dynlib

import "github.com/ebitengine/purego"

// Supported says whether this program can open libraries at all.
const Supported = true

func open(name string, global bool) (uintptr, error) {
	// Symbols are resolved at once: a library that lacks a part should fail here and not in the middle of a call.
	mode := purego.RTLD_NOW | purego.RTLD_LOCAL
	if global {
		mode = purego.RTLD_NOW | purego.RTLD_GLOBAL
	}
	return purego.Dlopen(name, mode)
}

func sym(handle uintptr, name string) (uintptr, error) { return purego.Dlsym(handle, name) }

//go:uintptrescapes
func call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}
