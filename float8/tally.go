package float8

// tally is what casts add up while they run. The kernels know its layout.
type tally struct {
	amax      uint32 // bits of the largest magnitude, in the source's own format
	saturated int64
	flushed   int64
	// Element i goes to lane i mod 16. The square of a float32 is exact in
	// float64, so the sums depend neither on the width of the vectors that make
	// them nor on fused multiplication.
	sumSq, errSq [16]float64
}

// stats ends the count; amax is t.amax as a float32 value.
func (t *tally) stats(amax float32) Stats {
	return Stats{
		Amax: MaxAmax(amax, 0), Saturated: t.saturated, Flushed: t.flushed,
		SumSq: joinLanes(t.sumSq), ErrSq: joinLanes(t.errSq),
	}
}

func joinLanes(v [16]float64) float64 {
	for half := 8; half > 0; half /= 2 {
		for i := range half {
			v[i] += v[i+half]
		}
	}
	return v[0]
}
