package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// source is where the bytes of an opened model lie: the records in its messages count in data.
type source struct {
	data     []byte
	external *externals // nil when the model has no folder: external data is an error then
}

// raw is the mapped raw_data of a message that strip has passed.
func (s *source) raw(pb *onnxpb.TensorProto) ([]byte, error) {
	off, n, err := readRecord(pb.RawData)
	if err != nil {
		return nil, err
	}
	if off > uint64(len(s.data)) || n > uint64(len(s.data))-off {
		return nil, fmt.Errorf("raw_data at %d of %d bytes is outside the file", off, n)
	}
	return s.data[off : off+n : off+n], nil
}

// tensor decodes pb. The content is a view of the mapping (raw_data, external data), of pb (typed fields as wide as the element
// type), or a copy (narrower types in int32_data). Errors do not name the tensor: the caller knows what it is for.
func (s *source) tensor(pb *onnxpb.TensorProto) (*tensor.Tensor, error) {
	dt := tensor.DType(pb.GetDataType())
	if !dt.Known() {
		return nil, fmt.Errorf("unknown element type %d", int32(dt))
	}
	shape := tensor.Shape(pb.Dims)
	n, err := shape.Elements()
	if err != nil {
		return nil, err
	}
	if pb.Segment != nil {
		return nil, errors.New("holds a segment of a larger tensor, which is not supported")
	}
	fields := typedFields(pb)
	if len(fields) > 1 {
		return nil, fmt.Errorf("data in both %s and %s", fields[0], fields[1])
	}
	if pb.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		return s.externalTensor(pb, dt, shape, n, fields)
	}
	var raw []byte
	if pb.RawData != nil {
		if raw, err = s.raw(pb); err != nil {
			return nil, err
		}
	}
	if len(raw) > 0 && len(fields) > 0 {
		return nil, fmt.Errorf("data in both raw_data and %s", fields[0])
	}
	if dt == tensor.String {
		if len(raw) > 0 || (len(fields) == 1 && fields[0] != "string_data") {
			return nil, errors.New("strings outside string_data")
		}
		if int64(len(pb.StringData)) != n {
			return nil, fmt.Errorf("%s%s: got %d strings, want %d", dt, shape, len(pb.StringData), n)
		}
		return &tensor.Tensor{DType: dt, Shape: shape, Strings: pb.StringData}, nil
	}
	want, err := dt.ByteSize(n)
	if err != nil {
		return nil, err
	}
	switch {
	case len(fields) == 1:
		if raw, err = typedBytes(pb, dt, fields[0], n, want); err != nil {
			return nil, fmt.Errorf("%s%s: %w", dt, shape, err)
		}
	case len(raw) == 0 && want > 0:
		return nil, fmt.Errorf("%s%s: has no data, want %d bytes", dt, shape, want)
	case int64(len(raw)) != want:
		return nil, fmt.Errorf("%s%s: raw_data has %d bytes, want %d", dt, shape, len(raw), want)
	}
	return &tensor.Tensor{DType: dt, Shape: shape, Data: tensor.Bytes(raw)}, nil
}

func (s *source) externalTensor(pb *onnxpb.TensorProto, dt tensor.DType, shape tensor.Shape, n int64, fields []string) (*tensor.Tensor, error) {
	if dt == tensor.String {
		return nil, errors.New("strings cannot lie in another file")
	}
	want, err := dt.ByteSize(n)
	if err != nil {
		return nil, err
	}
	if s.external == nil {
		return nil, errors.New("lies in another file, and this model has no folder")
	}
	b, err := s.external.bytes(pb.ExternalData, want)
	if err != nil {
		return nil, err
	}
	if pb.RawData != nil {
		fields = append(fields, "raw_data")
	}
	if len(fields) > 0 {
		return nil, fmt.Errorf("data in both another file and %s", fields[0])
	}
	return &tensor.Tensor{DType: dt, Shape: shape, Data: tensor.Bytes(b)}, nil
}

