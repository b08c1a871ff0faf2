package arith

import (
	"math"
)

// reducer names a Reduce operator.
type reducer uint8

const (
	reduceSum reducer = iota
	reduceMean
	reduceProd
	reduceMax
	reduceMin
	reduceL1
	reduceL2
	reduceSumSquare
	reduceLogSum
	reduceLogSumExp
)

// wide is an accumulator of sums and products: float64 for floats, 64 bits that wrap for integers.
type wide interface{ float64 | int64 | uint64 }

// sums is the fold of an operator that adds or multiplies; nil for the others. T goes into A exactly.
func sums[T numeric, A wide](r reducer) *fold[T, A, T] {
	f := &fold[T, A, T]{
		row:  sumRow[T, A],
		col:  sumCol[T, A],
		join: func(a, b A) A { return a + b },
		done: func(dst []T, acc []A, n int) {
			for i, v := range acc {
				dst[i] = T(v)
			}
		},
	}
	switch r {
	case reduceSum:
	case reduceMean:
		f.done = func(dst []T, acc []A, n int) {
			for i, v := range acc {
				if d := A(n); d != 0 || isInexact[A]() {
					v /= d
				}
				dst[i] = T(v)
			}
		}
	case reduceProd:
		f.init = 1
		f.row, f.col, f.join = prodRow[T, A], prodCol[T, A], func(a, b A) A { return a * b }
	case reduceL1:
		f.row, f.col = absRow[T, A], absCol[T, A]
	case reduceSumSquare:
		f.row, f.col = squareRow[T, A], squareCol[T, A]
	case reduceL2:
		f.row, f.col = squareRow[T, A], squareCol[T, A]
		f.done = finish[T, A](math.Sqrt)
	case reduceLogSum:
		f.done = finish[T, A](math.Log)
	default:
		return nil
	}
	return f
}

// isInexact reports whether A is a float, whose division by zero is defined.
func isInexact[A wide]() bool {
	half := 0.5
	return A(half) != 0
}

// finish applies a function of a real number to the sums. Integer results drop the fraction.
func finish[T numeric, A wide](f func(float64) float64) func([]T, []A, int) {
	return func(dst []T, acc []A, _ int) {
		for i, v := range acc {
			dst[i] = fromReal[T](f(float64(v)))
		}
	}
}

// fromReal is x as T; what an integer cannot hold becomes its most negative number, or the lower bits of that.
func fromReal[T numeric](x float64) T {
	var zero T
	if isReal(zero) {
		return T(x)
	}
	return T(toInt64(x))
}

func isReal[T numeric](T) bool {
	one := T(1)
	return one/2 != 0
}

// sumRow adds in four lanes.
func sumRow[T numeric, A wide](acc A, src []T) A {
	var a, b, c, d A
	for len(src) >= 4 {
		a += A(src[0])
		b += A(src[1])
		c += A(src[2])
		d += A(src[3])
		src = src[4:]
	}
	for _, v := range src {
		a += A(v)
	}
	return acc + ((a + b) + (c + d))
}

func sumCol[T numeric, A wide](acc []A, src []T) {
	acc = acc[:len(src)]
	for i, v := range src {
		acc[i] += A(v)
	}
}

func prodRow[T numeric, A wide](acc A, src []T) A {
	for _, v := range src {
		acc *= A(v)
	}
	return acc
}

func prodCol[T numeric, A wide](acc []A, src []T) {
	acc = acc[:len(src)]
	for i, v := range src {
		acc[i] *= A(v)
	}
}

func absRow[T numeric, A wide](acc A, src []T) A {
	var a, b A
	for i, v := range src {
		w := A(v)
		if w < 0 {
			w = -w
		}
		if i&1 == 0 {
			a += w
		} else {
			b += w
		}
	}
	return acc + (a + b)
}

func absCol[T numeric, A wide](acc []A, src []T) {
	acc = acc[:len(src)]
	for i, v := range src {
		w := A(v)
		if w < 0 {
			w = -w
		}
		acc[i] += w
	}
}

func squareRow[T numeric, A wide](acc A, src []T) A {
	var a, b, c, d A
	for len(src) >= 4 {
		w, x, y, z := A(src[0]), A(src[1]), A(src[2]), A(src[3])
		a += A(w * w)
		b += A(x * x)
		c += A(y * y)
		d += A(z * z)
		src = src[4:]
	}
	for _, v := range src {
		w := A(v)
		a += A(w * w)
	}
	return acc + ((a + b) + (c + d))
}

func squareCol[T numeric, A wide](acc []A, src []T) {
	acc = acc[:len(src)]
	for i, v := range src {
		w := A(v)
		acc[i] += A(w * w)
	}
}

// extremes is the fold of ReduceMax and ReduceMin: NaN where an element is.
func extremes[T numeric](r reducer, least, most T) *fold[T, T, T] {
	f := &fold[T, T, T]{
		init: least,
		row:  maxRow[T],
		col:  func(acc []T, src []T) { maxima(acc[:len(src)], acc, src) },
		join: func(a, b T) T { return max(a, b) },
		done: func(dst []T, acc []T, _ int) { copy(dst, acc) },
	}
	if r == reduceMin {
		f.init = most
		f.row = minRow[T]
		f.col = func(acc []T, src []T) { minima(acc[:len(src)], acc, src) }
		f.join = func(a, b T) T { return min(a, b) }
	}
	return f
}

func maxRow[T numeric](acc T, src []T) T {
	a, b := acc, acc
	for len(src) >= 2 {
		a, b = max(a, src[0]), max(b, src[1])
		src = src[2:]
	}
	for _, v := range src {
		a = max(a, v)
	}
	return max(a, b)
}

func minRow[T numeric](acc T, src []T) T {
	a, b := acc, acc
	for len(src) >= 2 {
		a, b = min(a, src[0]), min(b, src[1])
		src = src[2:]
	}
	for _, v := range src {
		a = min(a, v)
	}
	return min(a, b)
}

// logSum is log Σ exp(x) on its way: the largest x and Σ exp(x - most).
type logSum struct{ most, sum float64 }

// with joins one x.
func (l logSum) with(x float64) logSum {
	switch {
	case x == l.most:
		l.sum++
	case x < l.most:
		l.sum += math.Exp(x - l.most)
	default:
		l.sum = l.sum*math.Exp(l.most-x) + 1
		l.most = x
	}
	return l
}

// and joins two.
func (l logSum) and(o logSum) logSum {
	switch {
	case o.sum == 0:
		return l
	case l.sum == 0:
		return o
	case o.most == l.most:
		l.sum += o.sum
	case o.most < l.most:
		l.sum += o.sum * math.Exp(o.most-l.most)
	default:
		l.sum = l.sum*math.Exp(l.most-o.most) + o.sum
		l.most = o.most
	}
	return l
}

// logSumExp is the fold of ReduceLogSumExp.
func logSumExp[T numeric]() *fold[T, logSum, T] {
	return &fold[T, logSum, T]{
		init: logSum{most: math.Inf(-1)},
		row: func(acc logSum, src []T) logSum {
			for _, v := range src {
				acc = acc.with(float64(v))
			}
			return acc
		},
		col: func(acc []logSum, src []T) {
			for i, v := range src {
				acc[i] = acc[i].with(float64(v))
			}
		},
		join: logSum.and,
		done: func(dst []T, acc []logSum, _ int) {
			for i, l := range acc {
				dst[i] = fromReal[T](l.most + math.Log(l.sum))
			}
		},
	}
}
