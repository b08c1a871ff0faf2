package program

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// scale is a stored scale of a layer: a constant, or a variable that the session may set. The GPU has it twice, as it is and as its
// reciprocal, at multiples of 16 bytes, which cuBLASLt wants.
type scale struct {
	quant, dequant *Tensor // [n]: multiplies values to be cast, multiplies codes
	n              int64
	variable       string    // its name where it is one
	constant       []float32 // dequant where it is none
	key            string    // equal for scales that are equal at present
}

// scales hold all stored scales of a program: the constants in one buffer, variables in one and their reciprocals in another, which one
// step of Setup computes.
type scales struct {
	byName          map[string]*scale
	bytes           []byte              // of content
	content         *Buffer             // quant and dequant of constants
	quants, dequant *Buffer             // of variables
	numbers         map[float32]*Tensor // constants of the program's own
}

func newScales() scales {
	s := scales{byName: map[string]*scale{}, numbers: map[float32]*Tensor{}, quants: &Buffer{Home: State}, dequant: &Buffer{Home: State}}
	s.content = &Buffer{Home: Weight, Form: "scales"}
	return s
}

// scale is the scale called name; why says why the GPU cannot have it.
func (b *builder) scale(name string) (*scale, string) {
	if s := b.scales.byName[name]; s != nil {
		return s, ""
	}
	v := b.values[name]
	if v == nil || v.role != fromContent && v.role != fromVariable {
		return nil, fmt.Sprintf("the scale %q is computed", name)
	}
	if b.typeOf(name) != tensor.Float32 || len(v.dims) > 1 {
		return nil, fmt.Sprintf("the scale %q is of %v with %d dimensions", name, b.typeOf(name), len(v.dims))
	}
	s := &scale{n: count(v.dims)}
	if s.n == 0 {
		return nil, fmt.Sprintf("the scale %q has no elements", name)
	}
	now := v.content
	if v.role == fromVariable {
		now, s.variable = b.opt.Variables[name], name
	}
	s.key = name
	var numbers []float32
	if now != nil {
		var err error
		if numbers, err = now.AsFloat32s(); err != nil {
			return nil, fmt.Sprintf("the scale %q: %v", name, err)
		}
		var k strings.Builder
		fmt.Fprintf(&k, "%d", v.role)
		for _, x := range numbers {
			fmt.Fprintf(&k, " %x", math.Float32bits(x))
		}
		s.key = k.String()
	}
	if s.variable != "" {
		s.quant = piece(b.scales.quants, s.n)
		s.dequant = piece(b.scales.dequant, s.n)
		b.prog.Variables = append(b.prog.Variables, Transfer{name, s.quant.view(0, v.dims, kernels.Strides(v.dims))})
	} else {
		for _, x := range numbers {
			s.constant = append(s.constant, float32(scaling.QuantScale(x).Dequant()))
		}
		s.quant, s.dequant = b.scales.put(numbers), b.scales.put(s.constant)
	}
	b.scales.byName[name] = s
	return s, ""
}

// piece is an array of n float32 at the end of a buffer, at a multiple of 16 bytes, and as long as whole vectors of a weight padded in N:
// cuBLASLt may read a scale for each row of it.
func piece(buf *Buffer, n int64) *Tensor {
	const align = 16
	t := &Tensor{Buffer: buf, Offset: buf.Bytes, T: kernels.F32, Dims: []int64{n}, Strides: []int64{1}}
	buf.Bytes += (4*n + align - 1) / align * align
	if n > 1 {
		buf.Bytes += vectorPad * 4
	}
	return t
}

// vectorPad is how many scales beyond its own a vector has room for: lt.Pad adds fewer channels than that.
const vectorPad = 16

// put adds numbers to the constants.
func (s *scales) put(numbers []float32) *Tensor {
	t := piece(s.content, int64(len(numbers)))
	s.bytes = append(s.bytes, make([]byte, s.content.Bytes-int64(len(s.bytes)))...)
	for i, x := range numbers {
		binary.LittleEndian.PutUint32(s.bytes[t.Offset+4*int64(i):], math.Float32bits(x))
	}
	return t
}

// number is a constant scalar among the scales.
func (s *scales) number(v float32) *Tensor {
	if s.numbers[v] == nil {
		s.numbers[v] = s.put([]float32{v})
	}
	return s.numbers[v]
}

// finishScales completes the buffers: the constants' content is known, and the reciprocals of variables are the first step of Setup.
func (b *builder) finishScales() {
	s := &b.scales
	bytes := s.bytes
	s.content.Fill = func(dst []byte, offset int64) error {
		copy(dst, bytes[offset:])
		return nil
	}
	n := s.quants.Bytes / 4
	if n == 0 {
		return
	}
	from, to := flat(s.quants, n), flat(s.dequant, n)
	b.prog.Setup = append([]Step{{
		Kernel: "reciprocals of scales", Bytes: float64(8 * n), Reads: buffers(from), Writes: buffers(to),
		Launch: func(l *Launcher) error {
			return l.Kernels.Chain(kernels.Chain{
				Dims: []int64{n}, Inputs: []kernels.ChainInput{{P: l.Addr(from), T: kernels.F32, Strides: []int64{1}}},
				Steps: []kernels.Step{{Op: kernels.OpReciprocal}}, Y: l.Addr(to), T: kernels.F32,
			}, l.Stream)
		},
	}}, b.prog.Setup...)
}

// flat is a buffer's first n float32.
func flat(buf *Buffer, n int64) *Tensor {
	return &Tensor{Buffer: buf, T: kernels.F32, Dims: []int64{n}, Strides: []int64{1}}
}
