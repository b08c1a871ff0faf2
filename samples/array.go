package samples

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Array is one named array of the data, possibly joined from several files. Its elements are read when they are asked for.
type Array struct {
	Name  string
	DType tensor.DType
	Shape tensor.Shape

	parts []*part
}

// part is what one file has of an array.
type part struct {
	file    string
	dtype   tensor.DType
	shape   tensor.Shape
	fortran bool // the first axis varies fastest
	big     bool // most significant byte first

	// bytes is the elements as they lie in the file: a view that must be read under mapfile.Guard, or memory from the cache.
	bytes      func() ([]byte, error)
	unreadable error        // why there are no elements to be had; there is no type and no shape then
	verify     func() error // compares a checksum that reading alone does not
}

// String is the type and shape.
func (a *Array) String() string { return fmt.Sprintf("%s%s", a.DType, a.Shape) }

// File is where the array lies: the first of its files.
func (a *Array) File() string { return a.parts[0].file }

// Tensor is the whole array: little-endian, row-major, in memory of its own.
func (a *Array) Tensor() (*tensor.Tensor, error) {
	b, err := a.whole()
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", a.Name, err)
	}
	return tensor.New(a.DType, a.Shape.Clone(), tensor.Bytes(b))
}

// Rows is elements lo to hi along axis 0 as a tensor in memory of its own.
func (a *Array) Rows(lo, hi int64) (*tensor.Tensor, error) {
	b, err := a.rows(lo, hi)
	if err != nil {
		return nil, fmt.Errorf("array %q: %w", a.Name, err)
	}
	shape := a.Shape.Clone()
	shape[0] = hi - lo
	return tensor.New(a.DType, shape, tensor.Bytes(b))
}

// join makes one array of parts, along axis 0 where there are several.
func join(name string, parts []*part) (*Array, error) {
	for _, q := range parts {
		if q.unreadable != nil {
			return nil, fmt.Errorf("array %q of %s: %w", name, q.file, q.unreadable)
		}
	}
	p := parts[0]
	a := &Array{Name: name, DType: p.dtype, Shape: p.shape.Clone(), parts: parts}
	if p.dtype.Bits() < 8 {
		return nil, fmt.Errorf("array %q of %s: got %s, want elements of whole bytes", name, p.file, p.dtype)
	}
	for _, q := range parts[1:] {
		if q.dtype != p.dtype || len(q.shape) != len(p.shape) || len(p.shape) == 0 || !q.shape[1:].Equal(p.shape[1:]) {
			return nil, fmt.Errorf("array %q: %s has %s%s and %s has %s%s, want the same in all but axis 0, along which they are joined",
				name, p.file, p.dtype, p.shape, q.file, q.dtype, q.shape)
		}
		a.Shape[0] += q.shape[0]
		if a.Shape[0] < 0 {
			return nil, fmt.Errorf("array %q: number of rows overflows", name)
		}
	}
	if _, err := a.Shape.Elements(); err != nil {
		return nil, fmt.Errorf("array %q: %w", name, err)
	}
	return a, nil
}

func (a *Array) whole() ([]byte, error) {
	if len(a.Shape) == 0 {
		p := a.parts[0]
		return p.copy(0, 1)
	}
	return a.rows(0, a.Shape[0])
}

// rows is the bytes of elements lo to hi along axis 0, little-endian and row-major, a copy.
func (a *Array) rows(lo, hi int64) ([]byte, error) {
	if len(a.Shape) == 0 || lo < 0 || hi < lo || hi > a.Shape[0] {
		return nil, fmt.Errorf("rows %d to %d are asked for, the array is %s", lo, hi, a)
	}
	var out []byte
	at := int64(0)
	for _, p := range a.parts {
		from, to := max(lo, at), min(hi, at+p.shape[0])
		if from < to {
			b, err := p.copy(from-at, to-at)
			if err != nil {
				return nil, err
			}
			if from == lo && to == hi {
				return b, nil
			}
			out = append(out, b...)
		}
		at += p.shape[0]
	}
	return out, nil
}

// copy reads rows lo to hi of a part; a part without axes has one row.
func (p *part) copy(lo, hi int64) (out []byte, err error) {
	b, err := p.bytes()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.file, err)
	}
	es := int64(p.dtype.Bits() / 8)
	row := es
	for i := 1; i < len(p.shape); i++ {
		row *= p.shape[i]
	}
	out = make([]byte, (hi-lo)*row)
	err = mapfile.Guard(func() error {
		if p.fortran && len(p.shape) > 1 {
			gather(out, b, p.shape, es, lo)
		} else {
			copy(out, b[lo*row:hi*row])
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.file, err)
	}
	if p.big {
		for i := int64(0); i < int64(len(out)); i += es {
			slices.Reverse(out[i : i+es])
		}
	}
	if p.dtype == tensor.Bool {
		for i, v := range out {
			if v > 1 { // every byte but 0 is true to NumPy, engines count on 1
				out[i] = 1
			}
		}
	}
	return out, nil
}

