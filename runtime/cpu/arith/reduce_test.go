package arith

import (
	"fmt"
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// plainly are the Reduce operators by their formulas, on the elements that belong together.
var plainly = map[string]func(v []float64) float64{
	"ReduceSum":       total,
	"ReduceMean":      func(v []float64) float64 { return total(v) / float64(len(v)) },
	"ReduceProd":      func(v []float64) float64 { return folded(v, 1, func(a, b float64) float64 { return a * b }) },
	"ReduceMax":       func(v []float64) float64 { return folded(v, -inf, math.Max) },
	"ReduceMin":       func(v []float64) float64 { return folded(v, inf, math.Min) },
	"ReduceL1":        func(v []float64) float64 { return folded(v, 0, func(a, b float64) float64 { return a + math.Abs(b) }) },
	"ReduceL2":        func(v []float64) float64 { return math.Sqrt(squares(v)) },
	"ReduceSumSquare": squares,
	"ReduceLogSum":    func(v []float64) float64 { return math.Log(total(v)) },
	"ReduceLogSumExp": func(v []float64) float64 {
		return math.Log(folded(v, 0, func(a, b float64) float64 { return a + math.Exp(b) }))
	},
}

func folded(v []float64, a float64, f func(a, b float64) float64) float64 {
	for _, x := range v {
		a = f(a, x)
	}
	return a
}

func total(v []float64) float64 {
	return folded(v, 0, func(a, b float64) float64 { return a + b })
}

func squares(v []float64) float64 {
	return folded(v, 0, func(a, b float64) float64 { return a + b*b })
}

// groups are the elements that belong to each result.
func groups(v []float64, shape []int, gone map[int]bool) [][]float64 {
	var kept []int
	for i, d := range shape {
		if !gone[i] {
			kept = append(kept, d)
		}
	}
	out := make([][]float64, kernel.Count(kept))
	strides := kernel.Strides(shape)
	for i, x := range v {
		at := 0
		for k, d := range shape {
			if !gone[k] {
				at = at*d + i/strides[k]%d
			}
		}
		out[at] = append(out[at], x)
	}
	return out
}

func TestReductionsFollowTheirFormulas(t *testing.T) {
	cases := []struct {
		shape []int
		axes  []int64
	}{
		{[]int{5}, []int64{0}},
		{[]int{3, 4}, []int64{1}},
		{[]int{3, 4}, []int64{0}},
		{[]int{3, 4}, []int64{-2, -1}},
		{[]int{2, 3, 4}, []int64{1}},
		{[]int{2, 3, 4}, []int64{0, 2}},
		{[]int{2, 3, 1, 4}, []int64{1, 2}},
		{[]int{2, 3, 2, 3}, []int64{0, 2}},
		{[]int{2, 3, 2, 3}, []int64{1, 3}},
		{[]int{2, 1, 3}, []int64{1}},
		{[]int{3, 1100}, []int64{0}},
		{[]int{2, 9000}, []int64{1}},
		{[]int{4200, 3}, []int64{0}},
		{[]int{20000}, []int64{0}},
	}
	for op, f := range plainly {
		for _, c := range cases {
			n := kernel.Count(c.shape)
			x := make([]float64, n)
			for i := range x {
				x[i] = float64(i*7%16+1) / 8
				if op == "ReduceProd" {
					x[i] = 1 + float64(i*7%5-2)/1024
				}
			}
			gone, shape := map[int]bool{}, []int{}
			for _, a := range c.axes {
				gone[int(a+int64(len(c.shape)))%len(c.shape)] = true
			}
			for i, d := range c.shape {
				if gone[i] {
					d = 1
				}
				shape = append(shape, d)
			}
			axes := kernel.FromSlice(tensor.Int64, []int{len(c.axes)}, c.axes)
			for _, d := range floatTypes {
				in := rounded(d, x...)
				var want []float64
				for _, g := range groups(in, c.shape, gone) {
					want = append(want, f(g))
				}
				want = rounded(d, want...)
				got := node{op: op}.must(t, of(d, c.shape, x...), axes)
				check1(t, fmt.Sprint(op, c.shape, c.axes), got, d, shape, 8*ulp(d), want...)
			}
		}
	}
}

func TestReduceFormsOfOpsets(t *testing.T) {
	x := f32([]int{2, 3}, 1, 2, 3, 4, 5, 6)
	f := tensor.Float32
	old := node{op: "ReduceSum", opset: 11, attrs: attr(graph.Ints("axes", 1), graph.Int("keepdims", 0))}
	check1(t, "axes attribute", old.must(t, x), f, []int{2}, 0, 6, 15)
	check1(t, "mean 17", node{op: "ReduceMean", opset: 17, attrs: attr(graph.Ints("axes", -2))}.must(t, x), f, []int{1, 3}, 0, 2.5, 3.5, 4.5)
	check1(t, "mean 18", node{op: "ReduceMean", opset: 18}.must(t, x, i64(0)), f, []int{1, 3}, 0, 2.5, 3.5, 4.5)
	check1(t, "all", node{op: "ReduceSum"}.must(t, x), f, []int{1, 1}, 0, 21)
	check1(t, "all, dropped", node{op: "ReduceSum", attrs: attr(graph.Int("keepdims", 0))}.must(t, x, nil), f, []int{}, 0, 21)
	noop := attr(graph.Int("noop_with_empty_axes", 1))
	check1(t, "none", node{op: "ReduceSum", attrs: noop}.must(t, x, i64()), f, []int{2, 3}, 0, 1, 2, 3, 4, 5, 6)
	check1(t, "none, squared", node{op: "ReduceSumSquare", attrs: noop}.must(t, x), f, []int{2, 3}, 0, 1, 4, 9, 16, 25, 36)
	check1(t, "scalar", node{op: "ReduceMax"}.must(t, f32([]int{}, 7)), f, []int{}, 0, 7)
	node{op: "ReduceMean", opset: 18, attrs: attr(graph.Ints("axes", 1))}.fails(t, `attribute "axes" is not known`, x)
	node{op: "ReduceMean"}.fails(t, "axis 2, want -2 to 1", x, i64(2))
	node{op: "ReduceMean"}.fails(t, "axis 1 is named twice", x, i64(1, -1))
	node{op: "ReduceSum"}.fails(t, "input 0 is int8", of(tensor.Int8, nil, 1))
}

func TestReduceOfNothing(t *testing.T) {
	want := map[string]float64{"ReduceSum": 0, "ReduceMean": nan, "ReduceProd": 1, "ReduceMax": -inf, "ReduceMin": inf, "ReduceL1": 0,
		"ReduceL2": 0, "ReduceSumSquare": 0, "ReduceLogSum": -inf, "ReduceLogSumExp": -inf}
	for op, w := range want {
		for _, d := range floatTypes {
			check1(t, op, node{op: op}.must(t, of(d, []int{2, 0, 2}), i64(1)), d, []int{2, 1, 2}, 0, w, w, w, w)
			check1(t, op, node{op: op}.must(t, of(d, []int{2, 0}), i64(0)), d, []int{1, 0}, 0)
		}
	}
	i32 := tensor.Int32
	check1(t, "max", node{op: "ReduceMax"}.must(t, of(i32, []int{0}), i64(0)), i32, []int{1}, 0, math.MinInt32)
	check1(t, "min", node{op: "ReduceMin"}.must(t, of(tensor.Uint8, []int{0}), i64(0)), tensor.Uint8, []int{1}, 0, 255)
	check1(t, "max", node{op: "ReduceMax"}.must(t, of(tensor.Bool, []int{0}), i64(0)), tensor.Bool, []int{1}, 0, 0)
	check1(t, "mean", node{op: "ReduceMean"}.must(t, of(i32, []int{0}), i64(0)), i32, []int{1}, 0, 0)
}

func TestReduceOfIntegers(t *testing.T) {
	for _, d := range []tensor.DType{tensor.Int32, tensor.Int64} {
		x := of(d, nil, -3, 4, 7)
		for op, w := range map[string]float64{"ReduceSum": 8, "ReduceMean": 2, "ReduceProd": -84, "ReduceMax": 7, "ReduceMin": -3,
			"ReduceL1": 14, "ReduceL2": 8, "ReduceSumSquare": 74, "ReduceLogSum": 2, "ReduceLogSumExp": 7} {
			check1(t, op, node{op: op}.must(t, x), d, []int{1}, 0, w)
		}
	}
	check1(t, "wraps", node{op: "ReduceSum"}.must(t, of(tensor.Int32, nil, math.MaxInt32, 1)), tensor.Int32, []int{1}, 0, math.MinInt32)
	b := of(tensor.Bool, []int{2, 2}, 0, 1, 0, 0)
	check1(t, "any", node{op: "ReduceMax"}.must(t, b, i64(1)), tensor.Bool, []int{2, 1}, 0, 1, 0)
	check1(t, "all", node{op: "ReduceMin"}.must(t, b, i64(1)), tensor.Bool, []int{2, 1}, 0, 0, 0)
}

// TestNaNSurvivesReductions puts NaN at every place of rows that fill vectors and of such that do not, in the middle of infinities.
func TestNaNSurvivesReductions(t *testing.T) {
	for _, d := range floatTypes {
		for _, n := range []int{1, 3, 16, 37} {
			for at := range n {
				x := make([]float64, n)
				for i := range x {
					x[i] = []float64{inf, 1, -inf}[i%3]
				}
				x[at] = nan
				for op := range plainly {
					check1(t, op, node{op: op}.must(t, of(d, []int{1, n}, x...), i64(1)), d, []int{1, 1}, 0, nan)
					check1(t, op, node{op: op}.must(t, of(d, []int{n, 1, 1}, x...), i64(0)), d, []int{1, 1, 1}, 0, nan)
				}
			}
		}
		x := of(d, []int{3, 2}, 1, 2, nan, 3, 4, 5)
		check1(t, "columns", node{op: "ReduceMax"}.must(t, x, i64(0)), d, []int{1, 2}, 0, nan, 5)
		check1(t, "columns", node{op: "ReduceLogSumExp"}.must(t, of(d, []int{2, 2}, inf, -inf, 1, -inf), i64(0)), d, []int{1, 2}, 0, inf, -inf)
	}
}

// TestRowsDoNotKnowEachOther says that a result is the same bits whatever else is computed, on however many threads.
func TestRowsDoNotKnowEachOther(t *testing.T) {
	const rows, n = 7, 20001
	x := make([]float64, rows*n)
	for i := range x {
		x[i] = math.Sin(float64(i))
	}
	for op := range plainly {
		for _, d := range []tensor.DType{tensor.Float32, tensor.Float16} {
			all := of(d, []int{rows, n}, x...)
			one := values(node{op: op, threads: 1}.must(t, all, i64(1)))
			many := values(node{op: op, threads: 3}.must(t, all, i64(1)))
			size := kernel.ElemSize(d)
			for r := range rows {
				row := &kernel.Tensor{DType: d, Shape: []int{1, n}, Bytes: all.Bytes[r*n*size : (r+1)*n*size]}
				alone := values(node{op: op, threads: 4}.must(t, row, i64(1)))
				if g := alone[0]; !(g == one[r] && g == many[r]) && !math.IsNaN(g) {
					t.Errorf("%s in %s: row %d is %v alone, %v on one thread, %v on three", op, d, r, g, one[r], many[r])
				}
			}
			one = values(node{op: op, threads: 1}.must(t, &kernel.Tensor{DType: d, Shape: []int{n, rows}, Bytes: all.Bytes}, i64(0)))
			many = values(node{op: op, threads: 3}.must(t, &kernel.Tensor{DType: d, Shape: []int{n, rows}, Bytes: all.Bytes}, i64(0)))
			for r := range rows {
				if one[r] != many[r] && !math.IsNaN(one[r]) {
					t.Errorf("%s in %s: column %d is %v on one thread, %v on three", op, d, r, one[r], many[r])
				}
			}
		}
	}
}
