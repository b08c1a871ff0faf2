package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeMaxPool is MaxPool: the largest element of every window, and where it lay.
func makeMaxPool(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	win := readWindow(a)
	win.ceil = a.Bit("ceil_mode", false)
	columnMajor := a.Bit("storage_order", false)
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
		switch x.DType {
		case tensor.Int8:
			return maxPoolBytes[int8](c, x, &win, columnMajor, math.MinInt8)
		case tensor.Uint8:
			return maxPoolBytes[uint8](c, x, &win, columnMajor, 0)
		}
		return byType(c, 0,
			func(w *work[float32]) error { return maxPoolFloats(w, &win, columnMajor) },
			func(w *work[float64]) error { return maxPoolFloats(w, &win, columnMajor) })
	}, nil
}

func maxPoolFloats[F real](w *work[F], win *window, columnMajor bool) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	s, err := poolOver(win, xt.Shape)
	if err != nil {
		return err
	}
	y, err := w.out(0, xt.DType, s.outShape(xt.Shape[0], xt.Shape[1]))
	if err != nil {
		return err
	}
	index, err := indices(w.Call, s, xt.Shape)
	if err != nil {
		return err
	}
	maxPool(w.Pool, s, xt.Shape[0]*xt.Shape[1], x, y, index, F(math.Inf(-1)), columnMajor)
	return nil
}

func maxPoolBytes[B int8 | uint8](c *kernel.Call, xt *kernel.Tensor, win *window, columnMajor bool, least B) error {
	s, err := poolOver(win, xt.Shape)
	if err != nil {
		return err
	}
	y, err := c.New(0, xt.DType, s.outShape(xt.Shape[0], xt.Shape[1]))
	if err != nil {
		return err
	}
	index, err := indices(c, s, xt.Shape)
	if err != nil {
		return err
	}
	maxPool(c.Pool, s, xt.Shape[0]*xt.Shape[1], kernel.Of[B](xt), kernel.Of[B](y), index, least, columnMajor)
	return nil
}

// poolOver lays the window over an input of shape [batch, channels, spatial...].
func poolOver(win *window, x []int) (*sliding, error) {
	if len(x) < 3 {
		return nil, fmt.Errorf("input 0 has shape %s, want [batch,channels] and at least one spatial axis", kernel.ShapeString(x))
	}
	return win.over(x[2:], win.kernel)
}

// indices makes the second output of MaxPool where it is wanted.
func indices(c *kernel.Call, s *sliding, x []int) ([]int64, error) {
	if !c.Wants(1) {
		return nil, nil
	}
	t, err := c.New(1, tensor.Int64, s.outShape(x[0], x[1]))
	if err != nil {
		return nil, err
	}
	return kernel.Of[int64](t), nil
}

// maxPool takes the first of equal elements; NaN is larger than everything. index, where wanted, holds places in the whole of x, within a
// channel in row-major or column-major order; it is -1 for a window of nothing but padding, whose maximum is least.
func maxPool[N int8 | uint8 | float32 | float64](p *kernel.Pool, s *sliding, channels int, x, y []N, index []int64, least N, columnMajor bool) {
	var pl *plane
	if index == nil {
		pl = newPlane(s)
	}
	p.For(channels, max(1, planeGrain/max(1, s.outSize*s.kernSize)), func(from, to int) {
		var padded, run []N
		if pl != nil {
			padded, run = make([]N, pl.size), make([]N, pl.run)
		}
		for ch := from; ch < to; ch++ {
			out := y[ch*s.outSize:][:s.outSize]
			in := x[ch*s.inSize:][:s.inSize]
			if index == nil {
				if pl != nil {
					fillPlane(pl, padded, in, least)
					fill(run, least)
					for _, at := range pl.offsets {
						larger(run, padded[at:])
					}
					collect(pl, out, run)
					continue
				}
				fill(out, least)
				s.taps(func(_, dst, row, column, count int) {
					for i := range count {
						out[dst+i] = max(out[dst+i], in[row*s.in[2]+column+i*s.stride[2]])
					}
				})
				continue
			}
			fill(out, least)
			at := index[ch*s.outSize:][:s.outSize]
			fill(at, -1)
			s.taps(func(_, dst, row, column, count int) {
				for i := range count {
					j := row*s.in[2] + column + i*s.stride[2]
					if v := in[j]; at[dst+i] < 0 || v > out[dst+i] || v != v && out[dst+i] == out[dst+i] {
						out[dst+i], at[dst+i] = v, int64(j)
					}
				}
			})
			for i, j := range at {
				if j < 0 {
					continue
				}
				if columnMajor {
					w, h, d := int(j)%s.in[2], int(j)/s.in[2]%s.in[1], int(j)/s.in[2]/s.in[1]
					j = int64(d + (h+w*s.in[1])*s.in[0])
				}
				at[i] = int64(ch*s.inSize) + j
			}
		}
	})
}

// larger replaces elements of y by those of x, which may be longer, that are larger or NaN.
func larger[N int8 | uint8 | float32 | float64](y, x []N) {
	x = x[:len(y)]
	if y32, ok := any(y).([]float32); ok {
		x32, _ := any(x).([]float32)
		n := len(x) &^ (lanes - 1)
		vec.Max(y32[:n], y32[:n], x32[:n])
		x, y = x[n:], y[n:]
	}
	for i, v := range x {
		y[i] = max(y[i], v)
	}
}
