package arith

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestQuantizePerTensor(t *testing.T) {
	x := []float64{0, 2, 3, 1000, -254, -1000, 5, nan, inf, -inf, 1, -1}
	tests := []struct {
		d    tensor.DType
		zero float64
		want []float64
	}{
		{tensor.Uint8, 128, []float64{128, 129, 130, 255, 1, 0, 130, 0, 255, 0, 128, 128}},
		{tensor.Int8, 1, []float64{1, 2, 3, 127, -126, -128, 3, -128, 127, -128, 1, 1}},
		{tensor.Int16, 1, []float64{1, 2, 3, 501, -126, -499, 3, -32768, 32767, -32768, 1, 1}},
		{tensor.Uint16, 32767, []float64{32767, 32768, 32769, 33267, 32640, 32267, 32769, 0, 65535, 0, 32767, 32767}},
		{tensor.Int4, 1, []float64{1, 2, 3, 7, -8, -8, 3, -8, 7, -8, 1, 1}},
		{tensor.Uint4, 1, []float64{1, 2, 3, 15, 0, 0, 3, 0, 15, 0, 1, 1}},
		{tensor.Int2, 0, []float64{0, 1, 1, 1, -2, -2, 1, -2, 1, -2, 0, 0}},
		{tensor.Uint2, 1, []float64{1, 2, 3, 3, 0, 0, 3, 0, 3, 0, 1, 1}},
	}
	for _, tt := range tests {
		for _, d := range floatTypes[:1] {
			got := node{op: "QuantizeLinear"}.must(t, of(d, nil, x...), of(d, []int{}, 2), of(tt.d, []int{}, tt.zero))
			check1(t, tt.d.String(), got, tt.d, nil, 0, tt.want...)
		}
		got := node{op: "QuantizeLinear"}.must(t, of(tensor.Float16, nil, x...), of(tensor.Float16, []int{}, 2), of(tt.d, []int{}, tt.zero))
		check1(t, tt.d.String()+" of float16", got, tt.d, nil, 0, tt.want...)
	}
	check1(t, "default type", node{op: "QuantizeLinear"}.must(t, f32(nil, 3, -1), f32([]int{}, 1)), tensor.Uint8, nil, 0, 3, 0)
	n := node{op: "QuantizeLinear", attrs: attr(graph.Int("output_dtype", int64(tensor.Int8)))}
	check1(t, "output_dtype", n.must(t, f32(nil, 3, -1), f32([]int{}, 1)), tensor.Int8, nil, 0, 3, -1)
	check1(t, "int32", n.must(t, of(tensor.Int32, nil, 7, -9), f32([]int{1}, 2)), tensor.Int8, nil, 0, 4, -4)
}

func TestQuantizeToFloats(t *testing.T) {
	x := f32(nil, 0, 1, 2, 100000, -200, nan)
	for d, want := range map[tensor.DType][]float64{
		tensor.Float8E4M3FN: {0, 0.5, 1, 448, -96, nan}, // -100 lies between -96 and -104
		tensor.Float8E5M2:   {0, 0.5, 1, 49152, -96, nan},
	} {
		got := node{op: "QuantizeLinear"}.must(t, x, f32([]int{}, 2), of(d, []int{}, 0))
		check1(t, d.String(), got, d, nil, 0, want...)
	}
	n := node{op: "QuantizeLinear", attrs: attr(graph.Int("saturate", 0))}
	got := n.must(t, x, f32([]int{}, 2), of(tensor.Float8E4M3FN, []int{}, 0))
	check1(t, "no saturation", got, tensor.Float8E4M3FN, nil, 0, 0, 0.5, 1, nan, -96, nan)
	got = node{op: "QuantizeLinear"}.must(t, f32(nil, 0, 1, 5, 100), f32([]int{}, 2), of(tensor.Float4E2M1, []int{}, 0))
	check1(t, "float4", got, tensor.Float4E2M1, nil, 0, 0, 0.5, 2, 6)
	node{op: "QuantizeLinear"}.fails(t, "that is not zero", x, f32([]int{}, 2), of(tensor.Float8E4M3FN, []int{}, 1))
}

