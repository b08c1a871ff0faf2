package cpu

import (
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// The weights are pages of a file. One that shrinks while the model runs must not end the process.
func TestAFileThatShrinksIsAnError(t *testing.T) {
	if goruntime.GOOS == "windows" {
		t.Skip("Windows does not shrink a file that is mapped")
	}
	b, err := os.ReadFile(filepath.Join(models, "llama", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := onnxio.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := New().Open(t.Context(), f.Model, runtime.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Truncate(path, 1<<16); err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(t.Context(), in{"input_ids": rows(npz(t, "llama/data.npz", "eval_input_ids"), 0, 2)}.values())
	var e *runtime.NodeError
	if !errors.As(err, &e) {
		t.Errorf("%v, want a NodeError", err)
	}
	if _, err := New().Open(t.Context(), f.Model, runtime.Options{}); err != nil {
		t.Logf("opening it again: %v", err)
	}
}
