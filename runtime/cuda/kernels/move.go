package kernels

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// View is an array in memory: an address, and for each dimension the distance of neighbours in elements.
type View struct {
	P       driver.Ptr
	Strides []int64
}

// Copy copies an array of shape dims and elements of size bytes (1, 2, 4, 8 or 16) from one view to another: slices, concatenation (one
// copy for each part), broadcasts, permutations. Dimensions that both views run through alike count as one; more than five others are
// a [*SizeError]. A permutation that moves the last dimension goes through tiles in shared memory.
func (s *Set) Copy(dst, src View, dims []int64, size int64, stream driver.Stream) error {
	if len(dst.Strides) != len(dims) || len(src.Strides) != len(dims) {
		return &SizeError{"copy", "rank of the views", fmt.Sprintf("%d and %d", len(dst.Strides), len(src.Strides)), fmt.Sprint(len(dims))}
	}
	switch size {
	case 1, 2, 4, 8, 16:
	default:
		return &SizeError{"copy", "element", fmt.Sprint(size), "1, 2, 4, 8 or 16 bytes"}
	}
	if product(dims) == 0 {
		return nil
	}
	n, st := collapse(dims, src.Strides, dst.Strides)
	from, to := st[0], st[1]
	last := len(n) - 1
	if from[last] == 1 && to[last] == 1 {
		// Neighbours that stay neighbours travel in units as wide as everything allows.
		for size < 16 && n[last]%2 == 0 && uint64(src.P)%uint64(2*size) == 0 && uint64(dst.P)%uint64(2*size) == 0 && even(from[:last]) && even(to[:last]) {
			size *= 2
			n[last] /= 2
			for d := range last {
				from[d] /= 2
				to[d] /= 2
			}
		}
		if last == 0 {
			return s.c.Copy(dst.P, src.P, n[0]*size, stream)
		}
	}
	if a, l, ok := transposed(n, from, to, size); ok {
		a.src, a.dst = src.P, dst.P
		l.Stream = stream
		return launch(s, fmt.Sprintf("transpose_%d", size), l, &a)
	}
	if len(n) > rank {
		return &SizeError{"copy", "number of dimensions", fmt.Sprint(len(n)), fmt.Sprintf("at most %d that cannot be joined", rank)}
	}
	return launch(s, fmt.Sprintf("copy_%d", size), s.turns(product(n), threads, 64, stream),
		&copyArgs{src.P, dst.P, five(n, 1), five(from, 0), five(to, 0)})
}

func even(strides []int64) bool {
	for _, s := range strides {
		if s%2 != 0 {
			return false
		}
	}
	return true
}

// transposed finds the matrix in a copy whose source and destination have different innermost dimensions.
func transposed(n, from, to []int64, size int64) (a transposeArgs, l driver.Launch, ok bool) {
	if size > 8 || len(n) < 2 || len(n) > rank {
		return a, l, false
	}
	row, col := -1, -1 // the dimension that is innermost in the destination, and in the source
	for d := range n {
		if to[d] == 1 {
			row = d
		}
		if from[d] == 1 {
			col = d
		}
	}
	// Matrices narrower than half a tile leave most threads idle.
	if row < 0 || col < 0 || row == col || n[row] < 16 || n[col] < 16 {
		return a, l, false
	}
	a.rows, a.cols, a.srcLd, a.dstLd = n[row], n[col], from[row], to[col]
	batch := int64(1)
	k := 0
	a.dim = [3]int64{1, 1, 1}
	for d := range n {
		if d == row || d == col {
			continue
		}
		a.dim[k], a.srcStride[k], a.dstStride[k] = n[d], from[d], to[d]
		batch *= n[d]
		k++
	}
	if batch > math.MaxUint16 || (a.cols+31)/32 > math.MaxInt32 {
		return a, l, false
	}
	l.Grid = [3]uint32{uint32((a.cols + 31) / 32), uint32(min((a.rows+31)/32, math.MaxUint16)), uint32(batch)}
	l.Block = [3]uint32{32, 8, 1}
	return a, l, true
}

// Permute writes src, contiguous of shape dims, to dst with its dimensions in the order of perm: dimension i of the result is dimension
// perm[i] of the source.
func (s *Set) Permute(dst, src driver.Ptr, dims []int64, perm []int, size int64, stream driver.Stream) error {
	from := Strides(dims)
	n, read := make([]int64, len(perm)), make([]int64, len(perm))
	seen := make([]bool, len(dims))
	for i, p := range perm {
		if len(perm) != len(dims) || p < 0 || p >= len(dims) || seen[p] {
			return &SizeError{"permute", "order", fmt.Sprint(perm), fmt.Sprintf("a permutation of %d dimensions", len(dims))}
		}
		seen[p] = true
		n[i], read[i] = dims[p], from[p]
	}
	return s.Copy(View{dst, Strides(n)}, View{src, read}, n, size, stream)
}

// Gather writes dst[o, i] = src[o, index[i]] for slices of bytes bytes: src is [outer, axis] slices, index count numbers of type I32 or
// I64, of which negative ones count from the end. An index out of range gives zeros and sets the uint32 at failed, if that is not 0,
// to 1.
func (s *Set) Gather(dst, src, index driver.Ptr, indexType Type, outer, axis, count, bytes int64, failed driver.Ptr, stream driver.Stream) error {
	if indexType != I32 && indexType != I64 {
		return &TypeError{"gather", "index", indexType}
	}
	unit := int64(16)
	for bytes%unit != 0 || uint64(dst)%uint64(unit) != 0 || uint64(src)%uint64(unit) != 0 {
		unit /= 2
	}
	return launch(s, "gather", s.turns(outer*count*(bytes/unit), threads, 64, stream),
		&gatherArgs{src, index, dst, failed, outer, axis, count, bytes, indexType, int32(unit)})
}
