package nn

import (
	"fmt"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
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

// filler writes rows [k0, k1) of columns [j0, j1) of what image n reads in group g, rows width apart.
type filler[N number] func(dst []N, width, n, g, k0, k1, j0, j1 int)

// convolve computes y. bias may be nil.
func convolve[N number](c *kernel.Call, d tensor.DType, cv *convolution, x, w, bias, y []N) error {
	if len(y) == 0 {
		return nil
	}
	if cv.depthwise() {
		convolveDepthwise(c.Pool, cv, x, w, bias, y)
		return nil
	}
	per := cv.inC / cv.groups
	fill := func(dst []N, width, n, g, k0, k1, j0, j1 int) {
		columns(cv.sliding, dst, width, x[(n*cv.inC+g*per)*cv.inSize:], k0, k1, j0, j1)
	}
	if x32, ok := any(x).([]float32); ok && !cv.pointwise() {
		if pl := newPlane(cv.sliding); planesPay(cv, pl) {
			w32, _ := any(w).([]float32)
			b32, _ := any(bias).([]float32)
			y32, _ := any(y).([]float32)
			return convolvePlanes(c, cv, pl, x32, w32, b32, y32)
		}
	}
	if cv.pointwise() {
		return convolveFilled(c, d, cv, fill, x, w, bias, y)
	}
	return convolveFilled(c, d, cv, fill, nil, w, bias, y)
}

// convolveFilled multiplies the weights by the columns that fill writes. Where the columns are the input itself, direct is that input.
func convolveFilled[N number](c *kernel.Call, d tensor.DType, cv *convolution, fill filler[N], direct, w, bias, y []N) error {
	if cv.outSize == 0 || cv.batch == 0 || cv.outC == 0 {
		return nil
	}
	if f, ok := any(fill).(filler[float32]); ok {
		x32, _ := any(direct).([]float32)
		w32, _ := any(w).([]float32)
		b32, _ := any(bias).([]float32)
		y32, _ := any(y).([]float32)
		convolveGemm(c.Pool, cv, f, x32, w32, b32, y32)
		return nil
	}
	return convolveTiles(c, d, cv, fill, w, bias, y)
}

// convolveGemm is a product for each group: weights [outs, depth] by columns [depth, pixels], of all images.
func convolveGemm(pool *kernel.Pool, cv *convolution, fill filler[float32], direct, w, bias, y []float32) {
	depth, outs := cv.depth(), cv.outC/cv.groups
	for g := range cv.groups {
		p := gemm.Problem{M: outs, N: cv.outSize, K: depth, Batch: cv.batch,
			A: operand(rowMajor(w[g*outs*depth:], depth)),
			C: gemm.Output{DType: tensor.Float32, Bytes: bytesOf(y), RowStride: cv.outSize, Offsets: make([]int, cv.batch)}}
		for n := range cv.batch {
			p.C.Offsets[n] = (n*cv.outC + g*outs) * cv.outSize
		}
		if bias != nil {
			p.RowBias = bias[g*outs:][:outs]
		}
		if direct != nil {
			p.B = operand(rowMajor(direct, cv.inSize))
			p.B.Offsets = make([]int, cv.batch)
			for n := range cv.batch {
				p.B.Offsets[n] = (n*cv.inC + g*depth) * cv.inSize
			}
		} else {
			p.Fill = func(dst []float32, width, i, k0, k1, j0, j1 int) { fill(dst, width, i, g, k0, k1, j0, j1) }
		}
		gemm.Run(pool, &p)
	}
}

// tileElements bounds the columns that a worker holds at a time.
const tileElements = 1 << 16

// convolveTiles does the same with plain loops, a tile of pixels at a time.
func convolveTiles[N number](c *kernel.Call, d tensor.DType, cv *convolution, fill filler[N], w, bias, y []N) error {
	depth, outs := cv.depth(), cv.outC/cv.groups
	tile := min(cv.outSize, max(16, tileElements/max(1, depth)))
	tiles := ceilDiv(cv.outSize, tile)
	var once sync.Once
	var failed error
	c.Pool.For(cv.batch*cv.groups*tiles, 1, func(job, _ int) {
		n, g, t := job/tiles/cv.groups, job/tiles%cv.groups, job%tiles
		lo := t * tile
		hi := min(lo+tile, cv.outSize)
		mem, err := c.Mem.New(d, []int{depth, hi - lo})
		if err != nil {
			once.Do(func() { failed = err })
			return
		}
		defer kernel.Release(mem)
		b := rowMajor(kernel.Of[N](mem), hi-lo)
		if depth > 0 {
			fill(b.data, hi-lo, n, g, 0, depth, lo, hi)
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
	})
	return failed
}

// convolveDepthwise adds tap by tap, all outputs of a channel at a time: one input channel is too little for a matrix product.
func convolveDepthwise[N number](p *kernel.Pool, cv *convolution, x, w, bias, y []N) {
	outs := cv.outC / cv.groups
	pl := newPlane(cv.sliding)
	p.For(cv.batch*cv.outC, max(1, planeGrain/max(1, cv.outSize*cv.kernSize)), func(from, to int) {
		var padded, run []N
		if pl != nil {
			padded, run = make([]N, pl.size), make([]N, pl.run)
		}
		last := -1 // the input channel in padded
		for job := from; job < to; job++ {
			n, m := job/cv.outC, job%cv.outC
			v := N(0)
			if bias != nil {
				v = bias[m]
			}
			out := y[job*cv.outSize:][:cv.outSize]
			channel := n*cv.inC + m/outs
			in := x[channel*cv.inSize:][:cv.inSize]
			taps := w[m*cv.kernSize:][:cv.kernSize]
			if pl == nil {
				fill(out, v)
				cv.taps(func(tap, dst, row, column, count int) {
					for i := range count {
						out[dst+i] += N(taps[tap] * in[row*cv.in[2]+column+i*cv.stride[2]])
					}
				})
				continue
			}
			if channel != last {
				fillPlane(pl, padded, in, 0)
				last = channel
			}
			fill(run, v)
			for tap, f := range taps {
				addTap(run, padded[pl.offsets[tap]:], f)
			}
			collect(pl, out, run)
		}
	})
}

// addTap adds v times x, which may be longer, to y.
func addTap[N number](y, x []N, v N) {
	x = x[:len(y)]
	if y32, ok := any(y).([]float32); ok {
		x32, _ := any(x).([]float32)
		vec.AddScaled(y32, x32, float32(v))
		return
	}
	for i, xi := range x {
		y[i] += N(v * xi)
	}
}
