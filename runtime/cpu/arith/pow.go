package arith

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makePow makes Pow: the result has the base's type, the exponent may have another.
func makePow(s *kernel.Site) (kernel.Func, error) {
	align, err := legacy(s)
	if err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		base, exponent, err := operands(c)
		if err != nil {
			return err
		}
		es := exponent.Shape
		if align != nil {
			if es, err = align(base.Shape, es); err != nil {
				return err
			}
		}
		shape, err := kernel.Broadcast(base.Shape, es)
		if err != nil {
			return err
		}
		if !castable(exponent.DType) {
			return typeError(1, exponent.DType)
		}
		whole := isInteger(base.DType) && isInteger(exponent.DType)
		common := tensor.Float64
		if whole {
			common = tensor.Int64
		}
		run := power(base.DType, whole)
		if run == nil {
			return typeError(0, base.DType)
		}
		e, err := asType(c, exponent, common)
		if err != nil {
			return err
		}
		defer kernel.Release(e)
		out, err := reuse(c, base.DType, shape, 0)
		if err != nil {
			return err
		}
		run(c.Pool, newPlan(shape, base.Shape, es), out, base, e)
		return nil
	}, nil
}

// power is Pow for a base type, with exponents in int64 where whole, else in float64.
func power(d tensor.DType, whole bool) map2 {
	switch d {
	case tensor.Float32:
		return powers32
	case tensor.Float64:
		return powers(powFloat[float64])
	case tensor.Float16, tensor.BFloat16:
		h := halfOf(d)
		return powers(func(dst, base []uint16, e []float64) {
			buf := scratches.Get().(*scratch)
			defer scratches.Put(buf)
			for len(dst) > 0 {
				n := min(chunk, len(dst))
				h.widen(buf.a[:n], base[:n])
				powFloat(buf.b[:n], buf.a[:n], e[:n])
				h.narrow(dst[:n], buf.b[:n])
				dst, base, e = dst[n:], base[n:], e[n:]
			}
		})
	case tensor.Int32:
		return powWhole[int32](whole)
	case tensor.Int64:
		return powWhole[int64](whole)
	case tensor.Int8:
		return powWhole[int8](whole)
	case tensor.Int16:
		return powWhole[int16](whole)
	case tensor.Uint8:
		return powWhole[uint8](whole)
	case tensor.Uint16:
		return powWhole[uint16](whole)
	case tensor.Uint32:
		return powWhole[uint32](whole)
	case tensor.Uint64:
		return powWhole[uint64](whole)
	}
	return nil
}

func powWhole[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](whole bool) map2 {
	if whole {
		return powers(powInt[T])
	}
	return powers(func(dst, base []T, e []float64) {
		for i := range dst {
			dst[i] = fromReal[T](math.Pow(float64(base[i]), e[i]))
		}
	})
}

// powers shares the work of f out; E is the exponent's type.
func powers[T, E kernel.Elem](f func(dst, base []T, e []E)) map2 {
	return func(pool *kernel.Pool, p *plan, out, a, b *kernel.Tensor) {
		d, x, y := kernel.Of[T](out), kernel.Of[T](a), kernel.Of[E](b)
		pool.For(p.n, grain, func(lo, hi int) {
			xb, yb := buffer(p, 0, x), buffer(p, 1, y)
			p.ranges(lo, hi, func(lo, hi int) {
				f(d[lo:hi], view(p, 0, x, lo, hi, xb), view(p, 1, y, lo, hi, yb))
			})
		})
	}
}

// powers32 is powers for float32, without a look at the exponents where one serves all.
func powers32(pool *kernel.Pool, p *plan, out, base, e *kernel.Tensor) {
	if p.modes[0] == whole && p.modes[1] == single {
		d, x, first := kernel.Of[float32](out), kernel.Of[float32](base), kernel.Of[float64](e)[0]
		switch first {
		case 2:
			pool.For(p.n, grain, func(lo, hi int) { vec.Mul(d[lo:hi], x[lo:hi], x[lo:hi]) })
			return
		case 1, 3, 0.5:
			pool.For(p.n, grain, func(lo, hi int) { powFew(d[lo:hi], x[lo:hi], first) })
			return
		}
	}
	powers(powFloat[float32])(pool, p, out, base, e)
}

// powFloat raises floats. The exponents that models use are products and roots, which are exact to the last bit where math.Pow, in
// float64, is too.
func powFloat[T float](dst, base []T, e []float64) {
	if first := e[0]; first == 2 || first == 3 || first == 0.5 || first == 1 {
		same := true
		for _, v := range e {
			same = same && v == first
		}
		if same {
			powFew(dst, base, first)
			return
		}
	}
	for i, v := range base {
		dst[i] = T(math.Pow(float64(v), e[i]))
	}
}

// powFew raises floats to 1, 2, 3 or a half.
func powFew[T float](dst, base []T, e float64) {
	dst = dst[:len(base)]
	switch e {
	case 1:
		copy(dst, base)
	case 2:
		for i, v := range base {
			dst[i] = v * v
		}
	case 3:
		for i, v := range base {
			w := float64(v)
			dst[i] = T(float64(w*w) * w)
		}
	default:
		for i, v := range base {
			// Pow(-0, 0.5) is 0 and Pow(-Inf, 0.5) is Inf, other than the square root.
			if w := float64(v); math.IsInf(w, -1) {
				dst[i] = -v
			} else {
				dst[i] = T(math.Sqrt(w + 0))
			}
		}
	}
}

// powInt raises integers; what does not fit loses its upper bits. A negative exponent gives the fraction's integer part: 0, but for the
// bases 1 and -1.
func powInt[T integer](dst, base []T, e []int64) {
	for i, b := range base {
		n := e[i]
		if n < 0 {
			switch {
			case b == 1:
			case b+1 == 0 && b < 0:
				if n&1 == 0 {
					b = 1
				}
			default:
				b = 0
			}
			dst[i] = b
			continue
		}
		r := T(1)
		for ; n > 0; n >>= 1 {
			if n&1 == 1 {
				r *= b
			}
			b *= b
		}
		dst[i] = r
	}
}
