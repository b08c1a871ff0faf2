package arith

import (
	"math"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

var orderedTypes = append([]tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32,
	tensor.Uint64}, floatTypes...)

func TestArgMaxAndArgMin(t *testing.T) {
	for _, d := range orderedTypes {
		x := of(d, []int{2, 3}, 3, 5, 5, 2, 2, 9)
		i := tensor.Int64
		last := graph.Int("select_last_index", 1)
		check1(t, "axis 0", node{op: "ArgMax"}.must(t, x), i, []int{1, 3}, 0, 0, 0, 1)
		check1(t, "axis 1", node{op: "ArgMax", attrs: attr(graph.Int("axis", 1))}.must(t, x), i, []int{2, 1}, 0, 1, 2)
		n := node{op: "ArgMax", attrs: attr(graph.Int("axis", -1), last, graph.Int("keepdims", 0))}
		check1(t, "last", n.must(t, x), i, []int{2}, 0, 2, 2)
		check1(t, "min", node{op: "ArgMin", attrs: attr(graph.Int("axis", 1))}.must(t, x), i, []int{2, 1}, 0, 0, 0)
		check1(t, "last min", node{op: "ArgMin", attrs: attr(graph.Int("axis", 1), last)}.must(t, x), i, []int{2, 1}, 0, 0, 1)
	}
	for _, d := range floatTypes {
		x := of(d, nil, 1, nan, inf, nan, -inf)
		for _, op := range []string{"ArgMax", "ArgMin"} {
			check1(t, op, node{op: op}.must(t, x), tensor.Int64, []int{1}, 0, 1)
			check1(t, op, node{op: op, attrs: attr(graph.Int("select_last_index", 1))}.must(t, x), tensor.Int64, []int{1}, 0, 3)
		}
	}
	node{op: "ArgMax"}.fails(t, "axis 0 has no elements", f32([]int{0, 2}))
	node{op: "ArgMax"}.fails(t, "input 0 is string", words("a"))
	node{op: "ArgMax"}.fails(t, "axis 0, want 0 to -1", f32([]int{}, 1))
}

func TestCumulativeOperators(t *testing.T) {
	tests := []struct {
		exclusive, reverse int64
		sum, product       []float64
	}{
		{0, 0, []float64{1, 3, 6, 10}, []float64{1, 2, 6, 24}},
		{1, 0, []float64{0, 1, 3, 6}, []float64{1, 1, 2, 6}},
		{0, 1, []float64{10, 9, 7, 4}, []float64{24, 24, 12, 4}},
		{1, 1, []float64{9, 7, 4, 0}, []float64{24, 12, 4, 1}},
	}
	for _, tt := range tests {
		a := attr(graph.Int("exclusive", tt.exclusive), graph.Int("reverse", tt.reverse))
		for _, d := range append([]tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64}, floatTypes...) {
			x := of(d, nil, 1, 2, 3, 4)
			check1(t, "CumSum", node{op: "CumSum", attrs: a}.must(t, x, of(tensor.Int32, []int{}, 0)), d, nil, 0, tt.sum...)
			check1(t, "CumProd", node{op: "CumProd", attrs: a}.must(t, x, of(tensor.Int64, []int{}, -1)), d, nil, 0, tt.product...)
		}
	}
	x := f32([]int{2, 3}, 1, 2, 3, 4, 5, 6)
	check1(t, "axis 0", node{op: "CumSum"}.must(t, x, of(tensor.Int32, []int{}, 0)), tensor.Float32, []int{2, 3}, 0, 1, 2, 3, 5, 7, 9)
	node{op: "CumSum"}.fails(t, "input 1 has 2 elements", x, i64(0, 1))
	node{op: "CumSum"}.fails(t, "axis 2, want -2 to 1", x, i64(2))
}

func TestTopK(t *testing.T) {
	for _, d := range orderedTypes {
		x := of(d, []int{2, 5}, 3, 9, 1, 9, 4, 7, 7, 7, 0, 8)
		out, err := node{op: "TopK", outputs: 2}.call(x, i64(3))
		if err != nil {
			t.Fatal(err)
		}
		check1(t, "values", out[0], d, []int{2, 3}, 0, 9, 9, 4, 8, 7, 7)
		check1(t, "indices", out[1], tensor.Int64, []int{2, 3}, 0, 1, 3, 4, 4, 0, 1)
		out, err = node{op: "TopK", outputs: 2, attrs: attr(graph.Int("largest", 0), graph.Int("axis", 0))}.call(x, i64(1))
		if err != nil {
			t.Fatal(err)
		}
		check1(t, "values", out[0], d, []int{1, 5}, 0, 3, 7, 1, 0, 4)
		check1(t, "indices", out[1], tensor.Int64, []int{1, 5}, 0, 0, 1, 0, 1, 0)
	}
	old := node{op: "TopK", opset: 9, attrs: attr(graph.Int("k", 2))}
	check1(t, "attribute k", old.must(t, f32(nil, 1, 3, 2)), tensor.Float32, nil, 0, 3, 2)
	check1(t, "NaN is largest", node{op: "TopK"}.must(t, f32(nil, 1, nan, inf, -inf), i64(2)), tensor.Float32, nil, 0, nan, inf)
	n := node{op: "TopK", attrs: attr(graph.Int("largest", 0))}
	check1(t, "NaN is not smallest", n.must(t, f32(nil, 1, nan, -inf), i64(2)), tensor.Float32, nil, 0, -inf, 1)
	check1(t, "none", node{op: "TopK"}.must(t, f32(nil, 1, 2), i64(0)), tensor.Float32, []int{0}, 0)
	node{op: "TopK"}.fails(t, "k is 4, and axis 0 of input 0 has 3 elements", f32(nil, 1, 2, 3), i64(4))
	node{op: "TopK"}.fails(t, "k is -1", f32(nil, 1, 2, 3), i64(-1))
	node{op: "TopK"}.fails(t, "input 0 is string", words("a"), i64(1))

	// Against sorting, with many ties.
	v := make([]float64, 997)
	for i := range v {
		v[i] = float64(i * 7919 % 61)
	}
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return int(v[j] - v[i]) })
	for _, k := range []int{1, 10, 500, 997} {
		out, err := node{op: "TopK", outputs: 2}.call(f32(nil, v...), i64(float64(k)))
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range kernel.Of[int64](out[1]) {
			if int(got) != order[i] {
				t.Fatalf("the %dth of %d is element %d, want %d", i, k, got, order[i])
			}
		}
	}
}

