package nn

// taps calls f for every tap of the kernel and every row of outputs that reads inside the input: the count outputs from dst on read row row
// of the input from column on, stride apart. dst counts within a channel.
func (s *sliding) taps(f func(tap, dst, row, column, count int)) {
	tap := 0
	for kd := range s.kernel[0] {
		d0, d1 := s.span(0, kd)
		for kh := range s.kernel[1] {
			h0, h1 := s.span(1, kh)
			for kw := range s.kernel[2] {
				w0, w1 := s.spans[kw][0], s.spans[kw][1]
				if w0 < w1 {
					column := s.at(2, w0, kw)
					for od := d0; od < d1; od++ {
						for oh := h0; oh < h1; oh++ {
							f(tap, (od*s.out[1]+oh)*s.out[2]+w0, s.at(0, od, kd)*s.in[1]+s.at(1, oh, kh), column, w1-w0)
						}
					}
				}
				tap++
			}
		}
	}
}
