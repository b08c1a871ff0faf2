package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Protobuf copies every bytes field that it decodes or encodes, and builds a message in one piece. Here raw_data never reaches it:
// strip makes a small copy of a file in which each raw_data is a record of where the bytes lie, and expand puts the bytes of each
// record back, as parts of a rope that is written piece by piece.

// kind is a message type on a path from ModelProto to TensorProto.
type kind uint8

const (
	other kind = iota
	modelKind
	trainingKind
	graphKind
	nodeKind
	attributeKind
	tensorKind
	sparseKind
	functionKind
)

// children gives for a message type the types of those fields that lead to tensors, by field number.
var children = map[kind]map[protowire.Number]kind{
	modelKind:     {7: graphKind, 20: trainingKind, 25: functionKind},
	trainingKind:  {1: graphKind, 2: graphKind},
	graphKind:     {1: nodeKind, 5: tensorKind, 15: sparseKind},
	nodeKind:      {5: attributeKind},
	attributeKind: {5: tensorKind, 6: graphKind, 10: tensorKind, 11: graphKind, 22: sparseKind, 23: sparseKind},
	sparseKind:    {1: tensorKind, 2: tensorKind},
	functionKind:  {7: nodeKind, 11: attributeKind},
	tensorKind:    {},
}

const (
	rawDataField = 9 // TensorProto.raw_data

	// maxDepth is the nesting of messages that protobuf's C++ and Python libraries accept; nobody could load a deeper model.
	maxDepth = 100

	recordSize = 16
	// lengthSize is the room left for the length of a message that is being copied: a varint of up to 35 bits, padded.
	lengthSize = 5
)

// record is what stands in the place of raw_data: two 64-bit numbers.
func appendRecord(b []byte, first, length uint64) []byte {
	b = binary.LittleEndian.AppendUint64(b, first)
	return binary.LittleEndian.AppendUint64(b, length)
}

func readRecord(b []byte) (first, length uint64, err error) {
	if len(b) != recordSize {
		return 0, 0, fmt.Errorf("record of %d bytes, want %d", len(b), recordSize)
	}
	return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), nil
}

// strip copies the message b, of type k, without raw_data: each such field, whatever its length, becomes a record of its offset in
// the file and its length, so that nothing in the file can pass for a record.
func strip(b []byte, k kind) ([]byte, error) {
	s := stripper{file: b}
	if err := s.message(0, len(b), k, 1); err != nil {
		return nil, err
	}
	return s.out, nil
}

type stripper struct{ file, out []byte }

func (s *stripper) message(from, to int, k kind, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("offset %d: messages nest deeper than %d", from, maxDepth)
	}
	below := children[k]
	copied := from // everything before it is in out
	for at := from; at < to; {
		num, typ, n := protowire.ConsumeTag(s.file[at:to])
		if n < 0 {
			return fmt.Errorf("offset %d: %w", at, wireError(n))
		}
		value := at + n
		child := below[num]
		if typ != protowire.BytesType || (child == other && !(k == tensorKind && num == rawDataField)) {
			if n = protowire.ConsumeFieldValue(num, typ, s.file[value:to]); n < 0 {
				return fmt.Errorf("offset %d: %w", at, wireError(n))
			}
			at = value + n
			continue
		}
		length, n := protowire.ConsumeVarint(s.file[value:to])
		if n < 0 {
			return fmt.Errorf("offset %d: %w", at, wireError(n))
		}
		begin := value + n
		if length > uint64(to-begin) {
			return fmt.Errorf("offset %d: field of %d bytes in the %d bytes that are left: the file is truncated or not ONNX", at, length, to-begin)
		}
		end := begin + int(length)
		s.out = append(s.out, s.file[copied:value]...)
		if child == other {
			s.out = append(s.out, recordSize)
			s.out = appendRecord(s.out, uint64(begin), length)
		} else {
			head := len(s.out)
			s.out = append(s.out, make([]byte, lengthSize)...)
			if err := s.message(begin, end, child, depth+1); err != nil {
				return err
			}
			size := len(s.out) - head - lengthSize
			if size >= 1<<(7*lengthSize) {
				return fmt.Errorf("offset %d: message of %d bytes without tensor data is too large", at, size)
			}
			padVarint(s.out[head:head+lengthSize], uint64(size))
		}
		at, copied = end, end
	}
	s.out = append(s.out, s.file[copied:to]...)
	return nil
}

