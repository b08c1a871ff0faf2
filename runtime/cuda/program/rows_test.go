package program

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestNormalizations(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for _, c := range []struct {
		op           string
		axis         int64
		weight, bias []int64
	}{
		{"LayerNormalization", -1, []int64{6}, []int64{6}}, {"LayerNormalization", -1, []int64{6}, nil}, {"LayerNormalization", 1, []int64{5, 6}, []int64{6}},
		{"LayerNormalization", 2, []int64{1, 1, 6}, []int64{1}}, {"RMSNormalization", -1, []int64{6}, nil}, {"RMSNormalization", 0, []int64{6}, nil},
		{"RMSNormalization", 1, []int64{5, 1}, nil},
	} {
		for _, sum := range []string{"", "lazy", "lazy and read", "spread"} {
			t.Run(fmt.Sprint(c.op, c.axis, c.weight, c.bias, sum), func(t *testing.T) {
				x := newNet(t)
				in := x.input(floatsOf(rng, false, 4, 5, 6))
				launches := 1
				switch sum {
				case "lazy", "lazy and read":
					in = x.node("Add", nil, in, x.input(floatsOf(rng, false, 4, 5, 6)))
				case "spread":
					in = x.node("Add", nil, in, x.input(floatsOf(rng, false, 6)))
					launches = 2
				}
				inputs := []string{in, x.constant(floatsOf(rng, false, c.weight...))}
				if c.bias != nil {
					inputs = append(inputs, x.constant(floatsOf(rng, false, c.bias...)))
				}
				outputs := []string{x.node(c.op, attrs(graph.Int("axis", c.axis), graph.Float("epsilon", 1e-3)), inputs...)}
				if sum == "lazy and read" {
					outputs = append(outputs, in, x.node("Relu", nil, in))
					launches = 2
				}
				for _, in := range [][]int64{c.weight, c.bias} {
					if in != nil && count(in) != count([]int64{4, 5, 6}[(c.axis+3)%3:]) {
						launches++ // the copy of what is spread
					}
				}
				p := x.check(kernels.F32, 3e-6, outputs...)
				x.onGPU(p)
				if len(p.Steps) != launches {
					t.Errorf("%s, want %d launches", summary(p.Steps), launches)
				}
			})
		}
	}
}

func TestSkipNormalizations(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for _, op := range []string{"SkipLayerNormalization", "SkipSimplifiedLayerNormalization"} {
		for _, skip := range [][]int64{{2, 3, 8}, {1, 3, 8}, {3, 8}} {
			for _, bias := range []bool{false, true} {
				for _, sum := range []bool{false, true} {
					x := newNet(t)
					in := []string{x.input(floatsOf(rng, false, 2, 3, 8)), x.input(floatsOf(rng, false, skip...)), x.constant(floatsOf(rng, false, 8))}
					if op == "SkipLayerNormalization" {
						in = append(in, x.constant(floatsOf(rng, false, 8)))
					}
					if bias {
						in = append(in, x.constant(floatsOf(rng, false, 8)))
					}
					out := x.many("com.microsoft."+op, 4, attrs(graph.Float("epsilon", 1e-5)), in...)
					n := x.g.Nodes[0]
					n.Outputs[1], n.Outputs[2] = "", ""
					outputs := out[:1:1]
					if sum {
						outputs = append(outputs, out[3])
					} else {
						n.Outputs = n.Outputs[:1]
					}
					p := x.check(kernels.F32, 3e-6, outputs...)
					x.onGPU(p)
					if want := 1; len(skip) == 3 && skip[0] == 2 && !bias && len(p.Steps) != want {
						t.Errorf("%s, want one launch", summary(p.Steps))
					}
				}
			}
		}
	}
}

func TestBatchNormalizations(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 7))
	for _, dims := range [][]int64{{5, 3}, {2, 3, 4}, {2, 3, 4, 5}, {2, 1, 3}} {
		for _, constant := range []bool{false, true} {
			x := newNet(t)
			in := []string{x.node("Relu", nil, x.input(floatsOf(rng, false, dims...)))}
			for i := range 4 {
				raw, _ := floatsOf(rng, false, dims[1]).AsFloat32s()
				for j := range raw {
					raw[j] = float32(math.Abs(float64(raw[j]))) + float32(i)/8
				}
				if v := tensor.Float32s(dims[1:2], raw...); constant {
					in = append(in, x.constant(v))
				} else {
					in = append(in, x.input(v))
				}
			}
			p := x.check(kernels.F32, 2e-6, x.node("Tanh", nil, x.node("BatchNormalization", attrs(graph.Float("epsilon", 1e-3)), in...)))
			x.onGPU(p)
			if len(p.Steps) != 1 {
				t.Errorf("%s, want one launch", summary(p.Steps))
			}
		}
	}
}

