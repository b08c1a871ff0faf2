package nn

// plane is a layout of one channel with its padding in which every tap of the window is a run of neighbours: what output o reads with a tap
// lies offsets[tap] behind o's own place. Rows of outputs stand as far apart as rows of the plane, so that one run serves all outputs at
// once; what it computes between the rows is for nobody.
//
// Along each axis output o reads padded column o·stride + k·dilation: columns with the same remainder by the stride stand together, and
// o moves by one among them.
type plane struct {
	s       *sliding
	extent  [maxSpatial]int   // of one remainder
	phases  [maxSpatial][]int // the remainders that a tap has
	size    int
	offsets []int // of the taps
	run     int   // from the first output to behind the last
}

// planeGrain is how many elements times taps a worker takes at a time where it needs a plane of its own.
const planeGrain = 1 << 18

// newPlane is nil where the plane would be much larger than what it is for.
func newPlane(s *sliding) *plane {
	p := &plane{s: s, size: 1}
	limit := 4*(s.inSize+s.outSize) + 1<<12
	var place [maxSpatial][]int // of each tap, in elements of the axis
	var phase [maxSpatial][]int // index of its remainder
	for i := range maxSpatial {
		st := s.stride[i]
		p.extent[i] = s.out[i] + (s.kernel[i]-1)*s.dilation[i]/st
		index := map[int]int{}
		for k := range s.kernel[i] {
			r := k * s.dilation[i] % st
			at, ok := index[r]
			if !ok {
				at = len(index)
				index[r] = at
				p.phases[i] = append(p.phases[i], r)
			}
			phase[i] = append(phase[i], at)
			place[i] = append(place[i], k*s.dilation[i]/st)
		}
		if p.extent[i] == 0 || p.size > limit/p.extent[i]/len(p.phases[i]) {
			return nil
		}
		p.size *= p.extent[i] * len(p.phases[i])
	}
	one := p.extent[0] * p.extent[1] * p.extent[2]
	for d := range s.kernel[0] {
		for h := range s.kernel[1] {
			for w := range s.kernel[2] {
				block := (phase[0][d]*len(p.phases[1])+phase[1][h])*len(p.phases[2]) + phase[2][w]
				p.offsets = append(p.offsets, block*one+(place[0][d]*p.extent[1]+place[1][h])*p.extent[2]+place[2][w])
			}
		}
	}
	p.run = ((s.out[0]-1)*p.extent[1]+s.out[1]-1)*p.extent[2] + s.out[2]
	return p
}

// fillPlane writes channel x to dst, pad where there is padding.
func fillPlane[N any](p *plane, dst, x []N, pad N) {
	s := p.s
	at := 0
	for _, pd := range p.phases[0] {
		for _, ph := range p.phases[1] {
			for _, pw := range p.phases[2] {
				st := s.stride[2]
				first := s.before[2] - pw // the column of q is q·stride - first
				lo := min(p.extent[2], ceilDiv(max(0, first), st))
				hi := max(lo, min(p.extent[2], ceilDiv(max(0, s.in[2]+first), st)))
				for qd := range p.extent[0] {
					d := qd*s.stride[0] + pd - s.before[0]
					for qh := range p.extent[1] {
						row := dst[at:][:p.extent[2]]
						at += p.extent[2]
						h := qh*s.stride[1] + ph - s.before[1]
						if uint(d) >= uint(s.in[0]) || uint(h) >= uint(s.in[1]) || lo == hi {
							fill(row, pad)
							continue
						}
						fill(row[:lo], pad)
						fill(row[hi:], pad)
						from := x[(d*s.in[1]+h)*s.in[2]+lo*st-first:]
						row = row[lo:hi]
						switch st {
						case 1:
							copy(row, from)
						case 2:
							from = from[:2*len(row)-1]
							for i := range row {
								row[i] = from[2*i]
							}
						default:
							for i := range row {
								row[i] = from[i*st]
							}
						}
					}
				}
			}
		}
	}
}

// collect copies the outputs from the run that holds them.
func collect[N any](p *plane, y, run []N) {
	s := p.s
	for d := range s.out[0] {
		for h := range s.out[1] {
			copy(y[(d*s.out[1]+h)*s.out[2]:][:s.out[2]], run[(d*p.extent[1]+h)*p.extent[2]:])
		}
	}
}

// fill sets every element to v.
func fill[N any](x []N, v N) {
	n := min(len(x), 64)
	for i := range n {
		x[i] = v
	}
	for ; n < len(x); n *= 2 {
		copy(x[n:], x[:n])
	}
}
