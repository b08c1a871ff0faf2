package arith

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// numbers are all types that Cast knows, strings apart.
var numbers = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Float8E4M3FN, tensor.Float8E4M3FZ,
	tensor.Float8E5M2, tensor.Float8E5M2FZ, tensor.Float8E8M0, tensor.Float4E2M1, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64,
	tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64, tensor.Bool, tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2}

func castNode(to tensor.DType, more ...*graph.Attribute) node {
	return node{op: "Cast", attrs: append(more, graph.Int("to", int64(to)))}
}

// TestCastOfEveryPair casts 1 back and forth, which every type holds.
func TestCastOfEveryPair(t *testing.T) {
	for _, from := range numbers {
		x := of(from, nil, 1, 1, 1)
		for _, to := range numbers {
			check1(t, from.String()+" to "+to.String(), castNode(to).must(t, x), to, nil, 0, 1, 1, 1)
			like := node{op: "CastLike"}.must(t, x, of(to, []int{1}, 1))
			check1(t, from.String()+" like "+to.String(), like, to, nil, 0, 1, 1, 1)
		}
		s := castNode(tensor.String).must(t, x)
		back := castNode(from).must(t, s)
		check1(t, "string to "+from.String(), back, from, nil, 0, 1, 1, 1)
	}
}

func TestCastValues(t *testing.T) {
	tests := []struct {
		name     string
		from, to tensor.DType
		in, want []float64
	}{
		{"fractions are dropped", tensor.Float32, tensor.Int32, []float64{-1.9, 1.9, 0.5}, []float64{-1, 1, 0}},
		{"out of range is the least", tensor.Float32, tensor.Int32, []float64{3e9, -3e9, nan, inf}, []float64{math.MinInt32, math.MinInt32, math.MinInt32, math.MinInt32}},
		{"out of range of int64", tensor.Float64, tensor.Int64, []float64{1e19, nan}, []float64{math.MinInt64, math.MinInt64}},
		{"large unsigned", tensor.Float64, tensor.Uint64, []float64{0x1p63, 3.7}, []float64{0x1p63, 3}},
		{"floats keep lower bits", tensor.Float32, tensor.Int8, []float64{200, -129.5}, []float64{-56, 127}},
		{"integers keep lower bits", tensor.Int16, tensor.Int8, []float64{200, -129}, []float64{-56, 127}},
		{"negative to unsigned", tensor.Int8, tensor.Uint16, []float64{-1}, []float64{65535}},
		{"int4 keeps four bits", tensor.Float32, tensor.Int4, []float64{-8, 7, 8, -9, 17}, []float64{-8, 7, -8, 7, 1}},
		{"uint4 keeps four bits", tensor.Int32, tensor.Uint4, []float64{-1, 15, 16}, []float64{15, 15, 0}},
		{"int2 keeps two bits", tensor.Int32, tensor.Int2, []float64{-2, 1, 2, 3}, []float64{-2, 1, -2, -1}},
		{"uint2 keeps two bits", tensor.Float16, tensor.Uint2, []float64{3, 4, 1.5}, []float64{3, 0, 1}},
		{"bool is not zero", tensor.Float32, tensor.Bool, []float64{0, minus0, 0.25, nan, -3}, []float64{0, 0, 1, 1, 1}},
		{"float16 overflows", tensor.Float32, tensor.Float16, []float64{65519, 65520, -1e30, nan}, []float64{65504, inf, -inf, nan}},
		{"float32 overflows", tensor.Float64, tensor.Float32, []float64{1e39, -1e39}, []float64{inf, -inf}},
		{"float8 saturates", tensor.Float32, tensor.Float8E4M3FN, []float64{464, 500, inf, -inf, nan, 0.1}, []float64{448, 448, 448, -448, nan, 0.1015625}},
		// 1 + 2^-11 + 2^-40 lies above the middle between two float16; by way of float32 it would lie on it and go to the even one.
		{"one rounding of float64", tensor.Float64, tensor.Float16, []float64{1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-11, 1 + 0x3p-11 - 0x1p-40},
			[]float64{1 + 0x1p-10, 1, 1 + 0x1p-10}},
		{"one rounding to bfloat16", tensor.Float64, tensor.BFloat16, []float64{1 + 0x1p-8 + 0x1p-45, 1 + 0x1p-8, 1e300, 1e-300}, []float64{1 + 0x1p-7, 1, inf, 0}},
		{"one rounding to float8", tensor.Float64, tensor.Float8E4M3FN, []float64{1.0625 + 0x1p-50, 1.0625}, []float64{1.125, 1}},
		{"one rounding of int64", tensor.Int64, tensor.BFloat16, []float64{0x1p60 + 0x1p52 + 0x1p20, 0x1p60 + 0x1p52}, []float64{0x1p60 + 0x1p53, 0x1p60}},
		{"one rounding of uint64", tensor.Uint64, tensor.BFloat16, []float64{0x1p63 + 0x1p55 + 0x1p20, 0x1p63 + 0x1p55, 5}, []float64{0x1p63 + 0x1p56, 0x1p63, 5}},
		{"subnormals", tensor.Float64, tensor.Float16, []float64{0x1p-25, 0x1p-25 + 0x1p-60, 0x1p-24}, []float64{0, 0x1p-24, 0x1p-24}},
	}
	for _, tt := range tests {
		check1(t, tt.name, castNode(tt.to).must(t, of(tt.from, nil, tt.in...)), tt.to, nil, 0, tt.want...)
	}
	// Integers that no float64 holds.
	x := kernel.FromSlice(tensor.Int64, []int{2}, []int64{1<<62 + 1, -(1<<62 + 1<<54 + 1)})
	got := kernel.Of[uint64](castNode(tensor.Uint64).must(t, x))
	if got[0] != 1<<62+1 || int64(got[1]) != -(1<<62+1<<54+1) {
		t.Errorf("int64 to uint64: %v", got)
	}
	h := values(castNode(tensor.BFloat16).must(t, x))
	if h[0] != 0x1p62 || h[1] != -(0x1p62+0x1p55) {
		t.Errorf("int64 to bfloat16: %v", h)
	}
}

