package nn

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// real are the types that this package computes in: 16-bit floats are computed as float32.
type real interface{ float32 | float64 }

// work is one call computed in F: it converts what comes in, and converts back and gives away scratch when finished.
type work[F real] struct {
	*kernel.Call
	scratch []*kernel.Tensor
	narrow  []narrowing[F]
}

// narrowing is an output of 16-bit floats with the scratch that it is to be made from.
type narrowing[F real] struct {
	out  *kernel.Tensor
	from []F
}

// realOf is the type that F names.
func realOf[F real]() tensor.DType {
	var z F
	if _, ok := any(z).(float64); ok {
		return tensor.Float64
	}
	return tensor.Float32
}

// byType calls f32 or f64 by the element type of the input at i: float64 is computed as such, the narrower ones as float32.
func byType(c *kernel.Call, i int, f32 func(*work[float32]) error, f64 func(*work[float64]) error) error {
	t, err := c.Tensor(i)
	if err != nil {
		return err
	}
	switch t.DType {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
		return compute(c, f32)
	case tensor.Float64:
		return compute(c, f64)
	}
	return fmt.Errorf("input %d is %s, want a float type", i, t.DType)
}

// compute runs f with a work of its own.
func compute[F real](c *kernel.Call, f func(*work[F]) error) error {
	w := &work[F]{Call: c}
	defer func() {
		for _, t := range w.scratch {
			kernel.Release(t)
		}
	}()
	if err := f(w); err != nil {
		return err
	}
	for _, n := range w.narrow {
		narrowTo(c.Pool, n.out, n.from)
	}
	return nil
}

// grain is how many elements a worker takes at a time in loops that do a little for each.
const grain = 1 << 14

// temp is scratch of the product of the extents that lives until the call ends; its content is undefined.
func (w *work[F]) temp(extents ...int) ([]F, error) {
	t, err := w.Mem.New(realOf[F](), extents)
	if err != nil {
		return nil, err
	}
	w.scratch = append(w.scratch, t)
	return kernel.Of[F](t), nil
}

// floats is the content of t in F: its own memory, or a converted copy.
func (w *work[F]) floats(t *kernel.Tensor) ([]F, error) {
	if t.DType == realOf[F]() {
		return kernel.Of[F](t), nil
	}
	v, err := w.temp(t.Len())
	if err != nil {
		return nil, err
	}
	return v, widen(w.Pool, v, t)
}

// widen converts any number or bool to F.
func widen[F real](p *kernel.Pool, dst []F, t *kernel.Tensor) error {
	if d, ok := any(dst).([]float32); ok {
		switch t.DType {
		case tensor.Float16:
			src := kernel.Of[uint16](t)
			p.For(len(src), grain, func(lo, hi int) { float8.WidenFloat16(d[lo:hi], src[lo:hi]) })
			return nil
		case tensor.BFloat16:
			src := kernel.Of[uint16](t)
			p.For(len(src), grain, func(lo, hi int) { float8.WidenBFloat16(d[lo:hi], src[lo:hi]) })
			return nil
		}
	}
	switch t.DType {
	case tensor.Float32:
		convert(dst, kernel.Of[float32](t))
	case tensor.Float64:
		convert(dst, kernel.Of[float64](t))
	case tensor.Float16:
		for i, h := range kernel.Of[float8.Float16](t) {
			dst[i] = F(h.Float32())
		}
	case tensor.BFloat16:
		for i, h := range kernel.Of[float8.BFloat16](t) {
			dst[i] = F(h.Float32())
		}
	case tensor.Int8:
		convert(dst, kernel.Of[int8](t))
	case tensor.Int16:
		convert(dst, kernel.Of[int16](t))
	case tensor.Int32:
		convert(dst, kernel.Of[int32](t))
	case tensor.Int64:
		convert(dst, kernel.Of[int64](t))
	case tensor.Uint8, tensor.Bool:
		convert(dst, kernel.Of[uint8](t))
	case tensor.Uint16:
		convert(dst, kernel.Of[uint16](t))
	case tensor.Uint32:
		convert(dst, kernel.Of[uint32](t))
	case tensor.Uint64:
		convert(dst, kernel.Of[uint64](t))
	default:
		return fmt.Errorf("elements of type %s, want numbers", t.DType)
	}
	return nil
}

