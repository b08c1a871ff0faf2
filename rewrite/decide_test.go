package rewrite_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// decided is a model, the decision about each of its layers, and the nodes that come of it. A decision is "name: rule", or
// "name: reason's code". Without nodes nothing may have been rewritten, and the model is the one that came in.
type decided struct {
	name  string
	model *graph.Model
	opt   func(*rewrite.Options)
	want  []string
	nodes []string
}

func patterns(texts ...string) (out []rewrite.Pattern) {
	for _, s := range texts {
		p, err := rewrite.ParsePattern(s)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

func decisions() []decided {
	nan := weight("fc.weight", 8, 6)
	nan.Tensor = tensor.Float32s(tensor.Shape{8, 6}, append(slices.Repeat([]float32{1}, 47), float32nan())...)
	yes := value("yes", tensor.Bool, 1)
	linear := function("Linear", "a b", "c", node("mm: MatMul a b -> c"))
	return []decided{
		// What is rewritten, by which rule.
		{"a matrix on the right", model(node("MatMul x fc.weight -> y"), x(), weight("fc.weight", 8, 6)), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"a vector times a matrix", model(node("MatMul x fc.weight -> y"), value("x", tensor.Float32, 8), weight("fc.weight", 8, 6)), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"an activation of unknown rank", model(node("MatMul x fc.weight -> y"), value("x", tensor.Float32), weight("fc.weight", 8, 6)), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"a matrix on the left is turned around", model(node("MatMul fc.weight x -> y"), value("x", tensor.Float32, 2, 8, 5), weight("fc.weight", 6, 8)), nil,
			[]string{"fc: matmul-left"},
			[]string{"Transpose x -> fc.fp8_Transpose", "Float8Linear fc.fp8_Transpose fc.fp8_weight -> fc.fp8_output", "Transpose fc.fp8_output -> y"}},
		{"a matrix times a vector needs no turn", model(node("MatMul fc.weight x -> y"), value("x", tensor.Float32, 8), weight("fc.weight", 6, 8)), nil,
			[]string{"fc: matmul-left"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"Gemm keeps its bias as an Add", model(node("Gemm x fc.weight b -> y"), x(), weight("fc.weight", 8, 6), weight("b", 6)), nil,
			[]string{"fc: gemm"}, []string{"Float8Linear x fc.fp8_weight -> fc.fp8_output", "Add fc.fp8_output b -> y"}},
		{"Gemm with alpha, beta and both transposed", model(
			node("Gemm x fc.weight b -> y", graph.Float("alpha", 0.5), graph.Float("beta", 2), graph.Int("transA", 1), graph.Int("transB", 1)),
			value("x", tensor.Float32, 8, 5), weight("fc.weight", 6, 8), weight("b", 6)), nil,
			[]string{"fc: gemm"},
			[]string{"Transpose x -> fc.fp8_Transpose", "Float8Linear fc.fp8_Transpose fc.fp8_weight -> fc.fp8_output",
				"Mul fc.fp8_output fc.fp8_alpha -> fc.fp8_Mul", "Add fc.fp8_Mul fc.fp8_bias -> y"}},
		{"Gemm with beta 0 drops its bias", model(node("Gemm x fc.weight b -> y", graph.Float("beta", 0)), x(), weight("fc.weight", 8, 6), weight("b", 6)), nil,
			[]string{"fc: gemm"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"Gemm with the constant on the left", model(node("Gemm fc.weight x -> y", graph.Int("transA", 1)), x(), weight("fc.weight", 5, 6)), nil,
			[]string{"fc: gemm"},
			[]string{"Transpose x -> fc.fp8_Transpose", "Float8Linear fc.fp8_Transpose fc.fp8_weight -> fc.fp8_output", "Transpose fc.fp8_output -> y"}},
		{"a weight behind Transpose, Identity and Reshape", model(
			node("Reshape flat.weight shape -> r"), node("Transpose r -> t", graph.Ints("perm", 1, 0)), node("Identity t -> i"), node("MatMul x i -> y"),
			x(), weight("flat.weight", 48), &graph.Initializer{Name: "shape", Tensor: tensor.Int64s(tensor.Shape{2}, 6, -1)}), nil,
			[]string{"flat: matmul"}, []string{"Float8Linear x flat.fp8_weight -> y"}},
		{"a weight widened from float16", model(node("Cast fc.weight -> w", graph.Int("to", int64(tensor.Float32))), node("MatMul x w -> y"), x(),
			zeros("fc.weight", tensor.Float16, 8, 6)), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"a Constant node", model(node("Constant -> fc.weight", graph.TensorAttr("value", ramp(8, 6))), node("MatMul x fc.weight -> y"), x()), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"two layers share a weight", model(node("MatMul x fc.weight -> y"), node("MatMul u fc.weight -> z"), x(), value("u", tensor.Float32, 3, 8), weight("fc.weight", 8, 6)), nil,
			[]string{"fc: matmul", "fc_2: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y", "Float8Linear u fc.fp8_weight -> z"}},
		{"a tied embedding stays for its other reader", model(node("Gather wte.weight ids -> e"), node("Transpose wte.weight -> t"), node("MatMul e t -> y"),
			value("ids", tensor.Int64, 4), weight("wte.weight", 6, 8)), nil,
			[]string{"wte: matmul"}, []string{"Gather wte.weight ids -> e", "Float8Linear e wte.fp8_weight -> y"}},
		{"leading axes of length 1 where the activation has as many", model(node("MatMul x fc.weight -> y"), value("x", tensor.Float32, 2, 5, 8), weight("fc.weight", 1, 8, 6)), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"initializers that are inputs before IR 4", model(irIs(3), node("MatMul x fc.weight -> y"), x(), value("fc.weight", tensor.Float32, 8, 6), weight("fc.weight", 8, 6)), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"overridable weights under --assume-constant", model(node("MatMul x fc.weight -> y"), x(), value("fc.weight", tensor.Float32, 8, 6), weight("fc.weight", 8, 6)),
			func(o *rewrite.Options) { o.AssumeConstant = true },
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"an activation with a default is no constant", model(node("MatMul x fc.weight -> y"), x(), weight("x", 5, 8), weight("fc.weight", 8, 6)), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"branches, with weights of their own and from outside", model(
			node("if: If yes -> y", body("then_branch", "a", node("MatMul x in.weight -> a"), weight("in.weight", 8, 6)), body("else_branch", "b", node("MatMul x out.weight -> b"))),
			x(), yes, weight("out.weight", 8, 6)), nil,
			[]string{"in: matmul", "out: matmul"},
			[]string{"If yes -> y", "  Float8Linear x in.fp8_weight -> a", "  Float8Linear x out.fp8_weight -> b"}},
		{"the body of a Loop", model(
			node("loop: Loop n yes x -> y", body("body", "c s", value("i", tensor.Int64), value("c0", tensor.Bool), value("s0", tensor.Float32, 5, 8),
				node("Identity c0 -> c"), node("MatMul s0 fc.weight -> s"))),
			x(), yes, value("n", tensor.Int64, 1), weight("fc.weight", 8, 8)), nil,
			[]string{"fc: matmul"}, []string{"Loop n yes x -> y", "  Identity c0 -> c", "  Float8Linear s0 fc.fp8_weight -> s"}},
		{"a function that gets its weight", model(node("one: f.Linear x fc.weight -> y"), node("two: f.Linear x up.weight -> z"), x(), weight("fc.weight", 8, 6), weight("up.weight", 8, 6), linear), nil,
			[]string{"fc: matmul", "up: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y", "Float8Linear x up.fp8_weight -> z"}},
		{"a function inside a function, with a Constant", model(node("one: f.Outer x -> y"), x(), function("Outer", "a", "c", node("call: f.Inner a -> c")),
			function("Inner", "a", "c", node("Constant -> k", graph.TensorAttr("value", ramp(8, 6))), node("mm: MatMul a k -> c"))), nil,
			[]string{"one/call/k: matmul"}, []string{"Float8Linear x one/call/k.fp8_weight -> y"}},
		{"zeros are a weight like any other", model(node("MatMul x fc.weight -> y"), x(), zeros("fc.weight", tensor.Float32, 8, 6)), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},
		{"bfloat16", model(node("MatMul x fc.weight -> y"), value("x", tensor.BFloat16, 5, 8), zeros("fc.weight", tensor.BFloat16, 8, 6)), nil,
			[]string{"fc: matmul"}, []string{"Float8Linear x fc.fp8_weight -> y"}},

		// What stays, and why.
		{"two activations", model(node("fc: MatMul x u -> y"), x(), value("u", tensor.Float32, 8, 6)), nil, []string{"fc: no-constant-operand"}, nil},
		{"two constants", model(node("MatMul a.weight fc.weight -> y"), weight("a.weight", 5, 8), weight("fc.weight", 8, 6)), nil, []string{"fc: both-constant"}, nil},
		{"a Transpose of three axes", model(node("Transpose fc.weight -> t", graph.Ints("perm", 0, 2, 1)), node("MatMul x t -> y"), x(), weight("fc.weight", 1, 6, 8)), nil,
			[]string{"fc: weight-unresolved"}, nil},
		{"a Reshape to a shape from outside", model(node("Reshape fc.weight s -> t"), node("MatMul x t -> y"), x(), value("s", tensor.Int64, 2), weight("fc.weight", 48)), nil,
			[]string{"fc: weight-unresolved"}, nil},
		{"a widened weight that is to keep its type", model(node("Cast fc.weight -> w", graph.Int("to", int64(tensor.Float32))), node("MatMul x w -> y"), x(),
			zeros("fc.weight", tensor.Float16, 8, 6)), func(o *rewrite.Options) { o.Weights = rewrite.OriginalWeights }, []string{"fc: weight-unresolved"}, nil},
		{"a weight that callers can replace", model(node("MatMul x fc.weight -> y"), x(), value("fc.weight", tensor.Float32, 8, 6), weight("fc.weight", 8, 6)), nil,
			[]string{"fc: weight-overridable"}, nil},
		{"a vector", model(node("MatMul x fc.weight -> y"), x(), weight("fc.weight", 8)), nil, []string{"fc: weight-rank"}, nil},
		{"a batch of matrices", model(node("MatMul x fc.weight -> y"), value("x", tensor.Float32, 2, 5, 8), weight("fc.weight", 2, 8, 6)), nil, []string{"fc: weight-batched"}, nil},
		{"leading axes of length 1 that the activation lacks", model(node("MatMul x fc.weight -> y"), x(), weight("fc.weight", 1, 8, 6)), nil, []string{"fc: weight-batched"}, nil},
		{"doubles", model(node("MatMul x fc.weight -> y"), value("x", tensor.Float64, 5, 8), zeros("fc.weight", tensor.Float64, 8, 6)), nil, []string{"fc: weight-dtype"}, nil},
		{"integers", model(node("MatMul x fc.weight -> y"), value("x", tensor.Int32, 5, 8), zeros("fc.weight", tensor.Int32, 8, 6)), nil, []string{"fc: weight-dtype"}, nil},
		{"no elements", model(node("MatMul x fc.weight -> y"), x(), zeros("fc.weight", tensor.Float32, 8, 0)), nil, []string{"fc: weight-empty"}, nil},
		{"an element that is not a number", model(node("MatMul x fc.weight -> y"), x(), nan), nil, []string{"fc: weight-nonfinite"}, nil},
		{"a weight behind DequantizeLinear", model(node("DequantizeLinear fc.weight s -> w"), node("MatMul x w -> y"), x(), zeros("fc.weight", tensor.Int8, 8, 6), weight("s")), nil,
			[]string{"fc: weight-quantized"}, nil},
		{"a weight behind QuantizeLinear and DequantizeLinear", model(node("QuantizeLinear fc.weight s -> q"), node("DequantizeLinear q s -> w"), node("MatMul x w -> y"), x(),
			weight("fc.weight", 8, 6), weight("s")), nil, []string{"fc: weight-quantized"}, nil},
		{"a sparse weight", model(node("MatMul x fc.weight -> y"), x(), &graph.Sparse{Name: "fc.weight", Shape: tensor.Shape{8, 6}}), nil, []string{"fc: weight-sparse"}, nil},
		{"a batch of constants on the left", model(node("MatMul fc.weight x -> y"), value("x", tensor.Float32, 3, 8, 5), weight("fc.weight", 3, 6, 8)), nil,
			[]string{"fc: left-constant-batched"}, nil},
		{"an outer product", model(node("MatMul fc.weight x -> y"), value("x", tensor.Float32, 1, 5), weight("fc.weight", 32, 1)), nil, []string{"fc: left-constant-outer"}, nil},
		{"rotary frequencies", model(node("MatMul fc.weight x -> y"), value("x", tensor.Float32, 1, 1, 5), weight("fc.weight", 1, 32, 1)), nil, []string{"fc: left-constant-batched"}, nil},
		{"a constant left of an unknown rank", model(node("MatMul fc.weight x -> y"), value("x", tensor.Float32), weight("fc.weight", 6, 8)), nil,
			[]string{"fc: left-constant-rank-unknown"}, nil},
		{"a Gemm of three axes", model(node("Gemm x fc.weight -> y"), value("x", tensor.Float32, 2, 5, 8), weight("fc.weight", 8, 6)), nil, []string{"fc: gemm-input-rank"}, nil},
		{"an activation of integers", model(node("MatMul x fc.weight -> y"), value("x", tensor.Int32, 5, 8), weight("fc.weight", 8, 6)), nil, []string{"fc: input-dtype"}, nil},
		{"an activation of another type", model(node("MatMul x fc.weight -> y"), value("x", tensor.Float16, 5, 8), weight("fc.weight", 8, 6)), nil, []string{"fc: model-invalid"}, nil},
		{"a node without its second operand", model(node("fc: MatMul x -> y"), x()), nil, []string{"fc: model-invalid"}, nil},
		{"filters", model(node("MatMul x a.0.weight -> y0"), node("MatMul x a.1.weight -> y1"), node("MatMul x b.weight -> y2"), x(),
			weight("a.0.weight", 8, 6), weight("a.1.weight", 8, 6), weight("b.weight", 8, 6)),
			func(o *rewrite.Options) { o.Include, o.Exclude = patterns("a.*"), patterns("re:1$", "a.0") }, []string{"a.0: excluded", "a.1: excluded", "b: not-included"}, nil},
		{"a multiple", model(node("MatMul x fc.weight -> y"), x(), weight("fc.weight", 8, 6)), func(o *rewrite.Options) { o.MultipleOf = 4 }, []string{"fc: dim-not-multiple"}, nil},
		{"a least dimension", model(node("MatMul x fc.weight -> y"), x(), weight("fc.weight", 8, 6)), func(o *rewrite.Options) { o.MinDim = 7 }, []string{"fc: dim-too-small"}, nil},
		{"a name that is given twice", model(node("MatMul x fc.weight -> y"), x(), weight("fc.weight", 8, 6), weight("fc.weight", 8, 6)), nil, []string{"fc: name-repeated"}, nil},
		{"an operator that cannot be lifted", model(opsetIs(7), node("Clip x -> c", graph.Float("min", 1), graph.Float("max", 0)), node("MatMul c fc.weight -> y"), x(), weight("fc.weight", 8, 6)), nil,
			[]string{"fc: opset-unsupported"}, nil},
		{"a function of a later opset", model(opsetIs(13), node("one: f.Linear x fc.weight -> y"), x(), weight("fc.weight", 8, 6),
			function("Linear", "a b", "c", node("Constant -> k", graph.TensorAttr("value", ramp(6, 6))), node("mm: MatMul a b -> t"), node("up: MatMul t k -> c"))), nil,
			[]string{"mm: no-constant-operand", "up: in-function"}, nil},
		{"a function that nothing calls", model(node("Relu x -> y"), x(), function("Idle", "a", "c", node("Constant -> k", graph.TensorAttr("value", ramp(6, 6))), node("mm: MatMul a k -> c"))), nil,
			[]string{"mm: in-function"}, nil},
		{"a function whose layer is excluded says so", model(node("one: f.Linear x fc.weight -> y"), x(), weight("fc.weight", 8, 6), linear),
			func(o *rewrite.Options) { o.Exclude = patterns("*") }, []string{"fc: excluded"}, nil},
	}
}

func float32nan() float32 { var zero float32; return zero / zero }

func decisionsOf(res *rewrite.Result) []string {
	var out []string
	for _, l := range res.Layers() {
		s := string(l.Rule)
		if l.Reason != nil {
			s = string(l.Reason.Code)
		}
		out = append(out, l.Name+": "+s)
	}
	return out
}

func TestDecisions(t *testing.T) {
	for _, c := range decisions() {
		t.Run(c.name, func(t *testing.T) {
			var opt rewrite.Options
			if c.opt != nil {
				c.opt(&opt)
			}
			before := strings.Join(lines(c.model.Graph), "\n")
			res := convert(t, c.model, opt)
			if got := decisionsOf(res); !slices.Equal(got, c.want) {
				t.Errorf("decided %q, want %q", got, c.want)
			}
			if after := strings.Join(lines(c.model.Graph), "\n"); after != before {
				t.Errorf("the input model changed:\n%s\nwas\n%s", after, before)
			}
			if c.nodes == nil {
				if res.Changed || res.Model != c.model || len(res.Changes) > 0 {
					t.Errorf("nothing was to be rewritten, yet Changed is %v, with %v", res.Changed, res.Changes)
				}
				return
			}
			if got := lines(res.Model.Graph); !slices.Equal(got, c.nodes) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(c.nodes, "\n\t"))
			}
			complete(t, res.Model)
			for _, l := range res.Layers() {
				if l.Reason == nil && (len(l.Shape) != 2 || l.DTypeAfter != "float8e4m3fn" || l.InputScaling != "delayed") {
					t.Errorf("layer %q: shape %v, %s, %s", l.Name, l.Shape, l.DTypeAfter, l.InputScaling)
				}
			}
			again := convert(t, res.Model, opt)
			if again.Changed || again.Model != res.Model {
				t.Errorf("converting twice changes the model: %v", decisionsOf(again))
			}
		})
	}
}

// complete checks that every name which a node of m reads exists, and that no constant is left which nothing reads.
func complete(t *testing.T, m *graph.Model) {
	t.Helper()
	uses := graph.Uses(m.Graph)
	var walk func(s *graph.Scope)
	walk = func(s *graph.Scope) {
		for _, n := range s.Graph.Nodes {
			for _, in := range n.Inputs {
				if in != "" && s.Find(in).Scope == nil {
					t.Errorf("node %q (%s) reads %q, which nothing defines", n.Name, n.OpType, in)
				}
			}
			for _, g := range n.Subgraphs() {
				walk(s.Inner(g, n))
			}
		}
		for _, i := range s.Graph.Initializers {
			if uses[graph.Key{Graph: s.Graph, Name: i.Name}] == 0 && i.Name != "b" {
				t.Errorf("nothing reads the initializer %q", i.Name)
			}
		}
	}
	walk(graph.NewScope(m.Graph, nil, nil))
	if m.OpsetVersion("") < rewrite.MinOpset || m.IRVersion < rewrite.MinIR || m.OpsetVersion("ai.fp8rewrite") != 1 {
		t.Errorf("opset %d and IR version %d", m.OpsetVersion(""), m.IRVersion)
	}
}

// TestEveryReasonIsGiven keeps the closed list of reasons closed in both directions: each code is given to some model of these tests.
func TestEveryReasonIsGiven(t *testing.T) {
	given := map[report.ReasonCode]bool{}
	note := func(res *rewrite.Result) {
		for _, l := range res.Layers() {
			if l.Reason != nil {
				given[l.Reason.Code] = true
			}
		}
	}
	for _, c := range decisions() {
		var opt rewrite.Options
		if c.opt != nil {
			c.opt(&opt)
		}
		res := convert(t, c.model, opt)
		note(res)
		if res.Changed {
			note(convert(t, res.Model, opt)) // already-float8
		}
	}
	res, err := lowered(t, calibrated(t, twoLayers(), rewrite.Options{Exclude: patterns("up")}))
	if err != nil {
		t.Fatal(err)
	}
	note(res) // not-converted
	for _, code := range []report.ReasonCode{report.ReasonNotALayer, report.ReasonLayerRole, report.ReasonWeightTied, report.ReasonLoaderRefuses,
		report.ReasonGroupKept} {
		given[code] = true // of checkpoints alone
	}
	for _, r := range report.Reasons() {
		if !given[r.Code] {
			t.Errorf("no model of these tests is given the reason %q", r.Code)
		}
	}
}

func TestWhatIsReportedBesides(t *testing.T) {
	codes := func(res *rewrite.Result) (out []string) {
		for _, c := range res.Changes {
			out = append(out, string(c.Code)+" "+c.Subject)
		}
		for _, w := range res.Warnings {
			out = append(out, string(w.Code)+" "+w.Subject)
		}
		return out
	}
	cases := []struct {
		name string
		want []string
	}{
		{"a matrix on the right", []string{"opset-lifted ai.onnx", "ir-lifted model", "function-added Float8Linear", "uncalibrated model"}},
		{"initializers that are inputs before IR 4", []string{"opset-lifted ai.onnx", "ir-lifted model", "graph-input-dropped fc.weight", "function-added Float8Linear", "uncalibrated model"}},
		{"overridable weights under --assume-constant", []string{"opset-lifted ai.onnx", "ir-lifted model", "function-added Float8Linear", "graph-input-dropped fc.weight", "assumed-constant fc.weight", "uncalibrated model"}},
		{"a tied embedding stays for its other reader", []string{"opset-lifted ai.onnx", "ir-lifted model", "function-added Float8Linear", "weight-duplicated wte.weight", "uncalibrated model"}},
		{"a function that gets its weight", []string{"function-inlined f::Linear", "opset-lifted ai.onnx", "ir-lifted model", "function-added Float8Linear", "uncalibrated model"}},
		{"an operator that cannot be lifted", []string{"model-kept model"}},
		{"two activations", []string{"nothing-rewritten model"}},
		{"a function whose layer is excluded says so", []string{"nothing-rewritten model"}},
	}
	all := decisions()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			i := slices.IndexFunc(all, func(d decided) bool { return d.name == c.name })
			var opt rewrite.Options
			if all[i].opt != nil {
				all[i].opt(&opt)
			}
			if got := codes(convert(t, all[i].model, opt)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
