package gemm

import (
	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func widenFloat16(dst []float32, src []uint16) { float8.WidenFloat16(dst, src) }

// tables are the values of all codes, by format.
var tables = func() (t [float8.E5M2FNUZFormat + 1][256]float32) {
	for f := float8.E4M3FNFormat; f <= float8.E5M2FNUZFormat; f++ {
		for c := range t[f] {
			t[f][c] = f.Decode(uint8(c))
		}
	}
	return t
}()

// decode writes the values of codes, times scale, rounded once.
func decode(dst []float32, src []byte, f float8.Format, scale float32) {
	t := &tables[f]
	dst = dst[:len(src)]
	if scale == 1 {
		for i, c := range src {
			dst[i] = t[c]
		}
		return
	}
	for i, c := range src {
		dst[i] = t[c] * scale
	}
}

func transpose(dst []float32, width int, src []float32, stride, n, rows int) {
	transposePlain(dst, width, src, stride, n, rows)
}

// roundTo rounds v to a 16-bit type in place; float32 stays.
func roundTo(v []float32, d tensor.DType) {
	switch d {
	case tensor.Float16:
		for i, x := range v {
			v[i] = float8.Float16FromFloat32(x).Float32()
		}
	case tensor.BFloat16:
		for i, x := range v {
			v[i] = float8.BFloat16FromFloat32(x).Float32()
		}
	}
}

// store writes v to out from element at.
func (o *Output) store(at int, v []float32) {
	switch o.DType {
	case tensor.Float32:
		copy(view[float32](o.Bytes)[at:], v)
	case tensor.Float16:
		float8.NarrowFloat16(view[uint16](o.Bytes)[at:at+len(v)], v)
	case tensor.BFloat16:
		float8.NarrowBFloat16(view[uint16](o.Bytes)[at:at+len(v)], v)
	}
}
