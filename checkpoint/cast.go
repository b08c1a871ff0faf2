package checkpoint

import (
	"context"
	"fmt"
	"math"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// pieceElements is how many elements a worker holds at a time.
const pieceElements = 1 << 20

// scratch is the memory of one worker.
type scratch struct {
	codes  []byte
	source []uint32 // a piece of the source, where it is not aligned or has to be turned
	values []float32
}

func newScratch() *scratch {
	return &scratch{codes: make([]byte, 4*pieceElements), source: make([]uint32, pieceElements), values: make([]float32, pieceElements)}
}

// scratchBytes is what newScratch takes.
const scratchBytes = 12 * pieceElements

// float reports whether weights of this type can be cast.
func castable(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float16 || d == tensor.BFloat16
}

// piece is rows [lo, hi) and columns [from, to) of one matrix of a view.
type piece struct{ part, lo, hi, from, to int64 }

func (p piece) rows() int64    { return p.hi - p.lo }
func (p piece) columns() int64 { return p.to - p.from }

// pieces calls f for every piece of v, in the order of the output's bytes: whole rows, or parts of one where a row is longer than a piece.
func (v view) pieces(ctx context.Context, f func(p piece) error) error {
	if v.n == 0 || v.k == 0 {
		return nil
	}
	wide := min(v.k, pieceElements)
	tall := max(1, pieceElements/wide)
	for part := range v.parts {
		for lo := int64(0); lo < v.n; lo += tall {
			for from := int64(0); from < v.k; from += wide {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := f(piece{part, lo, min(lo+tall, v.n), from, min(from+wide, v.k)}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// elements is the number of elements of the view.
func (v view) elements() int64 { return v.parts * v.n * v.k }

// read gives the elements of a piece, row after row without gaps, as words of width bytes at an address that suits them.
func (s *scratch) read(data []byte, width int64, v view, p piece) []byte {
	count := p.rows() * p.columns()
	into := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s.source))), 4*len(s.source))[:count*width]
	if v.transposed {
		for c := p.from; c < p.to; c++ {
			at := (v.offset + c*v.width + v.from + p.lo) * width
			row := data[at : at+p.rows()*width]
			for r := range p.rows() {
				copy(into[(r*p.columns()+c-p.from)*width:][:width], row[r*width:])
			}
		}
		return into
	}
	at := (v.offset + p.part*v.n*v.k + p.lo*v.k + p.from) * width
	b := data[at : at+count*width]
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(width) != 0 {
		copy(into, b)
		return into
	}
	return b
}

func words16(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

func words32(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func amaxOf(d tensor.DType, b []byte) float32 {
	switch d {
	case tensor.Float32:
		return float8.AmaxFloat32(words32(b))
	case tensor.Float16:
		return float8.AmaxFloat16(words16(b))
	}
	return float8.AmaxBFloat16(words16(b))
}

// grid says which scale an element has.
type grid struct {
	s             layout.Scheme
	rows, columns int64 // of scales of a matrix
}

func gridOf(s layout.Scheme, v view) grid {
	rows, columns := s.Scales(v.n, v.k)
	return grid{s, rows, columns}
}

// runs calls f for the parts of a piece that have one scale each: elements [a, b) of the piece and the index of their scale.
func (g grid) runs(p piece, f func(a, b, scale int64)) {
	base, wide := p.part*g.rows*g.columns, p.columns()
	switch g.s.Weights {
	case layout.PerChannel:
		for r := p.lo; r < p.hi; r++ {
			f((r-p.lo)*wide, (r-p.lo+1)*wide, base+r)
		}
	case layout.PerBlock:
		for r := p.lo; r < p.hi; r++ {
			at := (r-p.lo)*wide - p.from
			for c := p.from; c < p.to; {
				end := min((c/layout.Block+1)*layout.Block, p.to)
				f(at+c, at+end, base+r/layout.Block*g.columns+c/layout.Block)
				c = end
			}
		}
	default:
		f(0, p.rows()*wide, base)
	}
}

// measure finds the amax that belongs to each scale.
func (s *scratch) measure(ctx context.Context, l *Layer, scheme layout.Scheme) ([]float32, error) {
	data, err := l.source.Bytes()
	if err != nil {
		return nil, err
	}
	g, width := gridOf(scheme, l.view), int64(l.DType.Bits()/8)
	out := make([]float32, l.view.parts*g.rows*g.columns)
	err = l.view.pieces(ctx, func(p piece) error {
		b := s.read(data, width, l.view, p)
		g.runs(p, func(from, to, i int64) {
			out[i] = float8.MaxAmax(out[i], amaxOf(l.DType, b[from*width:to*width]))
		})
		return nil
	})
	return out, err
}

// nonfinite counts the elements of a layer that are NaN or infinite.
func (s *scratch) nonfinite(ctx context.Context, l *Layer) (int64, error) {
	data, err := l.source.Bytes()
	if err != nil {
		return 0, err
	}
	width, n := int64(l.DType.Bits()/8), int64(0)
	err = l.view.pieces(ctx, func(p piece) error {
		for _, v := range s.widen(l.DType, s.read(data, width, l.view, p)) {
			if v-v != 0 {
				n++
			}
		}
		return nil
	})
	return n, err
}

// widen gives the values of b as float32.
func (s *scratch) widen(d tensor.DType, b []byte) []float32 {
	switch d {
	case tensor.Float32:
		return words32(b)
	case tensor.Float16:
		w := words16(b)
		float8.WidenFloat16(s.values[:len(w)], w)
		return s.values[:len(w)]
	}
	w := words16(b)
	float8.WidenBFloat16(s.values[:len(w)], w)
	return s.values[:len(w)]
}

// dequantScale is amax/448, divided once, of an amax that is at least scaling.Epsilon: a weight of zeros has a scale above zero too. It is
// not the reciprocal of a multiplier: only so does a weight that went there and back give its scale again.
func dequantScale(amax float32) float32 {
	return max(amax, scaling.Epsilon) / 448
}

// scale is how the values of one run become codes: divided by dequant, as the formula of the checkpoint formats has it, or multiplied by quant.
type scale struct {
	dequant, quant float32
	divide         bool
}

// dividing is the scale of a run that is divided by d: by a product where that gives every value of the type the same code, which is faster.
func dividing(t tensor.DType, d float32) scale {
	return scale{d, 1 / d, !sameCodes(t, d, 1/d)}
}

// sameCodes reports whether x/d and x·m round to the same code for every x of a 16-bit type. They can differ only where the quotient is within a
// few float32 ulp of the middle between two codes, and for each such middle one x at most is near enough: the one next to d times the middle. The
// significands of all middles are the whole numbers from 16 to 31, and powers of two change nothing.
func sameCodes(t tensor.DType, d, m float32) bool {
	if t == tensor.Float32 || !(d > 0x1p-100 && d < 0x1p100) || !(m > 0x1p-100 && m < 0x1p100) {
		return false
	}
	bits := 8
	if t == tensor.Float16 {
		bits = 11
	}
	for middle := float32(16); middle < 32; middle++ {
		frac, exp := math.Frexp(float64(middle) * float64(d))
		x := float32(math.Ldexp(math.RoundToEven(math.Ldexp(frac, bits)), exp-bits))
		q, p := x/d, x*m
		if (q < middle) != (p < middle) || (q > middle) != (p > middle) {
			return false
		}
	}
	return true
}

// cast writes the codes of a run to dst and adds what it saw to st.
func (s *scratch) cast(dst, src []byte, d tensor.DType, by scale, st *float8.Stats) {
	if !by.divide {
		switch d {
		case tensor.Float32:
			st.Merge(float8.CastFloat32WithError(dst, words32(src), float8.E4M3FNFormat, by.quant))
		case tensor.Float16:
			st.Merge(float8.CastFloat16WithError(dst, words16(src), float8.E4M3FNFormat, by.quant))
		default:
			st.Merge(float8.CastBFloat16WithError(dst, words16(src), float8.E4M3FNFormat, by.quant))
		}
		return
	}
	quotients := s.values[:len(dst)]
	for i, v := range s.widen(d, src) {
		quotients[i] = v / by.dequant
	}
	saw := float8.CastFloat32WithError(dst, quotients, float8.E4M3FNFormat, 1)
	square := float64(by.dequant) * float64(by.dequant)
	saw.Amax, saw.SumSq, saw.ErrSq = saw.Amax*by.dequant, saw.SumSq*square, saw.ErrSq*square
	st.Merge(saw)
}

// castLayer hands the codes of a layer to emit, piece by piece.
func (s *scratch) castLayer(ctx context.Context, l *Layer, scheme layout.Scheme, v layout.Values, multiply bool, emit func([]byte) error) (float8.Stats, error) {
	var st float8.Stats
	data, err := l.source.Bytes()
	if err != nil {
		return st, err
	}
	g, width := gridOf(scheme, l.view), int64(l.DType.Bits()/8)
	if want := l.view.parts * g.rows * g.columns; !multiply && int64(len(v.Dequant)) != want {
		return st, fmt.Errorf("tensor %q: %d scales, want %d", l.Tensor, len(v.Dequant), want)
	}
	scales := make([]scale, len(v.Dequant))
	for i, d := range v.Dequant {
		scales[i] = dividing(l.DType, d)
	}
	err = l.view.pieces(ctx, func(p piece) error {
		b := s.read(data, width, l.view, p)
		codes := s.codes[:p.rows()*p.columns()]
		g.runs(p, func(from, to, i int64) {
			by := scale{quant: v.Quant}
			if !multiply {
				by = scales[i]
			}
			s.cast(codes[from:to], b[from*width:to*width], l.DType, by, &st)
		})
		return emit(codes)
	})
	return st, err
}
