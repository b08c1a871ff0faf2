package program

import (
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
)

// Kernels launches kernels; it is a [*kernels.Set].
type Kernels interface {
	Activate(a kernels.Activation, stream driver.Stream) error
	Amax(amax, src driver.Ptr, t kernels.Type, n int64, stream driver.Stream) error
	Attend(a kernels.Attention, stream driver.Stream) error
	Cast(q kernels.Codes, src driver.Ptr, t kernels.Type, n int64, counts driver.Ptr, stream driver.Stream) error
	CastPadded(q kernels.Codes, src driver.Ptr, t kernels.Type, rows, cols int64, stream driver.Stream) error
	Chain(c kernels.Chain, stream driver.Stream) error
	Convert(dst driver.Ptr, to kernels.Type, src driver.Ptr, from kernels.Type, n int64, stream driver.Stream) error
	Copy(dst, src kernels.View, dims []int64, size int64, stream driver.Stream) error
	Decode(dst driver.Ptr, t kernels.Type, codes driver.Ptr, format kernels.Type, scale driver.Ptr, n int64, stream driver.Stream) error
	Gather(dst, src, index driver.Ptr, indexType kernels.Type, outer, axis, count, bytes int64, failed driver.Ptr, stream driver.Stream) error
	Normalize(n kernels.Norm, stream driver.Stream) error
	Reduce(op kernels.Reduction, y, x driver.Ptr, t kernels.Type, outer, n, inner int64, stream driver.Stream) error
	Rotate(r kernels.Rotary, stream driver.Stream) error
	Scales(scale, inverse, amax driver.Ptr, n int64, r kernels.ScaleRule, stream driver.Stream) error
	Softmax(a kernels.Softmax, stream driver.Stream) error
}
