package program

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// weightKey tells the forms of weights apart that one program has.
type weightKey struct {
	source *tensor.Tensor
	form   string
}

// weight is a constant on the GPU as an array of the type to. Floating-point types are converted, rounded to nearest even; others are
// taken as they are.
func (b *builder) weight(c *tensor.Tensor, to kernels.Type) *Tensor {
	n := c.Elements()
	return b.stored(c, to, 1, n, 1, n).reshape(c.Shape...)
}

// stored is a constant of rows×cols elements as [padRows, padCols] on the GPU, with zeros where it has no elements.
func (b *builder) stored(c *tensor.Tensor, to kernels.Type, rows, cols, padRows, padCols int64) *Tensor {
	form := to.String()
	if padRows != rows || padCols != cols {
		form += fmt.Sprintf(" %dx%d in %dx%d", rows, cols, padRows, padCols)
	}
	key := weightKey{c, form}
	if t := b.weights[key]; t != nil {
		return t
	}
	buf := &Buffer{Home: Weight, Source: c, Form: form}
	t := dense(buf, to, []int64{padRows, padCols})
	f := &filler{source: c, to: to, rows: rows, cols: cols, padCols: padCols, left: buf.Bytes}
	buf.Fill = f.fill
	b.weights[key] = t
	return t
}

// filler writes a weight's bytes.
type filler struct {
	source              *tensor.Tensor
	to                  kernels.Type
	rows, cols, padCols int64

	mu    sync.Mutex
	bytes []byte // the source's, held while it is being copied; see open
	left  int64  // bytes that were not asked for yet
}

// fill is Buffer.Fill. offset is a multiple of the element's size.
func (f *filler) fill(dst []byte, offset int64) error {
	src, err := f.open(int64(len(dst)))
	if err != nil {
		return err
	}
	size := f.to.Size()
	if offset%size != 0 || int64(len(dst))%size != 0 {
		return fmt.Errorf("weight: %d bytes from %d on: want multiples of %d", len(dst), offset, size)
	}
	at := offset / size
	for len(dst) > 0 {
		row, col := at/f.padCols, at%f.padCols
		n := min(f.padCols-col, int64(len(dst))/size)
		if row >= f.rows || col >= f.cols {
			clear(dst[:n*size])
		} else {
			n = min(n, f.cols-col)
			if err := convert(dst[:n*size], f.to, src, f.source.DType, row*f.cols+col); err != nil {
				return err
			}
		}
		dst = dst[n*size:]
		at += n
	}
	return nil
}

// open is the source's content. One that must be computed is kept until as many bytes were asked for as the weight has.
func (f *filler) open(n int64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	src := f.bytes
	if src == nil {
		var err error
		if src, err = f.source.Bytes(); err != nil {
			return nil, err
		}
		f.bytes = src
	}
	if f.left -= n; f.left <= 0 {
		f.bytes, f.left = nil, 0
	}
	return src, nil
}

// convert fills dst with elements of type to from element at of src on, whose type is from.
func convert(dst []byte, to kernels.Type, src []byte, from tensor.DType, at int64) error {
	n := int64(len(dst)) / to.Size()
	if own(from) == to {
		copy(dst, src[at*to.Size():])
		return nil
	}
	width := int64(from.Bits() / 8)
	src = src[at*width : (at+n)*width]
	const piece = 1024
	var wide [piece]float32
	var narrow [piece]uint16
	for i := int64(0); i < n; i += piece {
		m := min(n-i, piece)
		part, out := src[i*width:(i+m)*width], dst[i*to.Size():(i+m)*to.Size()]
		if err := widen(wide[:m], narrow[:m], part, from); err != nil {
			return err
		}
		switch to {
		case kernels.F32:
			for j, v := range wide[:m] {
				binary.LittleEndian.PutUint32(out[4*j:], math.Float32bits(v))
			}
			continue
		case kernels.BF16:
			float8.NarrowBFloat16(narrow[:m], wide[:m])
		case kernels.F16:
			float8.NarrowFloat16(narrow[:m], wide[:m])
		default:
			return fmt.Errorf("weight: %v as %v", from, to)
		}
		for j, v := range narrow[:m] {
			binary.LittleEndian.PutUint16(out[2*j:], v)
		}
	}
	return nil
}

// widen reads elements of a floating-point type.
func widen(dst []float32, narrow []uint16, src []byte, from tensor.DType) error {
	switch from {
	case tensor.Float32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
		return nil
	case tensor.Float64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
		return nil
	case tensor.Float16, tensor.BFloat16:
		for i := range dst {
			narrow[i] = binary.LittleEndian.Uint16(src[2*i:])
		}
		if from == tensor.Float16 {
			float8.WidenFloat16(dst, narrow)
		} else {
			float8.WidenBFloat16(dst, narrow)
		}
		return nil
	}
	return fmt.Errorf("weight: elements of %v", from)
}

// floats reads a floating-point tensor as float32; meant for small ones.
func floats(t *tensor.Tensor) ([]float32, error) {
	src, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	v := make([]float32, t.Elements())
	return v, widen(v, make([]uint16, len(v)), src, t.DType)
}
