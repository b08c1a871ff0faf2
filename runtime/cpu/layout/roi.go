package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// maxSamples bounds how often a region of interest is sampled along one axis.
const maxSamples = 1 << 20

// aligner is a RoiAlign with its attributes.
type aligner struct {
	h, w, ratio int
	scale       float64
	offset      float64
	max         bool
}

// makeRoiAlign averages, or takes the largest of, samples in the cells of regions: X [N,C,H,W], rois [R,4] as x1, y1, x2, y2,
// batch_indices [R]. A sample is bilinear; one more than a pixel outside counts as zero.
func makeRoiAlign(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	def := "half_pixel"
	if s.Opset < 16 {
		def = "output_half_pixel"
	}
	z := &aligner{
		h:     int(min(max(r.Int("output_height", 1), 0), 1<<20)),
		w:     int(min(max(r.Int("output_width", 1), 0), 1<<20)),
		ratio: int(min(max(r.Int("sampling_ratio", 0), 0), maxSamples)),
		scale: float64(r.Float("spatial_scale", 1)),
		max:   r.Word("mode", "avg", "avg", "max") == "max",
	}
	if r.Word("coordinate_transformation_mode", def, "half_pixel", "output_half_pixel") == "half_pixel" {
		z.offset = 0.5
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return z.run, nil
}

func (z *aligner) run(c *kernel.Call) error {
	t, err := c.Tensor(0)
	if err != nil {
		return err
	}
	rt, err := c.Tensor(1)
	if err != nil {
		return err
	}
	if len(t.Shape) != 4 || len(rt.Shape) != 2 || rt.Shape[1] != 4 {
		return fmt.Errorf("input is %s and rois %s, want [N,C,H,W] and [R,4]", t, rt)
	}
	batch, it, err := indices(c, 2, t.Shape[0], 0)
	if err != nil {
		return err
	}
	if len(it.Shape) != 1 || len(batch) != rt.Shape[0] {
		return fmt.Errorf("batch_indices are %s for %d rois", it, rt.Shape[0])
	}
	rois, err := numbers(rt)
	if err != nil {
		return err
	}
	out, err := c.New(0, t.DType, []int{len(batch), t.Shape[1], z.h, z.w})
	if err != nil || out.Len() == 0 {
		return err
	}
	if t.Shape[2] == 0 || t.Shape[3] == 0 {
		return fmt.Errorf("input %s has no pixels", t)
	}
	if t.DType == tensor.Float32 {
		return align(c.Pool, z, kernel.Of[float32](out), kernel.Of[float32](t), t.Shape, rois, batch)
	}
	src, err := numbers(t)
	if err != nil {
		return err
	}
	dst := make([]float64, out.Len())
	if err := align(c.Pool, z, dst, src, t.Shape, rois, batch); err != nil {
		return err
	}
	return store(out, dst, math.RoundToEven)
}

// sample is a place along one axis: two neighbours and the weight of the second. inside is false where it counts as zero.
type sample struct {
	lo, hi int
	part   float64
	inside bool
}

// samples are n places in each of cells cells of a region that begins at start.
func samples(start, cell float64, cells, n, extent int) []sample {
	out := make([]sample, cells*n)
	for i := range out {
		x := start + float64(i/n)*cell + (float64(i%n)+0.5)*cell/float64(n)
		if !(x >= -1 && x <= float64(extent)) {
			continue
		}
		x = max(x, 0)
		lo := int(x)
		if lo >= extent-1 {
			out[i] = sample{extent - 1, extent - 1, 0, true}
			continue
		}
		out[i] = sample{lo, lo + 1, x - float64(lo), true}
	}
	return out
}

func align[T float32 | float64](p *kernel.Pool, z *aligner, dst, src []T, shape []int, rois []float64, batch []int) error {
	ch, h, w := shape[1], shape[2], shape[3]
	for r, b := range batch {
		x1, y1 := rois[4*r]*z.scale-z.offset, rois[4*r+1]*z.scale-z.offset
		width, height := rois[4*r+2]*z.scale-z.offset-x1, rois[4*r+3]*z.scale-z.offset-y1
		if z.offset == 0 {
			width, height = max(width, 1), max(height, 1)
		}
		cellH, cellW := height/float64(z.h), width/float64(z.w)
		ny, nx := z.ratio, z.ratio
		if z.ratio == 0 {
			ny, nx = clampInt(math.Ceil(cellH), 0, maxSamples+1), clampInt(math.Ceil(cellW), 0, maxSamples+1)
		}
		if ny*z.h > maxSamples || nx*z.w > maxSamples || math.IsNaN(cellH+cellW) {
			return fmt.Errorf("region %d, %v, is too large", r, rois[4*r:4*r+4])
		}
		ys, xs := samples(y1, cellH, z.h, ny, h), samples(x1, cellW, z.w, nx, w)
		count := float64(max(ny*nx, 1))
		p.For(ch, max(1, job/(4*max(len(ys)*len(xs), 1))), func(lo, hi int) {
			for c := lo; c < hi; c++ {
				plane := src[(b*ch+c)*h*w:][:h*w]
				cells := dst[(r*ch+c)*z.h*z.w:][:z.h*z.w]
				for k := range cells {
					var sum, most float64
					first := true
					for _, y := range ys[k/z.w*ny:][:ny] {
						for _, x := range xs[k%z.w*nx:][:nx] {
							var v [4]float64
							if y.inside && x.inside {
								v[0] = (1 - y.part) * (1 - x.part) * float64(plane[y.lo*w+x.lo])
								v[1] = (1 - y.part) * x.part * float64(plane[y.lo*w+x.hi])
								v[2] = y.part * (1 - x.part) * float64(plane[y.hi*w+x.lo])
								v[3] = y.part * x.part * float64(plane[y.hi*w+x.hi])
							}
							sum += v[0] + v[1] + v[2] + v[3]
							// The specification's maximum is that of the weighted corners, not of the interpolated samples.
							if m := max(v[0], v[1], v[2], v[3]); first || m > most {
								most, first = m, false
							}
						}
					}
					if z.max {
						cells[k] = T(most)
					} else {
						cells[k] = T(sum / count)
					}
				}
			}
		})
	}
	return nil
}

// makeMaxRoiPool takes the largest pixel in each cell of regions: X [N,C,H,W], rois [R,5] as batch, x1, y1, x2, y2 with both ends inside,
// rounded to pixels after scaling (Girshick, "Fast R-CNN", 2015). A cell without pixels is zero.
func makeMaxRoiPool(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	v, _ := r.Ints("pooled_shape")
	scale := float64(r.Float("spatial_scale", 1))
	pooled, err := positive(v, 2, 1, "pooled_shape")
	if err != nil {
		r.Fail("%w", err)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		rt, err := c.Tensor(1)
		if err != nil {
			return err
		}
		if len(t.Shape) != 4 || len(rt.Shape) != 2 || rt.Shape[1] != 5 {
			return fmt.Errorf("input is %s and rois %s, want [N,C,H,W] and [R,5]", t, rt)
		}
		rois, err := numbers(rt)
		if err != nil {
			return err
		}
		src, err := numbers(t)
		if err != nil {
			return err
		}
		n, ch, h, w := t.Shape[0], t.Shape[1], t.Shape[2], t.Shape[3]
		for i := range rt.Shape[0] {
			if b := rois[5*i]; !(b >= 0 && b < float64(n)) {
				return fmt.Errorf("batch index %g of region %d is out of range for axis 0 of extent %d", b, i, n)
			}
		}
		out, err := c.New(0, t.DType, []int{rt.Shape[0], ch, pooled[0], pooled[1]})
		if err != nil {
			return err
		}
		dst := make([]float64, out.Len())
		cell := func(start, end float64, i, cells, extent int) (lo, hi int) {
			size := max(end-start+1, 1) / float64(cells)
			return clampInt(start+math.Floor(float64(i)*size), 0, extent), clampInt(start+math.Ceil(float64(i+1)*size), 0, extent)
		}
		c.Pool.For(rt.Shape[0]*ch, 1, func(from, to int) {
			for k := from; k < to; k++ {
				roi := rois[5*(k/ch):][:5]
				plane := src[(int(roi[0])*ch+k%ch)*h*w:][:h*w]
				x1, y1, x2, y2 := math.Round(roi[1]*scale), math.Round(roi[2]*scale), math.Round(roi[3]*scale), math.Round(roi[4]*scale)
				for i := range pooled[0] {
					y, yEnd := cell(y1, y2, i, pooled[0], h)
					for j := range pooled[1] {
						x, xEnd := cell(x1, x2, j, pooled[1], w)
						most := math.Inf(-1)
						for py := y; py < yEnd; py++ {
							for px := x; px < xEnd; px++ {
								most = max(most, plane[py*w+px])
							}
						}
						if y >= yEnd || x >= xEnd {
							most = 0
						}
						dst[(k*pooled[0]+i)*pooled[1]+j] = most
					}
				}
			}
		})
		return store(out, dst, math.RoundToEven)
	}, nil
}
