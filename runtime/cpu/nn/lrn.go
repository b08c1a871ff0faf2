package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makeLRN is LRN: y = x / (bias + alpha/size · Σx²)^beta, the sum over size channels around each.
func makeLRN(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	alpha, beta, bias := a.Float("alpha", 1e-4), a.Float("beta", 0.75), a.Float("bias", 1)
	if !a.Has("size") {
		a.Fail("attribute \"size\" is missing")
	}
	size := a.Count("size", 0, 1)
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return lrn(w, size, float64(alpha), float64(beta), float64(bias)) },
			func(w *work[float64]) error { return lrn(w, size, float64(alpha), float64(beta), float64(bias)) })
	}, nil
}

func lrn[F real](w *work[F], size int, alpha, beta, bias float64) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	if len(xt.Shape) < 2 {
		return fmt.Errorf("input 0 has shape %s, want [batch,channels,spatial...]", kernel.ShapeString(xt.Shape))
	}
	y, err := w.out(0, xt.DType, xt.Shape)
	if err != nil {
		return err
	}
	channels, area := xt.Shape[1], kernel.Count(xt.Shape[2:])
	before, after := (size-1)/2, size/2
	w.Pool.For(xt.Shape[0]*channels, max(1, grain/max(1, area)), func(from, to int) {
		squares := make([]float64, area)
		for job := from; job < to; job++ {
			n, ch := job/channels, job%channels
			clear(squares)
			for i := max(0, ch-before); i <= min(channels-1, ch+after); i++ {
				for j, v := range x[(n*channels+i)*area:][:area] {
					squares[j] += float64(v) * float64(v)
				}
			}
			out := y[job*area:][:area]
			for j, v := range x[job*area:][:area] {
				out[j] = F(float64(v) / math.Pow(bias+alpha/float64(size)*squares[j], beta))
			}
		}
	})
	return nil
}
