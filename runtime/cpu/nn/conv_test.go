package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// slide is a convolution or a pool as a test describes it.
type slide struct {
	name                            string
	in, kernel                      []int
	strides, dilations, pads        []int64
	autoPad                         string
	batch, channels, outputs, group int
	out                             []int // expected
}

func (s slide) attributes() []*graph.Attribute {
	var a []*graph.Attribute
	for name, v := range map[string][]int64{"strides": s.strides, "dilations": s.dilations, "pads": s.pads} {
		if v != nil {
			a = append(a, graph.Ints(name, v...))
		}
	}
	if s.autoPad != "" {
		a = append(a, graph.Str("auto_pad", s.autoPad))
	}
	return a
}

func (s slide) stride(i int) int   { return pick(s.strides, i, 1) }
func (s slide) dilation(i int) int { return pick(s.dilations, i, 1) }

func pick(v []int64, i, def int) int {
	if v == nil {
		return def
	}
	return int(v[i])
}

// before is the padding in front of axis i, by the formulas of the specification.
func (s slide) before(i int) int {
	total := (s.out[i]-1)*s.stride(i) + (s.kernel[i]-1)*s.dilation(i) + 1 - s.in[i]
	switch s.autoPad {
	case "SAME_UPPER":
		return max(0, total) / 2
	case "SAME_LOWER":
		return max(0, total) - max(0, total)/2
	case "VALID":
		return 0
	}
	return pick(s.pads, i, 0)
}

// each calls f for all indices of a shape.
func each(shape []int, f func(index []int)) {
	index := make([]int, len(shape))
	for range kernel.Count(shape) {
		f(index)
		for k := len(shape) - 1; k >= 0; k-- {
			if index[k]++; index[k] < shape[k] {
				break
			}
			index[k] = 0
		}
	}
}

// reads calls f with every tap of the window at an output, and the place in the input that it reads, which may lie outside.
func (s slide) reads(out []int, f func(tap, place []int)) {
	place := make([]int, len(out))
	each(s.kernel, func(tap []int) {
		for i := range place {
			place[i] = out[i]*s.stride(i) + tap[i]*s.dilation(i) - s.before(i)
		}
		f(tap, place)
	})
}

// convolve is the definition.
func (s slide) convolve(x, w, b *array) *array {
	y := zeros(append([]int{s.batch, s.outputs}, s.out...)...)
	perIn, perOut := s.channels/s.group, s.outputs/s.group
	each(y.shape, func(o []int) {
		sum := 0.0
		if b != nil {
			sum = b.v[o[1]]
		}
		s.reads(o[2:], func(tap, place []int) {
			for c := range perIn {
				sum += x.at(append([]int{o[0], o[1]/perOut*perIn + c}, place...)...) * w.at(append([]int{o[1], c}, tap...)...)
			}
		})
		*y.ref(o...) = sum
	})
	return y
}

