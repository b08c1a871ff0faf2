package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// pools are windows of batch 2 and 3 channels; ceil counts windows that hang over the end.
var pools = []struct {
	slide
	ceil bool
}{
	{slide{name: "plain", in: []int{6, 7}, kernel: []int{2, 3}, out: []int{5, 5}}, false},
	{slide{name: "pads and strides", in: []int{7, 8}, kernel: []int{3, 2}, strides: []int64{2, 3}, pads: []int64{1, 0, 2, 1}, out: []int{4, 3}}, false},
	{slide{name: "dilations", in: []int{9, 9}, kernel: []int{3, 2}, dilations: []int64{2, 5}, strides: []int64{1, 2}, pads: []int64{0, 2, 1, 2}, out: []int{6, 4}}, false},
	{slide{name: "ceil", in: []int{6, 5}, kernel: []int{3, 2}, strides: []int64{2, 2}, out: []int{3, 3}}, true},
	{slide{name: "ceil, last window in the padding", in: []int{4, 4}, kernel: []int{1, 1}, strides: []int64{2, 3}, pads: []int64{0, 0, 1, 1}, out: []int{2, 2}}, true},
	{slide{name: "same upper", in: []int{7, 5}, kernel: []int{3, 4}, strides: []int64{2, 2}, autoPad: "SAME_UPPER", out: []int{4, 3}}, false},
	{slide{name: "same lower", in: []int{7, 5}, kernel: []int{2, 4}, strides: []int64{1, 2}, autoPad: "SAME_LOWER", out: []int{7, 3}}, false},
	{slide{name: "one axis", in: []int{9}, kernel: []int{4}, strides: []int64{3}, pads: []int64{1, 1}, out: []int{3}}, false},
	{slide{name: "three axes", in: []int{4, 5, 6}, kernel: []int{2, 2, 3}, strides: []int64{1, 2, 3}, pads: []int64{1, 0, 1, 0, 1, 0}, out: []int{4, 3, 2}}, false},
}

func (s slide) pool(ceil bool, more ...*graph.Attribute) []*graph.Attribute {
	k := make([]int64, len(s.kernel))
	for i, n := range s.kernel {
		k[i] = int64(n)
	}
	more = append(append(more, graph.Ints("kernel_shape", k...)), s.attributes()...)
	if ceil {
		more = append(more, graph.Int("ceil_mode", 1))
	}
	return more
}

func TestMaxPoolIsItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, s := range pools {
		x := random(rng, append([]int{2, 3}, s.in...)...)
		y := zeros(append([]int{2, 3}, s.out...)...)
		rows, cols := zeros(y.shape...), zeros(y.shape...) // indices in either order
		each(y.shape, func(o []int) {
			best := math.Inf(-1)
			s.reads(o[2:], func(_, place []int) {
				index := append([]int{o[0], o[1]}, place...)
				if p := x.place(index); p >= 0 && x.v[p] > best {
					best = x.v[p]
					*rows.ref(o...) = float64(p)
					column, step := 0, 1
					for i, n := range s.in {
						column += place[i] * step
						step *= n
					}
					*cols.ref(o...) = float64((o[0]*3+o[1])*step + column)
				}
			})
			*y.ref(o...) = best
		})
		for order, want := range []*array{rows, cols} {
			for _, d := range append([]tensor.DType{tensor.Int8}, floatTypes...) {
				in, out := x, y
				if d == tensor.Int8 {
					in, out = whole(x), whole(y)
				}
				got := node{op: "MaxPool", outs: 2, attrs: s.pool(s.ceil, graph.Int("storage_order", int64(order)))}.must(t, in.as(d))
				same(t, s.name+", "+d.String(), got[0], d, out)
				same(t, s.name+", indices", got[1], tensor.Int64, want)
				alone := node{op: "MaxPool", attrs: s.pool(s.ceil)}.must(t, in.as(d))
				bits(t, s.name+", without indices", alone[0], got[0])
			}
		}
	}
}

