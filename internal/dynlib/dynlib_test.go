package dynlib_test

import (
	"errors"
	goruntime "runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
)

// cLibrary is a library that every machine of the platform has, with a function that counts the bytes of a text.
func cLibrary() (name, function string) {
	switch goruntime.GOOS {
	case "darwin":
		return "/usr/lib/libSystem.B.dylib", "strlen"
	case "windows":
		return "msvcrt.dll", "strlen"
	}
	return "libc.so.6", "strlen"
}

func TestCallsACFunction(t *testing.T) {
	name, function := cLibrary()
	lib, err := dynlib.Open(name, false)
	if !dynlib.Supported {
		if !errors.Is(err, dynlib.ErrBuiltWithout) {
			t.Fatalf("open without a loader: %v, want %v", err, dynlib.ErrBuiltWithout)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if lib.Name() != name {
		t.Errorf("name %q, want %q", lib.Name(), name)
	}
	strlen, err := lib.Sym(function)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("seven77\x00")
	if n := dynlib.Call(strlen, uintptr(unsafe.Pointer(&text[0]))); n != 7 {
		t.Errorf("strlen of a Go buffer: %d, want 7", n)
	}
	if got := dynlib.String(uintptr(unsafe.Pointer(&text[0]))); got != "seven77" {
		t.Errorf("text %q", got)
	}
	if dynlib.String(0) != "" {
		t.Error("the null pointer is no empty text")
	}
}

func TestSaysWhatIsMissing(t *testing.T) {
	if !dynlib.Supported {
		t.Skip("built without a loader")
	}
	if _, err := dynlib.Open("/nowhere/libnothing.so", true); err == nil || !strings.Contains(err.Error(), "libnothing") {
		t.Errorf("a file that is not there: %v", err)
	}
	name, _ := cLibrary()
	lib, err := dynlib.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lib.Sym("no_such_function_here"); err == nil || !strings.Contains(err.Error(), "no_such_function_here") {
		t.Errorf("a symbol that is not there: %v", err)
	}
}
