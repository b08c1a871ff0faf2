package layout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeUnique finds the different elements, or slices along an axis, with the first place of each, which one each place has, and how often
// each comes. They are in ascending order, NaN last and equal to itself, or in the order of their first places.
func makeUnique(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	flat := !r.Has("axis")
	axis := r.Int("axis", 0)
	sorted := r.Flag("sorted", true)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		src, a := t, 0
		if flat {
			view := *t
			view.Shape = []int{t.Len()}
			src = &view
		} else if a, err = ranked(t, axis); err != nil {
			return err
		}
		if src.Shape[a] > maxParts && src.Len() == 0 {
			return fmt.Errorf("%d empty slices along axis %d of %s", src.Shape[a], a, src)
		}
		compare, err := order(src)
		if err != nil {
			return err
		}
		first, inverse, counts := groups(src, a, compare, sorted)
		if c.Wants(0) {
			shape := append([]int(nil), src.Shape...)
			shape[a] = len(first)
			out, err := c.New(0, t.DType, shape)
			if err != nil {
				return err
			}
			gather(c.Pool, out, src, a, first)
		}
		for i, v := range [][]int{first, inverse, counts} {
			if !c.Wants(i + 1) {
				continue
			}
			out, err := c.New(i+1, tensor.Int64, []int{len(v)})
			if err != nil {
				return err
			}
			for j, d := 0, kernel.Of[int64](out); j < len(d); j++ {
				d[j] = int64(v[j])
			}
		}
		return nil
	}, nil
}

// groups sorts the slices of an axis and puts equal ones together.
func groups(t *kernel.Tensor, axis int, compare func(i, j int) int, sorted bool) (first, inverse, counts []int) {
	outer, extent, inner := split3(t.Shape, axis)
	at := make([]int, extent)
	for i := range at {
		at[i] = i
	}
	slicesCompare := func(i, j int) int {
		if inner == 0 {
			return 0 // outer may be any number then
		}
		for o := range outer {
			for k := range inner {
				if n := compare((o*extent+i)*inner+k, (o*extent+j)*inner+k); n != 0 {
					return n
				}
			}
		}
		return 0
	}
	slices.SortStableFunc(at, slicesCompare)
	inverse = make([]int, extent)
	for i, p := range at {
		if i == 0 || slicesCompare(at[i-1], p) != 0 {
			first, counts = append(first, p), append(counts, 0)
		}
		g := len(first) - 1
		counts[g]++
		inverse[p] = g
	}
	if sorted {
		return first, inverse, counts
	}
	by := make([]int, len(first)) // groups in the order of their first places
	for g := range by {
		by[g] = g
	}
	slices.SortFunc(by, func(a, b int) int { return cmp.Compare(first[a], first[b]) })
	place := make([]int, len(by))
	f, n := make([]int, len(by)), make([]int, len(by))
	for i, g := range by {
		place[g], f[i], n[i] = i, first[g], counts[g]
	}
	for i, g := range inverse {
		inverse[i] = place[g]
	}
	return f, inverse, n
}

// order compares two elements by value.
func order(t *kernel.Tensor) (func(i, j int) int, error) {
	switch t.DType {
	case tensor.String:
		return func(i, j int) int { return cmp.Compare(t.Strings[i], t.Strings[j]) }, nil
	case tensor.Int64:
		v := kernel.Of[int64](t)
		return func(i, j int) int { return cmp.Compare(v[i], v[j]) }, nil
	case tensor.Uint64:
		v := kernel.Of[uint64](t)
		return func(i, j int) int { return cmp.Compare(v[i], v[j]) }, nil
	case tensor.Complex64, tensor.Complex128:
		return orderComplex(t), nil
	}
	v, err := numbers(t)
	if err != nil {
		return nil, fmt.Errorf("no order among %s", t.DType)
	}
	return func(i, j int) int { return compareFloats(v[i], v[j]) }, nil
}

// compareFloats has NaN above everything, as numpy sorts.
func compareFloats(a, b float64) int {
	aNaN, bNaN := a != a, b != b
	switch {
	case aNaN && bNaN:
		return 0
	case aNaN:
		return 1
	case bNaN:
		return -1
	}
	return cmp.Compare(a, b)
}

// orderComplex compares real parts first.
func orderComplex(t *kernel.Tensor) func(i, j int) int {
	var v []complex128
	if t.DType == tensor.Complex128 {
		v = kernel.Of[complex128](t)
	} else {
		for _, x := range kernel.Of[complex64](t) {
			v = append(v, complex128(x))
		}
	}
	return func(i, j int) int {
		if n := compareFloats(real(v[i]), real(v[j])); n != 0 {
			return n
		}
		return compareFloats(imag(v[i]), imag(v[j]))
	}
}
