package arith

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestDeterminants(t *testing.T) {
	for _, d := range floatTypes {
		got := node{op: "Det"}.must(t, of(d, []int{3, 2, 2}, 1, 2, 3, 4, 1, 2, 2, 1, 1, 3, 3, 1))
		check1(t, "2×2", got, d, []int{3}, ulp(d), -2, -3, -8)
	}
	f := tensor.Float32
	check1(t, "rows exchanged", node{op: "Det"}.must(t, f32([]int{3, 3}, 0, 2, 1, 1, 0, 0, 0, 1, 3)), f, []int{}, 1e-6, -5)
	check1(t, "singular", node{op: "Det"}.must(t, f32([]int{2, 2}, 0, 0, 0, 3)), f, []int{}, 0, 0)
	check1(t, "empty", node{op: "Det"}.must(t, f32([]int{0, 0})), f, []int{}, 0, 1)
	node{op: "Det"}.fails(t, "float32[2,3], want square matrices", f32([]int{2, 3}, 1, 2, 3, 4, 5, 6))
}

func TestLpNormalization(t *testing.T) {
	for _, d := range floatTypes {
		x := of(d, []int{2, 2}, 3, -4, 0, 0)
		check1(t, "2", node{op: "LpNormalization"}.must(t, x), d, []int{2, 2}, ulp(d), 0.6, -0.8, 0, 0)
		p := attr(graph.Int("p", 1), graph.Int("axis", 0))
		check1(t, "1", node{op: "LpNormalization", attrs: p}.must(t, x), d, []int{2, 2}, 0, 1, -1, 0, 0)
	}
	node{op: "LpNormalization", attrs: attr(graph.Int("p", 3))}.fails(t, `attribute "p" is 3`, f32(nil, 1))
}

func TestMeanVarianceNormalization(t *testing.T) {
	shape := []int{2, 3, 2, 2}
	x := make([]float64, kernel.Count(shape))
	for i := range x {
		x[i] = math.Sin(float64(i))
	}
	for _, axes := range [][]int64{{0, 2, 3}, {1}, {-1, 0}} {
		gone := map[int]bool{}
		for _, a := range axes {
			gone[int(a+4)%4] = true
		}
		parts := groups(x, shape, gone)
		want, at := make([]float64, len(x)), 0
		for i := range x {
			// The group of element i: the indices of the axes that stay.
			at = 0
			for k, d := range shape {
				if !gone[k] {
					at = at*d + i/kernel.Strides(shape)[k]%d
				}
			}
			g := parts[at]
			m := total(g) / float64(len(g))
			variance := 0.0
			for _, v := range g {
				variance += (v - m) * (v - m) / float64(len(g))
			}
			want[i] = (x[i] - m) / (math.Sqrt(variance) + 1e-9)
		}
		got := node{op: "MeanVarianceNormalization", attrs: attr(graph.Ints("axes", axes...))}.must(t, of(tensor.Float64, shape, x...))
		check1(t, "mvn", got, tensor.Float64, shape, 1e-12, want...)
	}
}

