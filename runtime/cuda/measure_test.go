package cuda

import (
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

func TestMeasureLeavesOutWhatDoesNotFit(t *testing.T) {
	card := drivertest.CUDA(t).Use(driver.EnvCUDA)
	drivertest.CUBLASLt(t, "130102").Use(driver.EnvCUBLASLt)
	card.Set("memory", 100<<20)
	b := New(Options{Host: cpu.New()}).(*Backend)
	rates, squares, skipped, err := b.Measure(t.Context(), 16, []int64{32, 8192, 64})
	if err != nil {
		t.Fatal(err)
	}
	if rates.Memory <= 0 || rates.BFloat16 != 0 || rates.Float8 != 0 {
		t.Errorf("rates %+v, want that of memory alone", rates)
	}
	if len(squares) != 2 || squares[0].Features != 32 || squares[1].Features != 64 || squares[0].Float8 <= 0 || squares[1].BFloat16 <= 0 {
		t.Errorf("squares %+v, want those of 32 and 64", squares)
	}
	if len(skipped) != 3 || !strings.Contains(skipped[0], "bfloat16 product") || !strings.HasPrefix(skipped[2], "a square layer of 8192 features and 16 tokens was not measured: ") {
		t.Errorf("skipped %q", skipped)
	}

	// Another failure ends it, with what was measured before.
	card.Fail("cuGraphInstantiateWithFlags", 1, 1)
	rates, squares, _, err = b.Measure(t.Context(), 16, []int64{32, 64})
	if err == nil || rates.Memory <= 0 || len(squares) != 0 {
		t.Errorf("rates %+v, squares %+v, error %v", rates, squares, err)
	}
}
