package nn

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// averaging is the attributes of AveragePool and LpPool.
type averaging struct {
	window
	includePad bool
	power      int // of LpPool; 0 for the mean
}

// makeAveragePool is AveragePool: the mean of every window, over the elements inside the input, or over padding too, but never over what
// ceil_mode adds beyond the padding.
func makeAveragePool(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := averaging{window: readWindow(a), includePad: a.Bit("count_include_pad", false)}
	o.ceil = a.Bit("ceil_mode", false)
	return o.make(a)
}

// makeLpPool is LpPool: (Σ|x|^p)^(1/p) of every window.
func makeLpPool(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := averaging{window: readWindow(a), power: a.Count("p", 2, 1)}
	o.ceil = a.Bit("ceil_mode", false)
	return o.make(a)
}

func (o *averaging) make(a *kernel.Attrs) (kernel.Func, error) {
	if o.kernel == nil {
		a.Fail("attribute \"kernel_shape\" is missing")
	}
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return averagePool(w, o) },
			func(w *work[float64]) error { return averagePool(w, o) })
	}, nil
}

func averagePool[F real](w *work[F], o *averaging) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	s, err := poolOver(&o.window, xt.Shape)
	if err != nil {
		return err
	}
	y, err := w.out(0, xt.DType, s.outShape(xt.Shape[0], xt.Shape[1]))
	if err != nil {
		return err
	}
	average(w.Pool, o, s, xt.Shape[0]*xt.Shape[1], x, y)
	return nil
}

// average pools every channel of x into y.
func average[F real](p *kernel.Pool, o *averaging, s *sliding, channels int, x, y []F) {
	var counts [maxSpatial][]int
	if o.power == 0 {
		for i := range counts {
			counts[i] = s.counts(i, o.includePad)
		}
	}
	pl := newPlane(s)
	p.For(channels, max(1, planeGrain/max(1, s.outSize*s.kernSize)), func(from, to int) {
		powers := make([]F, s.inSize)
		var padded, run []F
		if pl != nil {
			padded, run = make([]F, pl.size), make([]F, pl.run)
		}
		for ch := from; ch < to; ch++ {
			in, out := x[ch*s.inSize:][:s.inSize], y[ch*s.outSize:][:s.outSize]
			if o.power > 0 {
				power(powers, in, o.power)
				in = powers
			}
			if pl != nil {
				fillPlane(pl, padded, in, 0)
				clear(run)
				for _, at := range pl.offsets {
					addTo(run, padded[at:])
				}
				collect(pl, out, run)
			} else {
				clear(out)
				s.taps(func(_, dst, row, column, count int) {
					for i := range count {
						out[dst+i] += in[row*s.in[2]+column+i*s.stride[2]]
					}
				})
			}
			if o.power == 0 {
				divide(out, counts)
			} else {
				root(out, o.power)
			}
		}
	})
}

// power writes |x|^p to y.
func power[F real](y, x []F, p int) {
	for i, v := range x {
		switch p {
		case 1:
			y[i] = F(math.Abs(float64(v)))
		case 2:
			y[i] = F(v * v)
		default:
			y[i] = F(math.Pow(math.Abs(float64(v)), float64(p)))
		}
	}
}

// root takes the p-th root of every element.
func root[F real](x []F, p int) {
	for i, v := range x {
		switch p {
		case 1:
		case 2:
			x[i] = F(math.Sqrt(float64(v)))
		default:
			x[i] = F(math.Pow(float64(v), 1/float64(p)))
		}
	}
}

// counts is, for every output along axis i, how many taps lie inside the input, or inside the padding too.
func (s *sliding) counts(i int, includePad bool) []int {
	lo, hi := 0, s.in[i]
	if includePad {
		lo, hi = -s.before[i], s.in[i]+s.after[i]
	}
	out := make([]int, s.out[i])
	for o := range out {
		first := s.at(i, o, 0)
		// taps k with lo <= first+k·dilation < hi
		a := ceilDiv(max(0, lo-first), s.dilation[i])
		b := min(s.kernel[i], ceilDiv(max(0, hi-first), s.dilation[i]))
		out[o] = max(0, b-a)
	}
	return out
}

// divide makes sums means.
func divide[F real](out []F, counts [maxSpatial][]int) {
	i := 0
	for _, d := range counts[0] {
		for _, h := range counts[1] {
			for _, v := range counts[2] {
				if n := d * h * v; n > 0 {
					out[i] /= F(n)
				}
				i++
			}
		}
	}
}
