package program

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func attrs(a ...*graph.Attribute) []*graph.Attribute { return a }

func TestElementwiseOperators(t *testing.T) {
	type shapes [][]int64
	pairs := shapes{{3, 4, 5}, {4, 5}}
	single := shapes{{4, 33}}
	for _, c := range []struct {
		op     string
		shapes shapes
		kinds  string // of each input: f float, g float without extremes, p positive, b bool
		attrs  []*graph.Attribute
		opset  int64
	}{
		{op: "Add", shapes: pairs}, {op: "Sub", shapes: pairs}, {op: "Mul", shapes: pairs}, {op: "Div", shapes: pairs},
		{op: "Add", shapes: shapes{{5, 1}, {3, 1, 4}}}, {op: "Sub", shapes: shapes{{}, {3}}}, {op: "Pow", shapes: pairs, kinds: "gg"},
		{op: "Sum", shapes: shapes{{2, 3}}}, {op: "Sum", shapes: shapes{{2, 3}, {3}, {1}}}, {op: "Mean", shapes: shapes{{2, 3}, {3}, {1}}},
		{op: "Max", shapes: shapes{{2, 3}, {3}, {2, 1}}}, {op: "Min", shapes: shapes{{2, 30}, {30}, {2, 1}}},
		{op: "Sum", shapes: shapes{{4}, {4}, {4}, {4}, {4}, {3, 4}, {4}, {4}, {4}, {4}, {4}, {4}, {2, 1, 4}}, kinds: "ggggggggggggg"},
		{op: "Mean", shapes: shapes{{4}, {4}, {4}, {4}, {4}, {3, 4}, {4}}, kinds: "ggggggg"},
		{op: "Equal", shapes: pairs}, {op: "Less", shapes: pairs}, {op: "LessOrEqual", shapes: pairs}, {op: "Greater", shapes: pairs},
		{op: "GreaterOrEqual", shapes: pairs}, {op: "Equal", shapes: pairs, kinds: "bb"},
		{op: "And", shapes: pairs, kinds: "bb"}, {op: "Or", shapes: pairs, kinds: "bb"}, {op: "Xor", shapes: pairs, kinds: "bb"},
		{op: "Not", shapes: single, kinds: "b"}, {op: "Where", shapes: shapes{{3, 1}, {3, 4}, {4}}, kinds: "bff"},
		{op: "Where", shapes: shapes{{3, 1}, {3, 4}, {4}}, kinds: "bbb"}, {op: "IsNaN", shapes: single}, {op: "IsInf", shapes: single},
		{op: "IsInf", shapes: single, attrs: attrs(graph.Int("detect_negative", 0))},
		{op: "IsInf", shapes: single, attrs: attrs(graph.Int("detect_positive", 0))},
		{op: "IsInf", shapes: single, attrs: attrs(graph.Int("detect_positive", 0), graph.Int("detect_negative", 0))},
		{op: "Neg", shapes: single}, {op: "Abs", shapes: single}, {op: "Sign", shapes: single}, {op: "Floor", shapes: single},
		{op: "Ceil", shapes: single}, {op: "Round", shapes: single}, {op: "Sqrt", shapes: single}, {op: "Reciprocal", shapes: single},
		{op: "Exp", shapes: single}, {op: "Log", shapes: single}, {op: "Tanh", shapes: single}, {op: "Erf", shapes: single},
		{op: "Sin", shapes: single, kinds: "g"}, {op: "Cos", shapes: single, kinds: "g"}, {op: "Tan", shapes: single, kinds: "g"},
		{op: "Relu", shapes: single}, {op: "Sigmoid", shapes: single}, {op: "Softplus", shapes: single}, {op: "Softsign", shapes: single},
		{op: "LeakyRelu", shapes: single}, {op: "LeakyRelu", shapes: single, attrs: attrs(graph.Float("alpha", -0.3))},
		{op: "PRelu", shapes: pairs}, {op: "Gelu", shapes: single}, {op: "Gelu", shapes: single, kinds: "g", attrs: attrs(graph.Str("approximate", "tanh"))},
		{op: "Swish", shapes: single, opset: 24}, {op: "Swish", shapes: single, opset: 24, attrs: attrs(graph.Float("alpha", 0.7))},
		{op: "Mish", shapes: single}, {op: "HardSigmoid", shapes: single}, {op: "HardSwish", shapes: single},
		{op: "HardSigmoid", shapes: single, attrs: attrs(graph.Float("alpha", 0.4), graph.Float("beta", 0.1))},
		{op: "ThresholdedRelu", shapes: single}, {op: "Shrink", shapes: single, attrs: attrs(graph.Float("lambd", 1), graph.Float("bias", 0.25))},
		{op: "Elu", shapes: single}, {op: "Elu", shapes: single, attrs: attrs(graph.Float("alpha", 0.3))}, {op: "Selu", shapes: single},
		{op: "Celu", shapes: single}, {op: "Celu", shapes: single, attrs: attrs(graph.Float("alpha", 2.5))},
		{op: "Clip", shapes: shapes{{40}, {}, {}}, kinds: "fgg"}, {op: "Clip", shapes: shapes{{40}}},
		{op: "Clip", shapes: single, opset: 10, attrs: attrs(graph.Float("min", -1), graph.Float("max", 1.5))}, {op: "Clip", shapes: single, opset: 10},
		{op: "Identity", shapes: single}, {op: "Dropout", shapes: single}, {op: "Dropout", shapes: single, opset: 7},
		{op: "Cast", shapes: single, attrs: attrs(graph.Int("to", int64(tensor.Float16)))},
		{op: "Cast", shapes: single, attrs: attrs(graph.Int("to", int64(tensor.BFloat16)))},
		{op: "Cast", shapes: single, attrs: attrs(graph.Int("to", int64(tensor.Bool)))},
		{op: "Cast", shapes: single, attrs: attrs(graph.Int("to", int64(tensor.Float32)))},
		{op: "Cast", shapes: single, kinds: "b", attrs: attrs(graph.Int("to", int64(tensor.Float32)))},
		{op: "Cast", shapes: single, kinds: "i", attrs: attrs(graph.Int("to", int64(tensor.Float32)))},
		{op: "Cast", shapes: single, kinds: "i", attrs: attrs(graph.Int("to", int64(tensor.Bool)))},
		{op: "CastLike", shapes: pairs, kinds: "if"}, {op: "Identity", shapes: single, kinds: "i"},
		{op: "com.microsoft.Gelu", shapes: single}, {op: "com.microsoft.QuickGelu", shapes: single},
		{op: "com.microsoft.BiasGelu", shapes: shapes{{3, 8}, {8}}}, {op: "com.microsoft.FastGelu", shapes: shapes{{3, 8}, {8}}, kinds: "gg"},
		{op: "com.microsoft.FastGelu", shapes: single, kinds: "g"},
	} {
		name := c.op
		for _, a := range c.attrs {
			name += " " + a.Name
		}
		for _, constant := range []int{-1, 0, 1} {
			if constant >= len(c.shapes) || constant == 0 && len(c.shapes) < 2 {
				continue
			}
			t.Run(name+c.kinds, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(7, uint64(len(name))))
				x := newNet(t)
				if c.opset != 0 {
					x.opset = c.opset
				}
				var in []string
				for i, shape := range c.shapes {
					kind := byte('f')
					if i < len(c.kinds) {
						kind = c.kinds[i]
					}
					var v *tensor.Tensor
					switch kind {
					case 'b':
						v = boolsOf(rng, shape...)
					case 'i':
						v = intsOf(rng, 1<<40, shape...)
					default:
						v = floatsOf(rng, kind == 'f', shape...)
					}
					if i == constant {
						in = append(in, x.constant(v))
					} else {
						in = append(in, x.input(v))
					}
				}
				p := x.check(kernels.F32, 2e-6, x.node(c.op, c.attrs, in...))
				x.onGPU(p)
			})
		}
	}
}

