package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// maxExtent bounds every extent and every product of extents that comes from data: 2^46, as in kernel.
const maxExtent = 1 << 46

// maxParts bounds how many parts without elements an operator handles: the extents of an empty tensor are not bounded by any memory.
const maxParts = 1 << 20

// dims makes a shape of numbers that come from data: none may be negative, and their product must be countable.
func dims(v []int64) ([]int, error) {
	out := make([]int, len(v))
	for i, d := range v {
		if d < 0 || d > maxExtent {
			return nil, fmt.Errorf("extent %d at axis %d of %v is not possible", d, i, v)
		}
		out[i] = int(d)
	}
	if _, err := product(out); err != nil {
		return nil, err
	}
	return out, nil
}

// product is the number of elements of a shape that may not be possible.
func product(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d == 0 {
			return 0, nil
		}
	}
	for _, d := range shape {
		if d < 0 || n > maxExtent/d {
			return 0, &kernel.SizeError{Shape: shape}
		}
		n *= d
	}
	return n, nil
}

// axes counts every axis of v from the front and refuses one that comes twice.
func axes(v []int64, rank int) ([]int, error) {
	out := make([]int, len(v))
	used := make([]bool, rank)
	for i, a := range v {
		n, err := kernel.Axis(a, rank)
		if err != nil {
			return nil, err
		}
		if used[n] {
			return nil, fmt.Errorf("axis %d comes twice in %v", n, v)
		}
		used[n] = true
		out[i] = n
	}
	return out, nil
}

// split3 is the shape seen around an axis: what lies before it, its extent, what lies behind it.
func split3(shape []int, axis int) (outer, extent, inner int) {
	return kernel.Count(shape[:axis]), shape[axis], kernel.Count(shape[axis+1:])
}

// scalar is the only element of the integer input at i.
func scalar(c *kernel.Call, i int) (int64, error) {
	v, err := c.Ints(i)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("input %d has %d elements, want 1", i, len(v))
	}
	return v[0], nil
}

// index is an index into extent, where negative ones count from the back.
func index(i int64, extent, axis int) (int, error) {
	if i < -int64(extent) || i >= int64(extent) {
		return 0, fmt.Errorf("index %d is out of range for axis %d of extent %d", i, axis, extent)
	}
	if i < 0 {
		i += int64(extent)
	}
	return int(i), nil
}

// given reports whether the input at i is there.
func given(c *kernel.Call, i int) bool { return i < len(c.In) && c.In[i] != nil }

// without is a copy of v lacking the element at i.
func without(v []int, i int) []int {
	return append(append(make([]int, 0, len(v)), v[:i]...), v[i+1:]...)
}

// with is a copy of v with x put in before position i.
func with(v []int, i, x int) []int {
	return append(append(append(make([]int, 0, len(v)+1), v[:i]...), x), v[i:]...)
}

// clampInt brings a float into the range of int; NaN becomes 0.
func clampInt(x float64, lo, hi int) int {
	switch {
	case math.IsNaN(x):
		return 0
	case x < float64(lo):
		return lo
	case x > float64(hi):
		return hi
	}
	return int(x)
}

// sameType checks that two inputs have one element type.
func sameType(a, b *kernel.Tensor) error {
	if a.DType != b.DType {
		return fmt.Errorf("inputs are %s and %s, want one type", a.DType, b.DType)
	}
	return nil
}

// isFloat tells the types that a float can be read from and written to as a real number.
func isFloat(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float64 || d == tensor.Float16 || d == tensor.BFloat16
}
