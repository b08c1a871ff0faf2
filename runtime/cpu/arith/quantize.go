package arith

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// asType is t in another type, in scratch memory that the caller releases; t itself, retained, where it has that type.
func asType(c *kernel.Call, t *kernel.Tensor, d tensor.DType) (*kernel.Tensor, error) {
	if t.DType == d {
		return t.Reshape(t.Shape), nil
	}
	out, err := c.Mem.New(d, t.Shape)
	if err != nil {
		return nil, err
	}
	if err := convert(c.Pool, out, t, narrowing{}); err != nil {
		kernel.Release(out)
		return nil, err
	}
	return out, nil
}

// quantizeRange is the least and the largest integer of a type that QuantizeLinear writes; ok is false for other types.
func quantizeRange(d tensor.DType) (lo, hi float64, ok bool) {
	switch d {
	case tensor.Uint8, tensor.Uint16, tensor.Uint4, tensor.Uint2:
		return 0, float64(int(1)<<d.Bits() - 1), true
	case tensor.Int8, tensor.Int16, tensor.Int4, tensor.Int2:
		return -float64(int(1) << (d.Bits() - 1)), float64(int(1)<<(d.Bits()-1) - 1), true
	}
	return 0, 0, false
}

// makeQuantize makes QuantizeLinear: saturate(round(x / scale) + zero point), and for float targets saturate(round(x / scale)).
func makeQuantize(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, axisAttrs(attrs{"saturate": graph.AttrInt, "precision": graph.AttrInt})); err != nil {
		return nil, err
	}
	how, err := narrowingOf(s)
	if err != nil {
		return nil, err
	}
	block, err := blockSize(s)
	if err != nil {
		return nil, err
	}
	target, err := typeAttr(s, "output_dtype")
	if err != nil {
		return nil, err
	}
	precision, err := typeAttr(s, "precision")
	if err != nil {
		return nil, err
	}
	if precision != tensor.Undefined && !isFloat(precision) {
		return nil, fmt.Errorf("attribute \"precision\" is %s, want a float type", precision)
	}
	axis := s.Node.AttrInt("axis", 1)
	return func(c *kernel.Call) error {
		x, scale, err := operands(c)
		if err != nil {
			return err
		}
		to, zero := target, c.Optional(2)
		if zero != nil {
			if to != tensor.Undefined && to != zero.DType {
				return fmt.Errorf("input 2 is %s, and attribute \"output_dtype\" says %s", zero.DType, to)
			}
			to = zero.DType
		}
		if to == tensor.Undefined {
			to = tensor.Uint8
		}
		if err := zeroPoints(zero, scale); err != nil {
			return err
		}
		g, err := newGrid(x.Shape, scale.Shape, axis, block)
		if err != nil {
			return err
		}
		// The division is done in the scale's type unless told otherwise.
		p := precision
		if p == tensor.Undefined {
			p = scale.DType
		}
		if !isFloat(x.DType) && x.DType != tensor.Int32 {
			return typeError(0, x.DType)
		}
		q := quantizer{to: to, grid: g, how: how}
		switch {
		case p == tensor.Float16 || p == tensor.BFloat16:
			h := halfOf(p)
			q.round = &h
		case p == tensor.Float64 || p == tensor.Int32:
			q.wide = true
		}
		return q.run(c, x, scale, zero)
	}, nil
}

// quantizer is one call of QuantizeLinear.
type quantizer struct {
	to    tensor.DType
	grid  grid
	how   narrowing
	round *half // operands and quotient are rounded to this type
	wide  bool  // the division is done in float64
}