func TestWhatIsNotExactStaysWithTheProcessor(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	ints, reals := intsOf(rng, 1<<40, 8), floatsOf(rng, false, 8)
	for _, c := range []struct {
		name, why string
		make      func(x *net) string
	}{
		{"integer sums", "not exact", func(x *net) string { return x.node("Add", nil, x.input(ints), x.input(ints)) }},
		{"comparisons of two integers", "not exact", func(x *net) string { return x.node("Less", nil, x.input(ints), x.input(ints)) }},
		{"comparisons with large constants", "not exact", func(x *net) string {
			return x.node("Equal", nil, x.input(ints), x.constant(tensor.Int64s(nil, 1<<24)))
		}},
		{"a choice of integers", "not exact", func(x *net) string {
			return x.node("Where", nil, x.input(boolsOf(rng, 8)), x.input(ints), x.input(ints))
		}},
		{"casts to integers", "has no kernel", func(x *net) string {
			return x.node("Cast", attrs(graph.Int("to", int64(tensor.Int64))), x.input(reals))
		}},
		{"integer powers", "not exact", func(x *net) string { return x.node("Pow", nil, x.input(ints), x.constant(tensor.Int64s(nil, 2))) }},
		{"Celu of negative alpha", "not exact", func(x *net) string { return x.node("Celu", attrs(graph.Float("alpha", -1)), x.input(reals)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newNet(t)
			p := x.check(kernels.F32, 0, c.make(x))
			if len(p.Placed) != 1 || !strings.Contains(p.Placed[0].Why, c.why) {
				t.Errorf("placed: %v, want one for %q", p.Placed, c.why)
			}
		})
	}
}

func TestIntegersCompareExactlyWithSmallConstants(t *testing.T) {
	const edge = 1<<24 - 1
	v := tensor.Int64s(tensor.Shape{9}, edge-1, edge, edge+1, edge+2, -edge, -edge-1, -edge-2, 1<<40, 0)
	for _, op := range []string{"Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"} {
		x := newNet(t)
		in := x.input(v)
		p := x.check(kernels.F32, 0, x.node(op, nil, in, x.constant(tensor.Int64s(nil, edge))), x.node(op, nil, x.constant(tensor.Int64s(tensor.Shape{1}, -edge)), in))
		x.onGPU(p)
	}
}

// TestRandomExpressions compares nets of elementwise operators, whose values have any number of readers, with the cpu engine: whatever is
// put into one launch, saved, recomputed or brought into memory between.
func TestRandomExpressions(t *testing.T) {
	times := 150
	if testing.Short() {
		times = 30
	}
	for seed := range uint64(times) {
		rng := rand.New(rand.NewPCG(11, seed))
		x := newNet(t)
		shapes := [][]int64{{2, 3, 4}, {3, 4}, {4}, {1, 3, 1}, {2, 1, 4}, {1}, {}}
		var values, conditions []string
		for range 2 + rng.IntN(6) {
			v := floatsOf(rng, false, shapes[rng.IntN(len(shapes))]...)
			if rng.IntN(4) == 0 {
				values = append(values, x.constant(v))
			} else {
				values = append(values, x.input(v))
			}
		}
		for range 2 {
			conditions = append(conditions, x.input(boolsOf(rng, shapes[rng.IntN(len(shapes))]...)))
			conditions = append(conditions, x.node("Greater", nil, values[rng.IntN(2)], x.constant(tensor.Float32s(nil, 0))))
		}
		pick := func() string {
			// Late values more often, so that expressions grow.
			if rng.IntN(3) > 0 {
				return values[len(values)-1-rng.IntN(min(4, len(values)))]
			}
			return values[rng.IntN(len(values))]
		}
		var outputs []string
		for range 4 + rng.IntN(40) {
			var v string
			switch k := rng.IntN(12); {
			case k < 4:
				v = x.node([]string{"Tanh", "Sigmoid", "Neg", "Abs", "Relu", "Softsign", "Elu"}[rng.IntN(7)], nil, pick())
			case k < 9:
				v = x.node([]string{"Add", "Sub", "Mul", "Min", "Max", "Div", "Sub"}[rng.IntN(7)], nil, pick(), pick())
				v = x.node("Tanh", nil, v)
			case k < 11:
				v = x.node("Where", nil, conditions[rng.IntN(len(conditions))], pick(), pick())
			default:
				v = x.node("PRelu", nil, pick(), x.constant(tensor.Float32s(nil, 0.3)))
			}
			values = append(values, v)
			if rng.IntN(12) == 0 {
				outputs = append(outputs, v)
			}
		}
		// What nobody reads would be dead.
		for _, n := range x.g.Nodes {
			read := false
			for _, other := range x.g.Nodes {
				for _, in := range other.Inputs {
					read = read || in == n.Outputs[0]
				}
			}
			if !read {
				outputs = append(outputs, n.Outputs[0])
			}
		}
		p := x.check(kernels.F32, 1e-5, outputs...)
		x.onGPU(p)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