// whole is an array of random as integers of 8 bits.
func whole(a *array) *array {
	out := zeros(a.shape...)
	for i, v := range a.v {
		out.v[i] = v * 64
	}
	return out
}

func TestMaxPoolKeepsNaN(t *testing.T) {
	x := &array{[]int{1, 1, 5}, []float64{1, math.NaN(), 2, 0, -1}}
	got := node{op: "MaxPool", outs: 2, attrs: []*graph.Attribute{graph.Ints("kernel_shape", 2)}}.must(t, x.f32())
	same(t, "maximum", got[0], tensor.Float32, &array{[]int{1, 1, 4}, []float64{math.NaN(), math.NaN(), 2, 0}})
	same(t, "index", got[1], tensor.Int64, &array{[]int{1, 1, 4}, []float64{1, 1, 2, 3}})
}

func TestAverageAndLpPoolAreTheirDefinitions(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, s := range pools {
		x := random(rng, append([]int{2, 3}, s.in...)...)
		shape := append([]int{2, 3}, s.out...)
		inside, padded := zeros(shape...), zeros(shape...)
		norms := [4]*array{1: zeros(shape...), 2: zeros(shape...), 3: zeros(shape...)}
		each(shape, func(o []int) {
			sum, n, all := 0.0, 0.0, 0.0
			powers := [4]float64{}
			s.reads(o[2:], func(_, place []int) {
				in, pad := true, true
				for i, p := range place {
					after := pick(s.pads, i+len(s.in), 0)
					if s.autoPad != "" {
						after = math.MaxInt32
					}
					in = in && p >= 0 && p < s.in[i]
					pad = pad && p >= -s.before(i) && p < s.in[i]+after
				}
				if pad {
					all++
				}
				if in {
					v := x.at(append([]int{o[0], o[1]}, place...)...)
					sum, n = sum+v, n+1
					for p := 1; p < 4; p++ {
						powers[p] += math.Pow(math.Abs(v), float64(p))
					}
				}
			})
			*inside.ref(o...), *padded.ref(o...) = sum/n, sum/all
			for p := 1; p < 4; p++ {
				*norms[p].ref(o...) = math.Pow(powers[p], 1/float64(p))
			}
		})
		for _, d := range floatTypes {
			same(t, s.name, node{op: "AveragePool", attrs: s.pool(s.ceil)}.must(t, x.as(d))[0], d, inside)
			same(t, s.name+", with padding", node{op: "AveragePool", attrs: s.pool(s.ceil, graph.Int("count_include_pad", 1))}.must(t, x.as(d))[0], d, padded)
			for p := 1; p < 4; p++ {
				same(t, s.name+", norm", node{op: "LpPool", attrs: s.pool(s.ceil, graph.Int("p", int64(p)))}.must(t, x.as(d))[0], d, norms[p])
			}
		}
	}
	x := zeros(1, 1, 4, 4).f32()
	node{op: "AveragePool"}.refuses(t, `"kernel_shape" is missing`, x)
	node{op: "MaxPool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", 2)}}.refuses(t, "a kernel of 1 axes for an input of 2", x)
	node{op: "MaxPool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", 5, 1)}}.refuses(t, "a kernel that spans 5 does not fit in 4", x)
	node{op: "LpPool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", 2, 2), graph.Int("p", 0)}}.refuses(t, `"p" is 0`, x)
}

