package nn

import (
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makeConv is Conv: Y = W ⋆ X + B, a cross-correlation.
func makeConv(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	win := readWindow(a)
	groups := a.Count("group", 1, 1)
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return conv(w, &win, groups) },
			func(w *work[float64]) error { return conv(w, &win, groups) })
	}, nil
}

func conv[F real](w *work[F], win *window, groups int) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	wt, weight, err := w.in(1)
	if err != nil {
		return err
	}
	cv, err := newConvolution(win, groups, xt.Shape, wt.Shape)
	if err != nil {
		return err
	}
	bias, err := w.vector(2, cv.outC)
	if err != nil {
		return err
	}
	y, err := w.out(0, xt.DType, cv.outShape(cv.batch, cv.outC))
	if err != nil {
		return err
	}
	return convolve(w.Call, realOf[F](), cv, x, weight, bias, y)
}
