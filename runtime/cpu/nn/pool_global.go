package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makeGlobalAveragePool is GlobalAveragePool: the mean over all spatial axes.
func makeGlobalAveragePool(site *kernel.Site) (kernel.Func, error) {
	if err := site.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0, globalAverage[float32], globalAverage[float64])
	}, nil
}

// makeGlobalMaxPool is GlobalMaxPool; NaN is larger than everything.
func makeGlobalMaxPool(site *kernel.Site) (kernel.Func, error) {
	return globalPool(site.Attrs(), func(x []float64) float64 {
		m := math.Inf(-1)
		for _, v := range x {
			m = max(m, v)
		}
		return m
	})
}

// makeGlobalLpPool is GlobalLpPool: (Σ|x|^p)^(1/p) over all spatial axes.
func makeGlobalLpPool(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	p := a.Count("p", 2, 1)
	return globalPool(a, func(x []float64) float64 {
		for i, v := range x {
			switch p {
			case 1:
				x[i] = math.Abs(v)
			case 2:
				x[i] = v * v
			default:
				x[i] = math.Pow(math.Abs(v), float64(p))
			}
		}
		s := []float64{sum(x)}
		root(s, p)
		return s[0]
	})
}

// globalPool applies f to every channel. f may overwrite what it is given.
func globalPool(a *kernel.Attrs, f func([]float64) float64) (kernel.Func, error) {
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return globalPoolOf(w, f) },
			func(w *work[float64]) error { return globalPoolOf(w, f) })
	}, nil
}

// globalOperands are the input, the output and how many elements of one go into the other.
func globalOperands[F real](w *work[F]) (x, y []F, size int, err error) {
	xt, x, err := w.in(0)
	if err != nil {
		return nil, nil, 0, err
	}
	if len(xt.Shape) < 2 {
		return nil, nil, 0, fmt.Errorf("input 0 has shape %s, want [batch,channels,spatial...]", kernel.ShapeString(xt.Shape))
	}
	shape := make([]int, len(xt.Shape))
	for i := range shape {
		shape[i] = 1
	}
	copy(shape, xt.Shape[:2])
	y, err = w.out(0, xt.DType, shape)
	return x, y, kernel.Count(xt.Shape[2:]), err
}

func globalAverage[F real](w *work[F]) error {
	x, y, size, err := globalOperands(w)
	if err != nil {
		return err
	}
	w.Pool.For(len(y), max(1, grain/max(1, size)), func(from, to int) {
		for ch := from; ch < to; ch++ {
			y[ch] = sum(x[ch*size:][:size]) / F(size)
		}
	})
	return nil
}

func globalPoolOf[F real](w *work[F], f func([]float64) float64) error {
	x, y, size, err := globalOperands(w)
	if err != nil {
		return err
	}
	w.Pool.For(len(y), max(1, grain/max(1, size)), func(from, to int) {
		buf := make([]float64, size)
		for ch := from; ch < to; ch++ {
			for i, v := range x[ch*size:][:size] {
				buf[i] = float64(v)
			}
			y[ch] = F(f(buf))
		}
	})
	return nil
}