var convolutions = []slide{
	{name: "plain", in: []int{7, 9}, kernel: []int{3, 3}, batch: 2, channels: 3, outputs: 5, group: 1, out: []int{5, 7}},
	{name: "pads on all sides", in: []int{5, 6}, kernel: []int{3, 2}, pads: []int64{1, 0, 2, 3}, batch: 1, channels: 2, outputs: 3, group: 1, out: []int{6, 8}},
	{name: "strides and dilations", in: []int{11, 13}, kernel: []int{3, 2}, strides: []int64{2, 3}, dilations: []int64{2, 4}, pads: []int64{1, 2, 1, 2}, batch: 2, channels: 2, outputs: 4, group: 1, out: []int{5, 5}},
	{name: "groups", in: []int{6, 6}, kernel: []int{3, 3}, pads: []int64{1, 1, 1, 1}, batch: 2, channels: 6, outputs: 9, group: 3, out: []int{6, 6}},
	{name: "depthwise", in: []int{9, 40}, kernel: []int{3, 5}, strides: []int64{1, 1}, pads: []int64{1, 2, 1, 2}, batch: 2, channels: 5, outputs: 5, group: 5, out: []int{9, 40}},
	{name: "depthwise with stride and multiplier", in: []int{9, 11}, kernel: []int{3, 3}, strides: []int64{2, 2}, pads: []int64{0, 1, 1, 0}, batch: 1, channels: 3, outputs: 6, group: 3, out: []int{4, 5}},
	{name: "pointwise", in: []int{5, 7}, kernel: []int{1, 1}, batch: 3, channels: 8, outputs: 4, group: 1, out: []int{5, 7}},
	{name: "pointwise in groups", in: []int{4, 4}, kernel: []int{1, 1}, batch: 2, channels: 8, outputs: 6, group: 2, out: []int{4, 4}},
	{name: "pointwise with stride", in: []int{5, 7}, kernel: []int{1, 1}, strides: []int64{2, 3}, batch: 1, channels: 4, outputs: 4, group: 1, out: []int{3, 3}},
	{name: "one axis", in: []int{20}, kernel: []int{4}, strides: []int64{3}, pads: []int64{2, 1}, batch: 2, channels: 3, outputs: 2, group: 1, out: []int{7}},
	{name: "three axes", in: []int{4, 5, 6}, kernel: []int{2, 3, 2}, strides: []int64{1, 2, 1}, dilations: []int64{2, 1, 3}, pads: []int64{1, 0, 2, 0, 1, 1}, batch: 2, channels: 2, outputs: 3, group: 1, out: []int{3, 2, 6}},
	{name: "same upper", in: []int{8, 5}, kernel: []int{3, 4}, strides: []int64{2, 1}, autoPad: "SAME_UPPER", batch: 1, channels: 2, outputs: 2, group: 1, out: []int{4, 5}},
	{name: "same lower with dilation", in: []int{8, 5}, kernel: []int{2, 3}, strides: []int64{3, 2}, dilations: []int64{3, 1}, autoPad: "SAME_LOWER", batch: 1, channels: 2, outputs: 2, group: 1, out: []int{3, 3}},
	{name: "valid", in: []int{8, 9}, kernel: []int{3, 3}, strides: []int64{2, 2}, autoPad: "VALID", batch: 1, channels: 2, outputs: 2, group: 1, out: []int{3, 4}},
	{name: "padding wider than the kernel", in: []int{2, 2}, kernel: []int{2, 2}, pads: []int64{3, 3, 3, 3}, batch: 1, channels: 1, outputs: 2, group: 1, out: []int{7, 7}},
	{name: "many outputs", in: []int{30, 33}, kernel: []int{3, 3}, pads: []int64{1, 1, 1, 1}, batch: 1, channels: 4, outputs: 40, group: 1, out: []int{30, 33}},
}

func TestConvIsItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range convolutions {
		x := random(rng, append([]int{s.batch, s.channels}, s.in...)...)
		w := random(rng, append([]int{s.outputs, s.channels / s.group}, s.kernel...)...)
		for _, b := range []*array{nil, random(rng, s.outputs)} {
			want := s.convolve(x, w, b)
			n := node{op: "Conv", attrs: append(s.attributes(), graph.Int("group", int64(s.group)))}
			for _, d := range floatTypes {
				got := n.must(t, x.as(d), w.as(d), b.as(d))
				same(t, fmt.Sprintf("%s, %s", s.name, d), got[0], d, want)
			}
		}
	}
}

func TestConvGivesTheSameBitsForEveryBatchAndThreads(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	x, w := random(rng, 3, 4, 17, 19), random(rng, 7, 4, 3, 3)
	all := node{op: "Conv", threads: 1}.must(t, x.f32(), w.f32())[0]
	bits(t, "four threads", node{op: "Conv", threads: 4}.must(t, x.f32(), w.f32())[0], all)
	size := 4 * 17 * 19
	one := &array{[]int{1, 4, 17, 19}, x.v[size : 2*size]}
	part := node{op: "Conv"}.must(t, one.f32(), w.f32())[0]
	n := len(part.Bytes)
	if string(part.Bytes) != string(all.Bytes[n:2*n]) {
		t.Error("the second image alone has other bits")
	}
}

