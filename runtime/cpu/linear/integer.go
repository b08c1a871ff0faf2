package linear

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// exactK is how many products of two differences of 8-bit integers a float32 sums exactly: 255·255·256 is below 2^24.
const exactK = 256

// perLine reads a scale or zero point: one for all, one for each row of A (column of B), or one for each of every matrix of a stack.
type perLine struct {
	values []float32
	lines  int // in a matrix
}

func newPerLine(what string, t *kernel.Tensor, lines, matrices int) (perLine, error) {
	p := perLine{lines: lines}
	if t == nil {
		p.values = []float32{0}
		return p, nil
	}
	if n := t.Len(); n != 1 && n != lines && n != lines*matrices {
		return p, fmt.Errorf("%s is %s, want one element, %d or %d", what, t, lines, lines*matrices)
	}
	switch t.DType {
	case tensor.Int8:
		for _, v := range kernel.Of[int8](t) {
			p.values = append(p.values, float32(v))
		}
	case tensor.Uint8:
		for _, v := range kernel.Of[uint8](t) {
			p.values = append(p.values, float32(v))
		}
	default:
		if f, ok := kernel.Float8Format(t.DType); ok {
			for _, v := range t.Bytes {
				p.values = append(p.values, f.Decode(v))
			}
			return p, nil
		}
		v, err := floats(t)
		if err != nil {
			return p, fmt.Errorf("%s is %w", what, err)
		}
		p.values = v
	}
	return p, nil
}

// of is the value of a line of a matrix.
func (p *perLine) of(matrix, line int) float32 {
	switch len(p.values) {
	case 1:
		return p.values[0]
	case p.lines:
		return p.values[line]
	}
	return p.values[matrix*p.lines+line]
}

// shifted is an 8-bit tensor less its zero points as float32, in memory that the caller gives back.
func shifted(c *kernel.Call, t *kernel.Tensor, rows, cols int, zero perLine, byRow bool) (*kernel.Tensor, error) {
	out, err := c.Scratch(tensor.Float32, t.Len())
	if err != nil {
		return nil, err
	}
	v, signed := kernel.Of[float32](out), t.DType == tensor.Int8
	if rows*cols == 0 {
		return out, nil
	}
	c.Pool.For(t.Len()/cols, max(1, 1<<14/cols), func(lo, hi int) {
		for row := lo; row < hi; row++ {
			src, dst := t.Bytes[row*cols:(row+1)*cols], v[row*cols:(row+1)*cols]
			for j, b := range src {
				x := float32(b)
				if signed {
					x = float32(int8(b))
				}
				if byRow {
					dst[j] = x - zero.of(row/rows, row%rows)
				} else {
					dst[j] = x - zero.of(row/rows, j)
				}
			}
		}
	})
	return out, nil
}

// integerProduct computes the plan in exact integers; a sum beyond 32 bits wraps around.
func integerProduct(c *kernel.Call, p *plan, a, b *kernel.Tensor, zeroA, zeroB *kernel.Tensor, out []int32) error {
	for _, t := range []*kernel.Tensor{a, b} {
		if t.DType != tensor.Int8 && t.DType != tensor.Uint8 {
			return fmt.Errorf("operands are %s and %s, want int8 or uint8", a, b)
		}
	}
	if len(out) == 0 {
		return nil
	}
	za, err := newPerLine("the zero point of A", zeroA, p.rowsA(), kernel.Count(p.aBatch))
	if err != nil {
		return err
	}
	zb, err := newPerLine("the zero point of B", zeroB, p.n, kernel.Count(p.bBatch))
	if err != nil {
		return err
	}
	x, err := shifted(c, a, p.rowsA(), p.k, za, true)
	if err != nil {
		return err
	}
	defer kernel.Release(x)
	y, err := shifted(c, b, p.k, p.n, zb, false)
	if err != nil {
		return err
	}
	defer kernel.Release(y)
	sums, err := c.Scratch(tensor.Float32, len(out))
	if err != nil {
		return err
	}
	defer kernel.Release(sums)
	clear(out)
	for k := 0; k < p.k; k += exactK {
		q := p.problem(x, y, sums)
		q.K = min(exactK, p.k-k)
		q.A.Bytes, q.B.Bytes = q.A.Bytes[4*k:], q.B.Bytes[4*k*p.n:]
		gemm.Run(c.Pool, q)
		v := kernel.Of[float32](sums)
		c.Pool.For(len(out), 1<<14, func(lo, hi int) {
			for i, s := range v[lo:hi] {
				out[lo+i] += int32(s)
			}
		})
	}
	return nil
}

// rowsA is the number of rows of one of A's matrices, which the plan may have laid end to end.
func (p *plan) rowsA() int {
	if n := kernel.Count(p.aBatch); p.batch == 1 && n > 0 {
		return p.m / n
	}
	return p.m
}

