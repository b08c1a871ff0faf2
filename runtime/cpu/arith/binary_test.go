package arith

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// sequence is n numbers that repeat late.
func sequence(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(i*7%31) - 15.5
	}
	return v
}

// TestArithmeticBroadcasts holds the loops against an index calculation, in every float type, with and without reuse of memory.
func TestArithmeticBroadcasts(t *testing.T) {
	ops := map[string]func(a, b float64) float64{
		"Add": func(a, b float64) float64 { return a + b },
		"Sub": func(a, b float64) float64 { return a - b },
		"Mul": func(a, b float64) float64 { return a * b },
		"Div": func(a, b float64) float64 { return a / b },
		"Max": math.Max,
		"Min": math.Min,
	}
	shapes := [][2][]int{{{5}, {5}}, {{3, 5}, {5}}, {{5}, {3, 5}}, {{3, 5}, {3, 1}}, {{}, {7}}, {{2, 1, 3}, {4, 1}}, {{1, 1}, {1}},
		{{3, 1500}, {1500}}, {{3, 1500}, {3, 1}}, {{2, 300}, {2, 300}}, {{20, 1000}, {1}}, {{0, 3}, {3}}}
	for op, f := range ops {
		for _, s := range shapes {
			a, b := sequence(kernel.Count(s[0])), sequence(kernel.Count(s[1]) + 3)[3:]
			out, err := kernel.Broadcast(s[0], s[1])
			if err != nil {
				t.Fatal(err)
			}
			sa, sb, so := kernel.BroadcastStrides(s[0], out), kernel.BroadcastStrides(s[1], out), kernel.Strides(out)
			for _, d := range floatTypes {
				want := make([]float64, kernel.Count(out))
				for i := range want {
					x, y := 0, 0
					for k := range out {
						at := i / so[k] % out[k]
						x, y = x+at*sa[k], y+at*sb[k]
					}
					want[i] = f(a[x], b[y])
				}
				want = rounded(d, want...)
				for _, dies := range []bool{false, true} {
					got := node{op: op, dies: dies}.must(t, of(d, s[0], a...), of(d, s[1], b...))
					check1(t, op, got, d, out, ulp(d)/2, want...)
				}
			}
		}
	}
}

func TestIntegersOfTwoOperands(t *testing.T) {
	i32, u8 := tensor.Int32, tensor.Uint8
	tests := []struct {
		name       string
		n          node
		d          tensor.DType
		a, b, want []float64
	}{
		{"addition wraps", node{op: "Add"}, tensor.Int8, []float64{127, -128}, []float64{1, -1}, []float64{-128, 127}},
		{"multiplication wraps", node{op: "Mul"}, u8, []float64{16, 3}, []float64{16, 5}, []float64{0, 15}},
		{"subtraction wraps", node{op: "Sub"}, u8, []float64{3}, []float64{5}, []float64{254}},
		{"division truncates", node{op: "Div"}, i32, []float64{-7, 7, -7, 7}, []float64{2, -2, -2, 2}, []float64{-3, -3, 3, 3}},
		{"division by zero is 0", node{op: "Div"}, i32, []float64{7, -7}, []float64{0, 0}, []float64{0, 0}},
		{"division of the least by -1 wraps", node{op: "Div"}, tensor.Int8, []float64{-128}, []float64{-1}, []float64{-128}},
		{"mod has the divisor's sign", node{op: "Mod"}, i32, []float64{-4, 7, 5, 4, -7, 8, 6}, []float64{2, -3, 8, -2, 3, 5, 0},
			[]float64{0, -2, 5, 0, 2, 3, 0}},
		{"fmod has the dividend's sign", node{op: "Mod", attrs: attr(graph.Int("fmod", 1))}, i32, []float64{-4, 7, 5, 4, -7, 8},
			[]float64{2, -3, 8, -2, 3, 5}, []float64{0, 1, 5, 0, -1, 3}},
		{"unsigned mod", node{op: "Mod"}, tensor.Uint64, []float64{4, 7, 5}, []float64{2, 3, 8}, []float64{0, 1, 5}},
		{"fmod of floats", node{op: "Mod", attrs: attr(graph.Int("fmod", 1))}, tensor.Float32, []float64{-4.25, 7.5, inf, 3, nan, 5},
			[]float64{2, -3, 2, inf, 2, 0}, []float64{-0.25, 1.5, nan, 3, nan, nan}},
		{"max of int64", node{op: "Max"}, tensor.Int64, []float64{-5, 9}, []float64{-7, 10}, []float64{-5, 10}},
		{"and", node{op: "BitwiseAnd"}, i32, []float64{12, -1}, []float64{10, 7}, []float64{8, 7}},
		{"or", node{op: "BitwiseOr"}, i32, []float64{12, -1}, []float64{10, 7}, []float64{14, -1}},
		{"xor", node{op: "BitwiseXor"}, i32, []float64{12, -1}, []float64{10, 7}, []float64{6, -8}},
		{"shift left", node{op: "BitShift", attrs: attr(graph.Str("direction", "LEFT"))}, u8, []float64{16, 200, 1}, []float64{1, 1, 9},
			[]float64{32, 144, 0}},
		{"shift right", node{op: "BitShift", attrs: attr(graph.Str("direction", "RIGHT"))}, u8, []float64{16, 200}, []float64{1, 3},
			[]float64{8, 25}},
		{"logical and", node{op: "And"}, tensor.Bool, []float64{0, 0, 1, 1}, []float64{0, 1, 0, 1}, []float64{0, 0, 0, 1}},
		{"logical or", node{op: "Or"}, tensor.Bool, []float64{0, 0, 1, 1}, []float64{0, 1, 0, 1}, []float64{0, 1, 1, 1}},
		{"logical xor", node{op: "Xor"}, tensor.Bool, []float64{0, 0, 1, 1}, []float64{0, 1, 0, 1}, []float64{0, 1, 1, 0}},
		{"prelu of integers", node{op: "PRelu"}, i32, []float64{-3, 4}, []float64{2, 2}, []float64{-6, 4}},
	}
	for _, tt := range tests {
		check1(t, tt.name, tt.n.must(t, of(tt.d, nil, tt.a...), of(tt.d, nil, tt.b...)), tt.d, nil, 0, tt.want...)
	}
}