func typedFields(pb *onnxpb.TensorProto) []string {
	var f []string
	if len(pb.FloatData) > 0 {
		f = append(f, "float_data")
	}
	if len(pb.Int32Data) > 0 {
		f = append(f, "int32_data")
	}
	if len(pb.StringData) > 0 {
		f = append(f, "string_data")
	}
	if len(pb.Int64Data) > 0 {
		f = append(f, "int64_data")
	}
	if len(pb.DoubleData) > 0 {
		f = append(f, "double_data")
	}
	if len(pb.Uint64Data) > 0 {
		f = append(f, "uint64_data")
	}
	return f
}

// fieldOf is the typed field that holds elements of dt, as TensorProto's comments say.
func fieldOf(dt tensor.DType) string {
	switch dt {
	case tensor.Float32, tensor.Complex64:
		return "float_data"
	case tensor.Int64:
		return "int64_data"
	case tensor.Float64, tensor.Complex128:
		return "double_data"
	case tensor.Uint32, tensor.Uint64:
		return "uint64_data"
	case tensor.String:
		return "string_data"
	}
	return "int32_data"
}

// typedBytes makes little-endian bytes of a typed field: n elements, want bytes.
func typedBytes(pb *onnxpb.TensorProto, dt tensor.DType, field string, n, want int64) ([]byte, error) {
	if f := fieldOf(dt); field != f {
		return nil, fmt.Errorf("data in %s, want %s", field, f)
	}
	count := n
	switch dt {
	case tensor.Complex64, tensor.Complex128:
		count = 2 * n // real and imaginary part
	default:
		if dt.Bits() < 8 {
			count = want // packed to bytes, one byte per number
		}
	}
	var got int
	switch field {
	case "float_data":
		got = len(pb.FloatData)
	case "int32_data":
		got = len(pb.Int32Data)
	case "int64_data":
		got = len(pb.Int64Data)
	case "double_data":
		got = len(pb.DoubleData)
	case "uint64_data":
		got = len(pb.Uint64Data)
	}
	if int64(got) != count {
		return nil, fmt.Errorf("%s has %d numbers, want %d", field, got, count)
	}
	switch field {
	case "float_data":
		return littleEndian(pb.FloatData, func(b []byte, v float32) { binary.LittleEndian.PutUint32(b, math.Float32bits(v)) }), nil
	case "double_data":
		return littleEndian(pb.DoubleData, func(b []byte, v float64) { binary.LittleEndian.PutUint64(b, math.Float64bits(v)) }), nil
	case "int64_data":
		return littleEndian(pb.Int64Data, func(b []byte, v int64) { binary.LittleEndian.PutUint64(b, uint64(v)) }), nil
	case "uint64_data":
		if dt == tensor.Uint64 {
			return littleEndian(pb.Uint64Data, binary.LittleEndian.PutUint64), nil
		}
		out := make([]byte, 4*len(pb.Uint64Data))
		for i, v := range pb.Uint64Data {
			binary.LittleEndian.PutUint32(out[4*i:], uint32(v))
		}
		return out, nil
	}
	switch bits := dt.Bits(); {
	case dt == tensor.Bool:
		out := make([]byte, len(pb.Int32Data))
		for i, v := range pb.Int32Data {
			if v != 0 {
				out[i] = 1
			}
		}
		return out, nil
	case bits <= 8:
		out := make([]byte, len(pb.Int32Data))
		for i, v := range pb.Int32Data {
			out[i] = byte(v)
		}
		return out, nil
	case bits == 16:
		out := make([]byte, 2*len(pb.Int32Data))
		for i, v := range pb.Int32Data {
			binary.LittleEndian.PutUint16(out[2*i:], uint16(v))
		}
		return out, nil
	default:
		return littleEndian(pb.Int32Data, func(b []byte, v int32) { binary.LittleEndian.PutUint32(b, uint32(v)) }), nil
	}
}

var hostIsLittleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// littleEndian is v's memory itself on a little-endian machine, so that a weight in a typed field is not held twice.
func littleEndian[T float32 | float64 | int32 | int64 | uint64](v []T, put func([]byte, T)) []byte {
	if len(v) == 0 {
		return nil
	}
	size := int(unsafe.Sizeof(v[0]))
	if hostIsLittleEndian {
		return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*size)
	}
	out := make([]byte, len(v)*size)
	for i, x := range v {
		put(out[i*size:], x)
	}
	return out
}
