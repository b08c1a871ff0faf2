package arith

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// softKind names an operator that turns scores into a distribution.
type softKind uint8

const (
	softmaxKind softKind = iota
	logSoftmaxKind
	hardmaxKind
)

// makeSoftmax is the Maker of Softmax, LogSoftmax and Hardmax. Before opset 13 everything from the axis on is one row.
func makeSoftmax(kind softKind) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		if err := check(s, attrs{"axis": graph.AttrInt}); err != nil {
			return nil, err
		}
		flat := s.Opset < 13
		def := int64(-1)
		if flat {
			def = 1
		}
		axis := s.Node.AttrInt("axis", def)
		return func(c *kernel.Call) error {
			x, err := c.Tensor(0)
			if err != nil {
				return err
			}
			if !isFloat(x.DType) {
				return typeError(0, x.DType)
			}
			l, err := softLanes(x.Shape, axis, flat)
			if err != nil {
				return err
			}
			out, err := c.Reuse(0, 0, x.DType, x.Shape)
			if err != nil {
				return err
			}
			switch d := x.DType; d {
			case tensor.Float32:
				softRows(c.Pool, out, x, l, softRow32(kind))
			case tensor.Float64:
				softRows(c.Pool, out, x, l, softRow[float64](kind))
			default:
				softHalves(c.Pool, halfOf(d), out, x, l, softRow32(kind))
			}
			return nil
		}, nil
	}
}

// softLanes are the rows that are normalized, each for itself.
func softLanes(shape []int, axis int64, flat bool) (lanes, error) {
	if flat && axis == int64(len(shape)) { // rows of one element
		return lanes{kernel.Count(shape), 1, 1}, nil
	}
	if len(shape) == 0 {
		return lanes{1, 1, 1}, nil
	}
	k, err := kernel.Axis(axis, len(shape))
	if err != nil {
		return lanes{}, err
	}
	l := along(shape, k)
	if flat {
		l = lanes{l.outer, l.n * l.inner, 1}
	}
	return l, nil
}

// softRows normalizes every lane of src into dst; they may be the same memory.
func softRows[T float32 | float64](pool *kernel.Pool, out, x *kernel.Tensor, l lanes, row func(dst, src []T)) {
	dst, src := kernel.Of[T](out), kernel.Of[T](x)
	if l.n == 0 {
		return
	}
	if l.inner == 1 {
		pool.For(l.outer, max(1, grain/4/l.n), func(lo, hi int) {
			for i := lo * l.n; i < hi*l.n; i += l.n {
				row(dst[i:i+l.n], src[i:i+l.n])
			}
		})
		return
	}
	each(pool, l, func() []T { return make([]T, l.n) }, func(lane int, buf []T) {
		gather(buf, src, l, lane)
		row(buf, buf)
		scatter(dst, buf, l, lane)
	})
}

// softHalves is softRows for a 16-bit float type.
func softHalves(pool *kernel.Pool, h half, out, x *kernel.Tensor, l lanes, row func(dst, src []float32)) {
	dst, src := kernel.Of[uint16](out), kernel.Of[uint16](x)
	type room struct {
		codes  []uint16
		values []float32
	}
	each(pool, l, func() room { return room{make([]uint16, l.n), make([]float32, l.n)} }, func(lane int, r room) {
		gather(r.codes, src, l, lane)
		h.widen(r.values, r.codes)
		row(r.values, r.values)
		h.narrow(r.codes, r.values)
		scatter(dst, r.codes, l, lane)
	})
}

// softRow normalizes one row of at least one element.
func softRow[T float](kind softKind) func(dst, src []T) {
	switch kind {
	case softmaxKind:
		return func(dst, src []T) {
			most := maxRow(src[0], src)
			dst = dst[:len(src)]
			sum := 0.0
			for i, v := range src {
				e := T(math.Exp(float64(v - most)))
				dst[i] = e
				sum += float64(e)
			}
			for i := range dst {
				dst[i] = T(float64(dst[i]) / sum)
			}
		}
	case logSoftmaxKind:
		return func(dst, src []T) {
			most := maxRow(src[0], src)
			dst = dst[:len(src)]
			sum := 0.0
			for _, v := range src {
				sum += math.Exp(float64(v - most))
			}
			log := math.Log(sum)
			for i, v := range src {
				dst[i] = T(float64(v-most) - log)
			}
		}
	}
	return func(dst, src []T) {
		best := extreme(src, false, false)
		clear(dst)
		dst[best] = 1
	}
}

// axials are the operators that work along one axis.
func axials() kernel.Table {
	return kernel.Table{
		"ArgMax":     makeArg(false),
		"ArgMin":     makeArg(true),
		"CumSum":     makeCumulative(false),
		"CumProd":    makeCumulative(true),
		"TopK":       makeTopK,
		"Softmax":    makeSoftmax(softmaxKind),
		"LogSoftmax": makeSoftmax(logSoftmaxKind),
		"Hardmax":    makeSoftmax(hardmaxKind),
	}
}