func TestNaNInMaxAndMin(t *testing.T) {
	for _, d := range floatTypes {
		a, b := of(d, nil, nan, 1, nan, inf, -inf), of(d, nil, 1, nan, nan, 2, 2)
		check1(t, "Max", node{op: "Max"}.must(t, a, b), d, nil, 0, nan, nan, nan, inf, 2)
		check1(t, "Min", node{op: "Min"}.must(t, a, b), d, nil, 0, nan, nan, nan, 2, -inf)
	}
}

func TestVariadicOperators(t *testing.T) {
	a, b, c := []float64{1, 2, 3}, []float64{10, 20, 30}, []float64{0.5}
	for _, d := range floatTypes {
		x, y, z := of(d, nil, a...), of(d, nil, b...), of(d, []int{1, 1}, c...)
		for _, dies := range []bool{false, true} {
			check1(t, "Sum", node{op: "Sum", dies: dies}.must(t, x, y, z), d, []int{1, 3}, 0, 11.5, 22.5, 33.5)
			check1(t, "Max", node{op: "Max", dies: dies}.must(t, z, x, y), d, []int{1, 3}, 0, 10, 20, 30)
			check1(t, "Min", node{op: "Min", dies: dies}.must(t, x, y, z), d, []int{1, 3}, 0, 0.5, 0.5, 0.5)
		}
		check1(t, "Mean", node{op: "Mean"}.must(t, x, y), d, nil, 0, 5.5, 11, 16.5)
		check1(t, "Sum of one", node{op: "Sum"}.must(t, x), d, nil, 0, 1, 2, 3)
	}
	// 2048 + 1 + 1 is 2050 when float16 is rounded once, 2048 when after each addition.
	h := tensor.Float16
	check1(t, "Sum", node{op: "Sum"}.must(t, of(h, nil, 2048), of(h, nil, 1), of(h, nil, 1)), h, nil, 0, 2050)
	check1(t, "Max", node{op: "Max"}.must(t, of(tensor.Uint8, nil, 3), of(tensor.Uint8, nil, 200), of(tensor.Uint8, nil, 4)),
		tensor.Uint8, nil, 0, 200)
	node{op: "Sum"}.fails(t, "input 0 is int32", of(tensor.Int32, nil, 3), of(tensor.Int32, nil, 3))
	node{op: "Max"}.fails(t, "input 1 is float64, want float32 like input 0", f32(nil, 3), of(tensor.Float64, nil, 3))
}

