package nn

import (
	"fmt"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// convolution is the shape of one: x is [batch, inC, spatial...], w is [outC, inC/groups, kernel...], y is [batch, outC, out...].
type convolution struct {
	*sliding
	batch, inC, outC, groups int
}

// newConvolution checks the shapes of an input and a weight against each other.
func newConvolution(win *window, groups int, x, w []int) (*convolution, error) {
	if len(x) < 3 {
		return nil, fmt.Errorf("input 0 has shape %s, want [batch,channels] and at least one spatial axis", kernel.ShapeString(x))
	}
	if len(w) != len(x) {
		return nil, fmt.Errorf("the weight has shape %s, want %d axes as the input has", kernel.ShapeString(w), len(x))
	}
	cv := &convolution{batch: x[0], inC: x[1], outC: w[0], groups: groups}
	if cv.inC%groups != 0 || cv.outC%groups != 0 {
		return nil, fmt.Errorf("%d groups do not divide %d input and %d output channels", groups, cv.inC, cv.outC)
	}
	if w[1] != cv.inC/groups {
		return nil, fmt.Errorf("the weight has shape %s, want %d channels on axis 1: %d input channels in %d groups",
			kernel.ShapeString(w), cv.inC/groups, cv.inC, groups)
	}
	if win.kernel != nil && !equalShape(win.kernel, w[2:]) {
		return nil, fmt.Errorf("attribute \"kernel_shape\" is %s, and the weight has shape %s", kernel.ShapeString(win.kernel), kernel.ShapeString(w))
	}
	s, err := win.over(x[2:], w[2:])
	if err != nil {
		return nil, err
	}
	cv.sliding = s
	return cv, nil
}

// depth is the length of the sums: what one output element reads.
func (cv *convolution) depth() int { return cv.inC / cv.groups * cv.kernSize }

// pointwise says that every output reads just the input of its own place.
func (cv *convolution) pointwise() bool {
	return cv.kernSize == 1 && cv.in == cv.out && cv.stride == [maxSpatial]int{1, 1, 1} && cv.before == [maxSpatial]int{} && cv.after == [maxSpatial]int{}
}

// depthwise says that every output channel reads one input channel.
func (cv *convolution) depthwise() bool { return cv.inC == cv.groups && cv.groups > 1 }

// tileElements bounds the columns that a worker holds at a time.
const tileElements = 1 << 16

// convolve computes y. bias may be nil.
func convolve[N number](c *kernel.Call, d tensor.DType, cv *convolution, x, w, bias, y []N) error {
	if cv.depthwise() {
		convolveDepthwise(c.Pool, cv, x, w, bias, y)
		return nil
	}
	fill := func(dst []N, n, g, lo, hi int) {
		per := cv.inC / cv.groups
		columns(cv.sliding, dst, x[(n*cv.inC+g*per)*cv.inSize:], per, lo, hi)
	}
	var direct []N
	if cv.pointwise() {
		direct = x
	}
	return convolveTiles(c, d, cv, fill, direct, w, bias, y)
}

// convolveTiles cuts the output pixels into tiles, has fill write the columns of each, and multiplies them by the weights. Where the
// columns are the input itself, direct is that input.
func convolveTiles[N number](c *kernel.Call, d tensor.DType, cv *convolution, fill func(dst []N, n, g, lo, hi int), direct, w, bias, y []N) error {
	depth, outs := cv.depth(), cv.outC/cv.groups
	if cv.outSize == 0 || cv.batch == 0 || outs == 0 {
		return nil
	}
	tile := min(cv.outSize, max(16, tileElements/max(1, depth)))
	tiles := ceilDiv(cv.outSize, tile)
	var once sync.Once
	var failed error
	c.Pool.For(cv.batch*cv.groups*tiles, 1, func(from, to int) {
		for job := from; job < to; job++ {
			n, g, t := job/tiles/cv.groups, job/tiles%cv.groups, job%tiles
			lo := t * tile
			hi := min(lo+tile, cv.outSize)
			var b matrix[N]
			if direct != nil {
				b = rowMajor(direct[(n*cv.inC+g*depth)*cv.inSize+lo:], cv.inSize)
			} else {
				mem, err := c.Mem.New(d, []int{depth, hi - lo})
				if err != nil {
					once.Do(func() { failed = err })
					return
				}
				defer kernel.Release(mem)
				b = rowMajor(kernel.Of[N](mem), hi-lo)
				fill(b.data, n, g, lo, hi)
			}
			out := y[(n*cv.outC+g*outs)*cv.outSize+lo:]
			for m := range outs {
				row := out[m*cv.outSize:][:hi-lo]
				v := N(0)
				if bias != nil {
					v = bias[g*outs+m]
				}
				for i := range row {
					row[i] = v
				}
			}
			loops(outs, hi-lo, depth, rowMajor(w[g*outs*depth:], depth), b, out, cv.outSize)
		}
	})
	return failed
}

// convolveDepthwise adds tap by tap, whole rows at a time: one input channel is too little for a matrix product.
func convolveDepthwise[N number](p *kernel.Pool, cv *convolution, x, w, bias, y []N) {
	outs := cv.outC / cv.groups
	p.For(cv.batch*cv.outC, max(1, grain/max(1, cv.outSize*cv.kernSize)), func(from, to int) {
		for job := from; job < to; job++ {
			n, m := job/cv.outC, job%cv.outC
			v := N(0)
			if bias != nil {
				v = bias[m]
			}
			out := y[job*cv.outSize:][:cv.outSize]
			for i := range out {
				out[i] = v
			}
			cv.taps(func(tap, dst, src, count, stride int) {
				addTap(out[dst:][:count], x[(n*cv.inC+m/outs)*cv.inSize+src:], w[m*cv.kernSize+tap], stride)
			})
		}
	})
}

// taps calls f for every tap of the kernel and every row of outputs: count outputs from dst on read the inputs from src on, stride apart.
// Offsets are those within a channel.
func (s *sliding) taps(f func(tap, dst, src, count, stride int)) {
	tap := 0
	for kd := range s.kernel[0] {
		d0, d1 := s.span(0, kd)
		for kh := range s.kernel[1] {
			h0, h1 := s.span(1, kh)
			for kw := range s.kernel[2] {
				w0, w1 := s.span(2, kw)
				if w0 < w1 {
					for od := d0; od < d1; od++ {
						for oh := h0; oh < h1; oh++ {
							f(tap, (od*s.out[1]+oh)*s.out[2]+w0,
								(s.at(0, od, kd)*s.in[1]+s.at(1, oh, kh))*s.in[2]+s.at(2, w0, kw), w1-w0, s.stride[2])
						}
					}
				}
				tap++
			}
		}
	}
}

// addTap adds v times every stride-th element of x to y.
func addTap[N number](y, x []N, v N, stride int) {
	if stride == 1 {
		x = x[:len(y)]
		for i, xi := range x {
			y[i] += N(v * xi)
		}
		return
	}
	for i := range y {
		y[i] += N(v * x[i*stride])
	}
}
