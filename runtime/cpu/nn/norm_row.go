package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// rowNorm is the attributes of LayerNormalization and RMSNormalization.
type rowNorm struct {
	axis    int64
	epsilon float32
	stash   tensor.DType // of the statistics that leave the operator
}

func readRowNorm(site *kernel.Site) (*rowNorm, error) {
	a := site.Attrs()
	o := &rowNorm{axis: a.Int("axis", -1), epsilon: a.Float("epsilon", 1e-5), stash: tensor.DType(a.Int("stash_type", 1))}
	if !isFloat(o.stash) {
		a.Fail("attribute \"stash_type\" is %d, want a float type", o.stash)
	}
	if site.Opset < 17 && site.Node.Domain == "" {
		return o, a.Err() // not yet ONNX's own: ONNX Runtime runs it, and looks at no other attribute
	}
	return o, a.Done()
}

// makeLayerNormalization is LayerNormalization: y = (x-mean)/√(var+ε)·scale + bias over the axes from axis on. Statistics of 16-bit floats
// are those of float32.
func makeLayerNormalization(site *kernel.Site) (kernel.Func, error) {
	o, err := readRowNorm(site)
	if err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return layerNormalization(w, o) },
			func(w *work[float64]) error { return layerNormalization(w, o) })
	}, nil
}

// makeRMSNormalization is RMSNormalization: y = x/√(mean(x²)+ε)·scale over the axes from axis on.
func makeRMSNormalization(site *kernel.Site) (kernel.Func, error) {
	o, err := readRowNorm(site)
	if err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return rmsNormalization(w, o) },
			func(w *work[float64]) error { return rmsNormalization(w, o) })
	}, nil
}

// rows are an input seen as rows over the axes that are normalized, with its scale and bias.
type rows[F real] struct {
	t           *kernel.Tensor
	x           []F
	count, size int
	statistics  []int // shape of what there is one of for each row
	scale, bias affine[F]
}

// affine is a scale or a bias, spread over all elements of the input or, where it is the same for each row, over one row.
type affine[F real] struct {
	v   []F // nil where left out
	row int // distance between the parts for neighbouring rows: 0 or the size of a row
}

func (a affine[F]) at(row, size int) []F {
	if a.v == nil {
		return nil
	}
	return a.v[row*a.row:][:size]
}

func readRows[F real](w *work[F], o *rowNorm) (*rows[F], error) {
	t, x, err := w.in(0)
	if err != nil {
		return nil, err
	}
	axis, err := kernel.Axis(o.axis, len(t.Shape))
	if err != nil {
		return nil, err
	}
	r := &rows[F]{t: t, x: x, count: kernel.Count(t.Shape[:axis]), size: kernel.Count(t.Shape[axis:])}
	r.statistics = append([]int(nil), t.Shape...)
	for i := axis; i < len(t.Shape); i++ {
		r.statistics[i] = 1
	}
	for i, to := range []*affine[F]{1: &r.scale, 2: &r.bias} {
		if to == nil || w.Optional(i) == nil {
			continue
		}
		if *to, err = readAffine(w, i, t.Shape, axis); err != nil {
			return nil, err
		}
	}
	if r.scale.v == nil {
		return nil, fmt.Errorf("input 1 is missing")
	}
	return r, nil
}

// readAffine reads the input at i, which must broadcast to shape.
func readAffine[F real](w *work[F], i int, shape []int, axis int) (affine[F], error) {
	t, v, err := w.in(i)
	if err != nil {
		return affine[F]{}, err
	}
	lead := t.Shape
	for len(lead) > len(shape)-axis && lead[0] == 1 {
		lead = lead[1:]
	}
	if equalShape(lead, shape[axis:]) {
		return affine[F]{v: v}, nil
	}
	if joint, err := kernel.Broadcast(t.Shape, shape); err != nil || !equalShape(joint, shape) {
		return affine[F]{}, fmt.Errorf("input %d has shape %s, want one that spreads over %s", i, kernel.ShapeString(t.Shape), kernel.ShapeString(shape))
	}
	// Spread it over one row where the axes before are 1, else over everything.
	over, row := shape, kernel.Count(shape[axis:])
	if len(lead) <= len(shape)-axis {
		over, row = shape[axis:], 0
	}
	all, err := w.temp(over...)
	if err != nil {
		return affine[F]{}, err
	}
	spread(all, v, lead, over)
	return affine[F]{v: all, row: row}, nil
}

// spread writes v, an array of shape in, to dst under the shape out that it broadcasts to.
func spread[F real](dst, v []F, in, out []int) {
	strides := kernel.BroadcastStrides(in, out)
	index := make([]int, len(out))
	at := 0
	for i := range dst {
		dst[i] = v[at]
		for k := len(out) - 1; k >= 0; k-- {
			at += strides[k]
			if index[k]++; index[k] < out[k] {
				break
			}
			at -= strides[k] * out[k]
			index[k] = 0
		}
	}
}

func layerNormalization[F real](w *work[F], o *rowNorm) error {
	r, err := readRows(w, o)
	if err != nil {
		return err
	}
	y, err := w.out(0, r.t.DType, r.t.Shape)
	if err != nil {
		return err
	}
	mean, err := w.outIf(1, o.stash, r.statistics)
	if err != nil {
		return err
	}
	inverse, err := w.outIf(2, o.stash, r.statistics)
	if err != nil {
		return err
	}
	if len(y) == 0 && mean == nil && inverse == nil {
		return nil
	}
	w.Pool.For(r.count, max(1, grain/max(1, r.size)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			m, inv := normalizeRow(y[i*r.size:][:r.size], r.x[i*r.size:][:r.size], r.scale.at(i, r.size), r.bias.at(i, r.size), F(o.epsilon))
			if mean != nil {
				mean[i] = m
			}
			if inverse != nil {
				inverse[i] = inv
			}
		}
	})
	return nil
}

// normalizeRow writes (x-mean)/√(var+ε)·scale + bias, and returns the mean and 1/√(var+ε). scale and bias may be nil. y may be x.
func normalizeRow[F real](y, x, scale, bias []F, epsilon F) (mean, inverse F) {
	n := F(len(x))
	mean = sum(x) / n
	inverse = 1 / F(math.Sqrt(float64(sumSquares(x, mean)/n+epsilon)))
	y = y[:len(x)]
	shiftTo(y, x, -mean)
	scaleTo(y, y, inverse)
	if scale != nil {
		multiplyBy(y, scale)
	}
	if bias != nil {
		addTo(y, bias)
	}
	return mean, inverse
}

func rmsNormalization[F real](w *work[F], o *rowNorm) error {
	r, err := readRows(w, o)
	if err != nil {
		return err
	}
	st, err := w.Tensor(1)
	if err != nil {
		return err
	}
	y, err := w.out(0, st.DType, r.t.Shape)
	if err != nil {
		return err
	}
	if len(y) == 0 {
		return nil
	}
	w.Pool.For(r.count, max(1, grain/r.size), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			rmsRow(y[i*r.size:][:r.size], r.x[i*r.size:][:r.size], r.scale.at(i, r.size), F(o.epsilon))
		}
	})
	return nil
}

// rmsRow writes x/√(mean(x²)+ε)·scale and returns 1/√(mean(x²)+ε). y may be x.
func rmsRow[F real](y, x, scale []F, epsilon F) (inverse F) {
	inverse = 1 / F(math.Sqrt(float64(sumSquares(x, 0)/F(len(x))+epsilon)))
	y = y[:len(x)]
	scaleTo(y, x, inverse)
	multiplyBy(y, scale)
	return inverse
}
