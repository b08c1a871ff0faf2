package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Causes that a caller may want to tell apart. Every error of this package that has one of these causes wraps it.
var (
	ErrPickle      = errors.New("the array holds Python objects (a pickle), which are never loaded")
	ErrTruncated   = errors.New("the file is cut short")
	ErrUnsupported = errors.New("unsupported element type")
)

// Header describes an array in a .npy file.
type Header struct {
	DType     tensor.DType
	Shape     tensor.Shape
	Fortran   bool  // the first axis varies fastest
	BigEndian bool  // elements of more than one byte are stored most significant byte first
	Offset    int64 // where the elements start
}

// Size is the number of bytes the elements take; a header from ParseHeader has one.
func (h Header) Size() int64 {
	n, err := h.Shape.Elements()
	if err != nil {
		return 0
	}
	size, err := h.DType.ByteSize(n)
	if err != nil {
		return 0
	}
	return size
}

// maxHeader bounds the literal's length. NumPy itself refuses more than 10,000 bytes unless told otherwise; what is longer describes a
// structured type.
const maxHeader = 1 << 16

// maxRank is NumPy's own limit.
const maxRank = 64

const magic = "\x93NUMPY"

// ParseHeader reads the header that b starts with. b may end anywhere after it; [PrefixSize] bytes are always enough.
//
// The format: the magic string, a version of two bytes, the literal's length (two bytes in version 1, four in 2 and 3, little-endian),
// and the literal of a Python dict with the keys descr, fortran_order and shape. Source: numpy.lib.format.
func ParseHeader(b []byte) (Header, error) {
	if len(b) == 0 {
		return Header{}, errors.New("the file is empty")
	}
	if n := min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		return Header{}, fmt.Errorf("no .npy file: it starts with %q, want %q", b[:n], magic)
	}
	if len(b) < len(magic)+4 {
		return Header{}, fmt.Errorf("%w: %d bytes, want a header", ErrTruncated, len(b))
	}
	major, minor := b[6], b[7]
	if major < 1 || major > 3 || minor != 0 {
		return Header{}, fmt.Errorf("version %d.%d of the .npy format, want 1.0, 2.0 or 3.0", major, minor)
	}
	start, length := 10, int64(binary.LittleEndian.Uint16(b[8:]))
	if major > 1 {
		if len(b) < 12 {
			return Header{}, fmt.Errorf("%w: %d bytes, want a header", ErrTruncated, len(b))
		}
		start, length = 12, int64(binary.LittleEndian.Uint32(b[8:]))
	}
	if length > maxHeader {
		return Header{}, fmt.Errorf("the header declares %d bytes, want at most %d", length, maxHeader)
	}
	if int64(len(b)-start) < length {
		return Header{}, fmt.Errorf("%w: the header declares %d bytes and %d are there", ErrTruncated, length, len(b)-start)
	}
	text := string(b[start : start+int(length)])
	if major == 3 && !utf8.ValidString(text) {
		return Header{}, errors.New("the header is not valid UTF-8")
	}
	h, err := parseLiteral(text)
	if err != nil {
		return Header{}, fmt.Errorf("header: %w", err)
	}
	h.Offset = int64(start) + length
	return h, nil
}

// PrefixSize is how many bytes of a file hold any header.
const PrefixSize = 12 + maxHeader

// literal is a reader of the one Python literal that a header may be.
type literal struct {
	s   string
	pos int
}

func parseLiteral(s string) (Header, error) {
	l := &literal{s: s}
	var h Header
	seen := map[string]bool{}
	if err := l.want('{'); err != nil {
		return h, err
	}
	for !l.next('}') {
		key, err := l.text()
		if err != nil {
			return h, err
		}
		if seen[key] {
			return h, fmt.Errorf("key %q twice", key)
		}
		seen[key] = true
		if err := l.want(':'); err != nil {
			return h, err
		}
		switch key {
		case "descr":
			if l.peek() == '[' || l.peek() == '(' {
				return h, fmt.Errorf("%w: a structured type, want a number or a bool per element", ErrUnsupported)
			}
			var descr string
			if descr, err = l.text(); err == nil {
				h.DType, h.BigEndian, err = parseDescr(descr)
			}
		case "fortran_order":
			h.Fortran, err = l.boolean()
		case "shape":
			h.Shape, err = l.tuple()
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return h, err
		}
		if !l.next(',') {
			if err := l.want('}'); err != nil {
				return h, err
			}
			break
		}
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return h, fmt.Errorf("no key %q", key)
		}
	}
	if l.peek() != 0 || l.pos < len(l.s) {
		return h, fmt.Errorf("%q after the literal", l.rest())
	}
	n, err := h.Shape.Elements()
	if err != nil {
		return h, err
	}
	if _, err := h.DType.ByteSize(n); err != nil {
		return h, err
	}
	return h, nil
}