func TestSoftmaxes(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 3))
	dims := []int64{2, 3, 4, 5}
	for _, op := range []string{"Softmax", "LogSoftmax"} {
		for _, opset := range []int64{11, 23} {
			for axis := int64(-4); axis < 4; axis++ {
				x := newNet(t)
				x.opset = opset
				p := x.check(kernels.F32, 1e-6, x.node(op, attrs(graph.Int("axis", axis)), x.input(floatsOf(rng, false, dims...))))
				x.onGPU(p)
			}
		}
		// What comes before goes into the launch.
		for _, mask := range [][]int64{nil, {5}, {2, 1, 1, 5}, {1, 3, 4, 1}, {2, 3, 4, 5}} {
			for _, scale := range []string{"", "Mul", "Div"} {
				x := newNet(t)
				in := x.input(floatsOf(rng, false, dims...))
				if scale != "" {
					in = x.node(scale, nil, in, x.constant(tensor.Float32s(nil, 3)))
				}
				if mask != nil {
					m := floatsOf(rng, false, mask...)
					in = x.node("Add", nil, in, x.input(m))
				}
				p := x.check(kernels.F32, 1e-6, x.node(op, nil, in))
				x.onGPU(p)
				if len(p.Steps) != 1 {
					t.Errorf("mask %v, scale %q: %s", mask, scale, summary(p.Steps))
				}
			}
		}
	}
}

func TestReductions(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	dims := []int64{2, 3, 1, 4, 5}
	for _, op := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2"} {
		for _, axes := range [][]int64{nil, {0}, {-1}, {2}, {1, 3}, {0, 1}, {3, 4}, {0, 4}, {1, 2, 3}, {0, 1, 2, 3, 4}, {0, 2, 4}} {
			for keep := range int64(2) {
				for _, turned := range []bool{false, true} {
					x := newNet(t)
					in := x.input(floatsOf(rng, false, dims...))
					if turned {
						in = x.node("Transpose", attrs(graph.Ints("perm", 3, 1, 2, 0, 4)), in)
					}
					args := []string{in}
					if axes != nil {
						args = append(args, x.constant(list(axes...)))
					}
					p := x.check(kernels.F32, 2e-5, x.node(op, attrs(graph.Int("keepdims", keep)), args...))
					x.onGPU(p)
				}
			}
		}
		x := newNet(t)
		raw, _ := floatsOf(rng, false, 60, 3).AsFloat32s()
		for i := range raw {
			if rng.IntN(4) == 0 {
				raw[i] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0}[rng.IntN(4)]
			}
		}
		v := tensor.Float32s(tensor.Shape{60, 3}, raw...)
		x.onGPU(x.check(kernels.F32, 2e-5, x.node(op, nil, x.input(v), x.constant(list(1)))))
		x = newNet(t)
		x.onGPU(x.check(kernels.F32, 1e-6, x.node(op, attrs(graph.Int("noop_with_empty_axes", 1)), x.input(floatsOf(rng, false, 2, 3)))))
	}
	x := newNet(t)
	in := x.input(floatsOf(rng, false, 2, 3, 4, 5))
	p := x.check(kernels.F32, 1e-5, x.node("GlobalAveragePool", nil, in), x.node("GlobalMaxPool", nil, in),
		x.node("ReduceLogSum", nil, x.node("Abs", nil, in), x.constant(list(1))))
	x.onGPU(p)
	x = newNet(t)
	p = x.check(kernels.F32, 0, x.node("ReduceSum", nil, x.input(intsOf(rng, 1<<40, 4)), x.constant(list(0))))
	if len(p.Placed) != 1 || !strings.Contains(p.Placed[0].Why, "not exact") {
		t.Errorf("integers are summed: %v", p.Placed)
	}
}

