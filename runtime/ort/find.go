package ort

import (
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
)

// EnvLibrary is the environment variable that names the library.
const EnvLibrary = "FP8REWRITE_ORT_LIB"

// names are what the library is called on this platform: those that the system's loader is asked for, and a pattern for its file.
func names() (bare []string, pattern string) {
	switch goruntime.GOOS {
	case "darwin":
		return []string{"libonnxruntime.1.dylib", "libonnxruntime.dylib"}, "libonnxruntime*.dylib"
	case "windows":
		return []string{"onnxruntime.dll"}, "onnxruntime.dll"
	}
	return []string{"libonnxruntime.so.1", "libonnxruntime.so"}, "libonnxruntime.so*"
}

// place is one thing to try.
type place struct {
	name string // for the loader
	from string // what made it a candidate, "" where the name says it
}

func (p place) String() string {
	if p.from == "" {
		return p.name
	}
	return fmt.Sprintf("%s (%s)", p.name, p.from)
}

// places lists what to try, in order. A path that the caller or the environment gives is the only one: who names a library wants that
// one or an error. empty are the folders and patterns that hold nothing.
func places(given string, env func(string) string) (found []place, empty []string) {
	if given != "" {
		return inside(place{name: given}), nil
	}
	if p := env(EnvLibrary); p != "" {
		return inside(place{name: p, from: "$" + EnvLibrary}), nil
	}
	bare, pattern := names()
	for _, n := range bare {
		found = append(found, place{name: n})
	}
	var folders []string
	if goruntime.GOOS != "windows" {
		folders = []string{"/usr/lib", "/usr/local/lib"}
	}
	if goruntime.GOOS == "darwin" {
		folders = append(folders, "/opt/homebrew/lib")
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		folders = append(folders, filepath.Dir(exe))
	}
	for _, d := range folders {
		found, empty = appendGlob(found, empty, filepath.Join(d, pattern))
	}
	if v := env("VIRTUAL_ENV"); v != "" {
		site := filepath.Join("lib", "python3*", "site-packages")
		if goruntime.GOOS == "windows" {
			site = filepath.Join("Lib", "site-packages")
		}
		found, empty = appendGlob(found, empty, filepath.Join(v, site, "onnxruntime", "capi", pattern))
	}
	return found, empty
}

// inside is p, or the libraries in it where it is a folder.
func inside(p place) []place {
	if st, err := os.Stat(p.name); err != nil || !st.IsDir() {
		return []place{p}
	}
	_, pattern := names()
	found, _ := appendGlob(nil, nil, filepath.Join(p.name, pattern))
	for i := range found {
		found[i].from = p.from
	}
	if len(found) == 0 {
		return []place{p}
	}
	return found
}

// appendGlob adds the libraries that fit pattern, each file once, in the order of their names; where there is none, pattern goes to empty.
func appendGlob(found []place, empty []string, pattern string) ([]place, []string) {
	// The only error is that of a bad pattern, which an odd folder name can make: then nothing is there to be found.
	paths, _ := filepath.Glob(pattern)
	seen := map[string]bool{}
	n := len(found)
	for _, p := range paths {
		// The providers' libraries are parts of one, not the runtime itself.
		if strings.Contains(filepath.Base(p), "providers") {
			continue
		}
		real, err := filepath.EvalSymlinks(p)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		found = append(found, place{name: p})
	}
	if len(found) == n {
		empty = append(empty, pattern)
	}
	return found, empty
}
