//go:build cu

package cu_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/cu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

// What it can do the tests of package driver show, which run on it with this build tag.
func TestWhatItCannotDoItSays(t *testing.T) {
	lib := drivertest.Linked(t)
	lib.Set("version", 12030)
	if _, err := cu.Choose(driver.Found{}); err == nil || !strings.Contains(err.Error(), "serves CUDA 12.3, want 12.4") {
		t.Errorf("an old driver: %v", err)
	}
	lib.Set("version", 12040)
	d, err := cu.Choose(driver.Found{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Launch(0x1234, driver.Launch{}, nil); err == nil {
		t.Error("a kernel that Function did not give was launched")
	}
	dev, err := driver.Open(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if err := dev.Do(func(c *driver.Context) error {
		if _, err := c.Capture(1, func() error { return nil }); !errors.Is(err, driver.ErrNoGraphs) {
			t.Errorf("graphs: %v", err)
		}
		m, err := c.LoadModule("m", []byte(".target sm_80\n.visible .entry k( .param .align 8 .b8 s[24], .param .u32 n)"))
		if err != nil {
			return err
		}
		_, err = c.Function(m, "k")
		if e, ok := errors.AsType[*driver.Error](err); !ok || e.Call != "cuLaunchKernel" || !strings.Contains(err.Error(), "parameter 0 has 24 bytes, and through gorgonia.org/cu only the last can have more than 8") {
			t.Errorf("a struct that is not the last parameter: %v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