func TestCastToFloat8KeepsTheRules(t *testing.T) {
	in := []float32{float32(math.Copysign(nan, -1)), float32(nan), 500, float32(inf), -0.001, 1.0 / 3}
	for i := range in[:2] { // a NaN's sign is lost on the way through float64
		in[i] = math.Float32frombits(0x7FC00000 | uint32(1-i)<<31)
	}
	long := make([]float32, 0, 2400)
	for len(long) < 2400 {
		long = append(long, in...)
	}
	for d, f := range map[tensor.DType]float8.Format{tensor.Float8E4M3FN: float8.E4M3FNFormat, tensor.Float8E4M3FZ: float8.E4M3FNUZFormat,
		tensor.Float8E5M2: float8.E5M2Format, tensor.Float8E5M2FZ: float8.E5M2FNUZFormat} {
		for saturate, o := range map[int64]float8.Overflow{1: float8.Saturate, 0: float8.NoSaturate} {
			got := castNode(d, graph.Int("saturate", saturate)).must(t, kernel.FromSlice(tensor.Float32, []int{len(long)}, long))
			for i, c := range kernel.Of[uint8](got) {
				if want := f.Encode(long[i], o); c != want {
					t.Fatalf("%s of %v: code %#x, want %#x", d, long[i], c, want)
				}
			}
		}
	}
}

func TestCastToE8M0Rounds(t *testing.T) {
	x := f32(nil, 1, 1.25, 1.5, 1.75, 0.3)
	for mode, want := range map[string][]float64{"up": {1, 2, 2, 2, 0.5}, "down": {1, 1, 1, 1, 0.25}, "nearest": {1, 1, 2, 2, 0.25}} {
		got := castNode(tensor.Float8E8M0, graph.Str("round_mode", mode)).must(t, x)
		check1(t, mode, got, tensor.Float8E8M0, nil, 0, want...)
	}
	castNode(tensor.Float8E8M0, graph.Str("round_mode", "sideways")).fails(t, `"sideways"`, x)
}

// TestFloat4IsTheNearest holds the cast against a search among the values.
func TestFloat4IsTheNearest(t *testing.T) {
	for x := -7.0; x <= 7; x += 1.0 / 64 {
		best := 0
		for c := range float4Values {
			d, b := math.Abs(float64(float4Values[c])-x), math.Abs(float64(float4Values[best])-x)
			if d < b || d == b && c&1 == 0 && best&1 == 1 {
				best = c
			}
		}
		if got := float4Values[float4(float32(x))]; got != float4Values[best] {
			t.Errorf("%v: %v, want %v", x, got, float4Values[best])
		}
	}
	if got := []uint8{float4(float32(inf)), float4(float32(-inf)), float4(float32(minus0)), float4(-0.25)}; string(got) != "\x07\x0f\x08\x08" {
		t.Errorf("codes %x", got)
	}
}