// parseDescr reads an element type such as "<f4": byte order, kind, bytes per element.
func parseDescr(s string) (d tensor.DType, big bool, err error) {
	unsupported := func(what string) error {
		return fmt.Errorf("%w: %s (descr %q)", ErrUnsupported, what, s)
	}
	if len(s) < 2 {
		return 0, false, unsupported("no type")
	}
	if s[0] == 'O' || s[1] == 'O' {
		return 0, false, ErrPickle
	}
	order, kind := s[0], s[1:]
	var size int
	switch kind {
	case "b1":
		d, size = tensor.Bool, 1
	case "i1":
		d, size = tensor.Int8, 1
	case "i2":
		d, size = tensor.Int16, 2
	case "i4":
		d, size = tensor.Int32, 4
	case "i8":
		d, size = tensor.Int64, 8
	case "u1":
		d, size = tensor.Uint8, 1
	case "u2":
		d, size = tensor.Uint16, 2
	case "u4":
		d, size = tensor.Uint32, 4
	case "u8":
		d, size = tensor.Uint64, 8
	case "f2":
		d, size = tensor.Float16, 2
	case "f4":
		d, size = tensor.Float32, 4
	case "f8":
		d, size = tensor.Float64, 8
	default:
		switch kind[0] {
		case 'V':
			return 0, false, unsupported("opaque elements; bfloat16 and float8 arrays are saved so, without a name for their type: " +
				"save them as float32, or in a .safetensors file")
		case 'U', 'S', 'a':
			return 0, false, unsupported("strings")
		case 'M', 'm':
			return 0, false, unsupported("dates")
		case 'c':
			return 0, false, unsupported("complex numbers")
		case 'f':
			return 0, false, unsupported("floating-point numbers of this width")
		}
		return 0, false, unsupported("unknown")
	}
	switch {
	case order == '<', order == '|' && size == 1, order == '>' && size == 1:
	case order == '>':
		big = true
	default:
		return 0, false, unsupported(fmt.Sprintf("byte order %q", order))
	}
	return d, big, nil
}

func (l *literal) peek() byte {
	for l.pos < len(l.s) {
		switch l.s[l.pos] {
		case ' ', '\t', '\n', '\r':
			l.pos++
		default:
			return l.s[l.pos]
		}
	}
	return 0
}

func (l *literal) next(c byte) bool {
	if l.peek() != c || l.pos >= len(l.s) {
		return false
	}
	l.pos++
	return true
}

func (l *literal) want(c byte) error {
	if !l.next(c) {
		return fmt.Errorf("got %q, want %q", l.rest(), string(c))
	}
	return nil
}

// rest is the start of what was not read, for errors.
func (l *literal) rest() string {
	l.peek()
	s := l.s[min(l.pos, len(l.s)):]
	if len(s) > 20 {
		s = s[:20] + "…"
	}
	return s
}

// text reads a string in either quote. No header needs an escape, so none is understood.
func (l *literal) text() (string, error) {
	q := l.peek()
	if q != '\'' && q != '"' {
		return "", fmt.Errorf("got %q, want a string", l.rest())
	}
	end := strings.IndexByte(l.s[l.pos+1:], q)
	if end < 0 {
		return "", fmt.Errorf("string %q has no end", l.rest())
	}
	s := l.s[l.pos+1 : l.pos+1+end]
	if strings.ContainsAny(s, "\\\n") {
		return "", fmt.Errorf("string %q has an escape", s)
	}
	l.pos += end + 2
	return s, nil
}

func (l *literal) boolean() (bool, error) {
	l.peek()
	for word, v := range map[string]bool{"True": true, "False": false} {
		if strings.HasPrefix(l.s[l.pos:], word) {
			l.pos += len(word)
			return v, nil
		}
	}
	return false, fmt.Errorf("got %q, want True or False", l.rest())
}

// tuple reads a shape: (), (2,), (2, 3). Python 2 wrote an L after a long number.
func (l *literal) tuple() (tensor.Shape, error) {
	if err := l.want('('); err != nil {
		return nil, err
	}
	shape := tensor.Shape{}
	for !l.next(')') {
		if len(shape) == maxRank {
			return nil, fmt.Errorf("more than %d axes", maxRank)
		}
		l.peek()
		end := l.pos
		for end < len(l.s) && l.s[end] >= '0' && l.s[end] <= '9' {
			end++
		}
		if end == l.pos {
			return nil, fmt.Errorf("got %q, want the length of an axis", l.rest())
		}
		n, err := strconv.ParseInt(l.s[l.pos:end], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("axis of length %s is out of range", l.s[l.pos:end])
		}
		l.pos = end
		if l.pos < len(l.s) && l.s[l.pos] == 'L' {
			l.pos++
		}
		shape = append(shape, n)
		if l.next(',') {
			continue
		}
		if len(shape) == 1 && l.peek() == ')' {
			return nil, fmt.Errorf("shape is a number, want a tuple")
		}
		if err := l.want(')'); err != nil {
			return nil, err
		}
		break
	}
	return shape, nil
}
