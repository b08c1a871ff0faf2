//go:build !cu

package driver_test

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

// standIn is a libcuda without a GPU.
func standIn(t *testing.T) *drivertest.Library { return drivertest.CUDA(t) }

// standIns are the stand-ins that tell kernels' parameters, and not.
func standIns(t *testing.T) map[string]*drivertest.Library {
	return map[string]*drivertest.Library{"with sizes": drivertest.CUDA(t), "before CUDA 12.4": drivertest.OldCUDA(t)}
}

// load is the driver API of a stand-in.
func load(t *testing.T, lib *drivertest.Library) driver.Driver {
	t.Helper()
	lib.Use(driver.EnvCUDA)
	d, err := driver.Load()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// choose is the driver API of the GPU's libcuda.
func choose(f driver.Found) (driver.Driver, error) { return f.Driver() }

// startsWithoutDevice says whether the program runs where there is no GPU.
const startsWithoutDevice = true