func TestGlobalPools(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 3))
	x := random(rng, 2, 3, 5, 7)
	mean, most, norm := zeros(2, 3, 1, 1), zeros(2, 3, 1, 1), zeros(2, 3, 1, 1)
	for i := range most.v {
		most.v[i] = math.Inf(-1)
		for _, v := range x.v[i*35:][:35] {
			mean.v[i] += v / 35
			most.v[i] = max(most.v[i], v)
			norm.v[i] += math.Abs(v * v * v)
		}
		norm.v[i] = math.Cbrt(norm.v[i])
	}
	for _, d := range floatTypes {
		same(t, "mean", node{op: "GlobalAveragePool"}.must(t, x.as(d))[0], d, mean)
		same(t, "maximum", node{op: "GlobalMaxPool"}.must(t, x.as(d))[0], d, most)
		same(t, "norm", node{op: "GlobalLpPool", attrs: []*graph.Attribute{graph.Int("p", 3)}}.must(t, x.as(d))[0], d, norm)
	}
	node{op: "GlobalMaxPool"}.refuses(t, "want [batch,channels,spatial...]", zeros(3).f32())
}

func TestMaxUnpoolPutsBackWhatMaxPoolTook(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 4))
	x := random(rng, 2, 2, 6, 4)
	attrs := []*graph.Attribute{graph.Ints("kernel_shape", 2, 2), graph.Ints("strides", 2, 2)}
	p := node{op: "MaxPool", outs: 2, attrs: attrs}.must(t, x.f32())
	want, large := zeros(2, 2, 6, 4), zeros(2, 2, 7, 6)
	for i, at := range numbers(p[1]) {
		want.v[int(at)] = numbers(p[0])[i]
	}
	each(want.shape, func(i []int) { *large.ref(i...) = want.at(i...) })
	n := node{op: "MaxUnpool", attrs: attrs}
	same(t, "unpooled", n.must(t, p[0], p[1])[0], tensor.Float32, want)
	same(t, "into a larger one", n.must(t, p[0], p[1], list(2, 2, 7, 6).as(tensor.Int64))[0], tensor.Float32, large)
	n.refuses(t, "want at least [2,2,6,4]", p[0], p[1], list(2, 2, 5, 4).as(tensor.Int64))
	bad := zeros(2, 2, 3, 2)
	bad.v[5] = 96
	n.refuses(t, "the index 96, want 0 to 95", p[0], bad.as(tensor.Int64))
	n.refuses(t, "want int64[2,2,3,2]", p[0], zeros(2, 2, 3).as(tensor.Int64))
}

func TestQuantizedAveragePoolAddAndSoftmax(t *testing.T) {
	x := &array{[]int{1, 1, 2, 4}, []float64{10, 20, 30, 40, -10, 0, 50, 127}}
	s, z := list(0.5).f32(), list(-2).as(tensor.Int8)
	pool := node{op: "com.microsoft.QLinearAveragePool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", 2, 2), graph.Ints("strides", 2, 2)}}
	// means of (v+2)/2: 3.5 and 31.875, by 0.25 from 1: 15 and 128.5, which is cut
	same(t, "pool", pool.must(t, x.as(tensor.Int8), s, z, list(0.25).f32(), list(1).as(tensor.Int8))[0], tensor.Int8, &array{[]int{1, 1, 1, 2}, []float64{15, 127}})
	a, b := list(0, 10, 200), list(100)
	sum := node{op: "com.microsoft.QLinearAdd"}.must(t, a.as(tensor.Uint8), list(2).f32(), list(5).as(tensor.Uint8), b.as(tensor.Uint8), list(1).f32(), list(90).as(tensor.Uint8), list(4).f32(), list(7).as(tensor.Uint8))
	// -10+10, 10+10, 390+10 by 4 from 7
	same(t, "sum", sum[0], tensor.Uint8, list(7, 12, 107))
	soft := node{op: "com.microsoft.QLinearSoftmax", attrs: []*graph.Attribute{graph.Int("opset", 13)}}
	v := &array{[]int{2, 2}, []float64{10, 10, 0, 100}}
	same(t, "softmax", soft.must(t, v.as(tensor.Uint8), list(1).f32(), list(0).as(tensor.Uint8), list(1.0/256).f32(), list(0).as(tensor.Uint8))[0], tensor.Uint8, &array{[]int{2, 2}, []float64{128, 128, 0, 255}})
}
