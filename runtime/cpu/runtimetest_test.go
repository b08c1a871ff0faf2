package cpu_test

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/runtimetest"
)

// TestSuite skips nothing.
func TestSuite(t *testing.T) {
	runtimetest.Run(t, cpu.New(), nil, runtimetest.Default())
}
