package arith

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// map1 writes an operator's result for every element of in to out.
type map1 func(p *kernel.Pool, out, in *kernel.Tensor)

// chooser is the map1 for an element type, nil where the operator does not take the type.
type chooser func(tensor.DType) map1

// run1 shares the work of f out.
func run1[T, R kernel.Elem](f func(dst []R, src []T)) map1 {
	return func(p *kernel.Pool, out, in *kernel.Tensor) {
		d, s := kernel.Of[R](out), kernel.Of[T](in)
		p.For(len(s), grain, func(lo, hi int) { f(d[lo:hi], s[lo:hi]) })
	}
}

// half1 is f for a 16-bit float type.
func half1(h half, f func(dst, src []float32)) map1 {
	return run1(func(dst, src []uint16) {
		buf := scratches.Get().(*scratch)
		defer scratches.Put(buf)
		for len(src) > 0 {
			n := min(chunk, len(src))
			h.widen(buf.a[:n], src[:n])
			f(buf.b[:n], buf.a[:n])
			h.narrow(dst[:n], buf.b[:n])
			dst, src = dst[n:], src[n:]
		}
	})
}

// loops1 are an operator's loops by element type; nil where it does not take the type.
type loops1 struct {
	f32 func(dst, src []float32)
	f64 func(dst, src []float64)
	i8  func(dst, src []int8)
	i16 func(dst, src []int16)
	i32 func(dst, src []int32)
	i64 func(dst, src []int64)
	u8  func(dst, src []uint8)
	u16 func(dst, src []uint16)
	u32 func(dst, src []uint32)
	u64 func(dst, src []uint64)
}

func some1[T kernel.Elem](f func(dst, src []T)) map1 {
	if f == nil {
		return nil
	}
	return run1(f)
}

// of is the loop for an element type.
func (l loops1) of(d tensor.DType) map1 {
	switch d {
	case tensor.Float32:
		return some1(l.f32)
	case tensor.Float64:
		return some1(l.f64)
	case tensor.Float16, tensor.BFloat16:
		if l.f32 == nil {
			return nil
		}
		return half1(halfOf(d), l.f32)
	case tensor.Int8:
		return some1(l.i8)
	case tensor.Int16:
		return some1(l.i16)
	case tensor.Int32:
		return some1(l.i32)
	case tensor.Int64:
		return some1(l.i64)
	case tensor.Uint8:
		return some1(l.u8)
	case tensor.Uint16:
		return some1(l.u16)
	case tensor.Uint32:
		return some1(l.u32)
	case tensor.Uint64:
		return some1(l.u64)
	}
	return nil
}

// apply is the Func of an elementwise operator whose result has the input's type, or result where that is set.
func apply(result tensor.DType, choose chooser) kernel.Func {
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		f := choose(x.DType)
		if f == nil {
			return typeError(0, x.DType)
		}
		d := result
		if d == tensor.Undefined {
			d = x.DType
		}
		out, err := c.Reuse(0, 0, d, x.Shape)
		if err != nil {
			return err
		}
		f(c.Pool, out, x)
		return nil
	}
}

// simple is the Maker of an elementwise operator without attributes.
func simple(l loops1) kernel.Maker { return plain(apply(tensor.Undefined, l.of)) }

// through is f of every element, computed in float64.
func through[T float](f func(float64) float64) func(dst, src []T) {
	return func(dst, src []T) {
		dst = dst[:len(src)]
		for i, v := range src {
			dst[i] = T(f(float64(v)))
		}
	}
}

// vectored is function with a loop of its own for float32.
func vectored(f32 func(dst, src []float32), f func(float64) float64) kernel.Maker {
	return simple(loops1{f32: f32, f64: through[float64](f)})
}

// function is the Maker of a function of one real number.
func function(f func(float64) float64) kernel.Maker {
	return simple(loops1{f32: through[float32](f), f64: through[float64](f)})
}

func absolute[T signed | float](dst, src []T) {
	dst = dst[:len(src)]
	for i, v := range src {
		if v < 0 {
			v = -v
		}
		dst[i] = v
	}
}

// absolute32 and absolute64 clear the sign, that of -0 and NaN too.
func absolute32(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = math.Float32frombits(math.Float32bits(v) &^ (1 << 31))
	}
}

func absolute64(dst, src []float64) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = math.Abs(v)
	}
}

func same[T numeric](dst, src []T) { copy(dst, src) }

func negate[T signed | float](dst, src []T) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = -v
	}
}

func sign[T numeric](dst, src []T) {
	dst = dst[:len(src)]
	var zero T
	for i, v := range src {
		switch {
		case v > zero:
			v = 1
		case v < zero:
			v = zero - 1
		}
		dst[i] = v // zeros and NaN stay
	}
}

func reciprocal[T float](dst, src []T) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = 1 / v
	}
}

func complement[T integer](dst, src []T) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = ^v
	}
}

// unaries are the operators with one input and the input's type.
func unaries() kernel.Table {
	return kernel.Table{
		"Abs": simple(loops1{absolute32, absolute64, absolute[int8], absolute[int16], absolute[int32], absolute[int64],
			same[uint8], same[uint16], same[uint32], same[uint64]}),
		"Neg": simple(loops1{f32: negate32, f64: negate[float64], i8: negate[int8], i16: negate[int16], i32: negate[int32],
			i64: negate[int64]}),
		"Sign": simple(loops1{sign[float32], sign[float64], sign[int8], sign[int16], sign[int32], sign[int64],
			sign[uint8], sign[uint16], sign[uint32], sign[uint64]}),
		"BitwiseNot": simple(loops1{i8: complement[int8], i16: complement[int16], i32: complement[int32], i64: complement[int64],
			u8: complement[uint8], u16: complement[uint16], u32: complement[uint32], u64: complement[uint64]}),
		"Not":        plain(apply(tensor.Undefined, not)),
		"Reciprocal": simple(loops1{f32: reciprocal32, f64: reciprocal[float64]}),
		"Ceil":       function(math.Ceil),
		"Floor":      function(math.Floor),
		"Round":      function(math.RoundToEven),
		"Sqrt":       vectored(vec.Sqrt, math.Sqrt),
		"Exp":        vectored(vec.Exp, math.Exp),
		"Log":        function(math.Log),
		"Sin":        function(math.Sin),
		"Cos":        function(math.Cos),
		"Tan":        function(math.Tan),
		"Asin":       function(math.Asin),
		"Acos":       function(math.Acos),
		"Atan":       function(math.Atan),
		"Sinh":       function(math.Sinh),
		"Cosh":       function(math.Cosh),
		"Tanh":       vectored(vec.Tanh, math.Tanh),
		"Asinh":      function(math.Asinh),
		"Acosh":      function(math.Acosh),
		"Atanh":      function(math.Atanh),
		"Erf":        vectored(vec.Erf, math.Erf),
		"IsNaN":      plain(apply(tensor.Bool, isNaN)),
		"IsInf":      makeIsInf,
	}
}

func not(d tensor.DType) map1 {
	if d != tensor.Bool {
		return nil
	}
	return run1(func(dst, src []uint8) {
		for i, v := range src {
			dst[i] = v ^ 1
		}
	})
}
