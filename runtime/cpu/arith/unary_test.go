package arith

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestFunctionsOfOneNumber holds every function against its formula in float64, in all float types.
func TestFunctionsOfOneNumber(t *testing.T) {
	sig := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	tests := []struct {
		op    string
		attrs []*graph.Attribute
		want  func(float64) float64
		in    []float64
	}{
		{"Exp", nil, math.Exp, nil},
		{"Log", nil, math.Log, []float64{0.25, 1, 3, 1000}},
		{"Sin", nil, math.Sin, nil},
		{"Cos", nil, math.Cos, nil},
		{"Tan", nil, math.Tan, nil},
		{"Asin", nil, math.Asin, []float64{-1, -0.5, 0, 0.25, 1}},
		{"Acos", nil, math.Acos, []float64{-1, -0.5, 0, 0.25, 1}},
		{"Atan", nil, math.Atan, nil},
		{"Sinh", nil, math.Sinh, nil},
		{"Cosh", nil, math.Cosh, nil},
		{"Tanh", nil, math.Tanh, nil},
		{"Asinh", nil, math.Asinh, nil},
		{"Acosh", nil, math.Acosh, []float64{1, 2, 10}},
		{"Atanh", nil, math.Atanh, []float64{-0.75, 0, 0.5}},
		{"Erf", nil, math.Erf, nil},
		{"Sqrt", nil, math.Sqrt, []float64{0, 0.25, 2, 100}},
		{"Reciprocal", nil, func(x float64) float64 { return 1 / x }, []float64{0.25, -3, 7}},
		{"Sigmoid", nil, sig, nil},
		{"Softplus", nil, func(x float64) float64 { return math.Log(1 + math.Exp(x)) }, nil},
		{"Softsign", nil, func(x float64) float64 { return x / (1 + math.Abs(x)) }, nil},
		{"Mish", nil, func(x float64) float64 { return x * math.Tanh(math.Log(1+math.Exp(x))) }, nil},
		{"HardSigmoid", nil, func(x float64) float64 { return math.Max(0, math.Min(1, float64(float32(0.2))*x+0.5)) }, nil},
		{"HardSigmoid", attr(graph.Float("alpha", 0.5), graph.Float("beta", 0.25)),
			func(x float64) float64 { return math.Max(0, math.Min(1, 0.5*x+0.25)) }, nil},
		{"HardSwish", nil, func(x float64) float64 { return x * math.Max(0, math.Min(1, x/6+0.5)) }, []float64{-2.5, -1, 0, 0.5, 2, 3.5}},
		{"LeakyRelu", attr(graph.Float("alpha", 0.25)), func(x float64) float64 { return math.Max(x, 0) + 0.25*math.Min(x, 0) }, nil},
		{"Elu", attr(graph.Float("alpha", 2)), func(x float64) float64 { return math.Max(x, 0) + 2*(math.Exp(math.Min(x, 0))-1) }, nil},
		{"Celu", attr(graph.Float("alpha", 2)), func(x float64) float64 { return math.Max(x, 0) + math.Min(0, 2*(math.Exp(x/2)-1)) }, nil},
		{"Selu", attr(graph.Float("alpha", 2), graph.Float("gamma", 3)),
			func(x float64) float64 { return 3 * (math.Max(x, 0) + 2*(math.Exp(math.Min(x, 0))-1)) }, nil},
		{"ThresholdedRelu", attr(graph.Float("alpha", 0.75)), func(x float64) float64 {
			if x > 0.75 {
				return x
			}
			return 0
		}, nil},
		{"Gelu", nil, func(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 }, nil},
		{"Gelu", attr(graph.Str("approximate", "tanh")), func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*math.Pow(x, 3))))
		}, nil},
		{"Swish", attr(graph.Float("alpha", 0.5)), func(x float64) float64 { return x * sig(x/2) }, nil},
		{"com.microsoft.QuickGelu", attr(graph.Float("alpha", 1.5)), func(x float64) float64 { return x * sig(1.5*x) }, nil},
		{"com.microsoft.Gelu", nil, func(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 }, nil},
		{"com.microsoft.FastGelu", nil, func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*math.Pow(x, 3))))
		}, nil},
		{"Shrink", attr(graph.Float("lambd", 1), graph.Float("bias", 0.5)), func(x float64) float64 {
			switch {
			case x < -1:
				return x + 0.5
			case x > 1:
				return x - 0.5
			}
			return 0
		}, nil},
		{"Ceil", nil, math.Ceil, nil},
		{"Floor", nil, math.Floor, nil},
		{"Round", nil, math.RoundToEven, nil},
	}
	for _, tt := range tests {
		in := tt.in
		if in == nil {
			in = []float64{-2.5, -1.75, -1, -0.5, 0, 0.25, 0.5, 1, 1.5, 2.5, 3.5}
		}
		// Long enough for whole vectors, chunks and a rest.
		long := make([]float64, 0, 2100)
		for len(long) < 2090 {
			long = append(long, in...)
		}
		want := make([]float64, len(long))
		for i, x := range long {
			want[i] = tt.want(x)
		}
		for _, d := range floatTypes {
			for _, dies := range []bool{false, true} {
				n := node{op: tt.op, attrs: tt.attrs, dies: dies}
				for _, k := range []int{1, len(long)} {
					want := rounded(d, want[:k]...)
					got := n.must(t, of(d, nil, long[:k]...))
					for i, v := range values(got) {
						if w := want[i]; math.Abs(v-w) > 4*ulp(d)*math.Max(math.Abs(w), 0.25) {
							t.Errorf("%s of %v in %s: %v, want %v", tt.op, long[i], d, v, w)
							break
						}
					}
				}
			}
		}
	}
}

