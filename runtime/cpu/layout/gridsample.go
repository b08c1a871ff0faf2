package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// sampler is a GridSample with its attributes.
type sampler struct {
	mode  string // nearest, linear, cubic
	pad   string // zeros, border, reflection
	align bool   // -1 and 1 are the middles of the corner pixels rather than their edges
}

// makeGridSample: X is [N, C, D1, …, Dr], grid [N, G1, …, Gr, r] with coordinates from -1 to 1, the last axis of X first.
func makeGridSample(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	g := &sampler{
		mode:  r.Word("mode", "linear", "linear", "bilinear", "nearest", "cubic", "bicubic"),
		pad:   r.Word("padding_mode", "zeros", "zeros", "border", "reflection"),
		align: r.Flag("align_corners", false),
	}
	switch g.mode {
	case "bilinear":
		g.mode = "linear"
	case "bicubic":
		g.mode = "cubic"
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return g.run, nil
}

func (g *sampler) run(c *kernel.Call) error {
	t, err := c.Tensor(0)
	if err != nil {
		return err
	}
	gt, err := c.Tensor(1)
	if err != nil {
		return err
	}
	rank := len(t.Shape) - 2
	if rank < 1 || len(gt.Shape) != rank+2 || gt.Shape[rank+1] != rank || gt.Shape[0] != t.Shape[0] {
		return fmt.Errorf("input is %s and grid %s, want [N,C,…] and [N,…,%d] with as many axes", t, gt, max(rank, 1))
	}
	where, err := numbers(gt)
	if err != nil {
		return err
	}
	size := t.Shape[2:]
	shape := append([]int{t.Shape[0], t.Shape[1]}, gt.Shape[1:rank+1]...)
	out, err := c.New(0, t.DType, shape)
	if err != nil || out.Len() == 0 {
		return err
	}
	if kernel.Count(size) == 0 {
		return fmt.Errorf("input %s has nothing to sample", t)
	}
	points := kernel.Count(gt.Shape[1 : rank+1])
	if g.mode == "nearest" {
		return g.nearest(c, out, t, where, points)
	}
	if t.DType == tensor.Float32 {
		blend(c.Pool, g, kernel.Of[float32](out), kernel.Of[float32](t), t.Shape[1], size, where, points)
		return nil
	}
	src, err := numbers(t)
	if err != nil {
		return err
	}
	dst := make([]float64, out.Len())
	blend(c.Pool, g, dst, src, t.Shape[1], size, where, points)
	return store(out, dst, math.RoundToEven)
}

// borders are the smallest and largest place of an axis of this extent.
func (g *sampler) borders(n int) (lo, hi float64) {
	if g.align {
		return 0, float64(n - 1)
	}
	return -0.5, float64(n) - 0.5
}

// place is the coordinate v in pixels, brought inside by the padding mode.
func (g *sampler) place(v float64, n int) float64 {
	// In float32, like the specification's reference: nearest depends on the last bit.
	x := (float32(v) + 1) / 2 * float32(n-1)
	if !g.align {
		x = (float32(float32(float32(v)+1)*float32(n)) - 1) / 2
	}
	y := float64(x)
	if g.mode == "nearest" {
		y = math.RoundToEven(y)
	}
	lo, hi := g.borders(n)
	switch {
	case math.IsNaN(y):
		return lo - 8 // outside, where zeros are
	case y >= lo && y <= hi:
	case g.pad == "border":
		y = min(max(y, 0), float64(n-1))
	case g.pad == "reflection":
		y = reflect(y, lo, hi)
	default:
		y = min(max(y, lo-8), hi+8) // all zeros there, however far
	}
	return y
}

// reflect mirrors x at the borders until it lies between them.
func reflect(x, lo, hi float64) float64 {
	if hi <= lo {
		return lo
	}
	if math.IsInf(x, 0) {
		return lo
	}
	turn := 2 * (hi - lo)
	d := math.Mod(x-lo, turn)
	if d < 0 {
		d += turn
	}
	return lo + min(d, turn-d)
}

// pixel is the index that stands for i, -1 for a zero.
func (g *sampler) pixel(i, n int) int {
	if i >= 0 && i < n {
		return i
	}
	switch g.pad {
	case "border":
		return min(max(i, 0), n-1)
	case "reflection":
		lo, hi := g.borders(n)
		return min(max(int(reflect(float64(i), lo, hi)), 0), n-1)
	}
	return -1
}

func (g *sampler) nearest(c *kernel.Call, out, t *kernel.Tensor, where []float64, points int) error {
	size := t.Shape[2:]
	rank, plane, ch := len(size), kernel.Count(size), t.Shape[1]
	stride := kernel.Strides(size)
	zero(out)
	c.Pool.For(t.Shape[0]*points, max(1, job/(8*ch)), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			n, p := k/points, k%points
			at := 0
			for a := range rank {
				i := g.pixel(int(g.place(where[k*rank+rank-1-a], size[a])), size[a])
				if i < 0 {
					at = -1
					break
				}
				at += i * stride[a]
			}
			if at < 0 {
				continue
			}
			for ci := range ch {
				move(out, (n*ch+ci)*points+p, t, (n*ch+ci)*plane+at, 1)
			}
		}
	})
	return nil
}

