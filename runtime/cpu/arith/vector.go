package arith

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
)

// The loops of float32 that package vec has vector instructions for. Steps of one operator go chunk by chunk through a buffer that stays
// in the first-level cache.

// float32Loop is a loop of float32.
func float32Loop(o op) func(dst, a, b []float32) {
	switch o {
	case opAdd:
		return vec.Add
	case opSub:
		return vec.Sub
	case opMul:
		return vec.Mul
	case opDiv:
		return vec.Div
	case opMax:
		return vec.Max
	case opMin:
		return vec.Min
	case opPRelu:
		return prelu32
	}
	return floatLoop[float32](o)
}

// inChunks calls f for pieces of at most chunk elements, with a buffer as long. dst may be src.
func inChunks(f func(dst, src, tmp []float32)) func(dst, src []float32) {
	return func(dst, src []float32) {
		buf := scratches.Get().(*scratch)
		defer scratches.Put(buf)
		for len(src) > 0 {
			n := min(chunk, len(src))
			f(dst[:n], src[:n], buf.c[:n])
			dst, src = dst[n:], src[n:]
		}
	}
}

func negate32(dst, src []float32) { vec.MulScalar(dst, src, -1) }

func reciprocal32(dst, src []float32) { vec.DivScalarBy(dst, src, 1) }

func relu32(dst, src []float32) { vec.MaxScalar(dst, src, 0) }

// leaky32 is leaky for float32: max(x, 0) + alpha·min(x, 0), of which one is zero.
func leaky32(alpha float32) func(dst, src []float32) {
	if alpha-alpha != 0 { // infinite or NaN, and 0·alpha is not 0
		return leaky(alpha)
	}
	return inChunks(func(dst, src, tmp []float32) {
		vec.MinScalar(tmp, src, 0)
		vec.MulScalar(tmp, tmp, alpha)
		vec.MaxScalar(dst, src, 0)
		vec.Add(dst, dst, tmp)
	})
}

// prelu32 is prelu for float32 with a mask in place of a branch, which signs at random would make slow.
func prelu32(dst, x, slope []float32) {
	x, slope = x[:len(dst)], slope[:len(dst)]
	for i := range dst {
		v := math.Float32bits(x[i])
		w := math.Float32bits(x[i] * slope[i])
		negative := uint32(int32(v) >> 31)
		dst[i] = math.Float32frombits(v&^negative | w&negative)
	}
}

// mish32 is x·tanh(softplus(x)) for float32. With e = exp(x), tanh(log(1+e)) is n/(n+2) for n = e·(e+2), which from 20 on is 1.
func mish32() func(dst, src []float32) {
	return inChunks(func(dst, src, tmp []float32) {
		buf := scratches.Get().(*scratch)
		defer scratches.Put(buf)
		n := buf.a[:len(src)]
		vec.MinScalar(tmp, src, 20)
		vec.Exp(tmp, tmp)
		vec.AddScalar(n, tmp, 2)
		vec.Mul(n, n, tmp)
		vec.AddScalar(tmp, n, 2)
		vec.Div(tmp, n, tmp)
		vec.Mul(dst, tmp, src)
	})
}

// clip32 is clip for float32.
func clip32(lo, hi float32) func(dst, src []float32) {
	if lo != lo || hi != hi {
		return clip(lo, hi)
	}
	return inChunks(func(dst, src, _ []float32) {
		vec.MaxScalar(dst, src, lo)
		vec.MinScalar(dst, dst, hi)
	})
}

// gelu32 is gelu for float32.
func gelu32() func(dst, src []float32) {
	return inChunks(func(dst, src, tmp []float32) {
		vec.MulScalar(tmp, src, 1/math.Sqrt2)
		vec.Erf(tmp, tmp)
		vec.AddScalar(tmp, tmp, 1)
		vec.Mul(dst, tmp, src)
		vec.MulScalar(dst, dst, 0.5)
	})
}

