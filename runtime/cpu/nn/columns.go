package nn

// span is the range of outputs along axis i whose tap k lies inside the input.
func (s *sliding) span(i, k int) (lo, hi int) {
	first := s.before[i] - k*s.dilation[i] // the input of output 0 is -first
	lo = ceilDiv(max(0, first), s.stride[i])
	hi = min(s.out[i], ceilDiv(max(0, s.in[i]+first), s.stride[i]))
	return min(lo, max(hi, 0)), max(hi, 0)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// at is the input index along axis i that output o reads with tap k; it may lie outside.
func (s *sliding) at(i, o, k int) int { return o*s.stride[i] + k*s.dilation[i] - s.before[i] }

// columns writes what the outputs lo to hi of one image read: a row for each channel and tap, as the weights are laid out, with hi-lo
// elements. x starts at the first of the channels. Padding is 0.
func columns[N number](s *sliding, dst, x []N, channels, lo, hi int) {
	width := hi - lo
	row := 0
	for c := range channels {
		xc := x[c*s.inSize:][:s.inSize]
		for kd := range s.kernel[0] {
			for kh := range s.kernel[1] {
				for kw := range s.kernel[2] {
					columnsOfTap(s, dst[row*width:][:width], xc, lo, kd, kh, kw)
					row++
				}
			}
		}
	}
}

// columnsOfTap writes one row of columns.
func columnsOfTap[N number](s *sliding, dst, x []N, lo, kd, kh, kw int) {
	first, last := s.span(2, kw)
	st := s.stride[2]
	for len(dst) > 0 {
		o := lo / s.out[2]
		w0 := lo % s.out[2]
		n := min(len(dst), s.out[2]-w0)
		seg := dst[:n]
		dst, lo = dst[n:], lo+n
		id, ih := s.at(0, o/s.out[1], kd), s.at(1, o%s.out[1], kh)
		a, b := min(max(first-w0, 0), n), min(max(last-w0, 0), n) // what of seg lies inside
		if uint(id) >= uint(s.in[0]) || uint(ih) >= uint(s.in[1]) || a >= b {
			clear(seg)
			continue
		}
		clear(seg[:a])
		clear(seg[b:])
		src := x[(id*s.in[1]+ih)*s.in[2]+s.at(2, w0+a, kw):]
		if st == 1 {
			copy(seg[a:b], src)
			continue
		}
		for i := range seg[a:b] {
			seg[a+i] = src[i*st]
		}
	}
}