// blend sums the pixels around every point, in all channels alike.
func blend[T float32 | float64](p *kernel.Pool, g *sampler, dst, src []T, ch int, size []int, where []float64, points int) {
	rank, plane := len(size), kernel.Count(size)
	stride := kernel.Strides(size)
	taps := 2
	if g.mode == "cubic" {
		taps = 4
	}
	corners := 1
	for range rank {
		corners *= taps
	}
	p.For(len(where)/rank, max(1, job/(corners*(ch+8))), func(lo, hi int) {
		at, weight := make([]int, corners), make([]float64, corners)
		index, factor := make([]int, rank*taps), make([]float64, rank*taps)
		for k := lo; k < hi; k++ {
			for a := range rank {
				x := g.place(where[k*rank+rank-1-a], size[a])
				floor := math.Floor(x)
				g.factors(factor[a*taps:(a+1)*taps], x-floor)
				for j := range taps {
					index[a*taps+j] = g.pixel(int(floor)+j-taps/2+1, size[a])
				}
			}
			used := 0
			for corner := range corners {
				off, w, rest := 0, 1.0, corner
				for a := rank - 1; a >= 0; a-- {
					j := a*taps + rest%taps
					rest /= taps
					if index[j] < 0 {
						w = 0
						break
					}
					off += index[j] * stride[a]
					w *= factor[j]
				}
				if w != 0 {
					at[used], weight[used] = off, w
					used++
				}
			}
			n, point := k/points, k%points
			for c := range ch {
				from := src[(n*ch+c)*plane:][:plane]
				sum := 0.0
				for j, off := range at[:used] {
					sum += weight[j] * float64(from[off])
				}
				dst[(n*ch+c)*points+point] = T(sum)
			}
		}
	})
}

// factors are the weights of the taps around a place with this fraction.
func (g *sampler) factors(w []float64, x float64) {
	if g.mode == "linear" {
		w[0], w[1] = 1-x, x
		return
	}
	z := resizer{mode: "cubic", a: -0.75}
	for j := range w {
		w[j] = z.kernel(float64(j-1) - x)
	}
}

// makeAffineGrid makes a grid for GridSample: theta, [N, r, r+1], applied to the middles of the pixels of an image of this size.
func makeAffineGrid(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	align := r.Flag("align_corners", false)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		want, err := c.Ints(1)
		if err != nil {
			return err
		}
		size, err := dims(want)
		if err != nil {
			return err
		}
		rank := len(size) - 2
		if (rank != 2 && rank != 3) || len(t.Shape) != 3 || t.Shape[0] != size[0] || t.Shape[1] != rank || t.Shape[2] != rank+1 {
			return fmt.Errorf("theta is %s and size %v, want [N,2,3] with 4 numbers or [N,3,4] with 5", t, want)
		}
		theta, err := numbers(t)
		if err != nil {
			return err
		}
		pixels := size[2:]
		shape := append(append([]int{size[0]}, pixels...), rank)
		out, err := c.New(0, t.DType, shape)
		if err != nil || out.Len() == 0 {
			return err
		}
		base := make([][]float64, rank)
		for a, n := range pixels {
			base[a] = make([]float64, n)
			for i := range n {
				switch {
				case !align:
					base[a][i] = (2*float64(i)+1)/float64(n) - 1
				case n > 1: // a single pixel lies in the middle
					base[a][i] = 2*float64(i)/float64(n-1) - 1
				}
			}
		}
		points := kernel.Count(pixels)
		v := make([]float64, out.Len())
		c.Pool.For(size[0]*points, job/16, func(lo, hi int) {
			var x [4]float64
			x[rank] = 1
			for k := lo; k < hi; k++ {
				p := k % points
				for a := rank - 1; a >= 0; a-- {
					x[rank-1-a] = base[a][p%pixels[a]]
					p /= pixels[a]
				}
				m := theta[k/points*rank*(rank+1):]
				for i := range rank {
					sum := 0.0
					for j := range rank + 1 {
						sum += m[i*(rank+1)+j] * x[j]
					}
					v[k*rank+i] = sum
				}
			}
		})
		return store(out, v, math.RoundToEven)
	}, nil
}
