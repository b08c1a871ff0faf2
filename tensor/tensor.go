package tensor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Data is the content of a tensor: little-endian, row-major, densely packed. It may be a view of a mapped file, memory, or a
// computation that runs only when the bytes are asked for; Size is known beforehand either way, and WriteTo writes exactly that
// many bytes or fails. WriteTo may be called more than once and gives the same bytes each time.
type Data interface {
	Size() int64
	io.WriterTo
}

// Bytes is content that is in memory or in a mapped file. Nobody writes through it.
type Bytes []byte

// Size is the number of bytes.
func (b Bytes) Size() int64 { return int64(len(b)) }

// WriteTo writes all bytes.
func (b Bytes) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b)
	return int64(n), err
}

// Tensor is an array of one element type. Strings holds the elements of a string tensor, which has no Data.
type Tensor struct {
	DType   DType
	Shape   Shape
	Data    Data
	Strings [][]byte
}

// New makes a tensor and checks that data has the size that dtype and shape ask for.
func New(dtype DType, shape Shape, data Data) (*Tensor, error) {
	n, err := shape.Elements()
	if err != nil {
		return nil, err
	}
	want, err := dtype.ByteSize(n)
	if err != nil {
		return nil, err
	}
	if data.Size() != want {
		return nil, fmt.Errorf("%s%s: got %d bytes, want %d", dtype, shape, data.Size(), want)
	}
	return &Tensor{DType: dtype, Shape: shape, Data: data}, nil
}

// Elements is the number of elements; a tensor made by New or by a codec has a valid shape.
func (t *Tensor) Elements() int64 {
	n, err := t.Shape.Elements()
	if err != nil {
		return 0
	}
	return n
}

// Size is the number of bytes of the content; 0 for strings.
func (t *Tensor) Size() int64 {
	if t.Data == nil {
		return 0
	}
	return t.Data.Size()
}

// Bytes is the content as one slice: the view itself where the content is in memory or mapped, else the computed bytes.
func (t *Tensor) Bytes() ([]byte, error) {
	switch d := t.Data.(type) {
	case nil:
		return nil, fmt.Errorf("%s%s: tensor has no data", t.DType, t.Shape)
	case Bytes:
		return d, nil
	default:
		var b bytes.Buffer
		b.Grow(int(d.Size()))
		if _, err := d.WriteTo(&b); err != nil {
			return nil, err
		}
		return b.Bytes(), nil
	}
}

// Float32s makes a float32 tensor of the given shape; it copies v.
func Float32s(shape Shape, v ...float32) *Tensor {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return &Tensor{DType: Float32, Shape: shape, Data: Bytes(b)}
}

// Int64s makes an int64 tensor of the given shape; it copies v.
func Int64s(shape Shape, v ...int64) *Tensor {
	b := make([]byte, 0, 8*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, uint64(x))
	}
	return &Tensor{DType: Int64, Shape: shape, Data: Bytes(b)}
}

// Bools makes a bool tensor of the given shape.
func Bools(shape Shape, v ...bool) *Tensor {
	b := make([]byte, len(v))
	for i, x := range v {
		if x {
			b[i] = 1
		}
	}
	return &Tensor{DType: Bool, Shape: shape, Data: Bytes(b)}
}

// AsFloat32s reads a float32 tensor; meant for scales and histories, not for weights.
func (t *Tensor) AsFloat32s() ([]float32, error) {
	if t.DType != Float32 {
		return nil, fmt.Errorf("got %s, want float32", t.DType)
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v, nil
}

// AsInt64s reads an int64 or int32 tensor; meant for shapes and axes, not for weights.
func (t *Tensor) AsInt64s() ([]int64, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	switch t.DType {
	case Int64:
		v := make([]int64, len(b)/8)
		for i := range v {
			v[i] = int64(binary.LittleEndian.Uint64(b[8*i:]))
		}
		return v, nil
	case Int32:
		v := make([]int64, len(b)/4)
		for i := range v {
			v[i] = int64(int32(binary.LittleEndian.Uint32(b[4*i:])))
		}
		return v, nil
	}
	return nil, fmt.Errorf("got %s, want int64 or int32", t.DType)
}

// AsBool reads a bool tensor of one element.
func (t *Tensor) AsBool() (bool, error) {
	b, err := t.Bytes()
	if err != nil {
		return false, err
	}
	if t.DType != Bool || len(b) != 1 {
		return false, fmt.Errorf("got %s%s, want one bool", t.DType, t.Shape)
	}
	return b[0] != 0, nil
}
