package drivertest

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
)

//go:embed testdata/cuda.c
var cudaSource string

//go:embed testdata/cublaslt.c
var cublasLtSource string

// Library is a library made for one test, with a state of its own.
type Library struct {
	Path string
	so   *dynlib.Library
	t    testing.TB
}

// CUDA makes a libcuda with one GPU of compute capability 9.0 and 1 GiB, in a driver that serves CUDA 13.0. It skips the test, saying
// so, where there is no loader or no C compiler.
func CUDA(t testing.TB) *Library { return compile(t, "libcuda.so.1", cudaSource) }

// OldCUDA is CUDA before 12.4: it cannot tell the parameters of a kernel.
func OldCUDA(t testing.TB) *Library { return compile(t, "libcuda.so.1", cudaSource, "-DOLD") }

// CUBLASLt makes a libcublasLt of the given version, such as 130100.
func CUBLASLt(t testing.TB, version string) *Library {
	return compile(t, "libcublasLt.so."+version[:2], cublasLtSource, "-DVERSION="+version)
}

// built maps source and flags to the compiled file's content: a test that needs a library gets a copy, since the loader gives a file that
// is open already as the same library again.
var built sync.Map

func compile(t testing.TB, name, source string, flags ...string) *Library {
	t.Helper()
	if !dynlib.Supported || goruntime.GOOS != "linux" {
		t.Skip("no stand-in for CUDA's libraries: they are made for Linux, in a program that can open libraries")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	key := source + strings.Join(flags, " ")
	content, ok := built.Load(key)
	if !ok {
		gcc, err := exec.LookPath("gcc")
		if err != nil {
			t.Skip("no stand-in for CUDA's libraries: no gcc on this machine")
		}
		c := filepath.Join(dir, "source.c")
		if err := os.WriteFile(c, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"}, flags...)
		if out, err := exec.Command(gcc, append(args, "-o", path, c, "-lm", "-lpthread")...).CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content, _ = built.LoadOrStore(key, b)
	}
	if err := os.WriteFile(path, content.([]byte), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Library{Path: path, t: t}
}

// Use lets the environment variable env name the library for the rest of the test.
func (l *Library) Use(env string) *Library {
	l.t.Helper()
	l.t.Setenv(env, l.Path)
	return l
}

// call calls one of the library's fake_ functions.
//
//go:uintptrescapes
func (l *Library) call(name string, args ...uintptr) uintptr {
	l.t.Helper()
	if l.so == nil {
		so, err := dynlib.Open(l.Path, false)
		if err != nil {
			l.t.Fatal(err)
		}
		l.so = so
	}
	at, err := l.so.Sym(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return dynlib.Call(at, args...)
}

// Fail lets the call of function fn after the next n calls of it return code. Codes from 700 to 799 end the context.
func (l *Library) Fail(fn string, code, n int) {
	l.t.Helper()
	name := append([]byte(fn), 0)
	l.call("fake_fail", uintptr(unsafe.Pointer(&name[0])), uintptr(code), uintptr(n))
}

// Set calls the library's function fake_NAME with numbers: version, devices, capability (major, minor), memory (bytes).
func (l *Library) Set(name string, values ...int) {
	l.t.Helper()
	args := make([]uintptr, len(values))
	for i, v := range values {
		args[i] = uintptr(v)
	}
	l.call("fake_"+name, args...)
}

// Used is how many bytes of memory are taken from a libcuda.
func (l *Library) Used() int { return int(l.call("fake_used")) }

// Log is what the library was called with since it was opened, or since the last Forget, a line a call.
func (l *Library) Log() []string {
	l.t.Helper()
	text := strings.TrimSuffix(dynlib.String(l.call("fake_log")), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// Forget empties the log.
func (l *Library) Forget() { l.call("fake_forget") }
