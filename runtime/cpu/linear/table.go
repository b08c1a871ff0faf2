package linear

import "github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"

// Table is the package's operators.
func Table() kernel.Table {
	return kernel.Table{}
}