func TestComparisons(t *testing.T) {
	a, b := []float64{1, 2, 3, nan, inf, minus0}, []float64{2, 2, 2, nan, inf, 0}
	want := map[string][]float64{
		"Equal":          {0, 1, 0, 0, 1, 1},
		"Less":           {1, 0, 0, 0, 0, 0},
		"LessOrEqual":    {1, 1, 0, 0, 1, 1},
		"Greater":        {0, 0, 1, 0, 0, 0},
		"GreaterOrEqual": {0, 1, 1, 0, 1, 1},
	}
	for op, w := range want {
		for _, d := range floatTypes {
			check1(t, op, node{op: op}.must(t, of(d, nil, a...), of(d, nil, b...)), tensor.Bool, nil, 0, w...)
		}
		for _, d := range []tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64} {
			got := node{op: op, dies: true}.must(t, of(d, nil, a[:3]...), of(d, []int{1}, 2))
			check1(t, op, got, tensor.Bool, nil, 0, w[:3]...)
		}
	}
	check1(t, "Equal", node{op: "Equal"}.must(t, words("a", "b", ""), words("a")), tensor.Bool, nil, 0, 1, 0, 0)
	check1(t, "Equal", node{op: "Equal"}.must(t, of(tensor.Bool, nil, 0, 1), of(tensor.Bool, nil, 1, 1)), tensor.Bool, nil, 0, 0, 1)
	node{op: "Less"}.fails(t, "input 0 is string", words("a"), words("b"))
	// Beyond what a float64 tells apart.
	big := kernel.FromSlice(tensor.Int64, []int{2}, []int64{1<<62 + 1, 1 << 62})
	next := kernel.FromSlice(tensor.Int64, []int{2}, []int64{1 << 62, 1 << 62})
	check1(t, "Equal", node{op: "Equal"}.must(t, big, next), tensor.Bool, nil, 0, 0, 1)
}

func TestPow(t *testing.T) {
	f, i32, i := tensor.Float32, tensor.Int32, tensor.Int64
	tests := []struct {
		name       string
		base, exp  tensor.DType
		a, b, want []float64
	}{
		{"floats", f, f, []float64{1, 2, 3, 4}, []float64{4, 5, 6, -1}, []float64{1, 32, 729, 0.25}},
		{"square", f, f, []float64{-3, nan, inf, 1e30}, []float64{2}, []float64{9, nan, inf, inf}},
		{"cube", tensor.Float64, f, []float64{-3, 0.5, 1, 2}, []float64{3}, []float64{-27, 0.125, 1, 8}},
		{"root", f, f, []float64{minus0, 2.25, -1, -inf}, []float64{0.5}, []float64{0, 1.5, nan, inf}},
		{"float to int", f, i, []float64{1, 2, 3, 2}, []float64{4, 5, 6, -2}, []float64{1, 32, 729, 0.25}},
		{"float to uint", f, tensor.Uint32, []float64{1.5, 2}, []float64{2, 3}, []float64{2.25, 8}},
		{"int to float", i32, f, []float64{2, 3, 10}, []float64{0.5, 2, -1}, []float64{1, 9, 0}},
		{"int to int", i, i, []float64{-2, 3, 2, 1, -1, -1, 7}, []float64{3, 4, -1, -5, -3, -4, 0}, []float64{-8, 81, 0, 1, -1, 1, 1}},
		{"int wraps", i32, i32, []float64{2}, []float64{33}, []float64{0}},
		{"half", tensor.Float16, f, []float64{3, 2}, []float64{2, 0.5}, []float64{9, 1.4142135}},
		{"zero to zero", f, f, []float64{0, nan}, []float64{0, 0}, []float64{1, 1}},
		{"float16 exponent", f, tensor.Float16, []float64{2, 3}, []float64{3, 2}, []float64{8, 9}},
	}
	for _, tt := range tests {
		for _, dies := range []bool{false, true} {
			got := node{op: "Pow", dies: dies}.must(t, of(tt.base, nil, tt.a...), of(tt.exp, nil, tt.b...))
			check1(t, tt.name, got, tt.base, nil, ulp(tensor.Float16), tt.want...)
		}
	}
	got := node{op: "Pow"}.must(t, f32([]int{2, 1}, 2, 3), of(i, nil, 1, 2))
	check1(t, "broadcast", got, f, []int{2, 2}, 0, 2, 4, 3, 9)
	node{op: "Pow"}.fails(t, "input 1 is string", f32(nil, 1), words("2"))
}

