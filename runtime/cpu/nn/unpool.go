package nn

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeMaxUnpool is MaxUnpool: every element goes back to where MaxPool found it, and the rest is 0. The indices count in a tensor whose
// spatial extents are (input-1)·stride + kernel - pads; where output_shape names a larger one, that tensor is its first corner.
func makeMaxUnpool(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	win := window{kernel: a.Extents("kernel_shape", 1), strides: a.Extents("strides", 1), pads: a.Extents("pads", 0), autoPad: "NOTSET"}
	if win.kernel == nil {
		a.Fail("attribute \"kernel_shape\" is missing")
	}
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if !isFloat(x.DType) {
			return fmt.Errorf("input 0 is %s, want a float type", x.DType)
		}
		at, err := c.Tensor(1)
		if err != nil {
			return err
		}
		if at.DType != tensor.Int64 || !equalShape(at.Shape, x.Shape) {
			return fmt.Errorf("input 1 is %s, want int64%s", at, kernel.ShapeString(x.Shape))
		}
		if len(x.Shape) < 3 {
			return fmt.Errorf("input 0 has shape %s, want [batch,channels] and at least one spatial axis", kernel.ShapeString(x.Shape))
		}
		s := &sliding{}
		if err := win.lists(s, x.Shape[2:], win.kernel); err != nil {
			return err
		}
		inferred := append([]int(nil), x.Shape...)
		for i := range s.rank {
			j := maxSpatial - s.rank + i
			inferred[2+i] = (s.in[j]-1)*s.stride[j] - s.before[j] - s.after[j] + s.kernel[j]
			if inferred[2+i] < 0 {
				return &kernel.SizeError{Shape: inferred}
			}
		}
		shape := inferred
		if c.Optional(2) != nil {
			want, err := c.Ints(2)
			if err != nil {
				return err
			}
			if len(want) != len(inferred) {
				return fmt.Errorf("input 2 names %d axes, want %d", len(want), len(inferred))
			}
			shape = make([]int, len(want))
			for i, n := range want {
				if n < int64(inferred[i]) || n > kernel.MaxExtent {
					return fmt.Errorf("input 2 names the shape %d, want at least %s", want, kernel.ShapeString(inferred))
				}
				shape[i] = int(n)
			}
		}
		y, err := c.New(0, x.DType, shape)
		if err != nil {
			return err
		}
		clear(y.Bytes)
		size := kernel.ElemSize(x.DType)
		total := int64(kernel.Count(inferred))
		strides := kernel.Strides(shape)
		for i, j := range kernel.Of[int64](at) {
			if j < 0 || j >= total {
				return fmt.Errorf("input 1 holds the index %d, want 0 to %d", j, total-1)
			}
			to := int(j)
			if !equalShape(shape, inferred) {
				rest := to
				to = 0
				for k := len(shape) - 1; k >= 0; k-- {
					to += rest % inferred[k] * strides[k]
					rest /= inferred[k]
				}
			}
			copy(y.Bytes[to*size:][:size], x.Bytes[i*size:])
		}
		return nil
	}, nil
}
