package arith

import (
	"math"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestSeedsGiveNumpysNumbers has what numpy 2 prints for RandomState(0) and RandomState(42): random_sample(3) and standard_normal(3).
func TestSeedsGiveNumpysNumbers(t *testing.T) {
	for seed, want := range map[float32][2][]float64{
		0: {{0.5488135039273248, 0.7151893663724195, 0.6027633760716439}, {1.764052345967664, 0.4001572083672233, 0.9787379841057392}},
		42: {{0.3745401188473625, 0.9507143064099162, 0.7319939418114051},
			{0.4967141530112327, -0.13826430117118466, 0.6476885381006925}},
	} {
		a := attr(graph.Float("seed", seed), graph.Ints("shape", 3), graph.Int("dtype", int64(tensor.Float64)))
		check1(t, "uniform", node{op: "RandomUniform", attrs: a}.must(t), tensor.Float64, nil, 1e-15, want[0]...)
		check1(t, "normal", node{op: "RandomNormal", attrs: a}.must(t), tensor.Float64, nil, 1e-14, want[1]...)
	}
}

func TestRandomNumbersHaveTheirDistribution(t *testing.T) {
	const n = 20000
	moments := func(x *kernel.Tensor) (mean, deviation float64) {
		for _, v := range values(x) {
			mean += v / n
		}
		for _, v := range values(x) {
			deviation += (v - mean) * (v - mean) / n
		}
		return mean, math.Sqrt(deviation)
	}
	near := func(name string, got, want, by float64) {
		t.Helper()
		if math.Abs(got-want) > by {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	like := f32([]int{n}, make([]float64, n)...)
	m, d := moments(node{op: "RandomNormalLike", attrs: attr(graph.Float("mean", 3), graph.Float("scale", 2))}.must(t, like))
	near("mean", m, 3, 0.05)
	near("deviation", d, 2, 0.05)
	u := node{op: "RandomUniformLike", attrs: attr(graph.Float("low", -1), graph.Float("high", 5), graph.Int("dtype", int64(tensor.Float16)))}.must(t, like)
	m, d = moments(u)
	near("mean", m, 2, 0.06)
	near("deviation", d, 6/math.Sqrt(12), 0.05)
	if v := values(u); slices.Min(v) < -1 || slices.Max(v) > 5 {
		t.Errorf("uniform numbers of %v to %v", slices.Min(v), slices.Max(v))
	}
	p := make([]float64, n)
	for i := range p {
		p[i] = 0.25
	}
	b := node{op: "Bernoulli", attrs: attr(graph.Int("dtype", int64(tensor.Int32)))}.must(t, f32(nil, p...))
	m, _ = moments(b)
	near("frequency", m, 0.25, 0.01)
	check1(t, "certain", node{op: "Bernoulli"}.must(t, f32(nil, 0, 1, 0, 1)), tensor.Float32, nil, 0, 0, 1, 0, 1)
	// Unnormalized log-probabilities of 1, 2 and 5 eighths.
	c := node{op: "Multinomial", attrs: attr(graph.Int("sample_size", n), graph.Int("dtype", int64(tensor.Int64)))}.must(t,
		f32([]int{1, 3}, 7+math.Log(1), 7+math.Log(2), 7+math.Log(5)))
	var counts [3]float64
	for _, k := range kernel.Of[int64](c) {
		counts[k] += 8.0 / n
	}
	for i, want := range []float64{1, 2, 5} {
		near("share", counts[i], want, 0.1)
	}
	node{op: "Multinomial"}.fails(t, "want [batch,classes]", f32(nil, 1))
	node{op: "RandomUniform"}.fails(t, `attribute "shape" is missing`)
	node{op: "RandomNormalLike", attrs: attr(graph.Int("dtype", 7))}.fails(t, `attribute "dtype" is int64`, like)
	node{op: "RandomNormal", attrs: attr(graph.Ints("shape", -1))}.fails(t, "shape [-1] is not possible")
}

func TestRunsDrawTheSameNumbersAndNodesDoNot(t *testing.T) {
	n := node{op: "RandomUniform", attrs: attr(graph.Ints("shape", 8))}
	a, b := values(n.must(t)), values(n.must(t))
	if !slices.Equal(a, b) {
		t.Errorf("two runs: %v and %v", a, b)
	}
	other := func(name string) float64 {
		s := &kernel.Site{Node: &graph.Node{Outputs: []string{name}}}
		return source(s)().uniform()
	}
	if other("a") == other("b") {
		t.Error("two nodes draw the same number")
	}
}

func TestDropout(t *testing.T) {
	x := f32(nil, 1, 2, 3, 4)
	both := func(n node, ins ...*kernel.Tensor) (y, mask *kernel.Tensor) {
		t.Helper()
		n.op, n.outputs = "Dropout", 2
		out, err := n.call(ins...)
		if err != nil {
			t.Fatal(err)
		}
		return out[0], out[1]
	}
	f := tensor.Float32
	yes := of(tensor.Bool, []int{}, 1)
	y, mask := both(node{}, x)
	check1(t, "inference", y, f, nil, 0, 1, 2, 3, 4)
	check1(t, "inference mask", mask, tensor.Bool, nil, 0, 1, 1, 1, 1)
	y, mask = both(node{opset: 7, attrs: attr(graph.Float("ratio", 0.25))}, x)
	check1(t, "opset 7", y, f, nil, 0, 1, 2, 3, 4)
	check1(t, "opset 7 mask", mask, f, nil, 0, 1, 1, 1, 1)
	y, _ = both(node{}, x, f32([]int{}, 0), yes)
	check1(t, "ratio 0", y, f, nil, 0, 1, 2, 3, 4)
	// numpy's RandomState(0) draws 0.549 0.715 0.603 0.545.
	seed := attr(graph.Int("seed", 0))
	y, mask = both(node{attrs: seed}, x, f32([]int{}, 0.6), yes)
	check1(t, "training", y, f, nil, 1e-6, 0, 5, 7.5, 0)
	check1(t, "training mask", mask, tensor.Bool, nil, 0, 0, 1, 1, 0)
	for _, d := range append(floatTypes, tensor.Float8E4M3FN) {
		y = node{op: "Dropout", attrs: seed}.must(t, of(d, nil, 1, 2, 3, 4), f32([]int{}, 0.6), yes)
		check1(t, "training of "+d.String(), y, d, nil, 1.0/16, 0, 5, 7.5, 0)
	}
	node{op: "Dropout"}.fails(t, "ratio is 1, want at least 0 and below 1", x, f32([]int{}, 1), yes)
	node{op: "Dropout"}.fails(t, "input 2 is float32[], want one bool", x, f32([]int{}, 0.5), f32([]int{}, 1))
}
