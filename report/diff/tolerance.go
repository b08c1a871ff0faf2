package diff

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// FieldClass groups tolerant fields that are alike.
type FieldClass string

// The classes of tolerant fields.
const (
	ClassAmax     FieldClass = "amax"
	ClassScale    FieldClass = "scale"
	ClassDecibels FieldClass = "decibels"
	ClassLoss     FieldClass = "loss"
	ClassShare    FieldClass = "share"
	ClassError    FieldClass = "error"
	ClassCount    FieldClass = "count"
	ClassTime     FieldClass = "time"
	ClassRate     FieldClass = "rate"
	ClassOutlier  FieldClass = "outlier"
)

// Tolerance is how far two figures of a class may be apart: |a−b| ≤ max(Abs, Rel·max(|a|,|b|)).
type Tolerance struct {
	Class    FieldClass `json:"class"`
	Relative float64    `json:"relative"` // 0 to 1
	Absolute float64    `json:"absolute"` // in the unit of the figure
}

// Tolerances is a tolerance per class, in the order of DefaultTolerances.
type Tolerances []Tolerance

// DefaultTolerances are wide enough for another order of summation and a few casts that round to the other neighbour, and narrow
// beside what another batch, scale or weight does.
func DefaultTolerances() Tolerances {
	return Tolerances{
		{ClassAmax, 5e-3, 0},
		{ClassScale, 5e-3, 0},
		{ClassDecibels, 0, 0.1},
		{ClassLoss, 1e-3, 1e-4},
		{ClassShare, 0, 1e-3},
		{ClassError, 5e-2, 1e-6},
		{ClassCount, 1e-2, 2},
		{ClassTime, 0.25, 0.01}, // milliseconds, on a machine that others may use too
		{ClassRate, 0.25, 0},
		{ClassOutlier, 0.9, 1},
	}
}

// SetRelative sets the relative tolerance of a class, or with "" of every class.
func (t Tolerances) SetRelative(c FieldClass, v float64) error {
	if !(v >= 0 && v <= 1) {
		return fmt.Errorf("relative tolerance %v, want 0 to 1", v)
	}
	return t.set(c, func(t *Tolerance) { t.Relative = v })
}

// SetAbsolute sets the absolute tolerance of a class, or with "" of every class.
func (t Tolerances) SetAbsolute(c FieldClass, v float64) error {
	if !(v >= 0 && v <= math.MaxFloat64) {
		return fmt.Errorf("absolute tolerance %v, want a finite number, 0 or more", v)
	}
	return t.set(c, func(t *Tolerance) { t.Absolute = v })
}

func (t Tolerances) set(c FieldClass, to func(*Tolerance)) error {
	found := false
	for i := range t {
		if c == "" || t[i].Class == c {
			to(&t[i])
			found = true
		}
	}
	if !found {
		return fmt.Errorf("field class %q is not in the list", string(c))
	}
	return nil
}

func (t Tolerances) of(c FieldClass) Tolerance {
	for _, x := range t {
		if x.Class == c {
			return x
		}
	}
	return Tolerance{Class: c}
}

// equal reports whether a and b are the same figure: NaN is NaN, an infinity only itself, −0 is 0. A negative amax says that a step
// did not run and is near no amax.
func (t Tolerance) equal(a, b float64) bool {
	switch {
	case a == b || math.IsNaN(a) && math.IsNaN(b):
		return true
	case !finite(a) || !finite(b):
		return false
	case t.Class == ClassAmax && (a < 0) != (b < 0):
		return false
	}
	return math.Abs(a-b) <= max(t.Absolute, t.Relative*max(math.Abs(a), math.Abs(b)))
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// classesByName says which class a tolerant field belongs to; a test holds it complete.
func classesByName() map[string]FieldClass {
	return map[string]FieldClass{
		"amax": ClassAmax, "history": ClassAmax,
		"scale": ClassScale, "min": ClassScale, "max": ClassScale,
		"weight_sqnr_db": ClassDecibels, "sqnr_db": ClassDecibels,
		"losses": ClassLoss, "loss": ClassLoss, "perplexity": ClassLoss, "loss_increase": ClassLoss,
		"saturation_rate": ClassShare, "flush_rate": ClassShare, "cosine": ClassShare, "accuracy": ClassShare,
		"max_abs_error": ClassError,
		"median_ms":     ClassTime, "fastest_ms": ClassTime, "slowest_ms": ClassOutlier, "ms": ClassTime, "product_ms": ClassTime,
		"against_ms": ClassTime, "float8_ms": ClassTime, "bfloat16_ms": ClassTime, "saved_ms": ClassTime,
		"rate": ClassRate, "tflops": ClassRate, "gbs": ClassRate, "of_ceiling": ClassRate, "speedup": ClassRate,
		"flops": ClassCount, "bytes": ClassCount,
		"saturated": ClassCount, "flushed": ClassCount, "nonfinite": ClassCount, "correct": ClassCount,
	}
}

// classesByGate says which class the value of a gate that was not kept belongs to.
func classesByGate() map[string]FieldClass {
	return map[string]FieldClass{report.GateMinSQNR: ClassDecibels, report.GateMaxLossIncrease: ClassLoss, report.GateMaxAccuracyDrop: ClassShare}
}
