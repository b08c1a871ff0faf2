package ort

import (
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

func TestWhoNamesALibraryGetsThatOneOrAnError(t *testing.T) {
	env := func(name string) string {
		return map[string]string{EnvLibrary: "/from/env.so", "VIRTUAL_ENV": "/venv"}[name]
	}
	found, empty := places("/given.so", env)
	if want := []place{{name: "/given.so"}}; !slices.Equal(found, want) || empty != nil {
		t.Errorf("given: %v and %v, want %v", found, empty, want)
	}
	found, empty = places("", env)
	if want := []place{{name: "/from/env.so", from: "$" + EnvLibrary}}; !slices.Equal(found, want) || empty != nil {
		t.Errorf("by the environment: %v and %v, want %v", found, empty, want)
	}
}

func TestLooksInTheUsualPlacesInOrder(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("the places of Linux")
	}
	venv := t.TempDir()
	capi := filepath.Join(venv, "lib", "python3.12", "site-packages", "onnxruntime", "capi")
	if err := os.MkdirAll(capi, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"libonnxruntime.so.1.25.0", "libonnxruntime_providers_shared.so", "libonnxruntime.so.1.25.0.txt"} {
		if err := os.WriteFile(filepath.Join(capi, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("libonnxruntime.so.1.25.0", filepath.Join(capi, "libonnxruntime.so.1")); err != nil {
		t.Fatal(err)
	}
	found, empty := places("", func(name string) string { return map[string]string{"VIRTUAL_ENV": venv}[name] })
	var names []string
	for _, p := range found {
		names = append(names, p.name)
	}
	// The loader first; the virtual environment last, a link and its file as one.
	if len(names) < 4 || names[0] != "libonnxruntime.so.1" || names[1] != "libonnxruntime.so" || names[len(names)-2] != filepath.Join(capi, "libonnxruntime.so.1") {
		t.Errorf("places %q", names)
	}
	for _, n := range names {
		if strings.Contains(n, "providers") || strings.HasSuffix(n, "libonnxruntime.so.1.25.0") && strings.HasPrefix(n, venv) {
			t.Errorf("%q should not be tried", n)
		}
	}
	if len(empty) == 0 && !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "/usr/") }) {
		t.Errorf("/usr/lib is neither among %q nor among the empty places", names)
	}
	// A folder stands for the libraries in it.
	found, _ = places(capi, os.Getenv)
	if len(found) != 2 || found[0].name != filepath.Join(capi, "libonnxruntime.so.1") {
		t.Errorf("folder %q: %v", capi, found)
	}
}

func TestAbsenceIsOneErrorThatListsWhereItLooked(t *testing.T) {
	notALibrary := filepath.Join(t.TempDir(), "libonnxruntime.so.1")
	if err := os.WriteFile(notALibrary, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"linux": "libc.so.6", "darwin": "/usr/lib/libSystem.B.dylib", "windows": "kernel32.dll"}[goruntime.GOOS]
	for path, says := range map[string]string{"/nowhere/libonnxruntime.so.1": "/nowhere/libonnxruntime.so.1", notALibrary: notALibrary, other: "not ONNX Runtime"} {
		b := New(path)
		for range 2 {
			err := b.Check()
			said, ok := errors.AsType[*runtime.UnavailableError](err)
			if !ok {
				t.Fatalf("%q: error %v, want an UnavailableError", path, err)
			}
			if !dynlib.Supported {
				if !errors.Is(err, dynlib.ErrBuiltWithout) {
					t.Errorf("built without a loader: %v", err)
				}
				continue
			}
			if said.Backend != "ort" || len(said.Looked) != 1 || !strings.Contains(err.Error(), says) {
				t.Errorf("%q: %v, looked at %q; want one place and %q", path, err, said.Looked, says)
			}
		}
		if v, p := b.Version(); v != "" || p != "" {
			t.Errorf("%q: version %q of %q", path, v, p)
		}
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]bool{"1.18.0": true, "1.17.3": false, "1.9.0": false, "1.32.0": true, "2.0.0": true, "": false, "x": false, "1": false} {
		if got := newEnough(version); got != want {
			t.Errorf("version %q: %v, want %v", version, got, want)
		}
	}
}
