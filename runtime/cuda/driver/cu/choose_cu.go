//go:build cu && cgo

package cu

import (
	"fmt"

	lib "gorgonia.org/cu"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// oldest is the first CUDA whose driver has every function that is called here.
const oldest = 12040

// Choose is the driver API as this build reaches it: that of the libcuda which the program was linked against and not, as without the
// build tag cu, that of the one which was found. The error is that of a driver which is too old.
func Choose(driver.Found) (driver.Driver, error) {
	if v := lib.Version(); v < oldest {
		return nil, fmt.Errorf("cuda: the NVIDIA driver serves CUDA %d.%d, want %d.%d or newer in a program built with the tag cu", v/1000, v%1000/10, oldest/1000, oldest%1000/10)
	}
	return new(linked), nil
}