// TestQuantizePrecision divides in the scale's type, or in the one that is asked for. bfloat16 has eight bits: 1001 becomes 1000 and 1.9975
// becomes 2.
func TestQuantizePrecision(t *testing.T) {
	x, zero := f32(nil, 1001), of(tensor.Int16, []int{}, 0)
	check1(t, "float32", node{op: "QuantizeLinear"}.must(t, x, f32([]int{}, 1.9975), zero), tensor.Int16, nil, 0, 501)
	check1(t, "scale of bfloat16", node{op: "QuantizeLinear"}.must(t, x, of(tensor.BFloat16, []int{}, 2), zero), tensor.Int16, nil, 0, 500)
	n := node{op: "QuantizeLinear", attrs: attr(graph.Int("precision", int64(tensor.BFloat16)))}
	check1(t, "precision", n.must(t, x, f32([]int{}, 1.9975), zero), tensor.Int16, nil, 0, 500)
	node{op: "QuantizeLinear", attrs: attr(graph.Int("precision", int64(tensor.Int8)))}.fails(t, `attribute "precision" is int8`)
}

func TestQuantizePerAxisAndBlock(t *testing.T) {
	x := f32([]int{2, 3, 2}, 2, 4, 6, 8, 10, 12, 20, 40, 60, 80, 100, 120)
	got := node{op: "QuantizeLinear"}.must(t, x, f32(nil, 1, 2, 4), of(tensor.Uint8, nil, 0, 1, 2))
	check1(t, "axis 1", got, tensor.Uint8, []int{2, 3, 2}, 0, 2, 4, 4, 5, 4, 5, 20, 40, 31, 41, 27, 32)
	n := node{op: "QuantizeLinear", attrs: attr(graph.Int("axis", -1))}
	got = n.must(t, x, f32(nil, 1, 2), of(tensor.Uint8, nil, 0, 1))
	check1(t, "last axis", got, tensor.Uint8, []int{2, 3, 2}, 0, 2, 3, 6, 5, 10, 7, 20, 21, 60, 41, 100, 61)
	n = node{op: "QuantizeLinear", attrs: attr(graph.Int("axis", 1), graph.Int("block_size", 2))}
	got = n.must(t, x, f32([]int{2, 2, 2}, 1, 2, 5, 3, 10, 20, 50, 30), of(tensor.Uint8, []int{2, 2, 2}, 0, 0, 0, 1, 0, 0, 0, 0))
	check1(t, "blocks", got, tensor.Uint8, []int{2, 3, 2}, 0, 2, 2, 6, 4, 2, 5, 2, 2, 6, 4, 2, 4)
	n2 := node{op: "QuantizeLinear", attrs: attr(graph.Int("axis", 2), graph.Int("block_size", 3))}
	got = n2.must(t, f32([]int{2, 1, 5}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), f32([]int{2, 1, 2}, 1, 2, 3, 5))
	check1(t, "blocks along the last axis", got, tensor.Uint8, []int{2, 1, 5}, 0, 1, 2, 3, 2, 2, 2, 2, 3, 2, 2)
	n.fails(t, "do not fit data [2,3,2] along axis 1 with block size 2", x, f32([]int{2, 3, 2}, make([]float64, 12)...))
	node{op: "QuantizeLinear"}.fails(t, "scales [2] do not fit data [2,3,2] along axis 1", x, f32(nil, 1, 2))
	node{op: "QuantizeLinear"}.fails(t, "want a zero point for each of scales [3]", x, f32(nil, 1, 2, 3), of(tensor.Uint8, nil, 0, 1))
	n = node{op: "QuantizeLinear", attrs: attr(graph.Int("output_dtype", int64(tensor.Int8)))}
	n.fails(t, `input 2 is uint8, and attribute "output_dtype" says int8`, x, f32([]int{}, 1), of(tensor.Uint8, []int{}, 0))
}