func TestAttentions(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	low := float32(math.Inf(-1))
	for n, c := range []struct {
		heads, kv, queries, keys, size int64
		mask                           []int64
		bools, causal, flat            bool
		scale                          float32
		past                           bool // the heads come from a transposition, and the result goes through one
	}{
		{heads: 2, kv: 2, queries: 5, keys: 5, size: 8},
		{heads: 4, kv: 2, queries: 5, keys: 7, size: 8, causal: true},
		{heads: 4, kv: 1, queries: 7, keys: 5, size: 4, causal: true, scale: 0.3},
		{heads: 2, kv: 2, queries: 3, keys: 6, size: 8, mask: []int64{3, 6}},
		{heads: 2, kv: 2, queries: 3, keys: 6, size: 8, mask: []int64{2, 1, 1, 6}, causal: true},
		{heads: 2, kv: 2, queries: 3, keys: 6, size: 8, mask: []int64{2, 1, 3, 6}, bools: true},
		{heads: 4, kv: 2, queries: 3, keys: 6, size: 8, flat: true, mask: []int64{6}},
		{heads: 2, kv: 2, queries: 5, keys: 5, size: 8, flat: true, causal: true},
		{heads: 2, kv: 2, queries: 5, keys: 5, size: 8, causal: true, past: true},
	} {
		t.Run(fmt.Sprint("case ", n), func(t *testing.T) {
			x := newNet(t)
			shape := func(heads, rows int64) []int64 {
				switch {
				case c.flat:
					return []int64{2, rows, heads * c.size}
				case c.past:
					return []int64{2, rows, heads, c.size}
				}
				return []int64{2, heads, rows, c.size}
			}
			in := []string{x.input(floatsOf(rng, false, shape(c.heads, c.queries)...)), x.input(floatsOf(rng, false, shape(c.kv, c.keys)...)),
				x.input(floatsOf(rng, false, shape(c.kv, c.keys)...))}
			turn := attrs(graph.Ints("perm", 0, 2, 1, 3))
			if c.past {
				for i := range in {
					in[i] = x.node("Transpose", turn, in[i])
				}
			}
			if c.mask != nil && c.bools {
				m := boolsOf(rng, c.mask...)
				raw, _ := m.Bytes()
				for i := 0; i < len(raw); i += int(c.keys) {
					raw[i] = 1
				}
				in = append(in, x.input(m))
			} else if c.mask != nil {
				v := make([]float32, count(c.mask))
				for i := range v {
					v[i] = float32(rng.NormFloat64())
					if rng.IntN(3) == 0 && i%int(c.keys) != 0 {
						v[i] = low
					}
				}
				in = append(in, x.input(tensor.Float32s(c.mask, v...)))
			}
			var a []*graph.Attribute
			if c.causal {
				a = append(a, graph.Int("is_causal", 1))
			}
			if c.scale != 0 {
				a = append(a, graph.Float("scale", c.scale))
			}
			if c.flat {
				a = append(a, graph.Int("q_num_heads", c.heads), graph.Int("kv_num_heads", c.kv))
			}
			out := x.node("Attention", a, in...)
			if c.past {
				out = x.node("Reshape", nil, x.node("Transpose", turn, out), x.constant(list(2, c.queries, c.heads*c.size)))
			}
			p := x.check(kernels.F32, 1e-5, out)
			x.onGPU(p)
			if want := 1; (c.past || c.flat) && len(p.Steps) != want {
				t.Errorf("%s, want one launch", summary(p.Steps))
			}
		})
	}
	// What has no kernel of its own takes several.
	for _, c := range []struct {
		kv, size, v  int64
		flat, causal bool
		mask         []int64
		attrs        []*graph.Attribute
	}{
		{kv: 4, size: 8, v: 4}, {kv: 2, size: 8, v: 6, causal: true}, {kv: 4, size: 8, v: 8, attrs: attrs(graph.Float("softcap", 2))},
		{kv: 1, size: 8, v: 8, mask: []int64{5, 6}, attrs: attrs(graph.Float("scale", -1))}, {kv: 2, size: 160, v: 160, flat: true},
		{kv: 2, size: 8, v: 4, flat: true, causal: true, mask: []int64{2, 1, 1, 6}, attrs: attrs(graph.Float("softcap", 1), graph.Float("scale", 0.5))},
	} {
		x := newNet(t)
		shape := func(heads, rows, size int64) []int64 {
			if c.flat {
				return []int64{2, rows, heads * size}
			}
			return []int64{2, heads, rows, size}
		}
		in := []string{x.input(floatsOf(rng, false, shape(4, 5, c.size)...)), x.input(floatsOf(rng, false, shape(c.kv, 6, c.size)...)),
			x.input(floatsOf(rng, false, shape(c.kv, 6, c.v)...))}
		if c.mask != nil {
			in = append(in, x.input(floatsOf(rng, false, c.mask...)))
		}
		a := c.attrs
		if c.flat {
			a = append(a, graph.Int("q_num_heads", 4), graph.Int("kv_num_heads", c.kv))
		}
		if c.causal {
			a = append(a, graph.Int("is_causal", 1))
		}
		x.onGPU(x.check(kernels.F32, 1e-5, x.node("Attention", a, in...)))
	}
}

