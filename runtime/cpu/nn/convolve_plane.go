package nn

import (
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// planeFloats bounds the scratch of convolvePlanes for more than one image.
const planeFloats = 1 << 22

// planesPay says whether a product over whole planes is less work than one over the outputs alone, whose columns are dearer to make.
func planesPay(cv *convolution, pl *plane) bool {
	return pl != nil && cv.kernSize > 1 && pl.run <= cv.outSize+cv.outSize/4
}

// convolvePlanes is convolveGemm with the channels laid out as planes: a row of columns is then a piece of a plane, and the product has columns
// between the rows of outputs too, which are dropped.
func convolvePlanes(c *kernel.Call, cv *convolution, pl *plane, x, w, bias, y []float32) error {
	depth, outs, ins := cv.depth(), cv.outC/cv.groups, cv.inC/cv.groups
	per := cv.inC*pl.size + cv.outC*pl.run
	chunk := min(cv.batch, max(1, planeFloats/per))
	mem, err := c.Scratch(tensor.Float32, chunk*per)
	if err != nil {
		return err
	}
	defer kernel.Release(mem)
	planes := kernel.Of[float32](mem)
	sums := planes[chunk*cv.inC*pl.size:]
	for first := 0; first < cv.batch; first += chunk {
		images := min(chunk, cv.batch-first)
		c.Pool.For(images*cv.inC, max(1, grain/pl.size), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				fillPlane(pl, planes[i*pl.size:][:pl.size], x[(first*cv.inC+i)*cv.inSize:][:cv.inSize], 0)
			}
		})
		for g := range cv.groups {
			p := gemm.Problem{M: outs, N: pl.run, K: depth, Batch: images, A: operand(rowMajor(w[g*outs*depth:], depth)),
				C: gemm.Output{DType: tensor.Float32, Bytes: bytesOf(sums), RowStride: pl.run, Offsets: make([]int, images)}}
			for i := range images {
				p.C.Offsets[i] = (i*cv.outC + g*outs) * pl.run
			}
			if bias != nil {
				p.RowBias = bias[g*outs:][:outs]
			}
			p.Fill = func(dst []float32, width, i, k0, k1, j0, j1 int) {
				from := planes[(i*cv.inC+g*ins+k0/cv.kernSize)*pl.size:]
				tap := k0 % cv.kernSize
				for k := k0; k < k1; k++ {
					copyShort(dst[(k-k0)*width:][:j1-j0], from[pl.offsets[tap]+j0:])
					if tap++; tap == cv.kernSize && k+1 < k1 {
						tap = 0
						from = from[pl.size:]
					}
				}
			}
			gemm.Run(c.Pool, &p)
		}
		c.Pool.For(images*cv.outC, max(1, grain/pl.run), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				collect(pl, y[(first*cv.outC+i)*cv.outSize:][:cv.outSize], sums[i*pl.run:])
			}
		})
	}
	return nil
}

// copyShort copies the start of src over all of dst; it is for runs that are often too short for copy.
func copyShort[N number](dst, src []N) {
	if len(dst) >= 16 {
		copy(dst, src)
		return
	}
	for i, v := range src[:len(dst)] {
		dst[i] = v
	}
}
