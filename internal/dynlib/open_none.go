//go:build nodl || android || ios || !(darwin || linux || windows) || !(amd64 || arm64)

package dynlib

// Supported says whether this program can open libraries at all.
const Supported = false

func open(string, bool) (uintptr, error) { return 0, ErrBuiltWithout }

func sym(uintptr, string) (uintptr, error) { return 0, ErrBuiltWithout }

//go:uintptrescapes
func call(_ uintptr, _ ...uintptr) uintptr { panic("dynlib: a call, built without a loader") }
