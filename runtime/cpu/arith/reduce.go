package arith

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeReduce is the Maker of a Reduce operator. Its axes are an attribute before opset since and input 1 from then on.
func makeReduce(r reducer, since int64) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		want := attrs{"keepdims": graph.AttrInt}
		if s.Opset < since {
			want["axes"] = graph.AttrInts
		} else {
			want["noop_with_empty_axes"] = graph.AttrInt
		}
		if err := check(s, want); err != nil {
			return nil, err
		}
		keep, noop := flag(s, "keepdims", 1), flag(s, "noop_with_empty_axes", 0)
		fixed, _ := s.Node.AttrInts("axes")
		return func(c *kernel.Call) error {
			x, err := c.Tensor(0)
			if err != nil {
				return err
			}
			axes := fixed
			if s.Opset >= since && c.Optional(1) != nil {
				if axes, err = c.Ints(1); err != nil {
					return err
				}
			}
			gone, shape, err := axesOf(x.Shape, axes, keep, noop)
			if err != nil {
				return err
			}
			if !reduces(r, x.DType) {
				return typeError(0, x.DType)
			}
			out, err := c.New(0, x.DType, shape)
			if err != nil {
				return err
			}
			reduceTo(c.Pool, r, out, x, newReduction(x.Shape, gone))
			return nil
		}, nil
	}
}

// axesOf says which axes go and what shape the result has. Without axes all go, or none where noop.
func axesOf(shape []int, axes []int64, keep, noop bool) (gone []bool, out []int, err error) {
	gone = make([]bool, len(shape))
	if len(axes) == 0 && !noop {
		for i := range gone {
			gone[i] = true
		}
	}
	for _, a := range axes {
		k, err := kernel.Axis(a, len(shape))
		if err != nil {
			return nil, nil, err
		}
		if gone[k] {
			return nil, nil, fmt.Errorf("axis %d is named twice", k)
		}
		gone[k] = true
	}
	out = make([]int, 0, len(shape))
	for i, d := range shape {
		switch {
		case !gone[i]:
			out = append(out, d)
		case keep:
			out = append(out, 1)
		}
	}
	return gone, out, nil
}

// reduces reports whether an operator takes an element type: max and min take all, the others what can hold a sum.
func reduces(r reducer, d tensor.DType) bool {
	switch d {
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64:
		return true
	case tensor.Int8, tensor.Uint8, tensor.Int16, tensor.Uint16, tensor.Bool:
		return r == reduceMax || r == reduceMin
	}
	return false
}

// reduceTo runs an operator on a type that it takes.
func reduceTo(pool *kernel.Pool, r reducer, out, x *kernel.Tensor, p *reduction) {
	inf := math.Inf(1)
	if r == reduceMax || r == reduceMin {
		switch d := x.DType; d {
		case tensor.Float32:
			reduceTyped(pool, p, extremes32(r), out, x)
		case tensor.Float64:
			reduceTyped(pool, p, extremes(r, -inf, inf), out, x)
		case tensor.Float16, tensor.BFloat16:
			reduceTyped(pool, p, widenFold(halfOf(d), extremes32(r)), out, x)
		case tensor.Int8:
			reduceTyped(pool, p, extremes[int8](r, math.MinInt8, math.MaxInt8), out, x)
		case tensor.Int16:
			reduceTyped(pool, p, extremes[int16](r, math.MinInt16, math.MaxInt16), out, x)
		case tensor.Int32:
			reduceTyped(pool, p, extremes[int32](r, math.MinInt32, math.MaxInt32), out, x)
		case tensor.Int64:
			reduceTyped(pool, p, extremes[int64](r, math.MinInt64, math.MaxInt64), out, x)
		case tensor.Bool:
			reduceTyped(pool, p, extremes[uint8](r, 0, 1), out, x)
		case tensor.Uint8:
			reduceTyped(pool, p, extremes[uint8](r, 0, math.MaxUint8), out, x)
		case tensor.Uint16:
			reduceTyped(pool, p, extremes[uint16](r, 0, math.MaxUint16), out, x)
		case tensor.Uint32:
			reduceTyped(pool, p, extremes[uint32](r, 0, math.MaxUint32), out, x)
		case tensor.Uint64:
			reduceTyped(pool, p, extremes[uint64](r, 0, math.MaxUint64), out, x)
		}
		return
	}
	switch d := x.DType; d {
	case tensor.Float32:
		if r == reduceLogSumExp {
			reduceTyped(pool, p, logSumExp[float32](), out, x)
		} else {
			reduceTyped(pool, p, sums32(r), out, x)
		}
	case tensor.Float64:
		reduceNumbers[float64, float64](pool, r, out, x, p)
	case tensor.Float16, tensor.BFloat16:
		if r == reduceLogSumExp {
			reduceTyped(pool, p, widenFold(halfOf(d), logSumExp[float32]()), out, x)
		} else {
			reduceTyped(pool, p, widenFold(halfOf(d), sums32(r)), out, x)
		}
	case tensor.Int32:
		reduceNumbers[int32, int64](pool, r, out, x, p)
	case tensor.Int64:
		reduceNumbers[int64, int64](pool, r, out, x, p)
	case tensor.Uint32:
		reduceNumbers[uint32, uint64](pool, r, out, x, p)
	case tensor.Uint64:
		reduceNumbers[uint64, uint64](pool, r, out, x, p)
	}
}

func reduceNumbers[T float64 | int32 | int64 | uint32 | uint64, A wide](pool *kernel.Pool, r reducer, out, x *kernel.Tensor, p *reduction) {
	if r == reduceLogSumExp {
		reduceTyped(pool, p, logSumExp[T](), out, x)
		return
	}
	reduceTyped(pool, p, sums[T, A](r), out, x)
}

func reduceTyped[T kernel.Elem, A any](pool *kernel.Pool, p *reduction, f *fold[T, A, T], out, x *kernel.Tensor) {
	reduce(pool, p, f, kernel.Of[T](out), kernel.Of[T](x))
}

// reductions are the Reduce operators.
func reductions() kernel.Table {
	return kernel.Table{
		"ReduceSum":       makeReduce(reduceSum, 13),
		"ReduceMean":      makeReduce(reduceMean, 18),
		"ReduceProd":      makeReduce(reduceProd, 18),
		"ReduceMax":       makeReduce(reduceMax, 18),
		"ReduceMin":       makeReduce(reduceMin, 18),
		"ReduceL1":        makeReduce(reduceL1, 18),
		"ReduceL2":        makeReduce(reduceL2, 18),
		"ReduceSumSquare": makeReduce(reduceSumSquare, 18),
		"ReduceLogSum":    makeReduce(reduceLogSum, 18),
		"ReduceLogSumExp": makeReduce(reduceLogSumExp, 18),
	}
}
