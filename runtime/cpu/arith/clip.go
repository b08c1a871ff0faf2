package arith

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeClip makes Clip. The bounds are attributes up to opset 10, inputs after.
func makeClip(s *kernel.Site) (kernel.Func, error) {
	if s.Opset >= 11 {
		return clipInputs, check(s, nil)
	}
	if err := check(s, attrs{"min": graph.AttrFloat, "max": graph.AttrFloat}); err != nil {
		return nil, err
	}
	lo, hi := s.Node.AttrFloat("min", -math.MaxFloat32), s.Node.AttrFloat("max", math.MaxFloat32)
	return apply(tensor.Undefined, loops1{f32: clip32(lo, hi), f64: clip(float64(lo), float64(hi))}.of), nil
}

// clipInputs is Clip with its bounds in inputs 1 and 2, each of which may be left out.
func clipInputs(c *kernel.Call) error {
	x, err := c.Tensor(0)
	if err != nil {
		return err
	}
	lo, hi := c.Optional(1), c.Optional(2)
	for i, b := range []*kernel.Tensor{lo, hi} {
		if b == nil {
			continue
		}
		if err := sameType(i+1, b, x); err != nil {
			return err
		}
		if b.Len() != 1 {
			return fmt.Errorf("input %d is %s, want a scalar", i+1, b)
		}
	}
	var l loops1
	switch x.DType {
	case tensor.Float32:
		l.f32 = clip32(bounds(lo, hi, float32(math.Inf(-1)), float32(math.Inf(1))))
	case tensor.Float64:
		l.f64 = clip(bounds(lo, hi, math.Inf(-1), math.Inf(1)))
	case tensor.Float16, tensor.BFloat16:
		l.f32 = clip32(widened(halfOf(x.DType), lo, math.Inf(-1)), widened(halfOf(x.DType), hi, math.Inf(1)))
	case tensor.Int8:
		l.i8 = clip(bounds[int8](lo, hi, math.MinInt8, math.MaxInt8))
	case tensor.Int16:
		l.i16 = clip(bounds[int16](lo, hi, math.MinInt16, math.MaxInt16))
	case tensor.Int32:
		l.i32 = clip(bounds[int32](lo, hi, math.MinInt32, math.MaxInt32))
	case tensor.Int64:
		l.i64 = clip(bounds[int64](lo, hi, math.MinInt64, math.MaxInt64))
	case tensor.Uint8:
		l.u8 = clip(bounds[uint8](lo, hi, 0, math.MaxUint8))
	case tensor.Uint16:
		l.u16 = clip(bounds[uint16](lo, hi, 0, math.MaxUint16))
	case tensor.Uint32:
		l.u32 = clip(bounds[uint32](lo, hi, 0, math.MaxUint32))
	case tensor.Uint64:
		l.u64 = clip(bounds[uint64](lo, hi, 0, math.MaxUint64))
	}
	return apply(tensor.Undefined, l.of)(c)
}

// bounds are the two bounds, of which a missing one is as far out as it can be.
func bounds[T numeric](lo, hi *kernel.Tensor, least, most T) (T, T) {
	if lo != nil {
		least = kernel.Of[T](lo)[0]
	}
	if hi != nil {
		most = kernel.Of[T](hi)[0]
	}
	return least, most
}

// widened is a bound of a 16-bit float type.
func widened(h half, t *kernel.Tensor, missing float64) float32 {
	v := []float32{float32(missing)}
	if t != nil {
		h.widen(v, kernel.Of[uint16](t))
	}
	return v[0]
}

// clip is min(max(x, lo), hi): NaN stays, and hi wins where it is below lo. A bound that is NaN bounds nothing.
func clip[T numeric](lo, hi T) func(dst, src []T) {
	return func(dst, src []T) {
		dst = dst[:len(src)]
		for i, v := range src {
			if v < lo {
				v = lo
			}
			if v > hi {
				v = hi
			}
			dst[i] = v
		}
	}
}