// convert writes src's numbers to dst.
func convert[F real, E int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64](dst []F, src []E) {
	for i, v := range src {
		dst[i] = F(v)
	}
}

// narrowTo rounds v to the type of t, a float type.
func narrowTo[F real](p *kernel.Pool, t *kernel.Tensor, v []F) {
	switch t.DType {
	case tensor.Float32:
		convert(kernel.Of[float32](t), v)
	case tensor.Float64:
		convert(kernel.Of[float64](t), v)
	case tensor.Float16:
		if s, ok := any(v).([]float32); ok {
			d := kernel.Of[uint16](t)
			p.For(len(s), grain, func(lo, hi int) { float8.NarrowFloat16(d[lo:hi], s[lo:hi]) })
			return
		}
		d := kernel.Of[float8.Float16](t)
		for i, x := range v {
			d[i] = float8.Float16FromFloat32(float32(x))
		}
	case tensor.BFloat16:
		if s, ok := any(v).([]float32); ok {
			d := kernel.Of[uint16](t)
			p.For(len(s), grain, func(lo, hi int) { float8.NarrowBFloat16(d[lo:hi], s[lo:hi]) })
			return
		}
		d := kernel.Of[float8.BFloat16](t)
		for i, x := range v {
			d[i] = float8.BFloat16FromFloat32(float32(x))
		}
	default:
		panic("nn: an output of " + t.DType.String())
	}
}

// isFloat reports whether d is a type that narrowTo writes.
func isFloat(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float64 || d == tensor.Float16 || d == tensor.BFloat16
}

// in is the input at i with its content in F.
func (w *work[F]) in(i int) (*kernel.Tensor, []F, error) {
	t, err := w.Tensor(i)
	if err != nil {
		return nil, nil, err
	}
	if !isFloat(t.DType) {
		return nil, nil, fmt.Errorf("input %d is %s, want a float type", i, t.DType)
	}
	v, err := w.floats(t)
	return t, v, err
}

// vector is the input at i, which must have n elements along one axis, in F; nil where it is left out.
func (w *work[F]) vector(i, n int) ([]F, error) {
	if w.Optional(i) == nil {
		return nil, nil
	}
	t, v, err := w.in(i)
	if err != nil {
		return nil, err
	}
	if len(t.Shape) != 1 || t.Shape[0] != n {
		return nil, shapeError(i, t.Shape, []int{n})
	}
	return v, nil
}

// shaped is the input at i, which must have this shape, in F; nil where it is left out.
func (w *work[F]) shaped(i int, shape ...int) ([]F, error) {
	if w.Optional(i) == nil {
		return nil, nil
	}
	t, v, err := w.in(i)
	if err != nil {
		return nil, err
	}
	if !equalShape(t.Shape, shape) {
		return nil, shapeError(i, t.Shape, shape)
	}
	return v, nil
}

// out makes the output at i; what is written to the returned slice is rounded to d when the call ends.
func (w *work[F]) out(i int, d tensor.DType, shape []int) ([]F, error) {
	t, err := w.New(i, d, shape)
	if err != nil {
		return nil, err
	}
	if i >= len(w.Out) {
		w.scratch = append(w.scratch, t)
	}
	if d == realOf[F]() {
		return kernel.Of[F](t), nil
	}
	v, err := w.temp(t.Len())
	if err != nil {
		return nil, err
	}
	w.narrow = append(w.narrow, narrowing[F]{t, v})
	return v, nil
}

// outIf is out where the output is wanted, else nil.
func (w *work[F]) outIf(i int, d tensor.DType, shape []int) ([]F, error) {
	if !w.Wants(i) {
		return nil, nil
	}
	return w.out(i, d, shape)
}

func shapeError(i int, got, want []int) error {
	return fmt.Errorf("input %d has shape %s, want %s", i, kernel.ShapeString(got), kernel.ShapeString(want))
}

func equalShape(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