func TestAttentionWithACache(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 8))
	for _, c := range []struct {
		queries, past  int64
		causal, flat   bool
		mask           []int64
		softcap        float32
		wanted, cached bool
	}{
		{queries: 3, past: 4, causal: true, wanted: true, cached: true}, {queries: 1, past: 6, wanted: true, cached: true},
		{queries: 3, past: 4, causal: true, flat: true, mask: []int64{3, 7}, cached: true}, {queries: 3, causal: true, wanted: true},
		{queries: 3, past: 2, causal: true, softcap: 2, wanted: true, cached: true}, {queries: 3, flat: true, wanted: true},
	} {
		x := newNet(t)
		shape := func(heads int64) []int64 {
			if c.flat {
				return []int64{2, c.queries, heads * 8}
			}
			return []int64{2, heads, c.queries, 8}
		}
		in := []string{x.input(floatsOf(rng, false, shape(4)...)), x.input(floatsOf(rng, false, shape(2)...)), x.input(floatsOf(rng, false, shape(2)...)), ""}
		if c.mask != nil {
			in[3] = x.input(floatsOf(rng, false, c.mask...))
		}
		if c.cached {
			in = append(in, x.input(floatsOf(rng, false, 2, 2, c.past, 8)), x.input(floatsOf(rng, false, 2, 2, c.past, 8)))
		}
		a := attrs(graph.Float("softcap", c.softcap))
		if c.causal {
			a = append(a, graph.Int("is_causal", 1))
		}
		if c.flat {
			a = append(a, graph.Int("q_num_heads", 4), graph.Int("kv_num_heads", 2))
		}
		out := x.many("Attention", 3, a, in...)
		if !c.wanted {
			// Nobody reads what the cache becomes.
			out = out[:1]
		}
		x.onGPU(x.check(kernels.F32, 1e-5, out...))
	}
	pairs := 0.0
	for i := range int64(5) {
		pairs += float64(min(7, i+3))
	}
	if got := causalPairs(5, 7, 2); got != pairs {
		t.Errorf("%v pairs, want %v", got, pairs)
	}
	if got := causalPairs(5, 3, 0); got != 1+2+3+3+3 {
		t.Errorf("%v pairs", got)
	}
}

func TestRotations(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 6))
	const batch, heads, rows, size, far = 3, 2, 5, 8, 9
	ids := make([]int64, batch*rows)
	for i := range ids {
		ids[i] = rng.Int64N(far)
	}
	positions := tensor.Int64s(tensor.Shape{batch, rows}, ids...)
	one := floatsOf(rng, false, 1, rows, size/2)
	raw, _ := one.AsFloat32s()
	var three []float32
	for range batch {
		three = append(three, raw...)
	}
	alike := tensor.Float32s(tensor.Shape{batch, rows, size / 2}, three...)
	for _, c := range []struct {
		name                     string
		table                    *tensor.Tensor
		constant                 bool
		ids                      *tensor.Tensor
		constantIDs              bool
		flat, turned, interleave bool
		width                    int64
		launches                 int
	}{
		{name: "tables of each batch", table: floatsOf(rng, false, batch, rows, size/2), launches: 1},
		{name: "tables of each batch that are constant", table: floatsOf(rng, false, batch, rows, size/2), constant: true, launches: 1},
		{name: "tables that are the same for all", table: alike, constant: true, launches: 1},
		{name: "positions from outside", table: floatsOf(rng, false, far, size/2), constant: true, ids: positions, launches: 3},
		{name: "constant positions", table: floatsOf(rng, false, far, size/2), constant: true, ids: positions, constantIDs: true, launches: 1},
		{name: "neighbours", table: alike, constant: true, interleave: true, launches: 1},
		{name: "a part of the head", table: floatsOf(rng, false, batch, rows, 3), constant: true, width: 6, launches: 1},
		{name: "heads side by side", table: alike, constant: true, flat: true, launches: 1},
		{name: "heads that were transposed", table: alike, constant: true, turned: true, launches: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newNet(t)
			put := func(constant bool, v *tensor.Tensor) string {
				if constant {
					return x.constant(v)
				}
				return x.input(v)
			}
			var in string
			var a []*graph.Attribute
			switch {
			case c.flat:
				in = x.input(floatsOf(rng, false, batch, rows, heads*size))
				a = append(a, graph.Int("num_heads", heads))
			case c.turned:
				in = x.node("Transpose", attrs(graph.Ints("perm", 0, 2, 1, 3)), x.input(floatsOf(rng, false, batch, rows, heads, size)))
			default:
				in = x.input(floatsOf(rng, false, batch, heads, rows, size))
			}
			if c.width != 0 {
				a = append(a, graph.Int("rotary_embedding_dim", c.width))
			}
			if c.interleave {
				a = append(a, graph.Int("interleaved", 1))
			}
			args := []string{in, put(c.constant, c.table), put(c.constant, c.table)}
			if c.ids != nil {
				args = append(args, put(c.constantIDs, c.ids))
			}
			out := x.node("RotaryEmbedding", a, args...)
			if c.turned {
				out = x.node("Transpose", attrs(graph.Ints("perm", 0, 2, 1, 3)), out)
			}
			p := x.check(kernels.F32, 1e-6, out)
			x.onGPU(p)
			if len(p.Steps) != c.launches {
				t.Errorf("%s, want %d launches", summary(p.Steps), c.launches)
			}
		})
	}
}