func TestConvRefusesWhatDoesNotFit(t *testing.T) {
	x, w := zeros(1, 4, 5, 5), zeros(2, 4, 3, 3)
	for _, c := range []struct {
		words string
		attrs []*graph.Attribute
		x, w  *array
		b     *array
	}{
		{"3 groups do not divide 4 input and 2 output channels", []*graph.Attribute{graph.Int("group", 3)}, x, w, nil},
		{`want 2 channels on axis 1`, []*graph.Attribute{graph.Int("group", 2)}, x, w, nil},
		{`"group" is 0, want 1 to`, []*graph.Attribute{graph.Int("group", 0)}, x, w, nil},
		{`"strides" is [0 1]`, []*graph.Attribute{graph.Ints("strides", 0, 1)}, x, w, nil},
		{`"strides" has 1 numbers, want 2`, []*graph.Attribute{graph.Ints("strides", 1)}, x, w, nil},
		{`"pads" is [-1 0 0 0]`, []*graph.Attribute{graph.Ints("pads", -1, 0, 0, 0)}, x, w, nil},
		{`"dilations" is [9223372036854775807 1]`, []*graph.Attribute{graph.Ints("dilations", math.MaxInt64, 1)}, x, w, nil},
		{"does not fit in 5 elements", []*graph.Attribute{graph.Ints("dilations", 3, 1)}, x, w, nil},
		{"is not possible", []*graph.Attribute{graph.Ints("pads", 1<<30, 1<<30, 1<<30, 1<<30)}, x, w, nil},
		{`"kernel_shape" is [2,3], and the weight has shape [2,4,3,3]`, []*graph.Attribute{graph.Ints("kernel_shape", 2, 3)}, x, w, nil},
		{`"auto_pad" is "SAME"`, []*graph.Attribute{graph.Str("auto_pad", "SAME")}, x, w, nil},
		{`"stride" is not known`, []*graph.Attribute{graph.Int("stride", 2)}, x, w, nil},
		{`"group" has kind 1, want 2`, []*graph.Attribute{graph.Float("group", 1)}, x, w, nil},
		{"want 4 axes", nil, x, zeros(2, 4, 3), nil},
		{"input 2 has shape [3], want [2]", nil, x, w, zeros(3)},
		{"want [batch,channels]", nil, zeros(3, 3), zeros(3, 3), nil},
		{"4 spatial axes", nil, zeros(1, 1, 2, 2, 2, 2), zeros(1, 1, 1, 1, 1, 1), nil},
	} {
		node{op: "Conv", attrs: c.attrs}.refuses(t, c.words, c.x.f32(), c.w.f32(), c.b.as(tensor.Float32))
	}
	node{op: "Conv"}.refuses(t, "input 0 is int32, want a float type", x.as(tensor.Int32), w.f32())
	node{op: "Conv"}.refuses(t, "input 1 is missing", x.f32())
}

func TestIntegerConvolutionsAreTheirDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	integers := func(lo, hi int, shape ...int) *array {
		a := zeros(shape...)
		for i := range a.v {
			a.v[i] = float64(lo + rng.IntN(hi-lo+1))
		}
		return a
	}
	less := func(a *array, zero ...float64) *array {
		out := zeros(a.shape...)
		for i, v := range a.v {
			out.v[i] = v - zero[i*len(zero)/len(a.v)]
		}
		return out
	}
	for _, s := range convolutions {
		x := integers(0, 255, append([]int{s.batch, s.channels}, s.in...)...)
		w := integers(-128, 127, append([]int{s.outputs, s.channels / s.group}, s.kernel...)...)
		zero := integers(-20, 20, s.outputs)
		attrs := append(s.attributes(), graph.Int("group", int64(s.group)))
		want := s.convolve(less(x, 77), less(w, zero.v...), nil)
		got := node{op: "ConvInteger", attrs: attrs}.must(t, x.as(tensor.Uint8), w.as(tensor.Int8), list(77).as(tensor.Uint8), zero.as(tensor.Int8))
		same(t, s.name, got[0], tensor.Int32, want)

		bias := integers(-1000, 1000, s.outputs)
		scales := zeros(s.outputs)
		for i := range scales.v {
			scales.v[i] = 0.5 / float64(1+i)
		}
		want = s.convolve(less(x, 77), less(w, zero.v...), bias)
		per := kernel.Count(s.out)
		for i, v := range want.v {
			f := float32(0.25) * float32(scales.v[i/per%s.outputs]) / 16
			want.v[i] = min(max(math.RoundToEven(float64(float32(v)*f))+3, -128), 127)
		}
		got = node{op: "QLinearConv", attrs: attrs}.must(t, x.as(tensor.Uint8), list(0.25).f32(), list(77).as(tensor.Uint8),
			w.as(tensor.Int8), scales.f32(), zero.as(tensor.Int8), list(16).f32(), list(3).as(tensor.Int8), bias.as(tensor.Int32))
		same(t, s.name, got[0], tensor.Int8, want)
	}
	x, w := zeros(1, 1, 3, 3), zeros(2, 1, 1, 1)
	node{op: "ConvInteger"}.refuses(t, "want one zero point or 2", x.as(tensor.Uint8), w.as(tensor.Int8), nil, zeros(3).as(tensor.Int8))
	node{op: "ConvInteger"}.refuses(t, "input 0 is float32, want int8 or uint8", x.f32(), w.as(tensor.Int8))
}

