package kernel

import (
	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Float8Format is the number format of an element type, false for a type that is none of the four (E8M0 is not: it holds scales).
func Float8Format(d tensor.DType) (float8.Format, bool) {
	switch d {
	case tensor.Float8E4M3FN:
		return float8.E4M3FNFormat, true
	case tensor.Float8E4M3FZ:
		return float8.E4M3FNUZFormat, true
	case tensor.Float8E5M2:
		return float8.E5M2Format, true
	case tensor.Float8E5M2FZ:
		return float8.E5M2FNUZFormat, true
	}
	return 0, false
}
