package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeConvInteger is ConvInteger: the convolution of 8-bit integers less their zero points, summed in int32.
func makeConvInteger(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	win := readWindow(a)
	groups := a.Count("group", 1, 1)
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		q, err := integerConv(c, &win, groups, 0, 1, 2, 3)
		if err != nil {
			return err
		}
		defer q.release()
		y, err := c.New(0, tensor.Int32, q.outShape(q.batch, q.outC))
		if err != nil {
			return err
		}
		return convolve(c, tensor.Int32, q.convolution, q.x, q.w, nil, kernel.Of[int32](y))
	}, nil
}

// makeQLinearConv is QLinearConv: the same, plus an int32 bias, brought to 8 bits by x_scale·w_scale/y_scale, rounding half to even.
func makeQLinearConv(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	win := readWindow(a)
	groups := a.Count("group", 1, 1)
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		q, err := integerConv(c, &win, groups, 0, 3, 2, 5)
		if err != nil {
			return err
		}
		defer q.release()
		xScale, err := floatVector(c, 1, 1)
		if err != nil {
			return err
		}
		wScale, err := floatVector(c, 4, q.outC)
		if err != nil {
			return err
		}
		yScale, err := floatVector(c, 6, 1)
		if err != nil {
			return err
		}
		zt, err := c.Tensor(7)
		if err != nil {
			return err
		}
		zero, err := zeroPoints(c, 7, 1)
		if err != nil {
			return err
		}
		var bias []int32
		if b := c.Optional(8); b != nil {
			if b.DType != tensor.Int32 || len(b.Shape) != 1 || b.Shape[0] != q.outC {
				return fmt.Errorf("input 8 is %s, want int32[%d]", b, q.outC)
			}
			bias = kernel.Of[int32](b)
		}
		sum, err := c.Mem.New(tensor.Int32, []int{q.batch, q.outC, q.outSize})
		if err != nil {
			return err
		}
		defer kernel.Release(sum)
		acc := kernel.Of[int32](sum)
		if err := convolve(c, tensor.Int32, q.convolution, q.x, q.w, bias, acc); err != nil {
			return err
		}
		y, err := c.New(0, zt.DType, q.outShape(q.batch, q.outC))
		if err != nil {
			return err
		}
		lo, hi := int32(math.MinInt8), int32(math.MaxInt8)
		if zt.DType == tensor.Uint8 {
			lo, hi = 0, math.MaxUint8
		}
		c.Pool.For(q.batch*q.outC, max(1, grain/max(1, q.outSize)), func(from, to int) {
			for job := from; job < to; job++ {
				scale := xScale[0] * wScale[min(job%q.outC, len(wScale)-1)] / yScale[0]
				out := y.Bytes[job*q.outSize:][:q.outSize]
				for i, v := range acc[job*q.outSize:][:q.outSize] {
					out[i] = byte(requantize(float32(v)*scale, zero[0], lo, hi))
				}
			}
		})
		return nil
	}, nil
}

// requantize rounds v half to even, adds the zero point and saturates. NaN becomes the zero point.
func requantize(v float32, zero, lo, hi int32) int32 {
	if v != v {
		return zero
	}
	r := math.RoundToEven(float64(v)) + float64(zero)
	return int32(min(max(r, float64(lo)), float64(hi)))
}

// quantized is a convolution whose operands stand as int32, less their zero points.
type quantized struct {
	*convolution
	x, w []int32
	mem  []*kernel.Tensor
}

func (q *quantized) release() {
	for _, t := range q.mem {
		kernel.Release(t)
	}
}

// integerConv reads the operands at xi and wi with zero points at xz and wz.
func integerConv(c *kernel.Call, win *window, groups, xi, wi, xz, wz int) (*quantized, error) {
	xt, err := c.Tensor(xi)
	if err != nil {
		return nil, err
	}
	wt, err := c.Tensor(wi)
	if err != nil {
		return nil, err
	}
	cv, err := newConvolution(win, groups, xt.Shape, wt.Shape)
	if err != nil {
		return nil, err
	}
	xZero, err := zeroPoints(c, xz, 1)
	if err != nil {
		return nil, err
	}
	wZero, err := zeroPoints(c, wz, cv.outC)
	if err != nil {
		return nil, err
	}
	q := &quantized{convolution: cv}
	for _, o := range []struct {
		t    *kernel.Tensor
		at   int
		to   *[]int32
		zero []int32
		per  int // elements for each zero point
	}{{xt, xi, &q.x, xZero, xt.Len()}, {wt, wi, &q.w, wZero, wt.Len() / max(1, len(wZero))}} {
		if o.t.DType != tensor.Int8 && o.t.DType != tensor.Uint8 {
			q.release()
			return nil, fmt.Errorf("input %d is %s, want int8 or uint8", o.at, o.t.DType)
		}
		m, err := c.Scratch(tensor.Int32, o.t.Len())
		if err != nil {
			q.release()
			return nil, err
		}
		q.mem = append(q.mem, m)
		dst := kernel.Of[int32](m)
		*o.to = dst
		signed := o.t.DType == tensor.Int8
		for i, b := range o.t.Bytes {
			v := int32(b)
			if signed {
				v = int32(int8(b))
			}
			dst[i] = v - o.zero[min(i/max(1, o.per), len(o.zero)-1)]
		}
	}
	return q, nil
}

// zeroPoints is the input at i, one zero point or n of them along one axis; 0 where it is left out.
func zeroPoints(c *kernel.Call, i, n int) ([]int32, error) {
	t := c.Optional(i)
	if t == nil {
		return []int32{0}, nil
	}
	if l := t.Len(); l != 1 && (l != n || len(t.Shape) != 1) {
		return nil, fmt.Errorf("input %d has shape %s, want one zero point or %d", i, kernel.ShapeString(t.Shape), n)
	}
	out := make([]int32, t.Len())
	switch t.DType {
	case tensor.Int8:
		for j, v := range kernel.Of[int8](t) {
			out[j] = int32(v)
		}
	case tensor.Uint8:
		for j, v := range kernel.Of[uint8](t) {
			out[j] = int32(v)
		}
	default:
		return nil, fmt.Errorf("input %d is %s, want int8 or uint8", i, t.DType)
	}
	return out, nil
}

// floatVector is the input at i, float32: one number or n of them.
func floatVector(c *kernel.Call, i, n int) ([]float32, error) {
	t, err := c.Tensor(i)
	if err != nil {
		return nil, err
	}
	if t.DType != tensor.Float32 {
		return nil, fmt.Errorf("input %d is %s, want float32", i, t.DType)
	}
	if l := t.Len(); l != 1 && (l != n || len(t.Shape) != 1) {
		return nil, fmt.Errorf("input %d has shape %s, want one scale or %d", i, kernel.ShapeString(t.Shape), n)
	}
	return kernel.Of[float32](t), nil
}