func TestEdgesOfFunctions(t *testing.T) {
	tests := []struct {
		op       string
		in, want []float64
	}{
		{"Abs", []float64{nan, -inf, minus0, -2}, []float64{nan, inf, 0, 2}},
		{"Neg", []float64{nan, inf, 0, -2}, []float64{nan, -inf, minus0, 2}},
		{"Sign", []float64{nan, -inf, minus0, 3, -0.5}, []float64{nan, -1, minus0, 1, -1}},
		{"Relu", []float64{nan, inf, -inf, -3, 5}, []float64{nan, inf, 0, 0, 5}},
		{"Round", []float64{0.5, 1.5, 2.5, -0.5, -1.5, nan, inf}, []float64{0, 2, 2, minus0, -2, nan, inf}},
		{"Ceil", []float64{-0.5, nan, inf}, []float64{minus0, nan, inf}},
		{"Exp", []float64{nan, inf, -inf, 0}, []float64{nan, inf, 0, 1}},
		{"Log", []float64{nan, inf, 0, -1}, []float64{nan, inf, -inf, nan}},
		{"Sqrt", []float64{nan, inf, minus0, -1}, []float64{nan, inf, minus0, nan}},
		{"Tanh", []float64{nan, inf, -inf}, []float64{nan, 1, -1}},
		{"Erf", []float64{nan, inf, -inf}, []float64{nan, 1, -1}},
		{"Sigmoid", []float64{nan, inf, -inf}, []float64{nan, 1, 0}},
		{"Softplus", []float64{nan, inf, -inf, 200}, []float64{nan, inf, 0, 200}},
		{"Elu", []float64{nan, inf, -inf}, []float64{nan, inf, -1}},
		{"Celu", []float64{nan, inf, -inf}, []float64{nan, inf, -1}},
		{"Selu", []float64{nan, inf}, []float64{nan, inf}},
		{"LeakyRelu", []float64{nan, inf, -inf}, []float64{nan, inf, -inf}},
		{"HardSigmoid", []float64{nan, inf, -inf}, []float64{nan, 1, 0}},
		{"Gelu", []float64{nan, inf}, []float64{nan, inf}},
		{"Mish", []float64{nan, inf}, []float64{nan, inf}},
		{"Reciprocal", []float64{nan, inf, 0, minus0}, []float64{nan, 0, inf, -inf}},
	}
	for _, tt := range tests {
		for _, d := range floatTypes {
			check1(t, tt.op, node{op: tt.op}.must(t, of(d, nil, tt.in...)), d, nil, 0x1p-21, tt.want...)
		}
	}
}