func TestWhere(t *testing.T) {
	cond := of(tensor.Bool, []int{2, 1}, 1, 0)
	for _, d := range []tensor.DType{tensor.Float32, tensor.Int64, tensor.Uint8, tensor.Float16, tensor.Bool, tensor.Float8E4M3FN} {
		for _, dies := range []bool{false, true} {
			got := node{op: "Where", dies: dies}.must(t, cond, of(d, nil, 1, 1, 0), of(d, []int{1}, 0))
			check1(t, "Where", got, d, []int{2, 3}, 0, 1, 1, 0, 0, 0, 0)
			got = node{op: "Where", dies: dies}.must(t, cond, of(d, []int{}, 1), of(d, []int{2, 3}, 0, 1, 0, 1, 0, 1))
			check1(t, "Where", got, d, []int{2, 3}, 0, 1, 1, 1, 1, 0, 1)
		}
	}
	got := node{op: "Where"}.must(t, of(tensor.Bool, nil, 1, 0), words("a", "b"), words("c"))
	if got.Strings[0] != "a" || got.Strings[1] != "c" {
		t.Errorf("strings: %q", got.Strings)
	}
	z := kernel.FromSlice(tensor.Complex128, []int{2}, []complex128{1i, 2})
	if got := (node{op: "Where"}).must(t, of(tensor.Bool, nil, 0, 1), z, z); kernel.Of[complex128](got)[0] != 1i {
		t.Errorf("complex: %v", kernel.Of[complex128](got))
	}
	node{op: "Where"}.fails(t, "input 0 is float32, want bool", f32(nil, 1), f32(nil, 1), f32(nil, 1))
	node{op: "Where"}.fails(t, "input 2 is int64, want float32 like input 1", cond, f32(nil, 1), i64(1))
	node{op: "Where"}.fails(t, "do not broadcast", cond, f32(nil, 1, 2, 3), f32(nil, 1, 2))
}

func TestClip(t *testing.T) {
	for _, d := range floatTypes {
		x := of(d, nil, -5, 0.5, 5, nan, inf, -inf)
		for _, dies := range []bool{false, true} {
			n := node{op: "Clip", dies: dies}
			check1(t, "both", n.must(t, x, of(d, []int{}, -1), of(d, []int{}, 2)), d, nil, 0, -1, 0.5, 2, nan, 2, -1)
			check1(t, "lower", n.must(t, x, of(d, []int{}, -1)), d, nil, 0, -1, 0.5, 5, nan, inf, -1)
			check1(t, "upper", n.must(t, x, nil, of(d, []int{}, 2)), d, nil, 0, -5, 0.5, 2, nan, 2, -inf)
			check1(t, "crossed", n.must(t, x, of(d, []int{}, 3), of(d, []int{}, 2)), d, nil, 0, 2, 2, 2, nan, 2, 2)
			check1(t, "none", n.must(t, x), d, nil, 0, -5, 0.5, 5, nan, inf, -inf)
			check1(t, "bound that is NaN", n.must(t, x, of(d, []int{}, nan)), d, nil, 0, -5, 0.5, 5, nan, inf, -inf)
		}
		old := node{op: "Clip", opset: 6, attrs: attr(graph.Float("min", -1), graph.Float("max", 2))}
		check1(t, "attributes", old.must(t, x), d, nil, 0, -1, 0.5, 2, nan, 2, -1)
	}
	for _, d := range []tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64} {
		check1(t, "Clip", node{op: "Clip"}.must(t, of(d, nil, -5, 0, 5), of(d, []int{}, -1), of(d, []int{1}, 2)), d, nil, 0, -1, 0, 2)
		check1(t, "Clip", node{op: "Clip"}.must(t, of(d, nil, -5, 0, 5), nil, of(d, []int{}, 2)), d, nil, 0, -5, 0, 2)
	}
	for _, d := range []tensor.DType{tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64} {
		check1(t, "Clip", node{op: "Clip"}.must(t, of(d, nil, 1, 5, 9), of(d, []int{}, 3), nil), d, nil, 0, 3, 5, 9)
	}
	node{op: "Clip"}.fails(t, "input 1 is int32, want float32", f32(nil, 1), of(tensor.Int32, []int{}, 1))
	node{op: "Clip"}.fails(t, "want a scalar", f32(nil, 1), f32(nil, 1, 2))
	node{op: "Clip", attrs: attr(graph.Float("min", 0))}.fails(t, `attribute "min" is not known`, f32(nil, 1))
}

