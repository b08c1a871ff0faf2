package nn

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// window is how a kernel slides over the spatial axes, as the attributes of convolutions and pools say it. Lists that are left out are
// nil.
type window struct {
	kernel, strides, dilations, pads []int
	autoPad                          string
	ceil                             bool
}

// readWindow reads the attributes that all sliding operators share.
func readWindow(a *kernel.Attrs) window {
	return window{
		kernel:    a.Extents("kernel_shape", 1),
		strides:   a.Extents("strides", 1),
		dilations: a.Extents("dilations", 1),
		pads:      a.Extents("pads", 0),
		autoPad:   a.Word("auto_pad", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
	}
}

// maxSpatial is how many spatial axes a sliding operator may have.
const maxSpatial = 3

// sliding is a window laid over an input, always with three spatial axes: missing ones stand in front with extent 1.
type sliding struct {
	rank                      int // of the spatial axes that are really there
	in, out                   [maxSpatial]int
	kernel, stride, dilation  [maxSpatial]int
	before, after             [maxSpatial]int // padding
	inSize, outSize, kernSize int             // products
	spans                     [][2]int        // of the last axis, for each tap: see span
}

// outShape is [n, c] and the real output axes.
func (s *sliding) outShape(n, c int) []int {
	return append([]int{n, c}, s.out[maxSpatial-s.rank:]...)
}

// lists checks the lists of the window against the number of spatial axes and gives the kernel, with defaults filled in, in s.
func (w *window) lists(s *sliding, spatial, kernelShape []int) error {
	rank := len(spatial)
	if rank < 1 || rank > maxSpatial {
		return fmt.Errorf("%d spatial axes, want 1 to %d", rank, maxSpatial)
	}
	s.rank = rank
	if len(kernelShape) != rank {
		return fmt.Errorf("a kernel of %d axes for an input of %d spatial axes", len(kernelShape), rank)
	}
	for _, l := range []struct {
		name string
		v    []int
		want int
	}{{"strides", w.strides, rank}, {"dilations", w.dilations, rank}, {"pads", w.pads, 2 * rank}} {
		if l.v != nil && len(l.v) != l.want {
			return fmt.Errorf("attribute %q has %d numbers, want %d", l.name, len(l.v), l.want)
		}
	}
	off := maxSpatial - rank
	for i := range maxSpatial {
		s.in[i], s.out[i], s.kernel[i], s.stride[i], s.dilation[i] = 1, 1, 1, 1, 1
	}
	for i, n := range spatial {
		if n > kernel.MaxExtent {
			return &kernel.SizeError{Shape: spatial}
		}
		j := off + i
		s.in[j], s.kernel[j] = n, kernelShape[i]
		if kernelShape[i] < 1 || kernelShape[i] > kernel.MaxExtent {
			return fmt.Errorf("a kernel of shape %s, want every extent at least 1", kernel.ShapeString(kernelShape))
		}
		if w.strides != nil {
			s.stride[j] = w.strides[i]
		}
		if w.dilations != nil {
			s.dilation[j] = w.dilations[i]
		}
		if w.pads != nil && w.autoPad == "NOTSET" {
			s.before[j], s.after[j] = w.pads[i], w.pads[rank+i]
		}
	}
	return nil
}

// reach is how many input elements the kernel spans along axis i.
func (s *sliding) reach(i int) int { return (s.kernel[i]-1)*s.dilation[i] + 1 }

// sizes fills the products, and fails where one of them cannot be counted.
func (s *sliding) sizes() error {
	for _, p := range []struct {
		to *int
		v  [maxSpatial]int
	}{{&s.inSize, s.in}, {&s.outSize, s.out}, {&s.kernSize, s.kernel}} {
		*p.to = 1
		for _, d := range p.v {
			if d > 0 && *p.to > maxElements/d {
				return &kernel.SizeError{Shape: append([]int(nil), p.v[maxSpatial-s.rank:]...)}
			}
			*p.to *= d
		}
	}
	if s.kernSize > maxTaps {
		return fmt.Errorf("a kernel of %d elements, want at most %d", s.kernSize, maxTaps)
	}
	s.spans = make([][2]int, s.kernel[2])
	for k := range s.spans {
		s.spans[k][0], s.spans[k][1] = s.span(2, k)
	}
	return nil
}

// maxTaps bounds the kernels of pools, which no weight bears out.
const maxTaps = 1 << 24

// maxElements is more than any memory holds.
const maxElements = 1 << 46

// over lays the window over an input of these spatial extents.
//
// Padding of SAME_UPPER and SAME_LOWER makes the output ceil(input/stride), half of it (rounded down) on the side that is not named. With
// ceil mode the last window may hang over the padding, but it must start inside the input or the padding before it.
func (w *window) over(spatial, kernelShape []int) (*sliding, error) {
	s := &sliding{}
	if err := w.lists(s, spatial, kernelShape); err != nil {
		return nil, err
	}
	for i := maxSpatial - s.rank; i < maxSpatial; i++ {
		in, st, reach := s.in[i], s.stride[i], s.reach(i)
		switch w.autoPad {
		case "SAME_UPPER", "SAME_LOWER":
			s.out[i] = (in + st - 1) / st
			total := max(0, (s.out[i]-1)*st+reach-in)
			s.before[i], s.after[i] = total/2, total-total/2
			if w.autoPad == "SAME_LOWER" {
				s.before[i], s.after[i] = s.after[i], s.before[i]
			}
			continue
		}
		room := in + s.before[i] + s.after[i] - reach
		if room < 0 && !(w.ceil && room > -st) {
			return nil, fmt.Errorf("a kernel that spans %d does not fit in %d elements with padding %d and %d", reach, in, s.before[i], s.after[i])
		}
		if w.ceil {
			s.out[i] = (room+st-1)/st + 1
			if (s.out[i]-1)*st >= in+s.before[i] {
				s.out[i]--
			}
		} else {
			s.out[i] = room/st + 1
		}
	}
	return s, s.sizes()
}
