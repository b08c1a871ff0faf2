package arith

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// viaFloat64 computes output 0, of the type and shape of input 0, from input 0 in float64.
func viaFloat64(c *kernel.Call, x *kernel.Tensor, f func(v []float64) error) error {
	if !isFloat(x.DType) {
		return typeError(0, x.DType)
	}
	wide, err := c.Mem.New(tensor.Float64, x.Shape)
	if err != nil {
		return err
	}
	defer kernel.Release(wide)
	if err := convert(c.Pool, wide, x, narrowing{}); err != nil {
		return err
	}
	if err := f(kernel.Of[float64](wide)); err != nil {
		return err
	}
	out, err := c.New(0, x.DType, x.Shape)
	if err != nil {
		return err
	}
	return convert(c.Pool, out, wide, narrowing{})
}

// makeLpNormalization makes LpNormalization: every lane divided by its norm, zeros where the norm is zero.
func makeLpNormalization(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"axis": graph.AttrInt, "p": graph.AttrInt}); err != nil {
		return nil, err
	}
	p := s.Node.AttrInt("p", 2)
	if p != 1 && p != 2 {
		return nil, fmt.Errorf("attribute \"p\" is %d, want 1 or 2", p)
	}
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		axis, err := kernel.Axis(s.Node.AttrInt("axis", -1), len(x.Shape))
		if err != nil {
			return err
		}
		return viaFloat64(c, x, func(v []float64) error {
			l := along(x.Shape, axis)
			each(c.Pool, l, func() []float64 { return make([]float64, l.n) }, func(lane int, buf []float64) {
				gather(buf, v, l, lane)
				norm := 0.0
				for _, w := range buf {
					if p == 1 {
						norm += math.Abs(w)
					} else {
						norm += float64(w * w)
					}
				}
				if p == 2 {
					norm = math.Sqrt(norm)
				}
				for i := range buf {
					if norm == 0 {
						buf[i] = 0
					} else {
						buf[i] /= norm
					}
				}
				scatter(v, buf, l, lane)
			})
			return nil
		})
	}, nil
}

// makeMeanVariance makes MeanVarianceNormalization: (x - mean)/(deviation + 1e-9) over the axes, the epsilon as in ONNX's function body.
func makeMeanVariance(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"axes": graph.AttrInts}); err != nil {
		return nil, err
	}
	axes, ok := s.Node.AttrInts("axes")
	if !ok {
		axes = []int64{0, 2, 3}
	}
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		gone, shape, err := axesOf(x.Shape, axes, true, true)
		if err != nil {
			return err
		}
		return viaFloat64(c, x, func(v []float64) error {
			r, p := newReduction(x.Shape, gone), newPlan(x.Shape, x.Shape, shape)
			each := make([]float64, r.outs)
			reduce(c.Pool, r, sums[float64, float64](reduceMean), each, v)
			run := func(f func(dst, a, b []float64)) {
				c.Pool.For(p.n, grain, func(lo, hi int) {
					buf := buffer(p, 1, each)
					p.ranges(lo, hi, func(lo, hi int) { f(v[lo:hi], v[lo:hi], view(p, 1, each, lo, hi, buf)) })
				})
			}
			run(sub[float64])
			square := sums[float64, float64](reduceSumSquare)
			square.done = func(dst, acc []float64, n int) {
				for i, a := range acc {
					dst[i] = math.Sqrt(a/float64(n)) + 1e-9
				}
			}
			reduce(c.Pool, r, square, each, v)
			run(div[float64])
			return nil
		})
	}, nil
}

// det is ONNX's Det: the determinant of every matrix in the last two axes, by elimination with row exchanges.
func det(c *kernel.Call) error {
	x, err := c.Tensor(0)
	if err != nil {
		return err
	}
	rank := len(x.Shape)
	if rank < 2 || x.Shape[rank-1] != x.Shape[rank-2] {
		return fmt.Errorf("input 0 is %s, want square matrices", x)
	}
	if !isFloat(x.DType) {
		return typeError(0, x.DType)
	}
	n := x.Shape[rank-1]
	wide, err := asType(c, x, tensor.Float64)
	if err != nil {
		return err
	}
	defer kernel.Release(wide)
	v := kernel.Of[float64](wide)
	m := make([]float64, n*n)
	at := 0
	return fill(c, x.DType, x.Shape[:rank-2:rank-2], func() float64 {
		copy(m, v[at:])
		at += n * n
		return determinant(m, n)
	})
}

// determinant eliminates in place.
func determinant(m []float64, n int) float64 {
	d := 1.0
	for k := range n {
		pivot := k
		for i := k + 1; i < n; i++ {
			if math.Abs(m[i*n+k]) > math.Abs(m[pivot*n+k]) {
				pivot = i
			}
		}
		p := m[pivot*n+k]
		if p == 0 {
			return 0
		}
		if pivot != k {
			for j := range n {
				m[k*n+j], m[pivot*n+j] = m[pivot*n+j], m[k*n+j]
			}
			d = -d
		}
		d *= p
		for i := k + 1; i < n; i++ {
			f := m[i*n+k] / p
			for j := k; j < n; j++ {
				m[i*n+j] -= float64(f * m[k*n+j])
			}
		}
	}
	return d
}

// normalizers are the operators that bring data to a norm, and the determinant.
func normalizers() kernel.Table {
	return kernel.Table{
		"LpNormalization":           makeLpNormalization,
		"MeanVarianceNormalization": makeMeanVariance,
		"Det":                       plain(det),
	}
}
