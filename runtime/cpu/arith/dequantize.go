package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeDequantize makes DequantizeLinear: (x - zero point)·scale, in the type of the scale or of output_dtype, computed in float32 and
// rounded once.
func makeDequantize(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, axisAttrs(attrs{})); err != nil {
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
	axis := s.Node.AttrInt("axis", 1)
	return func(c *kernel.Call) error {
		x, scale, err := operands(c)
		if err != nil {
			return err
		}
		to, zero := target, c.Optional(2)
		if to == tensor.Undefined {
			to = scale.DType
		}
		if !isFloat(to) {
			return fmt.Errorf("output would be %s, want a float type", to)
		}
		_, _, whole := quantizeRange(x.DType)
		if x.DType == tensor.Int32 {
			whole = true
		}
		if !whole && !x.DType.IsFloat8() && x.DType != tensor.Float4E2M1 {
			return typeError(0, x.DType)
		}
		if zero != nil {
			if err := sameType(2, zero, x); err != nil {
				return err
			}
		}
		if err := zeroPoints(zero, scale); err != nil {
			return err
		}
		g, err := newGrid(x.Shape, scale.Shape, axis, block)
		if err != nil {
			return err
		}
		return dequantize(c, x, scale, zero, g, to)
	}, nil
}

func dequantize(c *kernel.Call, x, scale, zero *kernel.Tensor, g grid, to tensor.DType) error {
	scales, err := asType(c, scale, tensor.Float32)
	if err != nil {
		return err
	}
	defer kernel.Release(scales)
	var zeros []float32
	if zero != nil {
		z, err := asType(c, zero, tensor.Float32)
		if err != nil {
			return err
		}
		defer kernel.Release(z)
		for _, v := range kernel.Of[float32](z) {
			if v != 0 {
				zeros = kernel.Of[float32](z)
				break
			}
		}
	}
	out, err := c.New(0, to, x.Shape)
	if err != nil {
		return err
	}
	sv := kernel.Of[float32](scales)
	c.Pool.For(x.Len(), grain, func(from, end int) {
		buf := scratches.Get().(*scratch)
		defer scratches.Put(buf)
		for ; from < end; from += chunk {
			n := min(chunk, end-from)
			v, s := buf.a[:n], buf.b[:n]
			loadFloat32(v, x, from)
			if zeros != nil {
				spreadScales(g, s, zeros, from)
				for i, z := range s {
					v[i] -= z
				}
			}
			spreadScales(g, s, sv, from)
			for i, f := range s {
				v[i] *= f
			}
			storeFloat32(out, from, v, narrowing{})
		}
	})
	return nil
}
