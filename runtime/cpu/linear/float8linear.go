package linear

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Float8Linear is package ops' operator, in every variant: docs/FLOAT8LINEAR.md has its numerics.
type Float8Linear struct {
	variant  ops.Variant
	quantMax float32
	weight   *weight // of float8 codes, packed; nil where decoded in every run
}

// Options are what one run of a Float8Linear is asked.
type Options struct {
	Fuse
	// Counts asks for what the casts did to their elements.
	Counts bool
	// AllReduceMax is that of runtime.Options. It is called for an amax that a scale is made from, before the cast: the input's, then
	// the weight's, which has as many elements as its scale.
	AllReduceMax func(ctx context.Context, amax []float32) error
}

// Stats is what one run saw.
type Stats struct {
	AmaxInput  float32 // joined over all workers where the scale is made from it
	AmaxWeight float32 // of a weight that is cast during the run, else 0
	// Input and Weight are filled where counts were asked for.
	Input, Weight runtime.Counts
}

// NewFloat8Linear prepares the operator of a node, which a variant's name must call. A constant float8 weight is kept as float32 panels where
// memory allows. Everything else is read at every run, since calibration replaces it between runs.
func NewFloat8Linear(s *kernel.Site) (*Float8Linear, error) {
	layer, err := ops.ReadLayer(s.Node)
	if err != nil {
		return nil, err
	}
	o := &Float8Linear{variant: layer.Variant, quantMax: layer.QuantMax}
	if w := constant(s, ops.InWeight); o.variant.Weight == ops.WeightFloat8 && w != nil && w.DType == tensor.Float8E4M3FN && len(w.Shape) == 2 {
		o.weight = newWeight(s, weightOperand(w.DType, w.Bytes, w.Shape[1]), w.Shape[1], w.Shape[0])
	}
	return o, nil
}

// weightOperand is a weight [n,k] as the product's right operand [k,n].
func weightOperand(d tensor.DType, bytes []byte, k int) gemm.Operand {
	return gemm.RowMajor(d, bytes, k).Transposed()
}

// Run computes both outputs.
func (o *Float8Linear) Run(c *kernel.Call, opt Options) (Stats, error) {
	var st Stats
	x, err := c.Tensor(ops.InInput)
	if err != nil {
		return st, err
	}
	w, err := c.Tensor(ops.InWeight)
	if err != nil {
		return st, err
	}
	scaleX, scaleW, err := o.scales(c, x, w)
	if err != nil {
		return st, err
	}
	n, k := w.Shape[0], w.Shape[1]
	shape := append([]int(nil), x.Shape...)
	shape[len(shape)-1] = n
	rows := 1
	for _, d := range x.Shape[:len(x.Shape)-1] {
		rows *= d
	}
	out, err := c.New(ops.OutOutput, x.DType, shape)
	if err != nil {
		return st, err
	}
	p := &gemm.Problem{M: rows, N: n, K: k, A: gemm.RowMajor(x.DType, x.Bytes, k),
		C: gemm.Output{DType: x.DType, Bytes: out.Bytes, RowStride: n}}
	if err := opt.apply(p, 1); err != nil {
		return st, err
	}

	// The input's amax comes from a pass of its own, unless the cast finds it.
	if o.variant.Input != ops.InputDelayed || rows == 0 || n == 0 {
		st.AmaxInput = amaxOf(c.Pool, x.DType, x.Bytes)
	}
	if o.variant.Input == ops.InputDynamic {
		amax := []float32{st.AmaxInput}
		if err := reduce(c.Ctx, opt.AllReduceMax, amax); err != nil {
			return st, err
		}
		st.AmaxInput = amax[0]
		scaleX = o.scaleOf(amax[0], scaleX)
	}
	if o.variant.Input != ops.InputOff {
		p.Cast = &gemm.Cast{Scale: scaleX}
	}

	// The weight, as codes.
	codes := w.Bytes
	if o.variant.Weight != ops.WeightFloat8 {
		cast, err := c.Scratch(tensor.Float8E4M3FN, n*k)
		if err != nil {
			return st, err
		}
		defer kernel.Release(cast)
		codes = cast.Bytes
		if scaleW, err = o.castWeight(c, opt, w, codes, scaleW, &st); err != nil {
			return st, err
		}
	}
	var columns []float32 // multiplies the weight's codes
	if o.variant.Input == ops.InputOff {
		columns = make([]float32, len(scaleW))
		for j, s := range scaleW {
			columns[j] = 1 / s
		}
	} else {
		p.Scale = make([]float32, len(scaleW))
		for j, s := range scaleW {
			p.Scale[j] = 1 / float32(scaleX*s)
		}
	}
	if o.weight != nil {
		p.Packed = o.weight.get(c.Pool, columns)
	} else {
		p.B = weightOperand(tensor.Float8E4M3FN, codes, k)
		p.B.Scale = columns
	}

	gemm.Run(c.Pool, p)
	if p.Cast != nil && rows > 0 && n > 0 {
		seen, elements, nonFinite := p.Cast.Seen()
		if o.variant.Input == ops.InputDelayed {
			st.AmaxInput = seen.Amax
		}
		if opt.Counts {
			st.Input = runtime.Counts{Elements: elements, Saturated: seen.Saturated, Flushed: seen.Flushed, NonFinite: nonFinite}
		}
	}
	amax, err := c.New(ops.OutAmaxInput, tensor.Float32, []int{})
	if err != nil {
		return st, err
	}
	kernel.Of[float32](amax)[0] = st.AmaxInput
	return st, nil
}