// TestBroadcastBeforeOpset7 has the attributes broadcast and axis.
func TestBroadcastBeforeOpset7(t *testing.T) {
	a := f32([]int{2, 3, 2}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	n := node{op: "Add", opset: 6, attrs: attr(graph.Int("broadcast", 1), graph.Int("axis", 1))}
	check1(t, "axis 1", n.must(t, a, f32(nil, 0, 100, 200)), tensor.Float32, []int{2, 3, 2}, 0,
		0, 1, 102, 103, 204, 205, 6, 7, 108, 109, 210, 211)
	n.fails(t, "does not broadcast", a, f32([]int{3, 2, 2}, make([]float64, 12)...))
	n.attrs = attr(graph.Int("broadcast", 1))
	check1(t, "suffix", n.must(t, a, f32(nil, 0, 100)), tensor.Float32, []int{2, 3, 2}, 0,
		0, 101, 2, 103, 4, 105, 6, 107, 8, 109, 10, 111)
	node{op: "Add", attrs: attr(graph.Int("broadcast", 1))}.fails(t, `attribute "broadcast" is not known`, a, a)
}

func TestPRelu(t *testing.T) {
	x := f32([]int{1, 2, 2}, -1, 2, -3, nan)
	check1(t, "per channel", node{op: "PRelu"}.must(t, x, f32([]int{2, 1}, 0.5, 2)), tensor.Float32, []int{1, 2, 2}, 0, -0.5, 2, -6, nan)
	for _, d := range floatTypes {
		x := of(d, nil, -2, minus0, 0, 3, nan, inf, -inf, -1, 1)
		got := node{op: "PRelu"}.must(t, x, of(d, nil, 0.5, 2, 2, nan, 1, -inf, 0.5, inf, inf))
		check1(t, "edges", got, d, nil, 0, -1, minus0, 0, 3, nan, inf, -inf, -inf, 1)
	}
	check1(t, "opset 6", node{op: "PRelu", opset: 6}.must(t, x, f32(nil, 0.5, 2)), tensor.Float32, []int{1, 2, 2}, 0, -0.5, 2, -6, nan)
	node{op: "PRelu"}.fails(t, "slope [3,1,1] does not broadcast to [1,2,2]", x, f32([]int{3, 1, 1}, 1, 2, 3))
}

func TestBinaryErrors(t *testing.T) {
	node{op: "Add"}.fails(t, "shapes [2] and [3] do not broadcast", f32(nil, 1, 2), f32(nil, 1, 2, 3))
	node{op: "Add"}.fails(t, "input 1 is int64, want float32 like input 0", f32(nil, 1), i64(1))
	node{op: "Add"}.fails(t, "input 0 is bool", of(tensor.Bool, nil, 1), of(tensor.Bool, nil, 1))
	node{op: "Add"}.fails(t, "input 1 is missing", f32(nil, 1))
	node{op: "Mod"}.fails(t, `needs attribute "fmod" to be 1`, f32(nil, 1), f32(nil, 1))
	node{op: "BitwiseAnd"}.fails(t, "input 0 is float32", f32(nil, 1), f32(nil, 1))
	node{op: "BitShift", attrs: attr(graph.Str("direction", "UP"))}.fails(t, `"UP", want "LEFT" or "RIGHT"`)
	node{op: "And"}.fails(t, "input 0 is uint8", of(tensor.Uint8, nil, 1), of(tensor.Uint8, nil, 1))
}

func TestMaxAndMinOfEveryType(t *testing.T) {
	for _, d := range orderedTypes {
		a, b, c := of(d, nil, 1, 9, 3), of(d, nil, 4, 2, 3), of(d, []int{1}, 5)
		check1(t, "Max", node{op: "Max"}.must(t, a, b, c), d, nil, 0, 5, 9, 5)
		check1(t, "Min", node{op: "Min"}.must(t, a, b, c), d, nil, 0, 1, 2, 3)
		check1(t, "Mul", node{op: "Mul"}.must(t, a, b), d, nil, 0, 4, 18, 9)
		check1(t, "Div", node{op: "Div"}.must(t, of(d, nil, 8, 9), of(d, nil, 2, 3)), d, nil, 0, 4, 3)
		check1(t, "Pow", node{op: "Pow"}.must(t, a, of(tensor.Int32, []int{}, 2)), d, nil, 0, 1, 81, 9)
		check1(t, "Pow", node{op: "Pow"}.must(t, a, f32([]int{}, 1)), d, nil, 0, 1, 9, 3)
		check1(t, "ReduceMax", node{op: "ReduceMax"}.must(t, a), d, []int{1}, 0, 9)
		check1(t, "ReduceMin", node{op: "ReduceMin"}.must(t, a), d, []int{1}, 0, 1)
	}
	node{op: "Max"}.fails(t, "input 0 is bool", of(tensor.Bool, nil, 1), of(tensor.Bool, nil, 1))
	node{op: "Pow"}.fails(t, "input 0 is bool", of(tensor.Bool, nil, 1), i64(1))
	node{op: "CumSum"}.fails(t, "input 0 is int8", of(tensor.Int8, nil, 1), i64(0))
	node{op: "LpNormalization"}.fails(t, "input 0 is int8", of(tensor.Int8, nil, 1))
	node{op: "Bernoulli"}.fails(t, "input 0 is int8", of(tensor.Int8, nil, 1))
}
