package nn

// sum adds up x in eight lanes, which are then joined in a fixed order: the result depends on x alone.
func sum[F real](x []F) F {
	var l [8]F
	for len(x) >= 8 {
		l[0] += x[0]
		l[1] += x[1]
		l[2] += x[2]
		l[3] += x[3]
		l[4] += x[4]
		l[5] += x[5]
		l[6] += x[6]
		l[7] += x[7]
		x = x[8:]
	}
	for i, v := range x {
		l[i] += v
	}
	return join(&l)
}

// sumSquares is the sum of (x-mean)², in the same order as sum.
func sumSquares[F real](x []F, mean F) F {
	var l [8]F
	for len(x) >= 8 {
		d0, d1, d2, d3 := x[0]-mean, x[1]-mean, x[2]-mean, x[3]-mean
		d4, d5, d6, d7 := x[4]-mean, x[5]-mean, x[6]-mean, x[7]-mean
		l[0] += F(d0 * d0)
		l[1] += F(d1 * d1)
		l[2] += F(d2 * d2)
		l[3] += F(d3 * d3)
		l[4] += F(d4 * d4)
		l[5] += F(d5 * d5)
		l[6] += F(d6 * d6)
		l[7] += F(d7 * d7)
		x = x[8:]
	}
	for i, v := range x {
		d := v - mean
		l[i] += F(d * d)
	}
	return join(&l)
}

// dot is Σ x·y, in the same order as sum.
func dot[F real](x, y []F) F {
	var l [8]F
	y = y[:len(x)]
	for len(x) >= 8 {
		l[0] += F(x[0] * y[0])
		l[1] += F(x[1] * y[1])
		l[2] += F(x[2] * y[2])
		l[3] += F(x[3] * y[3])
		l[4] += F(x[4] * y[4])
		l[5] += F(x[5] * y[5])
		l[6] += F(x[6] * y[6])
		l[7] += F(x[7] * y[7])
		x, y = x[8:], y[8:]
	}
	for i, v := range x {
		l[i] += F(v * y[i])
	}
	return join(&l)
}

func join[F real](l *[8]F) F {
	return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}
