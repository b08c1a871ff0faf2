package nn

import "github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"

// Float32 goes through package vec, float64 through loops. Either way a sum is taken in an order that depends on its length alone.

// sum is Σ x.
func sum[F real](x []F) F {
	if x32, ok := any(x).([]float32); ok {
		return F(vec.Sum(x32))
	}
	s := F(0)
	for _, v := range x {
		s += v
	}
	return s
}

// sumSquares is Σ (x-shift)².
func sumSquares[F real](x []F, shift F) F {
	if x32, ok := any(x).([]float32); ok {
		return F(vec.SumSquares(x32, float32(shift)))
	}
	s := F(0)
	for _, v := range x {
		d := v - shift
		s += F(d * d)
	}
	return s
}

// lanes is what vec's operators take at a time: these functions do what is left over themselves, so that short rows cost little.
const lanes = 16

// addTo adds y, which may be longer, to x.
func addTo[F real](x, y []F) {
	y = y[:len(x)]
	if x32, ok := any(x).([]float32); ok {
		y32, _ := any(y).([]float32)
		n := len(x) &^ (lanes - 1)
		vec.Add(x32[:n], x32[:n], y32[:n])
		x, y = x[n:], y[n:]
	}
	for i, v := range y {
		x[i] += v
	}
}

// multiplyBy multiplies x by y, which may be longer.
func multiplyBy[F real](x, y []F) {
	y = y[:len(x)]
	if x32, ok := any(x).([]float32); ok {
		y32, _ := any(y).([]float32)
		n := len(x) &^ (lanes - 1)
		vec.Mul(x32[:n], x32[:n], y32[:n])
		x, y = x[n:], y[n:]
	}
	for i, v := range y {
		x[i] *= v
	}
}

// scaleTo writes x·f to y, which may be x.
func scaleTo[F real](y, x []F, f F) {
	y = y[:len(x)]
	if x32, ok := any(x).([]float32); ok {
		y32, _ := any(y).([]float32)
		n := len(x) &^ (lanes - 1)
		vec.MulScalar(y32[:n], x32[:n], float32(f))
		x, y = x[n:], y[n:]
	}
	for i, v := range x {
		y[i] = v * f
	}
}

// shiftTo writes x+d to y, which may be x.
func shiftTo[F real](y, x []F, d F) {
	y = y[:len(x)]
	if x32, ok := any(x).([]float32); ok {
		y32, _ := any(y).([]float32)
		n := len(x) &^ (lanes - 1)
		vec.AddScalar(y32[:n], x32[:n], float32(d))
		x, y = x[n:], y[n:]
	}
	for i, v := range x {
		y[i] = v + d
	}
}