func TestStringsAndNumbers(t *testing.T) {
	spelled := []struct {
		x    *kernel.Tensor
		want []string
	}{
		{f32(nil, 0.1, 1, -2.5, nan, inf, -inf, 1e-5, 1e16, 1e15, minus0), []string{"0.1", "1.0", "-2.5", "nan", "inf", "-inf", "1e-05", "1e+16", "1000000000000000.0", "-0.0"}},
		{of(tensor.Float64, nil, 0.1, math.Pi), []string{"0.1", "3.141592653589793"}},
		{of(tensor.Float16, nil, 0.1, 3.14159), []string{"0.1", "3.14"}},
		{of(tensor.Float8E4M3FN, nil, 0.1, 448), []string{"0.1015625", "448.0"}},
		{of(tensor.Int8, nil, -7, 0), []string{"-7", "0"}},
		{of(tensor.Uint64, nil, 0x1p63), []string{"9223372036854775808"}},
		{of(tensor.Bool, nil, 0, 1), []string{"False", "True"}},
	}
	for _, tt := range spelled {
		got := castNode(tensor.String).must(t, tt.x)
		for i, s := range got.Strings {
			if s != tt.want[i] {
				t.Errorf("%s: %q, want %q", tt.x.DType, s, tt.want[i])
			}
		}
		back := castNode(tt.x.DType).must(t, got)
		check1(t, "back", back, tt.x.DType, nil, 0, values(tt.x)...)
	}
	x := words("3.14", " 1e-5 ", "1E8", "+INF", "-inf", "NaN", "INF")
	check1(t, "parsed", castNode(tensor.Float32).must(t, x), tensor.Float32, nil, 1e-7, 3.14, 1e-5, 1e8, inf, -inf, nan, inf)
	check1(t, "parsed", castNode(tensor.Int64).must(t, words("-17", "100.5")), tensor.Int64, nil, 0, -17, 100)
	check1(t, "parsed", castNode(tensor.Bool).must(t, words("True", "0", "2")), tensor.Bool, nil, 0, 1, 0, 1)
	castNode(tensor.Float32).fails(t, `element 1 is "Hello", which is no number`, words("1", "Hello"))
}

func TestCastErrors(t *testing.T) {
	castNode(99).fails(t, `attribute "to" is 99`, f32(nil, 1))
	node{op: "Cast"}.fails(t, `attribute "to" is missing`, f32(nil, 1))
	castNode(tensor.Complex64).fails(t, "no cast from float32 to complex64", f32(nil, 1))
	z := kernel.FromSlice(tensor.Complex64, []int{1}, []complex64{1})
	castNode(tensor.Float32).fails(t, "no cast from complex64 to float32", z)
}

func TestBitCast(t *testing.T) {
	bits := func(to tensor.DType) node { return node{op: "BitCast", attrs: attr(graph.Int("to", int64(to)))} }
	check1(t, "float32", bits(tensor.Int32).must(t, f32(nil, 1, -2)), tensor.Int32, nil, 0, 0x3F800000, -0x40000000)
	check1(t, "int32", bits(tensor.Float32).must(t, of(tensor.Int32, nil, 0x3F800000)), tensor.Float32, nil, 0, 1)
	check1(t, "int8", bits(tensor.Uint8).must(t, of(tensor.Int8, nil, -1, 5)), tensor.Uint8, nil, 0, 255, 5)
	check1(t, "int4", bits(tensor.Uint4).must(t, of(tensor.Int4, nil, -1, 5)), tensor.Uint4, nil, 0, 15, 5)
	check1(t, "uint4", bits(tensor.Int4).must(t, of(tensor.Uint4, nil, 15, 5)), tensor.Int4, nil, 0, -1, 5)
	check1(t, "float4", bits(tensor.Uint4).must(t, of(tensor.Float4E2M1, nil, -6, 1)), tensor.Uint4, nil, 0, 15, 2)
	bits(tensor.Int64).fails(t, "whose width is not that of int64", f32(nil, 1))
	bits(tensor.String).fails(t, "whose width", f32(nil, 1))
}
