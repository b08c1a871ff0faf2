package kernels

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Mask is what is added to scores before a softmax, or, as Bool, keeps those where it is true. P 0 is no mask.
type Mask struct {
	P       driver.Ptr
	T       Type     // F32, F16, BF16 or Bool
	Strides [4]int64 // of batch, head, query and key, in elements; 0 repeats
}

func (m Mask) check(kernel string) error {
	if m.P != 0 && m.T.suffix() == "" && m.T != Bool {
		return &TypeError{kernel, "mask", m.T}
	}
	return nil
}

// Softmax is a softmax over the last dimension of [Dims[0], Dims[1], Dims[2], Cols] values of type T (F32 or BF16).
type Softmax struct {
	T      Type
	X, Y   driver.Ptr
	Dims   [3]int64
	Cols   int64
	Scale  float32 // multiplies before the mask is added
	Mask   Mask
	Causal bool  // column c of row (·, ·, q) counts if c <= q + Offset
	Offset int64 // how many columns come before the first query's own
	Log    bool  // the logarithm of it
}

// Softmax computes exp(s - max s)/sum of exp(s - max s) of s = x·scale + mask.
func (s *Set) Softmax(a Softmax, stream driver.Stream) error {
	if a.T != F32 && a.T != BF16 {
		return &TypeError{"softmax", "input", a.T}
	}
	if err := a.Mask.check("softmax"); err != nil {
		return err
	}
	l, err := rows("softmax", a.Dims[0]*a.Dims[1]*a.Dims[2], a.Cols, 16, 512, stream)
	if err != nil {
		return err
	}
	return launch(s, "softmax_"+a.T.suffix(), l, &softmaxArgs{x: a.X, y: a.Y, mask: a.Mask.P, dim: a.Dims, maskStride: a.Mask.Strides,
		cols: a.Cols, offset: a.Offset, scale: a.Scale, maskType: a.Mask.T, causal: flag(a.Causal), log: flag(a.Log)})
}

// Reduction is what a reduction computes.
type Reduction int32

// The reductions. Of nothing they give 0, NaN (mean), -inf (max), +inf (min) and 1 (product).
const (
	ReduceSum Reduction = iota + 1
	ReduceMean
	ReduceMax
	ReduceMin
	ReduceProd
	ReduceSumSquare
	ReduceL1
	ReduceL2
)

// Reduce reduces the middle dimension of [outer, n, inner] values of type t (F32 or BF16) to [outer, inner]. A NaN gives NaN.
func (s *Set) Reduce(op Reduction, y, x driver.Ptr, t Type, outer, n, inner int64, stream driver.Stream) error {
	if t != F32 && t != BF16 {
		return &TypeError{"reduce", "input", t}
	}
	if op < ReduceSum || op > ReduceL2 {
		return fmt.Errorf("kernel reduce: no reduction %d", op)
	}
	args := &reduceArgs{x: x, y: y, outer: outer, n: n, inner: inner, op: int32(op)}
	if inner == 1 {
		l, err := rows("reduce", outer, n, 8, 1024, stream)
		if err != nil {
			return err
		}
		return launch(s, "reduce_rows_"+t.suffix(), l, args)
	}
	blocks := (outer*inner + threads - 1) / threads
	if blocks > math.MaxInt32 {
		return &SizeError{"reduce", "number of outputs", fmt.Sprint(outer * inner), "fewer than 2^39"}
	}
	return launch(s, "reduce_columns_"+t.suffix(), driver.Blocks(int(blocks), threads, stream), args)
}