func TestDequantize(t *testing.T) {
	for _, d := range []tensor.DType{tensor.Uint8, tensor.Int8, tensor.Uint16, tensor.Int16, tensor.Int32, tensor.Int4, tensor.Uint4} {
		for _, to := range []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16} {
			got := node{op: "DequantizeLinear"}.must(t, of(d, nil, 0, 3, 7), of(to, []int{}, 2), of(d, []int{}, 1))
			check1(t, d.String(), got, to, nil, 0, -2, 4, 12)
		}
	}
	n := node{op: "DequantizeLinear", attrs: attr(graph.Int("axis", 0), graph.Int("block_size", 2))}
	got := n.must(t, of(tensor.Int4, []int{3, 2}, 1, 2, 3, 4, 5, 6), f32([]int{2, 2}, 1, 2, 3, 4), of(tensor.Int4, []int{2, 2}, 0, 1, 0, -1))
	check1(t, "blocks", got, tensor.Float32, []int{3, 2}, 0, 1, 2, 3, 6, 15, 28)
	n = node{op: "DequantizeLinear", attrs: attr(graph.Int("axis", 1))}
	got = n.must(t, of(tensor.Float8E4M3FN, []int{2, 2}, 1, 448, -2, nan), f32(nil, 0.5, 0.25))
	check1(t, "float8", got, tensor.Float32, []int{2, 2}, 0, 0.5, 112, -1, nan)
	n = node{op: "DequantizeLinear", attrs: attr(graph.Int("output_dtype", int64(tensor.Float16)))}
	got = n.must(t, of(tensor.Float4E2M1, nil, 1.5, -6), of(tensor.Float8E8M0, []int{}, 4))
	check1(t, "scale of powers of two", got, tensor.Float16, nil, 0, 6, -24)
	n = node{op: "DequantizeLinear"}
	n.fails(t, "output would be float8e8m0", of(tensor.Int8, nil, 1), of(tensor.Float8E8M0, []int{}, 4))
	n.fails(t, "input 0 is float32", f32(nil, 1), f32([]int{}, 4))
	n.fails(t, "input 2 is int8, want uint8", of(tensor.Uint8, nil, 1), f32([]int{}, 4), of(tensor.Int8, []int{}, 1))
}

// TestQuantizeFollowsItsFormula compares long data on every path with the formula.
func TestQuantizeFollowsItsFormula(t *testing.T) {
	const n = 5000
	x, scales, zeros := make([]float64, 3*n), []float64{0.3, 0.7, 1.1}, []float64{3, 0, 9}
	for i := range x {
		x[i] = math.Sin(float64(i)) * 100
	}
	got := node{op: "QuantizeLinear", attrs: attr(graph.Int("axis", 0))}.must(t, f32([]int{3, n}, x...), f32(nil, scales...), of(tensor.Uint8, nil, zeros...))
	want := make([]float64, len(x))
	for i := range x {
		q := math.RoundToEven(float64(float32(x[i])/float32(scales[i/n]))) + zeros[i/n]
		want[i] = math.Max(0, math.Min(255, q))
	}
	check1(t, "per axis", got, tensor.Uint8, []int{3, n}, 0, want...)
	got = node{op: "QuantizeLinear"}.must(t, f32([]int{n}, x[:n]...), f32([]int{}, scales[0]), of(tensor.Uint8, []int{}, zeros[0]))
	check1(t, "per tensor", got, tensor.Uint8, []int{n}, 0, want[:n]...)
}

func TestDynamicQuantize(t *testing.T) {
	tests := []struct {
		in          []float64
		codes       []float64
		scale, zero float64
	}{
		{[]float64{0, 2, -3, -2.5, 1.34, 0.5}, []float64{153, 255, 0, 26, 221, 179}, 5.0 / 255, 153},
		{[]float64{-1, -2.1, -1.3, -2.5, -3.34, -4}, []float64{191, 121, 172, 96, 42, 0}, 4.0 / 255, 255},
		{[]float64{1, 2.1, 1.3, 2.5, 3.34, 4}, []float64{64, 134, 83, 159, 213, 255}, 4.0 / 255, 0},
		{[]float64{0, 0}, []float64{0, 0}, 1.0 / 255, 0},
	}
	for _, tt := range tests {
		out, err := node{op: "DynamicQuantizeLinear", outputs: 3}.call(f32(nil, tt.in...))
		if err != nil {
			t.Fatal(err)
		}
		check1(t, "codes", out[0], tensor.Uint8, nil, 0, tt.codes...)
		check1(t, "scale", out[1], tensor.Float32, []int{}, 1e-6, tt.scale)
		check1(t, "zero point", out[2], tensor.Uint8, []int{}, 0, tt.zero)
	}
}
