package gemm

import (
	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func widenFloat16(dst []float32, src []uint16) {
	if c := best.converters; c != nil {
		if n := len(src) &^ 7; n > 0 {
			c.widenFloat16(&dst[:len(src)][0], &src[0], n)
			dst, src = dst[n:], src[n:]
		}
	}
	float8.WidenFloat16(dst, src)
}

func narrowFloat16(dst []uint16, src []float32) {
	if c := best.converters; c != nil {
		if n := len(src) &^ 7; n > 0 {
			c.narrowFloat16(&dst[:len(src)][0], &src[0], n)
			dst, src = dst[n:], src[n:]
		}
	}
	float8.NarrowFloat16(dst, src)
}

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
	dst = dst[:len(src)]
	if c := best.converters; c != nil && f == float8.E4M3FNFormat {
		if n := len(src) &^ 15; n > 0 {
			c.decodeE4M3FN(&dst[0], &src[0], n, scale)
			dst, src = dst[n:], src[n:]
		}
	}
	t := &tables[f]
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

// transpose writes src, n rows of which rows elements count, stride apart, to dst as columns: dst[r·width+j] = src[j·stride+r].
func transpose(dst []float32, width int, src []float32, stride, n, rows int) {
	j := 0
	if c := best.converters; c != nil && rows >= 8 {
		whole := rows &^ 7
		for ; j+8 <= n; j += 8 {
			_, _ = dst[(rows-1)*width+j+7], src[(j+7)*stride+rows-1]
			c.transpose(&dst[j], 4*width, &src[j*stride], 4*stride, whole)
			if whole < rows {
				transposePlain(dst[whole*width+j:], width, src[j*stride+whole:], stride, 8, rows-whole)
			}
		}
	}
	if j < n {
		transposePlain(dst[j:], width, src[j*stride:], stride, n-j, rows)
	}
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
		narrowFloat16(view[uint16](o.Bytes)[at:at+len(v)], v)
	case tensor.BFloat16:
		float8.NarrowBFloat16(view[uint16](o.Bytes)[at:at+len(v)], v)
	}
}