// scales checks the inputs and reads the stored scales: the weight's has one element or one for each of its rows.
func (o *Float8Linear) scales(c *kernel.Call, x, w *kernel.Tensor) (scaleX float32, scaleW []float32, err error) {
	if !isFloat(x.DType) || len(x.Shape) == 0 {
		return 0, nil, fmt.Errorf("input is %s, want one axis or more of float32, float16 or bfloat16", x)
	}
	want := x.DType
	if o.variant.Weight == ops.WeightFloat8 {
		want = tensor.Float8E4M3FN
	}
	if k := x.Shape[len(x.Shape)-1]; w.DType != want || len(w.Shape) != 2 || w.Shape[1] != k {
		return 0, nil, fmt.Errorf("weight is %s, want %s[N,%d] for an input of %s", w, want, k, x)
	}
	sx, err := c.Tensor(ops.InScaleInput)
	if err != nil {
		return 0, nil, err
	}
	if sx.DType != tensor.Float32 || sx.Len() != 1 {
		return 0, nil, fmt.Errorf("scale_input is %s, want one float32", sx)
	}
	sw, err := c.Tensor(ops.InScaleWeight)
	if err != nil {
		return 0, nil, err
	}
	if sw.DType != tensor.Float32 || sw.Len() != 1 && sw.Len() != w.Shape[0] {
		return 0, nil, fmt.Errorf("scale_weight is %s, want one float32 or %d", sw, w.Shape[0])
	}
	return kernel.Of[float32](sx)[0], kernel.Of[float32](sw), nil
}

// scaleOf is the scale that amax makes; stored is kept where it makes none.
func (o *Float8Linear) scaleOf(amax, stored float32) float32 {
	r := scaling.Recipe{PowerOfTwo: o.variant.PowerOfTwo}
	return float32(r.Scale(o.quantMax, amax, scaling.QuantScale(stored)))
}

func reduce(ctx context.Context, f func(context.Context, []float32) error, amax []float32) error {
	if f == nil {
		return nil
	}
	return f(ctx, amax)
}

