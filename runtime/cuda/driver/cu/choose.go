//go:build !cu

package cu

import "github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"

// Choose is the driver API as this build reaches it: that of the libcuda which was found, or, with the build tag cu, that of the libcuda
// which the program was linked against.
func Choose(f driver.Found) (driver.Driver, error) { return f.Driver() }