func (q *quantizer) run(c *kernel.Call, x, scale, zero *kernel.Tensor) error {
	lo, hi, whole := quantizeRange(q.to)
	if !whole && !q.to.IsFloat8() && q.to != tensor.Float4E2M1 {
		return fmt.Errorf("no quantization to %s", q.to)
	}
	scales, err := asType(c, scale, tensor.Float64)
	if err != nil {
		return err
	}
	defer kernel.Release(scales)
	var zeros []float64
	if zero != nil && whole {
		z, err := asType(c, zero, tensor.Float64)
		if err != nil {
			return err
		}
		defer kernel.Release(z)
		zeros = kernel.Of[float64](z)
	}
	if zero != nil && !whole {
		for _, b := range zero.Bytes {
			if b&0x7F != 0 {
				return fmt.Errorf("input 2 is a zero point of %s that is not zero", q.to)
			}
		}
	}
	out, err := c.New(0, q.to, x.Shape)
	if err != nil {
		return err
	}
	if q.fast(c, out, x, scales, zeros) {
		return nil
	}
	sv := kernel.Of[float64](scales)
	c.Pool.For(x.Len(), grain, func(from, to int) {
		buf := conversions.Get().(*buffers)
		defer conversions.Put(buf)
		var s, z [chunk]float64
		for ; from < to; from += chunk {
			n := min(chunk, to-from)
			spreadScales(q.grid, s[:n], sv, from)
			quotients(buf, x, from, n, s[:n], q.round, q.wide)
			if !whole {
				storeFloat64(out, from, buf.f64[:n], buf, q.how)
				continue
			}
			if zeros != nil {
				spreadScales(q.grid, z[:n], zeros, from)
			}
			for i, v := range buf.f64[:n] {
				v = math.RoundToEven(v) + z[i]
				if !(v > lo) { // NaN too
					v = lo
				}
				if v > hi {
					v = hi
				}
				buf.i64[i] = int64(v)
			}
			storeInt64(out, from, buf.i64[:n], buf, q.how)
		}
	})
	return nil
}

// quotients writes x/scale of n elements from the one at from on to buf.f64, rounded as the type of the division has it.
func quotients(buf *buffers, x *kernel.Tensor, from, n int, scales []float64, round *half, wide bool) {
	if wide {
		loadFloat64(buf.f64[:n], x, from)
		for i, s := range scales {
			buf.f64[i] /= s
		}
		return
	}
	v := buf.f32[:n]
	loadFloat32(v, x, from)
	if round == nil {
		for i, s := range scales {
			buf.f64[i] = float64(v[i] / float32(s))
		}
		return
	}
	var codes [chunk]uint16
	divisor := buf.odd[:n]
	for i, s := range scales {
		divisor[i] = float32(s)
	}
	for _, w := range [][]float32{v, divisor} {
		round.narrow(codes[:n], w)
		round.widen(w, codes[:n])
	}
	for i, d := range divisor {
		v[i] /= d
	}
	round.narrow(codes[:n], v)
	round.widen(v, codes[:n])
	assign(buf.f64[:n], v)
}

// loadFloat64 reads any numbers.
func loadFloat64(dst []float64, t *kernel.Tensor, lo int) {
	hi := lo + len(dst)
	switch t.DType {
	case tensor.Float64:
		copy(dst, kernel.Of[float64](t)[lo:hi])
	case tensor.Float32:
		assign(dst, kernel.Of[float32](t)[lo:hi])
	case tensor.Int32:
		assign(dst, kernel.Of[int32](t)[lo:hi])
	case tensor.Int64:
		assign(dst, kernel.Of[int64](t)[lo:hi])
	default:
		var f [chunk]float32
		loadFloat32(f[:len(dst)], t, lo)
		assign(dst, f[:len(dst)])
	}
}

