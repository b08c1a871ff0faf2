package vec

import "math"

// The kernels in plain Go.

func each(dst, src []float32, f func(float64) float64) {
	for i, x := range src {
		dst[i] = float32(f(float64(x)))
	}
}

func expPlain(dst, src []float32) { each(dst, src, math.Exp) }

func sigmoidPlain(dst, src []float32) {
	each(dst, src, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) })
}

func tanhPlain(dst, src []float32) { each(dst, src, math.Tanh) }

func erfPlain(dst, src []float32) { each(dst, src, math.Erf) }

func sqrtPlain(dst, src []float32) { each(dst, src, math.Sqrt) }

func addPlain(dst, a, b []float32) {
	for i, x := range a {
		dst[i] = x + b[i]
	}
}

func subPlain(dst, a, b []float32) {
	for i, x := range a {
		dst[i] = x - b[i]
	}
}

func mulPlain(dst, a, b []float32) {
	for i, x := range a {
		dst[i] = x * b[i]
	}
}

func divPlain(dst, a, b []float32) {
	for i, x := range a {
		dst[i] = x / b[i]
	}
}

func maxPlain(dst, a, b []float32) {
	for i, x := range a {
		dst[i] = max(x, b[i])
	}
}

func minPlain(dst, a, b []float32) {
	for i, x := range a {
		dst[i] = min(x, b[i])
	}
}

func addScalarPlain(dst, a []float32, b float32) {
	for i, x := range a {
		dst[i] = x + b
	}
}

func subScalarPlain(dst, a []float32, b float32) {
	for i, x := range a {
		dst[i] = x - b
	}
}

func mulScalarPlain(dst, a []float32, b float32) {
	for i, x := range a {
		dst[i] = x * b
	}
}

func divScalarPlain(dst, a []float32, b float32) {
	for i, x := range a {
		dst[i] = x / b
	}
}

func rsubScalarPlain(dst, a []float32, b float32) {
	for i, x := range a {
		dst[i] = b - x
	}
}

func rdivScalarPlain(dst, a []float32, b float32) {
	for i, x := range a {
		dst[i] = b / x
	}
}

func maxScalarPlain(dst, a []float32, b float32) {
	for i, x := range a {
		dst[i] = max(x, b)
	}
}

func minScalarPlain(dst, a []float32, b float32) {
	for i, x := range a {
		dst[i] = min(x, b)
	}
}

func sumPlain(src []float32, sums *[turn]float32) {
	for i, x := range src {
		sums[i%turn] += x
	}
}

func sumSquaresPlain(src []float32, shift float32, sums *[turn]float32) {
	for i, x := range src {
		d := x - shift
		sums[i%turn] += float32(d * d)
	}
}

func maximumPlain(src []float32, most *[turn]float32) {
	copy(most[:], src)
	for i, x := range src {
		most[i%turn] = max(most[i%turn], x)
	}
}

// expLeast is where ExpSum's results end: below it e^x is all but subnormal, which processors are slow at.
const expLeast = -87.33

func expSumPlain(dst, src []float32, shift float32, sums *[turn]float32) {
	for i, x := range src {
		dst[i] = 0
		if d := x - shift; !(d < expLeast) {
			dst[i] = float32(math.Exp(float64(d)))
		}
		sums[i%turn] += dst[i]
	}
}

func addScaledPlain(dst, a []float32, b float32) {
	dst = dst[:len(a)]
	for i, x := range a {
		dst[i] += float32(x * b)
	}
}
