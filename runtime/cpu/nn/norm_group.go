package nn

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makeInstanceNormalization is InstanceNormalization: every channel of every image is brought to mean 0 and variance 1, then scaled and
// moved as its channel says.
func makeInstanceNormalization(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	return groupNorm(a, a.Float("epsilon", 1e-5), 0, false)
}

// makeGroupNormalization is GroupNormalization: the same over groups of channels. Scale and bias are given for each group at opset 18, and
// for each channel from opset 21 on.
func makeGroupNormalization(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	epsilon, groups := a.Float("epsilon", 1e-5), a.Count("num_groups", 1, 1)
	if site.Node.Attr("num_groups") == nil {
		a.Fail("attribute \"num_groups\" is missing")
	}
	if site.Opset >= 21 {
		a.Int("stash_type", 1)
	}
	return groupNorm(a, epsilon, groups, site.Opset < 21)
}

// groupNorm normalizes groups of channels, 0 groups meaning each channel for itself.
func groupNorm(a *kernel.Attrs, epsilon float32, groups int, perGroup bool) (kernel.Func, error) {
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return groupNormalization(w, epsilon, groups, perGroup) },
			func(w *work[float64]) error { return groupNormalization(w, float64(epsilon), groups, perGroup) })
	}, nil
}

func groupNormalization[F real](w *work[F], epsilon F, groups int, perGroup bool) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	if len(xt.Shape) < 2 {
		return fmt.Errorf("input 0 has shape %s, want [batch,channels,spatial...]", kernel.ShapeString(xt.Shape))
	}
	batch, channels, area := xt.Shape[0], xt.Shape[1], kernel.Count(xt.Shape[2:])
	if groups == 0 {
		groups = max(1, channels)
	}
	if channels%groups != 0 {
		return fmt.Errorf("%d groups do not divide %d channels", groups, channels)
	}
	per := channels / groups
	parameters := channels
	if perGroup {
		parameters = groups
	}
	var p [3][]F
	for i := 1; i < 3; i++ {
		if w.Optional(i) == nil {
			return fmt.Errorf("input %d is missing", i)
		}
		if p[i], err = w.vector(i, parameters); err != nil {
			return err
		}
	}
	y, err := w.out(0, xt.DType, xt.Shape)
	if err != nil {
		return err
	}
	size := per * area
	if size == 0 {
		return nil
	}
	w.Pool.For(batch*groups, max(1, grain/size), func(lo, hi int) {
		for job := lo; job < hi; job++ {
			g := job % groups
			out := y[job*size:][:size]
			normalizeRow(out, x[job*size:][:size], nil, nil, epsilon)
			for k := range per {
				i := g*per + k
				if perGroup {
					i = g
				}
				scale, bias := p[1][i], p[2][i]
				channel := out[k*area:][:area]
				scaleTo(channel, channel, scale)
				shiftTo(channel, channel, bias)
			}
		}
	})
	return nil
}