// tanhGelu32 is tanhGelu for float32.
func tanhGelu32() func(dst, src []float32) {
	scale := math.Sqrt(2 / math.Pi)
	return inChunks(func(dst, src, tmp []float32) {
		vec.Mul(tmp, src, src)
		vec.MulScalar(tmp, tmp, float32(scale*0.044715))
		vec.AddScalar(tmp, tmp, float32(scale))
		vec.Mul(tmp, tmp, src)
		vec.Tanh(tmp, tmp)
		vec.AddScalar(tmp, tmp, 1)
		vec.Mul(dst, tmp, src)
		vec.MulScalar(dst, dst, 0.5)
	})
}

// swish32 is x·sigmoid(alpha·x) for float32.
func swish32(alpha float64) func(dst, src []float32) {
	return inChunks(func(dst, src, tmp []float32) {
		vec.MulScalar(tmp, src, float32(alpha))
		vec.Sigmoid(tmp, tmp)
		vec.Mul(dst, tmp, src)
	})
}

// hardSigmoid32 is hardSigmoid for float32.
func hardSigmoid32(alpha, beta float64) func(dst, src []float32) {
	return inChunks(func(dst, src, _ []float32) {
		vec.MulScalar(dst, src, float32(alpha))
		vec.AddScalar(dst, dst, float32(beta))
		vec.MaxScalar(dst, dst, 0)
		vec.MinScalar(dst, dst, 1)
	})
}

// hardSwish32 is x·hardSigmoid(x, 1/6, 1/2) for float32.
func hardSwish32() func(dst, src []float32) {
	gate := hardSigmoid32(1.0/6, 0.5)
	return inChunks(func(dst, src, tmp []float32) {
		copy(tmp, src)
		gate(dst, src)
		vec.Mul(dst, dst, tmp)
	})
}

// sums32 is sums for float32.
func sums32(r reducer) *fold[float32, float64, float32] {
	f := sums[float32, float64](r)
	switch r {
	case reduceSum, reduceMean, reduceLogSum:
		f.row = func(acc float64, src []float32) float64 { return acc + float64(vec.Sum(src)) }
	case reduceL2, reduceSumSquare:
		f.row = func(acc float64, src []float32) float64 { return acc + float64(vec.SumSquares(src, 0)) }
	}
	return f
}

// extremes32 is extremes for float32.
func extremes32(r reducer) *fold[float32, float32, float32] {
	f := extremes(r, float32(math.Inf(-1)), float32(math.Inf(1)))
	if r == reduceMin {
		f.row = minRow32
		f.col = func(acc, src []float32) { vec.Min(acc[:len(src)], acc[:len(src)], src) }
		return f
	}
	f.row = func(acc float32, src []float32) float32 {
		if len(src) == 0 {
			return acc
		}
		return max(acc, vec.Maximum(src))
	}
	f.col = func(acc, src []float32) { vec.Max(acc[:len(src)], acc[:len(src)], src) }
	return f
}

// minRow32 is minRow for float32: it folds what is longer than a chunk onto one, and then halves.
func minRow32(acc float32, src []float32) float32 {
	buf := scratches.Get().(*scratch)
	defer scratches.Put(buf)
	n := copy(buf.a[:], src)
	for src = src[n:]; len(src) > 0; {
		m := min(chunk, len(src))
		vec.Min(buf.a[:m], buf.a[:m], src[:m])
		src = src[m:]
	}
	for n > 16 {
		h := (n + 1) / 2
		vec.Min(buf.a[:n-h], buf.a[:n-h], buf.a[h:n])
		n = h
	}
	return minRow(acc, buf.a[:n])
}

// softRow32 is softRow for float32.
func softRow32(kind softKind) func(dst, src []float32) {
	switch kind {
	case softmaxKind:
		return func(dst, src []float32) {
			sum := vec.ExpSum(dst, src, vec.Maximum(src))
			vec.MulScalar(dst, dst, 1/sum)
		}
	case logSoftmaxKind:
		return func(dst, src []float32) {
			most := vec.Maximum(src)
			buf := scratches.Get().(*scratch)
			defer scratches.Put(buf)
			sum := 0.0
			for lo := 0; lo < len(src); lo += chunk {
				part := src[lo:min(lo+chunk, len(src))]
				sum += float64(vec.ExpSum(buf.a[:len(part)], part, most))
			}
			vec.SubScalar(dst, src, most)
			vec.SubScalar(dst, dst, float32(math.Log(sum)))
		}
	}
	return softRow[float32](kind)
}
