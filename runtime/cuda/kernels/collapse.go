package kernels

// collapse joins neighbouring dimensions that every operand runs through alike, and leaves dimensions of 1 out: dims are extents,
// strides one slice for each operand. What it gives is at least one dimension.
func collapse(dims []int64, strides ...[]int64) (outDims []int64, outStrides [][]int64) {
	outStrides = make([][]int64, len(strides))
	for d, n := range dims {
		if n == 1 {
			continue
		}
		last := len(outDims) - 1
		joins := last >= 0
		for i, s := range strides {
			joins = joins && outStrides[i][last] == s[d]*n
		}
		if joins {
			outDims[last] *= n
		} else {
			outDims = append(outDims, n)
			last++
			for i := range strides {
				outStrides[i] = append(outStrides[i], 0)
			}
		}
		for i, s := range strides {
			outStrides[i][last] = s[d]
		}
	}
	if len(outDims) == 0 {
		outDims = []int64{1}
		for i := range strides {
			outStrides[i] = []int64{1}
		}
	}
	return outDims, outStrides
}

// Strides are those of a contiguous array of shape dims, in elements.
func Strides(dims []int64) []int64 {
	s := make([]int64, len(dims))
	n := int64(1)
	for i := len(dims) - 1; i >= 0; i-- {
		s[i] = n
		n *= dims[i]
	}
	return s
}

// five puts v behind fill, five in all.
func five(v []int64, fill int64) (out [rank]int64) {
	for i := range out {
		out[i] = fill
	}
	copy(out[rank-len(v):], v)
	return out
}

func product(v []int64) int64 {
	n := int64(1)
	for _, x := range v {
		n *= x
	}
	return n
}
