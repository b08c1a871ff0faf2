package nn

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// transposing is the attributes of ConvTranspose.
type transposing struct {
	window
	outputPadding, outputShape []int
	groups                     int
}

// makeConvTranspose is ConvTranspose: the adjoint of a convolution with the weight [inC, outC/groups, kernel...].
func makeConvTranspose(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := transposing{window: readWindow(a), outputPadding: a.Extents("output_padding", 0), outputShape: a.Extents("output_shape", 1),
		groups: a.Count("group", 1, 1)}
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return convTranspose(w, &o) },
			func(w *work[float64]) error { return convTranspose(w, &o) })
	}, nil
}

// over lays the window over the output: in the returned sliding, in is ConvTranspose's output and out its input, as in the convolution
// that it turns around.
//
// output = stride·(input-1) + output_padding + (kernel-1)·dilation + 1 - pads. Where the output's shape is given, or follows from
// auto_pad, the padding is what is left over; where nothing is left over the rest of the output holds the bias.
func (o *transposing) over(spatial, kernelShape []int) (*sliding, error) {
	s := &sliding{}
	if err := o.lists(s, spatial, kernelShape); err != nil {
		return nil, err
	}
	s.out = s.in
	off := maxSpatial - s.rank
	if o.outputPadding != nil && len(o.outputPadding) != s.rank {
		return nil, fmt.Errorf("attribute \"output_padding\" has %d numbers, want %d", len(o.outputPadding), s.rank)
	}
	given := o.outputShape
	if len(given) == s.rank+2 {
		given = given[2:] // some writers name batch and channels too
	}
	if given != nil && len(given) != s.rank {
		return nil, fmt.Errorf("attribute \"output_shape\" has %d numbers, want %d", len(o.outputShape), s.rank)
	}
	for i := off; i < maxSpatial; i++ {
		if s.out[i] == 0 {
			return nil, fmt.Errorf("an input of shape %s without elements", kernel.ShapeString(spatial))
		}
		extra := 0
		if o.outputPadding != nil {
			extra = o.outputPadding[i-off]
		}
		full := s.stride[i]*(s.out[i]-1) + extra + s.reach(i)
		same := o.autoPad == "SAME_UPPER" || o.autoPad == "SAME_LOWER"
		switch {
		case given != nil || same:
			s.in[i] = s.out[i] * s.stride[i]
			if given != nil {
				s.in[i] = given[i-off]
			}
			total := max(0, full-s.in[i])
			s.before[i], s.after[i] = total-total/2, total/2
			if o.autoPad == "SAME_UPPER" {
				s.before[i], s.after[i] = s.after[i], s.before[i]
			}
		default:
			s.in[i] = full - s.before[i] - s.after[i]
		}
		if s.in[i] < 1 || s.in[i] > kernel.MaxExtent {
			return nil, fmt.Errorf("the output would have extent %d on spatial axis %d", s.in[i], i-off)
		}
	}
	return s, s.sizes()
}

// chunkElements bounds the scratch that holds products before they are added up.
const chunkElements = 1 << 20

func convTranspose[F real](w *work[F], o *transposing) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	wt, weight, err := w.in(1)
	if err != nil {
		return err
	}
	if len(xt.Shape) < 3 || len(wt.Shape) != len(xt.Shape) {
		return fmt.Errorf("input and weight have shapes %s and %s, want [batch,channels,spatial...] and [channels,outputs,kernel...]",
			kernel.ShapeString(xt.Shape), kernel.ShapeString(wt.Shape))
	}
	batch, inC := xt.Shape[0], xt.Shape[1]
	if wt.Shape[0] != inC || inC%o.groups != 0 {
		return fmt.Errorf("the weight has shape %s, want %d channels on axis 0, which %d groups divide", kernel.ShapeString(wt.Shape), inC, o.groups)
	}
	if o.kernel != nil && !equalShape(o.kernel, wt.Shape[2:]) {
		return fmt.Errorf("attribute \"kernel_shape\" is %s, and the weight has shape %s", kernel.ShapeString(o.kernel), kernel.ShapeString(wt.Shape))
	}
	s, err := o.over(xt.Shape[2:], wt.Shape[2:])
	if err != nil {
		return err
	}
	outs, ins := wt.Shape[1], inC/o.groups
	outC := outs * o.groups
	bias, err := w.vector(2, outC)
	if err != nil {
		return err
	}
	// The output is what slides: s.in, s.inSize.
	y, err := w.out(0, xt.DType, append([]int{batch, outC}, s.in[maxSpatial-s.rank:]...))
	if err != nil {
		return err
	}
	per := s.kernSize * s.outSize // products of one output channel
	chunk := min(outs, max(1, chunkElements/max(1, per)))
	products, err := w.temp(chunk * per)
	if err != nil {
		return err
	}
	for job := range batch * o.groups {
		n, g := job/o.groups, job%o.groups
		for m := 0; m < outs; m += chunk {
			count := min(chunk, outs-m)
			part := products[:count*per]
			// products[(m,tap), pixel] = Σ over channels of w[channel, (m,tap)]·x[channel, pixel]
			a := matrix[F]{weight[(g*ins*outs+m)*s.kernSize:], outs * s.kernSize, 1}.transposed()
			b := rowMajor(x[(n*inC+g*ins)*s.outSize:], s.outSize)
			multiply(w.Pool, count*s.kernSize, s.outSize, ins, a, factor[F]{matrix: b}, part, s.outSize, nil)
			w.Pool.For(count, max(1, grain/max(1, per)), func(lo, hi int) {
				for i := lo; i < hi; i++ {
					ch := g*outs + m + i
					out := y[(n*outC+ch)*s.inSize:][:s.inSize]
					v := F(0)
					if bias != nil {
						v = bias[ch]
					}
					fill(out, v)
					p, st := part[i*per:][:per], s.stride[2]
					s.taps(func(tap, dst, row, column, count int) {
						to := out[row*s.in[2]+column:]
						if st == 1 {
							addTo(to[:count], p[tap*s.outSize+dst:])
							return
						}
						for j, v := range p[tap*s.outSize+dst:][:count] {
							to[j*st] += v
						}
					})
				}
			})
		}
	}
	return nil
}
