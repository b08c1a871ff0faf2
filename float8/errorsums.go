package float8

// CastFloat32WithError is [CastFloat32] that also fills SumSq and ErrSq.
func CastFloat32WithError(dst []byte, src []float32, f Format, scale float32) Stats {
	l := f.layout()
	dst = dst[:len(src)]
	var total counts
	var sums errorSums
	inverse := 1 / scale
	for len(src) > 0 {
		n := min(len(src), errorBlock)
		total.merge(castFloat32(dst[:n], src[:n], l, scale))
		sums.addFloat32(src[:n], dst[:n], l, inverse)
		dst, src = dst[n:], src[n:]
	}
	return sums.stats(total)
}

// CastFloat16WithError is [CastFloat16] that also fills SumSq and ErrSq.
func CastFloat16WithError(dst []byte, src []uint16, f Format, scale float32) Stats {
	l := f.layout()
	dst = dst[:len(src)]
	var total counts
	var sums errorSums
	inverse := 1 / scale
	for len(src) > 0 {
		n := min(len(src), errorBlock)
		total.merge(castFloat16(dst[:n], src[:n], l, scale))
		sums.addFloat16(src[:n], dst[:n], l, inverse)
		dst, src = dst[n:], src[n:]
	}
	return sums.stats(total)
}

// CastBFloat16WithError is [CastBFloat16] that also fills SumSq and ErrSq.
func CastBFloat16WithError(dst []byte, src []uint16, f Format, scale float32) Stats {
	l := f.layout()
	dst = dst[:len(src)]
	var total counts
	var sums errorSums
	inverse := 1 / scale
	for len(src) > 0 {
		n := min(len(src), errorBlock)
		total.merge(castBFloat16(dst[:n], src[:n], l, scale))
		sums.addBFloat16(src[:n], dst[:n], l, inverse)
		dst, src = dst[n:], src[n:]
	}
	return sums.stats(total)
}

// errorBlock is how many elements are cast before their error is summed: few
// enough to be still in the first-level cache, and a multiple of the lanes.
const errorBlock = 4096

// errorSums are running sums of squares. Element i goes to lane i mod 16, and
// the square of a float32 is exact in float64, so the result does not depend on
// the width of the vectors that compute it nor on fused multiplication.
type errorSums struct {
	sumSq, errSq [16]float64
}

func (s *errorSums) addFloat32(src []float32, codes []byte, l *layout, inverse float32) {
	s.addPlainFloat32(src, codes, l, inverse)
}

func (s *errorSums) addFloat16(src []uint16, codes []byte, l *layout, inverse float32) {
	s.addPlain16(src, codes, WidenFloat16, l, inverse)
}

func (s *errorSums) addBFloat16(src []uint16, codes []byte, l *layout, inverse float32) {
	s.addPlain16(src, codes, WidenBFloat16, l, inverse)
}

func (s *errorSums) addPlainFloat32(src []float32, codes []byte, l *layout, inverse float32) {
	var t [256]float32
	decodeTable(&t, l, inverse)
	s.addDecoded(src, codes, &t)
}

func (s *errorSums) addPlain16(src []uint16, codes []byte, widen func([]float32, []uint16), l *layout, inverse float32) {
	var t [256]float32
	decodeTable(&t, l, inverse)
	var block [plainBlock]float32
	for len(src) > 0 {
		n := min(len(src), plainBlock)
		widen(block[:n], src[:n])
		s.addDecoded(block[:n], codes[:n], &t)
		codes, src = codes[n:], src[n:]
	}
}

func (s *errorSums) addDecoded(src []float32, codes []byte, t *[256]float32) {
	codes = codes[:len(src)]
	for i, v := range src {
		e := float64(v - t[codes[i]])
		d := float64(v)
		s.sumSq[i&15] += d * d
		s.errSq[i&15] += e * e
	}
}

func (s *errorSums) stats(c counts) Stats {
	st := c.stats()
	st.SumSq, st.ErrSq = joinLanes(s.sumSq), joinLanes(s.errSq)
	return st
}

func joinLanes(v [16]float64) float64 {
	for half := 8; half > 0; half /= 2 {
		for i := range half {
			v[i] += v[i+half]
		}
	}
	return v[0]
}
