package verify

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Error is the difference between what the original gave, the reference, and what the rewritten model gave, over all batches.
type Error struct {
	Elements int64
	// SQNR is 10·log10(Σ reference² / Σ (reference − value)²) in dB: +Inf where nothing differs, NaN where there is no signal to compare.
	// It is compute_error of float8_experimental (float8_utils.py), taken over all batches at once.
	SQNR float64
	// MaxAbs is the largest |reference − value|, in the units of the tensor.
	MaxAbs float64
	// Cosine is Σ reference·value / (|reference|·|value|), in [-1, 1]; NaN where one of them is zero.
	Cosine float64
	// NonFinite counts elements that are Inf or NaN on one side and not the same on the other. They are left out of the other figures.
	NonFinite int64
}

// accumulator sums what Error is made of. Sums are float64 in the order of the elements, so that equal runs give equal figures.
type accumulator struct {
	elements, nonFinite     int64
	signal, noise, dot, got float64
	maxAbs                  float64
}

// add compares two tensors of the same shape.
func (a *accumulator) add(want, got *tensor.Tensor) error {
	if !want.Shape.Equal(got.Shape) {
		return fmt.Errorf("shape %s, and %s in the original", got.Shape, want.Shape)
	}
	w, err := floats(want)
	if err != nil {
		return err
	}
	g, err := floats(got)
	if err != nil {
		return err
	}
	a.elements += int64(len(w))
	for i, x := range w {
		x, y := float64(x), float64(g[i])
		if !finite(x) || !finite(y) {
			if x != y && !(math.IsNaN(x) && math.IsNaN(y)) {
				a.nonFinite++
			}
			continue
		}
		d := x - y
		a.signal += x * x
		a.noise += d * d
		a.dot += x * y
		a.got += y * y
		a.maxAbs = max(a.maxAbs, math.Abs(d))
	}
	return nil
}

func (a *accumulator) error() Error {
	return Error{Elements: a.elements, SQNR: 10 * math.Log10(a.signal/a.noise), MaxAbs: a.maxAbs, Cosine: a.dot / math.Sqrt(a.signal*a.got),
		NonFinite: a.nonFinite}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// comparable reports whether values of type d have an error: floating-point numbers do.
func comparable(d tensor.DType) bool {
	switch d {
	case tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16:
		return true
	}
	return false
}

// floats is the content of a floating-point tensor; a float64 is rounded.
func floats(t *tensor.Tensor) ([]float32, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	n := int(t.Elements())
	out := make([]float32, n)
	switch t.DType {
	case tensor.Float32:
		for i := range out {
			out[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
	case tensor.Float64:
		for i := range out {
			out[i] = float32(math.Float64frombits(le.Uint64(b[8*i:])))
		}
	case tensor.Float16:
		for i := range out {
			out[i] = float8.Float16(le.Uint16(b[2*i:])).Float32()
		}
	case tensor.BFloat16:
		for i := range out {
			out[i] = float8.BFloat16(le.Uint16(b[2*i:])).Float32()
		}
	default:
		return nil, fmt.Errorf("is %s, want a floating-point type", t.DType)
	}
	return out, nil
}