// fast quantizes float32 with one scale in one pass, where that is possible.
func (q *quantizer) fast(c *kernel.Call, out, x, scales *kernel.Tensor, zeros []float64) bool {
	if x.DType != tensor.Float32 || q.grid.block != 0 || q.round != nil || q.wide {
		return false
	}
	src, scale := kernel.Of[float32](x), float32(kernel.Of[float64](scales)[0])
	zero := float32(0)
	if zeros != nil {
		zero = float32(zeros[0])
	}
	switch q.to {
	case tensor.Int8:
		dst := kernel.Of[int8](out)
		c.Pool.For(len(src), grain, func(lo, hi int) { quantizeTo(dst[lo:hi], src[lo:hi], scale, zero, -128, 127) })
	case tensor.Uint8:
		dst := kernel.Of[uint8](out)
		c.Pool.For(len(src), grain, func(lo, hi int) { quantizeTo(dst[lo:hi], src[lo:hi], scale, zero, 0, 255) })
	default:
		return false
	}
	return true
}

// quantizeTo quantizes with one scale. Adding and taking away 1.5·2^23 rounds to the nearest integer, ties to even, where the magnitude is
// below 2^22; beyond 2^20 the result is out of range whatever the zero point.
func quantizeTo[T int8 | uint8](dst []T, src []float32, scale, zero, lo, hi float32) {
	const magic = 0x3p22
	buf := scratches.Get().(*scratch)
	defer scratches.Put(buf)
	for len(src) > 0 {
		n := min(chunk, len(src))
		t := buf.a[:n]
		vec.DivScalar(t, src[:n], scale)
		vec.MaxScalar(t, t, -0x1p20)
		vec.MinScalar(t, t, 0x1p20)
		vec.AddScalar(t, t, magic)
		vec.SubScalar(t, t, magic)
		vec.AddScalar(t, t, zero)
		vec.MaxScalar(t, t, lo)
		vec.MinScalar(t, t, hi)
		for i, v := range t {
			if v != v {
				v = lo
			}
			dst[i] = T(int32(v))
		}
		dst, src = dst[n:], src[n:]
	}
}

// dynamicQuantize is ONNX's DynamicQuantizeLinear: uint8 codes, the scale and the zero point that the data itself asks for.
func dynamicQuantize(c *kernel.Call) error {
	x, err := c.Tensor(0)
	if err != nil {
		return err
	}
	if x.DType != tensor.Float32 {
		return typeError(0, x.DType)
	}
	src := kernel.Of[float32](x)
	least, most := float32(0), float32(0)
	parts := (len(src) + grain - 1) / grain
	lows, highs := make([]float32, parts), make([]float32, parts)
	c.Pool.For(len(src), grain, func(lo, hi int) {
		lows[lo/grain], highs[lo/grain] = minRow32(0, src[lo:hi]), max(0, vec.Maximum(src[lo:hi]))
	})
	for i := range lows {
		least, most = min(least, lows[i]), max(most, highs[i])
	}
	scale := float32(1)
	if most != least {
		scale = most - least
	}
	scale /= 255
	zero := float32(math.RoundToEven(float64(max(0, min(255, -least/scale)))))
	if c.Wants(1) {
		s, err := c.New(1, tensor.Float32, []int{})
		if err != nil {
			return err
		}
		kernel.Of[float32](s)[0] = scale
	}
	if c.Wants(2) {
		z, err := c.New(2, tensor.Uint8, []int{})
		if err != nil {
			return err
		}
		kernel.Of[uint8](z)[0] = uint8(toInt32(float64(zero)))
	}
	if !c.Wants(0) {
		return nil
	}
	out, err := c.New(0, tensor.Uint8, x.Shape)
	if err != nil {
		return err
	}
	dst := kernel.Of[uint8](out)
	c.Pool.For(len(src), grain, func(lo, hi int) { quantizeTo(dst[lo:hi], src[lo:hi], scale, zero, 0, 255) })
	return nil
}

// quantizers are the operators between numbers and their quantized forms.
func quantizers() kernel.Table {
	return kernel.Table{
		"QuantizeLinear":                 makeQuantize,
		"DequantizeLinear":               makeDequantize,
		"DynamicQuantizeLinear":          plain(dynamicQuantize),
		"com.microsoft.QuantizeLinear":   makeQuantize,
		"com.microsoft.DequantizeLinear": makeDequantize,
	}
}
