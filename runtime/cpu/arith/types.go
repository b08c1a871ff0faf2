package arith

import (
	"fmt"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

type (
	float    interface{ float32 | float64 }
	signed   interface{ int8 | int16 | int32 | int64 }
	unsigned interface {
		uint8 | uint16 | uint32 | uint64
	}
	integer interface{ signed | unsigned }
	numeric interface{ integer | float }
)

const (
	// grain is how many elements a thread takes at a time: enough to pay for the hand-over, little enough to share a row out.
	grain = 1 << 14
	// chunk is how many elements pass through a buffer at a time; a few buffers of this length stay in the first-level cache.
	chunk = 1024
)

// half is one of the 16-bit float formats. Operators compute in float32 and round once at the end.
type half struct {
	widen  func(dst []float32, src []uint16)
	narrow func(dst []uint16, src []float32)
}

var (
	float16  = half{float8.WidenFloat16, float8.NarrowFloat16}
	bfloat16 = half{float8.WidenBFloat16, float8.NarrowBFloat16}
)

// halfOf is the format of a 16-bit float type.
func halfOf(d tensor.DType) half {
	if d == tensor.Float16 {
		return float16
	}
	return bfloat16
}

// scratch is room for three operands of a chunk.
type scratch struct{ a, b, c [chunk]float32 }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// typeError says that an operator does not take an element type.
func typeError(in int, d tensor.DType) error {
	return fmt.Errorf("input %d is %s, which this operator does not take", in, d)
}

// sameType checks that the input at i has the type of the input at 0.
func sameType(i int, got, want *kernel.Tensor) error {
	if got.DType != want.DType {
		return fmt.Errorf("input %d is %s, want %s like input 0", i, got.DType, want.DType)
	}
	return nil
}

// isFloat reports whether d is a float type that operators compute with.
func isFloat(d tensor.DType) bool {
	switch d {
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16:
		return true
	}
	return false
}
