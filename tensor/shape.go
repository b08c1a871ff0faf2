package tensor

import (
	"fmt"
	"strconv"
	"strings"
)

// Shape is the extent of each axis, outermost first. A scalar has no axes.
type Shape []int64

// Elements is the number of elements. It fails on a negative extent and on overflow, since shapes come from files.
func (s Shape) Elements() (int64, error) {
	n := int64(1)
	for i, d := range s {
		if d < 0 {
			return 0, fmt.Errorf("shape %s: axis %d is negative", s, i)
		}
		if d != 0 && n > (1<<62)/d {
			return 0, fmt.Errorf("shape %s: number of elements overflows", s)
		}
		n *= d
	}
	return n, nil
}

// String spells the shape as [2,3]; a scalar is [].
func (s Shape) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(d, 10))
	}
	b.WriteByte(']')
	return b.String()
}

// Clone is a copy that shares nothing.
func (s Shape) Clone() Shape { return append(Shape{}, s...) }

// Equal reports whether both shapes have the same axes.
func (s Shape) Equal(o Shape) bool {
	if len(s) != len(o) {
		return false
	}
	for i := range s {
		if s[i] != o[i] {
			return false
		}
	}
	return true
}
