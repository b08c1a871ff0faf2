package nn

// span is the range of outputs along axis i whose tap k lies inside the input.
func (s *sliding) span(i, k int) (lo, hi int) {
	first := s.before[i] - k*s.dilation[i] // the input of output 0 is -first
	lo = ceilDiv(max(0, first), s.stride[i])
	hi = max(0, min(s.out[i], ceilDiv(max(0, s.in[i]+first), s.stride[i])))
	return min(lo, hi), hi
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// at is the input index along axis i that output o reads with tap k; it may lie outside.
func (s *sliding) at(i, o, k int) int { return o*s.stride[i] + k*s.dilation[i] - s.before[i] }

// piece is a run of outputs that lie in one row.
type piece struct {
	at, n      int // of the columns
	od, oh, ow int // the first output
}

// columns writes what outputs [j0, j1) of one image read: for each channel and tap k in [k0, k1), counted as the weights are laid out, a row
// of j1-j0 elements; rows begin width apart. x starts at the first of the channels. Padding is 0.
func columns[N number](s *sliding, dst []N, width int, x []N, k0, k1, j0, j1 int) {
	var buf [64]piece
	pieces := buf[:0]
	for j := j0; j < j1; {
		row, ow := j/s.out[2], j%s.out[2]
		n := min(j1-j, s.out[2]-ow)
		pieces = append(pieces, piece{j - j0, n, row / s.out[1], row % s.out[1], ow})
		j += n
	}
	kw := k0 % s.kernel[2]
	kh := k0 / s.kernel[2] % s.kernel[1]
	kd := k0 / s.kernel[2] / s.kernel[1] % s.kernel[0]
	x = x[k0/s.kernSize*s.inSize:]
	for k := k0; k < k1; {
		run := min(s.kernel[2]-kw, k1-k) // taps in one row of the kernel
		for i := range pieces {
			p := &pieces[i]
			id, ih := s.at(0, p.od, kd), s.at(1, p.oh, kh)
			if uint(id) >= uint(s.in[0]) || uint(ih) >= uint(s.in[1]) {
				for t := range run {
					clear(dst[t*width+p.at:][:p.n])
				}
				continue
			}
			row := x[(id*s.in[1]+ih)*s.in[2]:][:s.in[2]]
			for t := range run {
				pieceOfRow(s, dst[t*width+p.at:][:p.n], row, p.ow, kw+t)
			}
		}
		if k += run; k == k1 {
			break
		}
		dst = dst[run*width:]
		kw = 0
		if kh++; kh == s.kernel[1] {
			kh = 0
			if kd++; kd == s.kernel[0] {
				kd = 0
				x = x[s.inSize:]
			}
		}
	}
}

// pieceOfRow writes what outputs from ow on read of a row with tap kw.
func pieceOfRow[N number](s *sliding, seg, row []N, ow, kw int) {
	a, b := max(s.spans[kw][0]-ow, 0), min(s.spans[kw][1]-ow, len(seg)) // what of seg lies inside
	if a >= b {
		clear(seg)
		return
	}
	for i := range a {
		seg[i] = 0
	}
	clear(seg[b:])
	from, st := s.at(2, ow+a, kw), s.stride[2]
	seg = seg[a:b]
	switch st {
	case 1:
		copyShort(seg, row[from:])
	case 2:
		src := row[from:][:2*len(seg)-1]
		for i := range seg {
			seg[i] = src[2*i]
		}
	default:
		for i := range seg {
			seg[i] = row[from+i*st]
		}
	}
}