// castWeight casts an original weight to codes and returns the scales that it was cast with.
func (o *Float8Linear) castWeight(c *kernel.Call, opt Options, w *kernel.Tensor, codes []byte, scale []float32, st *Stats) ([]float32, error) {
	n, k := w.Shape[0], w.Shape[1]
	groups := len(scale)
	if o.variant.Weight == ops.WeightDynamic {
		amax := make([]float32, groups)
		if groups == 1 {
			amax[0] = amaxOf(c.Pool, w.DType, w.Bytes)
		} else {
			size := kernel.ElemSize(w.DType)
			c.Pool.For(n, max(1, 1<<15/max(1, k)), func(lo, hi int) {
				for row := lo; row < hi; row++ {
					amax[row] = amaxHere(w.DType, w.Bytes[row*k*size:(row+1)*k*size])
				}
			})
		}
		if err := reduce(c.Ctx, opt.AllReduceMax, amax); err != nil {
			return nil, err
		}
		made := make([]float32, groups)
		for i, a := range amax {
			made[i] = o.scaleOf(a, scale[i])
			st.AmaxWeight = float8.MaxAmax(st.AmaxWeight, a)
		}
		scale = made
	}
	var mu sync.Mutex
	var all float8.Stats
	var nonFinite int64
	c.Pool.For(n, max(1, 1<<15/max(1, k)), func(lo, hi int) {
		var seen float8.Stats
		bad := int64(0)
		piece := func(lo, hi int, s float32) {
			p := castHere(codes[lo:hi], w, lo, hi, s)
			if !(p.Amax <= math.MaxFloat32) {
				bad += nonFiniteHere(w, lo, hi)
			}
			seen.Merge(p)
		}
		if groups == 1 {
			piece(lo*k, hi*k, scale[0])
		} else {
			for row := lo; row < hi; row++ {
				piece(row*k, (row+1)*k, scale[row])
			}
		}
		mu.Lock()
		all.Merge(seen)
		nonFinite += bad
		mu.Unlock()
	})
	if o.variant.Weight == ops.WeightDelayed {
		st.AmaxWeight = all.Amax
	}
	if opt.Counts {
		st.Weight = runtime.Counts{Elements: int64(n) * int64(k), Saturated: all.Saturated, Flushed: all.Flushed, NonFinite: nonFinite}
	}
	return scale, nil
}

// castHere casts elements [lo,hi) of t.
func castHere(dst []byte, t *kernel.Tensor, lo, hi int, scale float32) float8.Stats {
	const f = float8.E4M3FNFormat
	switch t.DType {
	case tensor.Float32:
		return float8.CastFloat32(dst, kernel.Of[float32](t)[lo:hi], f, scale)
	case tensor.Float16:
		return float8.CastFloat16(dst, kernel.Of[uint16](t)[lo:hi], f, scale)
	}
	return float8.CastBFloat16(dst, kernel.Of[uint16](t)[lo:hi], f, scale)
}

// nonFiniteHere counts Inf and NaN among elements [lo,hi) of t.
func nonFiniteHere(t *kernel.Tensor, lo, hi int) (n int64) {
	switch t.DType {
	case tensor.Float32:
		for _, v := range kernel.Of[float32](t)[lo:hi] {
			if math.Float32bits(v)&0x7F800000 == 0x7F800000 {
				n++
			}
		}
	case tensor.Float16:
		for _, v := range kernel.Of[uint16](t)[lo:hi] {
			if v&0x7C00 == 0x7C00 {
				n++
			}
		}
	default:
		for _, v := range kernel.Of[uint16](t)[lo:hi] {
			if v&0x7F80 == 0x7F80 {
				n++
			}
		}
	}
	return n
}

// amaxOf is the largest magnitude of all elements, found by all threads.
func amaxOf(w gemm.Workers, d tensor.DType, bytes []byte) float32 {
	const piece = 1 << 17 // bytes
	var mu sync.Mutex
	all := float32(0)
	w.For(len(bytes), piece, func(lo, hi int) {
		a := amaxHere(d, bytes[lo:hi])
		mu.Lock()
		all = float8.MaxAmax(all, a)
		mu.Unlock()
	})
	return all
}

func amaxHere(d tensor.DType, bytes []byte) float32 {
	t := &kernel.Tensor{DType: d, Bytes: bytes}
	switch d {
	case tensor.Float32:
		return float8.AmaxFloat32(kernel.Of[float32](t))
	case tensor.Float16:
		return float8.AmaxFloat16(kernel.Of[uint16](t))
	}
	return float8.AmaxBFloat16(kernel.Of[uint16](t))
}
