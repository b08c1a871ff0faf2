package program

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
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

// decoded is a constant of codes [rows, cols] as values of a type on the GPU: each code times its row's scale, or the one there is.
func (b *builder) decoded(c *tensor.Tensor, to kernels.Type, rows, cols int64, scales []float32) *Tensor {
	h := fnv.New128a()
	for _, s := range scales {
		h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(s)))
	}
	key := weightKey{c, fmt.Sprintf("%v, decoded with %d scales %x", to, len(scales), h.Sum(nil))}
	if t := b.weights[key]; t != nil {
		return t
	}
	buf := &Buffer{Home: Weight, Source: c, Form: key.form}
	t := dense(buf, to, []int64{rows, cols})
	f := &filler{source: c, to: to, rows: rows, cols: cols, padCols: cols, scales: scales, left: buf.Bytes}
	buf.Fill = f.fill
	b.weights[key] = t
	return t
}

// filler writes a weight's bytes.
type filler struct {
	source              *tensor.Tensor
	to                  kernels.Type
	rows, cols, padCols int64
	scales              []float32 // of each row, or one, that codes are decoded with; nil: the source is converted

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
			if err := f.convert(dst[:n*size], src, row, col); err != nil {
				return err
			}
		}
		dst = dst[n*size:]
		at += n
	}
	return nil
}

// convert fills dst with elements of a row from a column on.
func (f *filler) convert(dst, src []byte, row, col int64) error {
	at := row*f.cols + col
	if f.scales == nil {
		return convert(dst, f.to, src, f.source.DType, at)
	}
	scale := f.scales[0]
	if len(f.scales) > 1 {
		scale = f.scales[row]
	}
	const piece = 1024
	var wide [piece]float32
	size := f.to.Size()
	for n := int64(len(dst)) / size; n > 0; n = int64(len(dst)) / size {
		m := min(n, piece)
		float8.DecodeFloat32(wide[:m], src[at:at+m], float8.E4M3FNFormat, scale)
		if err := narrow32(dst[:m*size], f.to, wide[:m]); err != nil {
			return err
		}
		dst, at = dst[m*size:], at+m
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
		if err := widen(wide[:m], narrow[:m], src[i*width:(i+m)*width], from); err != nil {
			return err
		}
		if err := narrow32(dst[i*to.Size():(i+m)*to.Size()], to, wide[:m]); err != nil {
			return err
		}
	}
	return nil
}

// narrow32 writes at most 1024 numbers as a floating-point type.
func narrow32(dst []byte, to kernels.Type, wide []float32) error {
	var narrow [1024]uint16
	switch to {
	case kernels.F32:
		for j, v := range wide {
			binary.LittleEndian.PutUint32(dst[4*j:], math.Float32bits(v))
		}
		return nil
	case kernels.BF16:
		float8.NarrowBFloat16(narrow[:len(wide)], wide)
	case kernels.F16:
		float8.NarrowFloat16(narrow[:len(wide)], wide)
	default:
		return fmt.Errorf("weight: numbers as %v", to)
	}
	for j, v := range narrow[:len(wide)] {
		binary.LittleEndian.PutUint16(dst[2*j:], v)
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
