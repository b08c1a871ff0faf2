package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Operators of com.microsoft on 8-bit integers: the operator of real numbers, between a dequantization and a quantization.

// dequantized is the input at i, with its scale and zero point at i+1 and i+2, as float32 in scratch. The caller releases it.
func dequantized(c *kernel.Call, i int) (t *kernel.Tensor, v []float32, mem *kernel.Tensor, err error) {
	if t, err = c.Tensor(i); err != nil {
		return nil, nil, nil, err
	}
	if t.DType != tensor.Int8 && t.DType != tensor.Uint8 {
		return nil, nil, nil, fmt.Errorf("input %d is %s, want int8 or uint8", i, t.DType)
	}
	scale, err := floatVector(c, i+1, 1)
	if err != nil {
		return nil, nil, nil, err
	}
	zero, err := zeroPoints(c, i+2, 1)
	if err != nil {
		return nil, nil, nil, err
	}
	if mem, err = c.Scratch(tensor.Float32, t.Len()); err != nil {
		return nil, nil, nil, err
	}
	v = kernel.Of[float32](mem)
	for j, b := range t.Bytes {
		n := int32(b)
		if t.DType == tensor.Int8 {
			n = int32(int8(b))
		}
		v[j] = scale[0] * float32(n-zero[0])
	}
	return t, v, mem, nil
}

// quantize makes output 0 of v, with the scale and zero point at inputs i and i+1.
func quantize(c *kernel.Call, i int, d tensor.DType, shape []int, v []float32) error {
	scale, err := floatVector(c, i, 1)
	if err != nil {
		return err
	}
	zero, err := zeroPoints(c, i+1, 1)
	if err != nil {
		return err
	}
	y, err := c.New(0, d, shape)
	if err != nil {
		return err
	}
	lo, hi := int32(math.MinInt8), int32(math.MaxInt8)
	if d == tensor.Uint8 {
		lo, hi = 0, math.MaxUint8
	}
	for j, x := range v {
		y.Bytes[j] = byte(requantize(x/scale[0], zero[0], lo, hi))
	}
	return nil
}

// makeQLinearAveragePool is com.microsoft.QLinearAveragePool.
func makeQLinearAveragePool(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := averaging{window: readWindow(a), includePad: a.Bit("count_include_pad", false)}
	o.ceil = a.Bit("ceil_mode", false)
	if a.Bit("channels_last", false) {
		a.Fail("attribute \"channels_last\" is not supported")
	}
	if o.kernel == nil {
		a.Fail("attribute \"kernel_shape\" is missing")
	}
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, x, mem, err := dequantized(c, 0)
		if err != nil {
			return err
		}
		defer kernel.Release(mem)
		s, err := poolOver(&o.window, t.Shape)
		if err != nil {
			return err
		}
		channels := t.Shape[0] * t.Shape[1]
		out, err := c.Mem.New(tensor.Float32, []int{channels, s.outSize})
		if err != nil {
			return err
		}
		defer kernel.Release(out)
		means := kernel.Of[float32](out)
		average(c.Pool, &o, s, channels, x, means)
		return quantize(c, 3, t.DType, s.outShape(t.Shape[0], t.Shape[1]), means)
	}, nil
}

// makeQLinearAdd is com.microsoft.QLinearAdd.
func makeQLinearAdd(site *kernel.Site) (kernel.Func, error) {
	if err := site.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		at, a, aMem, err := dequantized(c, 0)
		if err != nil {
			return err
		}
		defer kernel.Release(aMem)
		bt, b, bMem, err := dequantized(c, 3)
		if err != nil {
			return err
		}
		defer kernel.Release(bMem)
		if at.DType != bt.DType {
			return fmt.Errorf("inputs 0 and 3 are %s and %s, want the same", at.DType, bt.DType)
		}
		shape, err := kernel.Broadcast(at.Shape, bt.Shape)
		if err != nil {
			return err
		}
		out, err := c.Mem.New(tensor.Float32, append([]int{2}, shape...))
		if err != nil {
			return err
		}
		defer kernel.Release(out)
		both := kernel.Of[float32](out)
		sums, second := both[:len(both)/2], both[len(both)/2:]
		spread(sums, a, at.Shape, shape)
		spread(second, b, bt.Shape, shape)
		addTo(sums, second)
		return quantize(c, 6, at.DType, shape, sums)
	}, nil
}

// makeQLinearSoftmax is com.microsoft.QLinearSoftmax. Before opset 13 of Softmax, which an attribute names, it goes over all axes from axis
// on.
func makeQLinearSoftmax(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	axisAttr, opset := a.Int("axis", -1), a.Int("opset", 0)
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, x, mem, err := dequantized(c, 0)
		if err != nil {
			return err
		}
		defer kernel.Release(mem)
		axis, err := kernel.Axis(axisAttr, len(t.Shape))
		if err != nil {
			return err
		}
		n, step := t.Shape[axis], kernel.Count(t.Shape[axis+1:])
		if opset < 13 {
			n, step = n*step, 1
		}
		row := make([]float32, n)
		for i := 0; i < len(x) && n > 0; i++ {
			if i/step%n != 0 {
				continue // not the first of its row
			}
			for j := range row {
				row[j] = x[i+j*step]
			}
			softmax(row)
			for j, v := range row {
				x[i+j*step] = v
			}
		}
		return quantize(c, 3, t.DType, t.Shape, x)
	}, nil
}