func TestIntegersOfOneOperand(t *testing.T) {
	for _, d := range []tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64} {
		least := -math.Pow(2, float64(d.Bits()-1))
		check1(t, "Abs", node{op: "Abs"}.must(t, of(d, nil, -5, 0, 7, least)), d, nil, 0, 5, 0, 7, least) // wraps
		check1(t, "Neg", node{op: "Neg"}.must(t, of(d, nil, -5, 0, 7, least)), d, nil, 0, 5, 0, -7, least)
		check1(t, "Sign", node{op: "Sign"}.must(t, of(d, nil, -5, 0, 7)), d, nil, 0, -1, 0, 1)
		check1(t, "Relu", node{op: "Relu"}.must(t, of(d, nil, -5, 0, 7)), d, nil, 0, 0, 0, 7)
		check1(t, "BitwiseNot", node{op: "BitwiseNot"}.must(t, of(d, nil, -5, 0, 7)), d, nil, 0, 4, -1, -8)
	}
	u := tensor.Uint8
	check1(t, "Abs", node{op: "Abs"}.must(t, of(u, nil, 5, 200)), u, nil, 0, 5, 200)
	check1(t, "Sign", node{op: "Sign"}.must(t, of(u, nil, 5, 0)), u, nil, 0, 1, 0)
	check1(t, "BitwiseNot", node{op: "BitwiseNot"}.must(t, of(u, nil, 5, 0)), u, nil, 0, 250, 255)
	check1(t, "Not", node{op: "Not"}.must(t, of(tensor.Bool, nil, 1, 0)), tensor.Bool, nil, 0, 0, 1)
	shrink := node{op: "Shrink", attrs: attr(graph.Float("lambd", 1.5), graph.Float("bias", 1.5))}
	check1(t, "Shrink", shrink.must(t, of(tensor.Int32, nil, -4, -1, 0, 1, 3)), tensor.Int32, nil, 0, -2, 0, 0, 0, 1)
}

func TestQuestionsAboutNumbers(t *testing.T) {
	in := []float64{nan, inf, -inf, 1}
	for _, d := range append(floatTypes, tensor.Float8E5M2) {
		x := of(d, nil, in...)
		if d == tensor.Float8E5M2 { // a cast would saturate
			x.Bytes[1], x.Bytes[2] = 0x7C, 0xFC
		}
		check1(t, "IsNaN", node{op: "IsNaN"}.must(t, x), tensor.Bool, nil, 0, 1, 0, 0, 0)
		check1(t, "IsInf", node{op: "IsInf"}.must(t, x), tensor.Bool, nil, 0, 0, 1, 1, 0)
		check1(t, "IsInf", node{op: "IsInf", attrs: attr(graph.Int("detect_negative", 0))}.must(t, x), tensor.Bool, nil, 0, 0, 1, 0, 0)
		check1(t, "IsInf", node{op: "IsInf", attrs: attr(graph.Int("detect_positive", 0))}.must(t, x), tensor.Bool, nil, 0, 0, 0, 1, 0)
	}
}

func TestUnaryErrors(t *testing.T) {
	node{op: "Exp"}.fails(t, "input 0 is int32", of(tensor.Int32, nil, 1))
	node{op: "Exp", attrs: attr(graph.Int("axis", 1))}.fails(t, `attribute "axis" is not known`, f32(nil, 1))
	node{op: "Elu", attrs: attr(graph.Int("alpha", 1))}.fails(t, `attribute "alpha" has kind 2, want 1`, f32(nil, 1))
	node{op: "Gelu", attrs: attr(graph.Str("approximate", "none of both"))}.fails(t, `"none of both"`, f32(nil, 1))
	node{op: "Exp"}.fails(t, "input 0 is missing")
	node{op: "Not"}.fails(t, "input 0 is uint8", of(tensor.Uint8, nil, 1))
}
