package kernel

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// FromTensor is t as the operators see it: the same bytes, but for elements narrower than a byte, which are unpacked, and for bools
// that are neither 0 nor 1.
func FromTensor(t *tensor.Tensor) (*Tensor, error) {
	if t == nil {
		return nil, fmt.Errorf("no tensor")
	}
	n, err := t.Shape.Elements()
	if err != nil {
		return nil, err
	}
	k := &Tensor{DType: t.DType, Shape: make([]int, len(t.Shape))}
	for i, d := range t.Shape {
		k.Shape[i] = int(d)
	}
	if t.DType == tensor.String {
		if int64(len(t.Strings)) != n {
			return nil, fmt.Errorf("%s%s: got %d strings", t.DType, t.Shape, len(t.Strings))
		}
		k.Strings = make([]string, n)
		for i, s := range t.Strings {
			k.Strings[i] = string(s)
		}
		return k, nil
	}
	want, err := t.DType.ByteSize(n)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return k, nil
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != want {
		return nil, fmt.Errorf("%s%s: got %d bytes, want %d", t.DType, t.Shape, len(b), want)
	}
	switch bits := t.DType.Bits(); {
	case bits < 8:
		k.Bytes = unpack(b, int(n), bits, t.DType == tensor.Int4 || t.DType == tensor.Int2)
	case t.DType == tensor.Bool:
		k.Bytes = bools(b)
	default:
		k.Bytes = b[:len(b):len(b)]
	}
	return k, nil
}

// unpack gives every element of bits width a byte, the first element from the lowest bits; signed ones keep their sign.
func unpack(b []byte, n, bits int, signed bool) []byte {
	out := make([]byte, n)
	per := 8 / bits
	for i := range out {
		v := b[i/per] >> (i % per * bits) << (8 - bits)
		if signed {
			out[i] = byte(int8(v) >> (8 - bits))
		} else {
			out[i] = v >> (8 - bits)
		}
	}
	return out
}

// pack undoes unpack.
func pack(b []byte, bits int) []byte {
	per := 8 / bits
	out := make([]byte, (len(b)+per-1)/per)
	for i, v := range b {
		out[i/per] |= v & (1<<bits - 1) << (i % per * bits)
	}
	return out
}

// bools is b with every true spelled 1.
func bools(b []byte) []byte {
	for i, v := range b {
		if v > 1 {
			b = append([]byte(nil), b...)
			for j := i; j < len(b); j++ {
				b[j] = min(b[j], 1)
			}
			break
		}
	}
	return b
}

// ToTensor is t for the world outside, in memory that is no arena's.
func ToTensor(t *Tensor) *tensor.Tensor {
	out := &tensor.Tensor{DType: t.DType, Shape: make(tensor.Shape, len(t.Shape))}
	for i, d := range t.Shape {
		out.Shape[i] = int64(d)
	}
	switch bits := t.DType.Bits(); {
	case t.DType == tensor.String:
		out.Strings = make([][]byte, len(t.Strings))
		for i, s := range t.Strings {
			out.Strings[i] = []byte(s)
		}
	case bits < 8:
		out.Data = tensor.Bytes(pack(t.Bytes, bits))
	default:
		out.Data = tensor.Bytes(t.Detach())
	}
	return out
}
