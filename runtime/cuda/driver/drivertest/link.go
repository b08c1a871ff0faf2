package drivertest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
)

const soname = "libcuda.so.1"

// Link makes a library to link programs against, and gives its folder. It is that of [CUDA], and has every other function that cuda.h in
// the folder include names as well: they return CUDA_ERROR_STUB_LIBRARY. A program that was linked with it asks for libcuda.so.1 when it
// starts, which is this library where LD_LIBRARY_PATH names the folder, and the NVIDIA driver's elsewhere.
func Link(t testing.TB, include string) (dir string) {
	t.Helper()
	header, err := os.ReadFile(filepath.Join(include, "cuda.h"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\bcu[A-Z]\w*`).FindAllString(string(header), -1)
	slices.Sort(names)
	var stubs strings.Builder
	for _, name := range slices.Compact(names) {
		fmt.Fprintf(&stubs, "__attribute__((weak, visibility(\"default\"))) int %s(void) { return 34; }\n", name)
	}
	file := filepath.Join(t.TempDir(), "stubs.c")
	if err := os.WriteFile(file, []byte(stubs.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	lib := compile(t, soname, cudaSource, file, "-Wl,-soname,"+soname)
	dir = filepath.Dir(lib.Path)
	if err := os.Symlink(soname, filepath.Join(dir, "libcuda.so")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Linked is the library of [Link] in a program that was linked with it, in the state in which it starts. The test is skipped, saying so,
// where the program runs on another libcuda.
func Linked(t testing.TB) *Library {
	t.Helper()
	if !IsLinked() {
		t.Skip("this program runs on the NVIDIA driver's libcuda, not on the stand-in that it can be linked with")
	}
	so, err := dynlib.Open(soname, false) // the one that is in the process
	if err != nil {
		t.Fatal(err)
	}
	l := &Library{Path: soname, so: so, t: t}
	l.call("fake_reset")
	return l
}

// IsLinked says whether the program runs on the library of [Link].
func IsLinked() bool {
	so, err := dynlib.Open(soname, false)
	if err != nil {
		return false
	}
	_, err = so.Sym("fake_reset")
	return err == nil
}