// padVarint fills b with v; the surplus bytes carry zero bits, which every protobuf reader accepts.
func padVarint(b []byte, v uint64) {
	for i := range b {
		b[i] = byte(v)&0x7f | 0x80
		v >>= 7
	}
	b[len(b)-1] &= 0x7f
}

// wireError is protowire's code n in words; protobuf's own texts change from build to build.
func wireError(n int) error {
	if errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF) {
		return errors.New("the file ends inside a field: it is cut short or no protobuf message")
	}
	return errors.New("no protobuf message")
}

// rope is a file in parts, in order.
type rope struct {
	parts []tensor.Data
	size  int64
}

func (r *rope) add(d tensor.Data) {
	if n := d.Size(); n > 0 {
		r.parts = append(r.parts, d)
		r.size += n
	}
}

// expand makes the file of the marshalled message b, of type k, in which raw_data fields are records: index into blobs and size.
func expand(b []byte, k kind, blobs []tensor.Data) (*rope, error) {
	e := expander{b: b, blobs: blobs}
	if _, _, err := e.measure(0, len(b), k); err != nil {
		return nil, err
	}
	var r rope
	e.emit(&r, 0, len(b), k)
	return &r, nil
}

type expander struct {
	b     []byte
	blobs []tensor.Data
	// nested describes, in the order of the fields, each field that leads to tensors.
	nested []nested
	next   int
}

type nested struct {
	size  int64 // expanded
	blobs bool  // holds records at any depth
	after int   // index in nested of what follows all that is inside
}

// fields calls f for each field of b[from:to) that must be looked into: its tag starts at at, its content is b[begin:end).
func (e *expander) fields(from, to int, k kind, f func(at, value, begin, end int, child kind) error) error {
	below := children[k]
	for at := from; at < to; {
		num, typ, n := protowire.ConsumeTag(e.b[at:to])
		if n < 0 {
			return wireError(n)
		}
		value := at + n
		child := below[num]
		if typ != protowire.BytesType || (child == other && !(k == tensorKind && num == rawDataField)) {
			if n = protowire.ConsumeFieldValue(num, typ, e.b[value:to]); n < 0 {
				return wireError(n)
			}
			at = value + n
			continue
		}
		content, n := protowire.ConsumeBytes(e.b[value:to])
		if n < 0 {
			return wireError(n)
		}
		end := value + n
		if err := f(at, value, end-len(content), end, child); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// measure gives the expanded size of a message and whether records are inside.
func (e *expander) measure(from, to int, k kind) (size int64, blobs bool, err error) {
	size = int64(to - from)
	err = e.fields(from, to, k, func(_, value, begin, end int, child kind) error {
		me := len(e.nested)
		e.nested = append(e.nested, nested{})
		var inner int64
		var has bool
		if child == other {
			i, length, err := readRecord(e.b[begin:end])
			if err != nil || i >= uint64(len(e.blobs)) || length > math.MaxInt64 || e.blobs[i].Size() != int64(length) {
				return errors.New("raw_data of a message to be written is no record")
			}
			inner, has = int64(length), true
		} else if inner, has, err = e.measure(begin, end, child); err != nil {
			return err
		}
		e.nested[me] = nested{size: inner, blobs: has, after: len(e.nested)}
		blobs = blobs || has
		size += int64(protowire.SizeVarint(uint64(inner))) + inner - int64(end-value)
		return nil
	})
	return size, blobs, err
}

// emit adds a message to r; measure has seen it, so nothing can go wrong.
func (e *expander) emit(r *rope, from, to int, k kind) {
	copied := from
	_ = e.fields(from, to, k, func(_, value, begin, end int, child kind) error {
		n := e.nested[e.next]
		e.next++
		if !n.blobs {
			// Marshal's lengths are minimal, so the message is as it will be.
			e.next = n.after
			return nil
		}
		r.add(tensor.Bytes(e.b[copied:value]))
		r.add(tensor.Bytes(protowire.AppendVarint(nil, uint64(n.size))))
		if child == other {
			i, _, _ := readRecord(e.b[begin:end])
			r.add(e.blobs[i])
		} else {
			e.emit(r, begin, end, child)
		}
		copied = end
		return nil
	})
	r.add(tensor.Bytes(e.b[copied:to]))
}
