package vec

// Exp writes e^src to dst, which may be src. The relative error is below 2e-7; subnormal results lose digits as float32 does.
func Exp(dst, src []float32) { unary(expKernel, dst, src) }

// Sigmoid writes 1/(1+e^−src) to dst, which may be src. The relative error is below 4e-7; below −88.7, where e^−src
// is beyond float32, it is 0 instead of less than 1e-38.
func Sigmoid(dst, src []float32) { unary(sigmoidKernel, dst, src) }

// Tanh writes the hyperbolic tangent to dst, which may be src. The relative error is below 4e-7, and |dst| ≤ 1.
func Tanh(dst, src []float32) { unary(tanhKernel, dst, src) }

// Erf writes the error function to dst, which may be src. The relative error is below 5e-7, and |dst| ≤ 1.
func Erf(dst, src []float32) { unary(erfKernel, dst, src) }

// Sqrt writes the square root to dst, which may be src.
func Sqrt(dst, src []float32) { unary(sqrtKernel, dst, src) }

// Add writes a + b to dst, which may be either.
func Add(dst, a, b []float32) { binary(addKernel, dst, a, b) }

// Sub writes a − b to dst, which may be either.
func Sub(dst, a, b []float32) { binary(subKernel, dst, a, b) }

// Mul writes a · b to dst, which may be either.
func Mul(dst, a, b []float32) { binary(mulKernel, dst, a, b) }

// Div writes a / b to dst, which may be either.
func Div(dst, a, b []float32) { binary(divKernel, dst, a, b) }

// Max writes the larger of a and b to dst, which may be either; NaN where one is NaN.
func Max(dst, a, b []float32) { binary(maxKernel, dst, a, b) }

// Min writes the smaller of a and b to dst, which may be either; NaN where one is NaN.
func Min(dst, a, b []float32) { binary(minKernel, dst, a, b) }

// AddScalar writes a + b to dst, which may be a.
func AddScalar(dst, a []float32, b float32) { scalar(addScalarKernel, dst, a, b) }

// SubScalar writes a − b to dst, which may be a.
func SubScalar(dst, a []float32, b float32) { scalar(subScalarKernel, dst, a, b) }

// MulScalar writes a · b to dst, which may be a.
func MulScalar(dst, a []float32, b float32) { scalar(mulScalarKernel, dst, a, b) }

// DivScalar writes a / b to dst, which may be a.
func DivScalar(dst, a []float32, b float32) { scalar(divScalarKernel, dst, a, b) }

// SubFromScalar writes b − a to dst, which may be a.
func SubFromScalar(dst, a []float32, b float32) { scalar(rsubScalarKernel, dst, a, b) }

// DivScalarBy writes b / a to dst, which may be a.
func DivScalarBy(dst, a []float32, b float32) { scalar(rdivScalarKernel, dst, a, b) }

// MaxScalar writes the larger of a and b to dst, which may be a; NaN where one is NaN. With b = 0 it is Relu.
func MaxScalar(dst, a []float32, b float32) { scalar(maxScalarKernel, dst, a, b) }

// MinScalar writes the smaller of a and b to dst, which may be a; NaN where one is NaN.
func MinScalar(dst, a []float32, b float32) { scalar(minScalarKernel, dst, a, b) }

// AddScaled adds a·b to dst; the product is rounded first.
func AddScaled(dst, a []float32, b float32) {
	dst = dst[:len(a)]
	whole, tail := split(a)
	n := len(whole)
	addScaledKernel(dst[:n], whole, b)
	addScaledPlain(dst[n:], tail, b)
}

// Sum is Σ src.
func Sum(src []float32) float32 {
	var sums [turn]float32
	whole, tail := split(src)
	sumKernel(whole, &sums)
	for j, x := range tail {
		sums[j] += x
	}
	return tree(&sums)
}

// SumSquares is Σ (src − shift)².
func SumSquares(src []float32, shift float32) float32 {
	var sums [turn]float32
	whole, tail := split(src)
	sumSquaresKernel(whole, shift, &sums)
	for j, x := range tail {
		d := x - shift
		sums[j] += float32(d * d)
	}
	return tree(&sums)
}

// Maximum is the largest of src, which must not be empty; NaN if one is NaN.
func Maximum(src []float32) float32 {
	most := src[0]
	if whole, _ := split(src); len(whole) > 0 {
		var lanes [turn]float32
		maximumKernel(whole, &lanes)
		most = lanes[0]
		for _, x := range lanes {
			most = max(most, x)
		}
	}
	for _, x := range src[len(src)/turn*turn:] {
		most = max(most, x)
	}
	return most
}

// ExpSum writes e^(src − shift) to dst, which may be src, and gives the sum: the core of a softmax whose shift is the maximum. Below
// src − shift = −87.33, where e^x is about 1e-38, it writes 0.
func ExpSum(dst, src []float32, shift float32) float32 {
	var sums [turn]float32
	whole, tail := split(src)
	dst = dst[:len(src)]
	expSumKernel(dst, whole, shift, &sums)
	if len(tail) > 0 {
		var in, out, ignored [turn]float32
		copy(in[:], tail)
		expSumKernel(out[:], in[:], shift, &ignored)
		for j := range tail {
			dst[len(whole)+j] = out[j]
			sums[j] += out[j]
		}
	}
	return tree(&sums)
}

// turn is how many elements a kernel takes at a time.
const turn = 16

// split cuts src where the kernels have to stop.
func split(src []float32) (whole, tail []float32) {
	n := len(src) / turn * turn
	return src[:n], src[n:]
}

// tree adds 16 sums as a binary tree.
func tree(s *[turn]float32) float32 {
	for n := turn / 2; n > 0; n /= 2 {
		for j := range n {
			s[j] += s[j+n]
		}
	}
	return s[0]
}

// unary runs a kernel over whole turns, and over the rest in a turn of its own, so that every element takes the same way.
func unary(kernel func(dst, src []float32), dst, src []float32) {
	dst = dst[:len(src)]
	whole, tail := split(src)
	kernel(dst[:len(whole)], whole)
	if len(tail) > 0 {
		var in [turn]float32
		copy(in[:], tail)
		kernel(in[:], in[:])
		copy(dst[len(whole):], in[:len(tail)])
	}
}

func binary(kernel func(dst, a, b []float32), dst, a, b []float32) {
	dst, b = dst[:len(a)], b[:len(a)]
	whole, tail := split(a)
	n := len(whole)
	kernel(dst[:n], whole, b[:n])
	if len(tail) > 0 {
		var x, y [turn]float32
		copy(x[:], tail)
		copy(y[:], b[n:])
		kernel(x[:], x[:], y[:])
		copy(dst[n:], x[:len(tail)])
	}
}

func scalar(kernel func(dst, a []float32, b float32), dst, a []float32, b float32) {
	dst = dst[:len(a)]
	whole, tail := split(a)
	kernel(dst[:len(whole)], whole, b)
	if len(tail) > 0 {
		var x [turn]float32
		copy(x[:], tail)
		kernel(x[:], x[:], b)
		copy(dst[len(whole):], x[:len(tail)])
	}
}
