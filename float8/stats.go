package float8

import "math"

// Stats is what one pass over values saw. The zero Stats saw nothing.
type Stats struct {
	// Amax is the largest |v|: NaN if any element is NaN, else +Inf if any is
	// infinite, 0 if there is none.
	Amax float32
	// Saturated counts the elements whose product with the scale, infinite or
	// not, rounded above the largest finite value and was clamped to it.
	Saturated int64
	// Flushed counts the nonzero elements that became zero.
	Flushed int64
	// SumSq is the sum of v² and ErrSq the sum of (v - dequantized)², where
	// dequantized = float32(decode(q) · float32(1/scale)) and the difference is a
	// float32. Only the functions that say so fill them.
	SumSq, ErrSq float64
}

// Merge adds what another pass saw. The sums depend on the order of merging;
// whoever shares a tensor out must cut it at places that do not depend on the
// number of workers, and merge in order.
func (s *Stats) Merge(o Stats) {
	s.Amax = MaxAmax(s.Amax, o.Amax)
	s.Saturated += o.Saturated
	s.Flushed += o.Flushed
	s.SumSq += o.SumSq
	s.ErrSq += o.ErrSq
}

// SQNR returns the signal to quantization noise ratio in dB,
// 10·log10(SumSq/ErrSq): +Inf where there is no error at all, NaN where the
// values held NaN or infinities.
func (s *Stats) SQNR() float64 {
	if s.ErrSq == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(s.SumSq/s.ErrSq)
}

// MaxAmax joins two amaxes: NaN if either is.
func MaxAmax(a, b float32) float32 {
	// The order of magnitudes is that of their bits, and a NaN lies above all.
	return amaxFromBits(max(math.Float32bits(a)&^signBit, math.Float32bits(b)&^signBit))
}

// amaxFromBits returns the magnitude, any NaN as the one quiet NaN, so that it
// does not depend on the order in which NaNs were met.
func amaxFromBits(a uint32) float32 {
	if a > infBits {
		a = 0x7FC00000
	}
	return math.Float32frombits(a)
}
