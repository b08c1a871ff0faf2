package kernel

import (
	"fmt"
	"strings"
)

// Count is the number of elements of a shape.
func Count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// ShapeString spells a shape as [2,3].
func ShapeString(shape []int) string {
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ",")
}

// Strides are the distances, in elements, between neighbours along each axis of a dense row-major array.
func Strides(shape []int) []int {
	s := make([]int, len(shape))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = step
		step *= shape[i]
	}
	return s
}

// Axis is axis counted from the front; negative ones count from the back. It fails outside of [-rank, rank-1].
func Axis(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, fmt.Errorf("axis %d, want %d to %d", axis, -rank, rank-1)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

// Broadcast is the shape that ONNX's multidirectional broadcasting gives.
func Broadcast(shapes ...[]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]int, rank)
	for i := range out {
		out[i] = 1
	}
	for _, s := range shapes {
		off := rank - len(s)
		for i, d := range s {
			switch o := &out[off+i]; {
			case *o == d || d == 1:
			case *o == 1:
				*o = d
			default:
				all := make([]string, len(shapes))
				for j, s := range shapes {
					all[j] = ShapeString(s)
				}
				return nil, fmt.Errorf("shapes %s do not broadcast", strings.Join(all, " and "))
			}
		}
	}
	return out, nil
}

// BroadcastStrides are strides with which an array of shape in is read as one of shape out: 0 along broadcast axes.
func BroadcastStrides(in, out []int) []int {
	s := make([]int, len(out))
	off := len(out) - len(in)
	for i, st := range Strides(in) {
		if in[i] != 1 {
			s[off+i] = st
		}
	}
	return s
}

// SizeError says that a shape computed from a model's numbers is out of reach.
type SizeError struct{ Shape []int }

// Error spells the shape.
func (e *SizeError) Error() string {
	return fmt.Sprintf("shape %s is not possible", ShapeString(e.Shape))
}

// maxBytes is the largest tensor that is ever allocated: 2^46 bytes lie far above any machine and far below an overflow.
const maxBytes = 1 << 46

// checkShape says whether elements of size bytes in this shape can be counted.
func checkShape(shape []int, size int) (bytes int, err error) {
	n := size
	zero := false
	for _, d := range shape {
		if d < 0 {
			return 0, &SizeError{shape}
		}
		if d == 0 {
			zero = true
			continue
		}
		if n > maxBytes/d {
			return 0, &SizeError{shape}
		}
		n *= d
	}
	if zero {
		return 0, nil
	}
	return n, nil
}