// matMulInteger is MatMulInteger's operator.
func matMulInteger(c *kernel.Call) error {
	a, err := c.Tensor(0)
	if err != nil {
		return err
	}
	b, err := c.Tensor(1)
	if err != nil {
		return err
	}
	p, err := planProduct(a.Shape, b.Shape)
	if err != nil {
		return err
	}
	out, err := c.New(0, tensor.Int32, p.shape)
	if err != nil {
		return err
	}
	return integerProduct(c, p, a, b, c.Optional(2), c.Optional(3), kernel.Of[int32](out))
}

// qLinearMatMul is QLinearMatMul's operator: a, its scale and zero point, b, its scale and zero point, the result's scale and zero point.
// result = saturate(rint(sum · (scale_a·scale_b/scale_y)) + zero_y), the factor in the scales' type, the rest in float64.
func qLinearMatMul(c *kernel.Call) error {
	var in [8]*kernel.Tensor
	for i := range in {
		var err error
		if in[i], err = c.Tensor(i); err != nil {
			return err
		}
	}
	a, b, zeroY := in[0], in[3], in[7]
	p, err := planProduct(a.Shape, b.Shape)
	if err != nil {
		return err
	}
	sa, err := newPerLine("the scale of A", in[1], p.rowsA(), kernel.Count(p.aBatch))
	if err != nil {
		return err
	}
	sb, err := newPerLine("the scale of B", in[4], p.n, kernel.Count(p.bBatch))
	if err != nil {
		return err
	}
	if in[6].Len() != 1 || zeroY.Len() != 1 {
		return fmt.Errorf("the scale and zero point of the result are %s and %s, want one element each", in[6], zeroY)
	}
	sy, err := floats(in[6])
	if err != nil {
		return err
	}
	round := func(v float32) float32 {
		w := [1]float32{v}
		if in[1].DType != tensor.Float32 {
			roundTo(w[:], in[1].DType)
		}
		return w[0]
	}
	zy, err := newPerLine("the zero point of the result", zeroY, 1, 1)
	if err != nil {
		return err
	}
	out, err := c.New(0, zeroY.DType, p.shape)
	if err != nil {
		return err
	}
	if out.Len() == 0 {
		return nil
	}
	sums, err := c.Scratch(tensor.Int32, out.Len()) // or float32
	if err != nil {
		return err
	}
	defer kernel.Release(sums)
	float := a.DType.IsFloat8()
	if float {
		for i, z := range []*kernel.Tensor{in[2], in[5], zeroY} {
			if v, err := newPerLine("a zero point", z, z.Len(), 1); err != nil {
				return err
			} else if z.DType.IsFloat8() {
				for _, x := range v.values {
					if x != 0 {
						return fmt.Errorf("zero point %d is %g: float8 has none but 0", i, x)
					}
				}
			}
		}
		sums.DType = tensor.Float32
		gemm.Run(c.Pool, p.problem(a, b, sums))
	} else if err := integerProduct(c, p, a, b, in[2], in[5], kernel.Of[int32](sums)); err != nil {
		return err
	}
	rowsA := p.rowsA()
	format, coded := kernel.Float8Format(out.DType)
	lo, hi := -128.0, 127.0
	if out.DType == tensor.Uint8 {
		lo, hi = 0, 255
	} else if !coded && out.DType != tensor.Int8 {
		return fmt.Errorf("the zero point of the result is %s, want int8, uint8 or float8", zeroY)
	}
	c.Pool.For(p.batch*p.m, max(1, 1<<14/p.n), func(first, last int) {
		for row := first; row < last; row++ {
			ma, mb, r := 0, 0, row%p.m
			if p.batch > 1 {
				ma, mb = p.aOff[row/p.m]/max(1, p.m*p.k), p.bOff[row/p.m]/max(1, p.k*p.n)
			} else {
				ma, r = row/rowsA, row%rowsA
			}
			for j := range p.n {
				at := row*p.n + j
				factor := round(round(sa.of(ma, r)*sb.of(mb, j)) / sy[0])
				var v float64
				if float {
					v = float64(kernel.Of[float32](sums)[at]) * float64(factor)
				} else {
					v = float64(kernel.Of[int32](sums)[at]) * float64(factor)
				}
				if coded {
					out.Bytes[at] = format.Encode(float32(v), float8.Saturate)
				} else {
					out.Bytes[at] = byte(int(clamp(math.RoundToEven(v+float64(zy.values[0])), lo, hi)))
				}
			}
		}
	})
	return nil
}

// clamp brings v between lo and hi; a NaN becomes lo.
func clamp(v, lo, hi float64) float64 {
	if !(v >= lo) {
		return lo
	}
	return min(v, hi)
}
