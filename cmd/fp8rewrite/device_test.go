package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// TestMemoryIsExplainedByWhoseBoundItIs: --max-memory helps where it set the bound, and not where the card did.
func TestMemoryIsExplainedByWhoseBoundItIs(t *testing.T) {
	for _, c := range []struct {
		of      string
		allowed bool
	}{{"", true}, {"NVIDIA H200", false}} {
		err := explainRun(fmt.Errorf("step 0: %w", &runtime.MemoryError{Need: 2, Have: 1, For: "a run", Of: c.of}))
		var with hinted
		if !errors.As(err, &with) {
			t.Fatalf("%v: no hint", err)
		}
		if got := strings.Contains(with.hint, "--max-memory"); got != c.allowed || !strings.Contains(with.hint, "--batch-size") {
			t.Errorf("memory of %q: hint %q", c.of, with.hint)
		}
	}
}