func TestSoftmaxFamily(t *testing.T) {
	const rows, n = 5, 1300
	x := make([]float64, rows*n)
	for i := range x {
		x[i] = math.Sin(float64(i)) * 8
	}
	soft, log, hard := make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(x))
	for r := range rows {
		row := x[r*n : (r+1)*n]
		most, at := slices.Max(row), 0
		sum := 0.0
		for i, v := range row {
			sum += math.Exp(v - most)
			if v == most {
				at = i
			}
		}
		for i, v := range row {
			soft[r*n+i] = math.Exp(v-most) / sum
			log[r*n+i] = v - most - math.Log(sum)
		}
		hard[r*n+at] = 1
	}
	for op, want := range map[string][]float64{"Softmax": soft, "LogSoftmax": log} {
		for _, d := range floatTypes {
			for _, dies := range []bool{false, true} {
				got := values(node{op: op, dies: dies}.must(t, of(d, []int{rows, n}, x...)))
				for i, g := range got {
					// Inputs are rounded to the type, which moves an exponent by up to 8 half steps.
					if math.Abs(g-want[i]) > 16*ulp(d)*math.Max(math.Abs(want[i]), 1e-3) {
						t.Fatalf("%s in %s: element %d is %v, want %v", op, d, i, g, want[i])
					}
				}
			}
		}
	}
	check1(t, "Hardmax", node{op: "Hardmax", dies: true}.must(t, f32([]int{rows, n}, x...)), tensor.Float32, []int{rows, n}, 0, hard...)
}

func TestSoftmaxAxes(t *testing.T) {
	third, half := 1.0/3, 0.5
	zeros := func(shape ...int) *kernel.Tensor { return f32(shape, make([]float64, kernel.Count(shape))...) }
	f := tensor.Float32
	check1(t, "axis -1", node{op: "Softmax"}.must(t, zeros(1, 3)), f, []int{1, 3}, 1e-6, third, third, third)
	check1(t, "axis 0", node{op: "Softmax", attrs: attr(graph.Int("axis", 0))}.must(t, zeros(2, 1, 2)), f, []int{2, 1, 2}, 0, half, half, half, half)
	check1(t, "flat", node{op: "Softmax", opset: 11}.must(t, zeros(1, 2, 2)), f, []int{1, 2, 2}, 0, 0.25, 0.25, 0.25, 0.25)
	check1(t, "flat to the end", node{op: "Softmax", opset: 11, attrs: attr(graph.Int("axis", 2))}.must(t, zeros(1, 2, 2)), f, []int{1, 2, 2}, 0, half, half, half, half)
	check1(t, "log", node{op: "LogSoftmax", attrs: attr(graph.Int("axis", 0))}.must(t, zeros(2, 2)), f, []int{2, 2}, 1e-6, -math.Ln2, -math.Ln2, -math.Ln2, -math.Ln2)
	check1(t, "hard, first of equals", node{op: "Hardmax"}.must(t, f32(nil, 1, 3, 3, 2)), f, nil, 0, 0, 1, 0, 0)
	check1(t, "masked", node{op: "Softmax"}.must(t, f32(nil, 0, -inf, 0, -3e38)), f, nil, 0, half, 0, half, 0)
	check1(t, "NaN", node{op: "Softmax"}.must(t, f32(nil, 0, nan)), f, nil, 0, nan, nan)
	check1(t, "all masked", node{op: "Softmax"}.must(t, f32(nil, -inf, -inf)), f, nil, 0, nan, nan)
	check1(t, "nothing", node{op: "Softmax"}.must(t, f32([]int{2, 0})), f, []int{2, 0}, 0)
	node{op: "Softmax", attrs: attr(graph.Int("axis", 3))}.fails(t, "axis 3", zeros(2, 2))
	node{op: "Softmax"}.fails(t, "input 0 is int64", i64(1))
}