// gather fills dst with rows from lo on of an array whose first axis varies fastest, in row-major order.
func gather(dst, src []byte, shape tensor.Shape, es, lo int64) {
	if len(dst) == 0 {
		return
	}
	stride := make([]int64, len(shape)) // in bytes
	stride[0] = es
	for i := 1; i < len(shape); i++ {
		stride[i] = stride[i-1] * shape[i-1]
	}
	index := make([]int64, len(shape))
	index[0] = lo
	from := lo * stride[0]
	for to := int64(0); to < int64(len(dst)); to += es {
		copy(dst[to:to+es], src[from:from+es])
		for axis := len(shape) - 1; axis >= 0; axis-- {
			index[axis]++
			from += stride[axis]
			if index[axis] < shape[axis] {
				break
			}
			if axis == 0 {
				break
			}
			from -= stride[axis] * shape[axis]
			index[axis] = 0
		}
	}
}

// convertible says whether elements of type from may feed an input of type to, and whether that rounds.
func convertible(from, to tensor.DType) (ok, rounds bool) {
	if from == to {
		return true, false
	}
	if from == tensor.Float64 && to == tensor.Float32 {
		return true, true
	}
	f, fs, fi := integer(from)
	t, ts, ti := integer(to)
	if !fi || !ti || t <= f {
		return false, false
	}
	return ts || !fs, false
}

// integer is the width and signedness of an integer type.
func integer(d tensor.DType) (bits int, signed, ok bool) {
	switch d {
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
		return d.Bits(), true, true
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		return d.Bits(), false, true
	}
	return 0, false, false
}

// convert turns elements of one type into another, as far as convertible allows it.
func convert(b []byte, from, to tensor.DType) []byte {
	if from == to {
		return b
	}
	if from == tensor.Float64 {
		out := make([]byte, len(b)/2)
		for i := 0; i < len(out); i += 4 {
			v := float32(math.Float64frombits(binary.LittleEndian.Uint64(b[2*i:])))
			binary.LittleEndian.PutUint32(out[i:], math.Float32bits(v))
		}
		return out
	}
	fs, ts := from.Bits()/8, to.Bits()/8
	_, signed, _ := integer(from)
	out := make([]byte, len(b)/fs*ts)
	for i, j := 0, 0; i < len(b); i, j = i+fs, j+ts {
		copy(out[j:], b[i:i+fs])
		if signed && b[i+fs-1] >= 0x80 {
			for k := fs; k < ts; k++ {
				out[j+k] = 0xFF
			}
		}
	}
	return out
}

// nonFinite is the index of the first element that is Inf or NaN, and which; -1 where there is none.
func nonFinite(b []byte, d tensor.DType) (at int, what string) {
	// A value is Inf or NaN where its exponent has all bits set, and NaN where a bit of the fraction is set too.
	check := func(i int, v, exponent, fraction uint64) bool {
		if v&exponent != exponent {
			return false
		}
		at, what = i, "Inf"
		if v&fraction != 0 {
			what = "NaN"
		}
		return true
	}
	switch d {
	case tensor.Float32:
		for i := 0; i+4 <= len(b); i += 4 {
			if check(i/4, uint64(binary.LittleEndian.Uint32(b[i:])), 0x7F800000, 0x007FFFFF) {
				return at, what
			}
		}
	case tensor.Float64:
		for i := 0; i+8 <= len(b); i += 8 {
			if check(i/8, binary.LittleEndian.Uint64(b[i:]), 0x7FF0000000000000, 0x000FFFFFFFFFFFFF) {
				return at, what
			}
		}
	case tensor.Float16, tensor.BFloat16:
		exponent, fraction := uint64(0x7C00), uint64(0x03FF)
		if d == tensor.BFloat16 {
			exponent, fraction = 0x7F80, 0x007F
		}
		for i := 0; i+2 <= len(b); i += 2 {
			if check(i/2, uint64(binary.LittleEndian.Uint16(b[i:])), exponent, fraction) {
				return at, what
			}
		}
	case tensor.Float8E5M2:
		for i, v := range b {
			if check(i, uint64(v), 0x7C, 0x03) {
				return at, what
			}
		}
	case tensor.Float8E4M3FN:
		for i, v := range b {
			if v&0x7F == 0x7F {
				return i, "NaN"
			}
		}
	case tensor.Float8E4M3FZ, tensor.Float8E5M2FZ:
		for i, v := range b {
			if v == 0x80 {
				return i, "NaN"
			}
		}
	}
	return -1, ""
}

var errClosed = errors.New("the data is closed")