func TestOptimizers(t *testing.T) {
	f := graph.Float
	rate, start, later := f32([]int{}, 0.1), of(tensor.Int64, []int{}, 0), of(tensor.Int64, []int{}, 2)
	x, g, s, h := f32(nil, 1, 2), f32(nil, -1, -3), f32(nil, 2, 0.5), f32(nil, 4, 1)
	type state struct{ x, s, h float64 }
	each := func(name string, n node, ins []*kernel.Tensor, formula func(x, g, s, h float64) state) {
		t.Helper()
		n.op = "ai.onnx.preview.training." + name
		// Two tensors of the same content, which must come out the same.
		twice := ins[:2:2]
		for _, in := range ins[2:] {
			twice = append(twice, in, in)
		}
		states := len(ins) - 4
		n.outputs = 2 * (1 + states)
		out, err := n.call(twice...)
		if err != nil {
			t.Fatal(err)
		}
		var want [3][]float64
		for i := range 2 {
			r := formula(values(x)[i], values(g)[i], values(s)[i], values(h)[i])
			want[0], want[1], want[2] = append(want[0], r.x), append(want[1], r.s), append(want[2], r.h)
		}
		for k, o := range out {
			check1(t, name, o, tensor.Float32, nil, 1e-6, want[k/2]...)
		}
	}
	each("Adagrad", node{attrs: attr(f("norm_coefficient", 0.5), f("epsilon", 1e-5), f("decay_factor", 0.25))},
		[]*kernel.Tensor{rate, later, x, g, s}, func(x, g, s, _ float64) state {
			g += 0.5 * x
			s += g * g
			return state{x - 0.1/1.5*g/(math.Sqrt(s)+1e-5), s, 0}
		})
	each("Momentum", node{attrs: attr(f("norm_coefficient", 0.5), f("alpha", 0.75), f("beta", 0.5), graph.Str("mode", "standard"))},
		[]*kernel.Tensor{rate, later, x, g, s}, func(x, g, s, _ float64) state {
			g += 0.5 * x
			s = 0.75*s + 0.5*g
			return state{x - 0.1*s, s, 0}
		})
	each("Momentum", node{attrs: attr(f("norm_coefficient", 0.5), f("alpha", 0.75), f("beta", 0.5), graph.Str("mode", "nesterov"))},
		[]*kernel.Tensor{rate, start, x, g, s}, func(x, g, s, _ float64) state {
			g += 0.5 * x
			s = 0.75*s + g // beta is 1 at the start
			return state{x - 0.1*(g+0.75*s), s, 0}
		})
	adam := func(t float64) func(x, g, s, h float64) state {
		return func(x, g, s, h float64) state {
			g += 0.5 * x
			s = 0.75*s + 0.25*g
			h = 0.5*h + 0.5*g*g
			r := 0.1
			if t > 0 {
				r *= math.Sqrt(1-math.Pow(0.5, t)) / (1 - math.Pow(0.75, t))
			}
			return state{(1 - 0.125) * (x - r*s/(math.Sqrt(h)+1e-5)), s, h}
		}
	}
	a := attr(f("norm_coefficient", 0.5), f("norm_coefficient_post", 0.125), f("epsilon", 1e-5), f("alpha", 0.75), f("beta", 0.5))
	each("Adam", node{attrs: a}, []*kernel.Tensor{rate, later, x, g, s, h}, adam(2))
	each("Adam", node{attrs: a}, []*kernel.Tensor{rate, start, x, g, s, h}, adam(0))
	bad := node{op: "ai.onnx.preview.training.Adagrad", outputs: 2}
	bad.fails(t, "4 inputs, want 2 and 3", rate, start, x, g)
	bad.fails(t, "want the shape of", rate, start, x, g, f32(nil, 1))
	node{op: "ai.onnx.preview.training.Momentum"}.fails(t, `attribute "alpha" is missing`)
}

func TestBiasGelu(t *testing.T) {
	x := f32([]int{2, 2}, -1, 0.5, 2, -0.25)
	want := func(f func(float64) float64) []float64 { return []float64{f(-0.5), f(0.25), f(2.5), f(-0.5)} }
	got := node{op: "com.microsoft.BiasGelu"}.must(t, x, f32(nil, 0.5, -0.25))
	check1(t, "BiasGelu", got, tensor.Float32, []int{2, 2}, 1e-6, want(gelu)...)
	got = node{op: "com.microsoft.FastGelu", dies: true}.must(t, x, f32(nil, 0.5, -0.25))
	check1(t, "FastGelu", got, tensor.Float32, []int{2, 2}, 1e-6, want(tanhGelu)...)
	node{op: "com.microsoft.BiasGelu"}.fails(t, "bias [3] does not fit input [2,2]", x, f32(nil, 1, 2, 3))
	node{op: "com.microsoft.BiasGelu"}.fails(t, "input 1 is missing", x)
}