// transposed is the definition of ConvTranspose: every input adds the kernel to the output.
func transposedConv(x, w, b *array, groups int, strides, dilations, before, out []int) *array {
	outs := w.shape[1]
	y := zeros(append([]int{x.shape[0], outs * groups}, out...)...)
	each(y.shape, func(o []int) {
		if b != nil {
			*y.ref(o...) = b.v[o[1]]
		}
	})
	per := x.shape[1] / groups
	each(x.shape, func(i []int) {
		each(w.shape[1:], func(k []int) {
			to := []int{i[0], i[1]/per*outs + k[0]}
			for d := range out {
				to = append(to, i[2+d]*strides[d]+k[1+d]*dilations[d]-before[d])
			}
			if y.place(to) >= 0 {
				*y.ref(to...) += x.at(i...) * w.at(append([]int{i[1]}, k...)...)
			}
		})
	})
	return y
}

func TestConvTransposeIsItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	for _, c := range []struct {
		name                            string
		attrs                           []*graph.Attribute
		x, w                            []int
		groups                          int
		strides, dilations, before, out []int
	}{
		{"plain", nil, []int{2, 3, 4, 5}, []int{3, 2, 3, 3}, 1, []int{1, 1}, []int{1, 1}, []int{0, 0}, []int{6, 7}},
		{"strides, pads, dilations, output padding", []*graph.Attribute{graph.Ints("strides", 3, 2), graph.Ints("pads", 1, 0, 2, 1), graph.Ints("dilations", 1, 2), graph.Ints("output_padding", 2, 1)},
			[]int{1, 2, 3, 4}, []int{2, 3, 3, 2}, 1, []int{3, 2}, []int{1, 2}, []int{1, 0}, []int{8, 9}},
		{"groups", []*graph.Attribute{graph.Int("group", 2)}, []int{2, 4, 3, 3}, []int{4, 3, 2, 2}, 2, []int{1, 1}, []int{1, 1}, []int{0, 0}, []int{4, 4}},
		{"one axis", []*graph.Attribute{graph.Ints("strides", 2)}, []int{1, 2, 6}, []int{2, 1, 3}, 1, []int{2}, []int{1}, []int{0}, []int{13}},
		{"three axes", []*graph.Attribute{graph.Ints("strides", 2, 1, 2), graph.Ints("pads", 1, 0, 0, 0, 1, 1)}, []int{1, 2, 3, 2, 3}, []int{2, 2, 2, 3, 2}, 1, []int{2, 1, 2}, []int{1, 1, 1}, []int{1, 0, 0}, []int{5, 3, 5}},
		{"same upper", []*graph.Attribute{graph.Ints("strides", 2, 3), graph.Str("auto_pad", "SAME_UPPER")}, []int{1, 1, 3, 3}, []int{1, 2, 3, 4}, 1, []int{2, 3}, []int{1, 1}, []int{0, 0}, []int{6, 9}},
		{"same lower", []*graph.Attribute{graph.Ints("strides", 2, 3), graph.Str("auto_pad", "SAME_LOWER")}, []int{1, 1, 3, 3}, []int{1, 2, 3, 4}, 1, []int{2, 3}, []int{1, 1}, []int{1, 1}, []int{6, 9}},
		{"output shape cuts", []*graph.Attribute{graph.Ints("strides", 3, 2), graph.Ints("output_shape", 6, 5)}, []int{1, 1, 3, 3}, []int{1, 2, 3, 3}, 1, []int{3, 2}, []int{1, 1}, []int{2, 1}, []int{6, 5}},
		{"output shape adds", []*graph.Attribute{graph.Ints("strides", 3, 2), graph.Ints("output_shape", 10, 8)}, []int{1, 1, 3, 3}, []int{1, 2, 3, 3}, 1, []int{3, 2}, []int{1, 1}, []int{0, 0}, []int{10, 8}},
	} {
		x, w := random(rng, c.x...), random(rng, c.w...)
		b := random(rng, c.w[1]*c.groups)
		for _, b := range []*array{nil, b} {
			want := transposedConv(x, w, b, c.groups, c.strides, c.dilations, c.before, c.out)
			for _, d := range floatTypes {
				got := node{op: "ConvTranspose", attrs: c.attrs}.must(t, x.as(d), w.as(d), b.as(d))
				same(t, c.name+", "+d.String(), got[0], d, want)
			}
		}
	}
	x, w := zeros(1, 2, 3, 3), zeros(2, 1, 2, 2)
	node{op: "ConvTranspose"}.refuses(t, "want 2 channels on axis 0", x.f32(), zeros(3, 1, 2, 2).f32())
	node{op: "ConvTranspose", attrs: []*graph.Attribute{graph.Ints("output_padding", 1)}}.refuses(t, "want 2", x.f32(), w.f32())
	node{op: "ConvTranspose", attrs: []*graph.Attribute{graph.Ints("pads", 9, 9, 9, 9)}}.refuses(t, "the output would have extent", x.f32(), w.f32())
}

func TestDeformConvMovesItsTaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 6))
	s := slide{in: []int{6, 7}, kernel: []int{3, 2}, strides: []int64{2, 1}, pads: []int64{1, 0, 0, 1}, dilations: []int64{1, 2}, batch: 2, channels: 4, outputs: 6, group: 2, out: []int{3, 6}}
	x, w, b := random(rng, 2, 4, 6, 7), random(rng, 6, 2, 3, 2), random(rng, 6)
	attrs := append(s.attributes(), graph.Int("group", 2), graph.Int("offset_group", 2))
	n := node{op: "DeformConv", attrs: attrs}
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
		got := n.must(t, x.as(d), w.as(d), zeros(2, 24, 3, 6).as(d), b.as(d))
		same(t, "no offsets", got[0], d, s.convolve(x, w, b))
	}
	offset, mask := random(rng, 2, 24, 3, 6), random(rng, 2, 12, 3, 6)
	want := zeros(2, 6, 3, 6)
	pixel := func(n, c int, y, x0 float64) float64 { // the blend of the four around
		sum := 0.0
		for dy := range 2 {
			for dx := range 2 {
				iy, ix := int(math.Floor(y))+dy, int(math.Floor(x0))+dx
				sum += (1 - math.Abs(y-float64(iy))) * (1 - math.Abs(x0-float64(ix))) * x.at(n, c, iy, ix)
			}
		}
		return sum
	}
	each(want.shape, func(o []int) {
		sum := b.v[o[1]]
		for c := range 2 {
			in := o[1]/3*2 + c // of two offset groups, as many as groups
			tap := 0
			s.reads(o[2:], func(k, place []int) {
				at := in/2*6 + tap
				y := float64(place[0]) + offset.at(o[0], 2*at, o[2], o[3])
				xx := float64(place[1]) + offset.at(o[0], 2*at+1, o[2], o[3])
				sum += w.at(o[1], c, k[0], k[1]) * pixel(o[0], in, y, xx) * mask.at(o[0], at, o[2], o[3])
				tap++
			})
		}
		*want.ref(o...) = sum
	})
	same(t, "offsets and mask", n.must(t, x.f32(), w.f32(), offset.f32(), b.f32(), mask.f32())[0], tensor.Float32, want)
	n.refuses(t, "input 2 has shape [2,24,3,5], want [2,24,3,6]", x.f32(), w.f32(), zeros(2, 24, 3, 5).f32())
	n.refuses(t, "input 2 is missing", x.f32(), w.f32())
	node{op: "DeformConv", attrs: []*graph.Attribute{graph.Int("offset_group", 3), graph.Int("group", 2)}}.refuses(t, "3 offset groups do not divide 4 channels", x.f32(), w.f32(), offset.f32())
}
