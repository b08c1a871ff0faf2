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
	// SQNR is 10·log10(Σ reference² / Σ (reference − value)²) in dB: +Inf where nothing differs, −Inf where all of the reference is zero and
	// the values are not, NaN where both are zero throughout or no element is finite.
	// It is compute_error of float8_experimental (float8_utils.py), taken over all batches at once.
	SQNR float64
	// MaxAbs is the largest |reference − value|, in the units of the tensor; 0 only where nothing differs.
	MaxAbs float64
	// Cosine is Σ reference·value / (|reference|·|value|), in [-1, 1]; NaN where one of them is zero.
	Cosine float64
	// NonFinite counts elements that are Inf or NaN on one side and not the same on the other. They are left out of the other figures.
	NonFinite int64
}

// same reports whether nothing differs: then a NaN SQNR is that of a signal that is zero, and not of one that is lost.
func (e Error) same() bool { return e.NonFinite == 0 && e.MaxAbs == 0 }

// accumulator sums what Error is made of. Sums are float64 in the order of the elements, so that equal runs give equal figures.
type accumulator struct {
	elements, nonFinite int64
	// The sums are of squares in units of 4^exponent, so that those of float64s such as 1e200 are not infinite, nor those of 1e-200 zero.
	// A power of two changes no bit of the figures.
	signal, noise, dot, got float64
	maxAbs                  float64
	exponent                int
	unit                    float64 // 2^-exponent; 0 before the first element that is not zero
	top                     float64 // beyond which exponent has to grow
}

// headroom is the power of two by which an element may exceed 2^exponent: squares of so much, summed, are far from the largest float64.
const headroom = 128

// fit makes the units fit elements as large as x, which is finite and not zero.
func (a *accumulator) fit(x float64) {
	_, e := math.Frexp(x)
	e = min(max(e, -1022), 1022) // 2^-e is a normal float64
	if a.unit != 0 {
		down := math.Ldexp(1, max(a.exponent-e, -1074))
		for _, sum := range []*float64{&a.signal, &a.noise, &a.dot, &a.got} {
			*sum = *sum * down * down
		}
	}
	a.exponent, a.unit, a.top = e, math.Ldexp(1, -e), math.Inf(1)
	if e+headroom < 1024 {
		a.top = math.Ldexp(1, e+headroom)
	}
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
	n := want.Elements()
	a.elements += n
	for i := range int(n) {
		x, y := w(i), g(i)
		if !finite(x) || !finite(y) {
			if x != y && !(math.IsNaN(x) && math.IsNaN(y)) {
				a.nonFinite++
			}
			continue
		}
		if m := max(math.Abs(x), math.Abs(y)); m != 0 && (a.unit == 0 || m > a.top) {
			a.fit(m)
		}
		a.maxAbs = max(a.maxAbs, math.Abs(x-y))
		x, y = x*a.unit, y*a.unit
		d := x - y
		a.signal += x * x
		a.noise += d * d
		a.dot += x * y
		a.got += y * y
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

// floats gives the elements of a floating-point tensor, in the order of its data.
func floats(t *tensor.Tensor) (func(i int) float64, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	switch t.DType {
	case tensor.Float32:
		return func(i int) float64 { return float64(math.Float32frombits(le.Uint32(b[4*i:]))) }, nil
	case tensor.Float64:
		return func(i int) float64 { return math.Float64frombits(le.Uint64(b[8*i:])) }, nil
	case tensor.Float16:
		return func(i int) float64 { return float64(float8.Float16(le.Uint16(b[2*i:])).Float32()) }, nil
	case tensor.BFloat16:
		return func(i int) float64 { return float64(float8.BFloat16(le.Uint16(b[2*i:])).Float32()) }, nil
	}
	return nil, fmt.Errorf("is %s, want a floating-point type", t.DType)
}
