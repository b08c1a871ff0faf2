package cpu

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// with is an engine with operators of a test's own.
func with(t *testing.T, m *graph.Model, opt runtime.Options, table kernel.Table) runtime.Session {
	t.Helper()
	b := testBackend()
	for op, maker := range table {
		b.table[op] = maker
	}
	s, err := b.Open(t.Context(), m, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestInputsThatDoNotFitAreNamed(t *testing.T) {
	s := open(t, model(input("x float32 n 2"), input("y float32 n 2"), node("Add x y -> z"), outputs("z")), runtime.Options{})
	two := tensor.Float32s(tensor.Shape{1, 2}, 1, 2)
	for name, c := range map[string]struct {
		in   in
		want string
	}{
		"missing":    {in{"x": two}, `input "y": it is missing, want float32[n,2]`},
		"unknown":    {in{"x": two, "y": two, "w": two}, `input "w": the model has no such input, want one of "x", "y"`},
		"type":       {in{"x": two, "y": tensor.Int64s(tensor.Shape{1, 2}, 1, 2)}, `input "y": got int64[1,2], want float32[n,2]`},
		"rank":       {in{"x": two, "y": f32(1, 2)}, `input "y": got float32[2], want float32[n,2]`},
		"extent":     {in{"x": two, "y": tensor.Float32s(tensor.Shape{1, 3}, 1, 2, 3)}, `input "y": got float32[1,3], want float32[n,2]`},
		"named axis": {in{"x": two, "y": tensor.Float32s(tensor.Shape{2, 2}, 1, 2, 3, 4)}, `input "y": got float32[2,2], want float32[n,2], where n is 1 as in input "x"`},
		"short data": {in{"x": two, "y": {DType: tensor.Float32, Shape: tensor.Shape{1, 2}, Data: tensor.Bytes{1}}}, `input "y": float32[1,2]: got 1 bytes, want 8, want float32[n,2]`},
	} {
		_, err := s.Run(t.Context(), c.in.values())
		var e *runtime.InputError
		if !errors.As(err, &e) || err.Error() != c.want {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
}

func TestOpenNamesWhatItCannotExecute(t *testing.T) {
	recursive := function("Loops", "x", "y", node("f.Loops x -> y"))
	for want, m := range map[string]*graph.Model{
		`cpu: node "here": Frobnicate (opset 18): no such operator`:            model(input("x float32"), node("here: Frobnicate x -> y"), outputs("y")),
		`cpu: node "n": com.acme.Add (opset 1): no such operator`:              model(input("x float32"), node("n: com.acme.Add x x -> y"), outputs("y")),
		`cpu: node "a/y": f.Loops (opset 1): function "Loops" calls itself`:    model(recursive, input("x float32"), node("a: f.Loops x -> y"), outputs("y")),
		`cpu: initializer "s": a sparse tensor without content`:                model(&graph.Sparse{Name: "s"}, input("x float32"), node("n: Add x s -> y"), outputs("y")),
		`cpu: output "y" of graph "g": nothing defines "y"`:                    model(input("x float32"), outputs("y")),
		`cpu: node "n": Add: nothing defines "gone"`:                           model(input("x float32"), node("n: Add x gone -> y"), outputs("y")),
		`cpu: node "a": Add: its inputs depend on its own output`:              model(input("x float32"), node("a: Add x b -> y"), node("b: Add x y -> b"), outputs("y")),
		`cpu: node "n": If (opset 18): attribute "then_branch" holds no graph`: model(input("c bool"), node("n: If c -> y", graph.Int("then_branch", 1)), outputs("y")),
	} {
		_, err := New().Open(t.Context(), m, runtime.Options{})
		if err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

func TestDomainsOfOnnxAreOne(t *testing.T) {
	s := open(t, model(input("x float32 n"), node("ai.onnx.Add x x -> y"), outputs("y")), runtime.Options{})
	wantFloats(t, run(t, s, in{"x": f32(1, 2)})["y"], 2, 4)
}

func TestAPanicOfAnOperatorIsAnError(t *testing.T) {
	m := model(input("x float32 n"), node("bad: Boom x -> y"), outputs("y"))
	for where, boom := range map[string]func(c *kernel.Call){
		"in the operator": func(c *kernel.Call) { _ = c.In[len(c.In)] },
		"in a worker": func(c *kernel.Call) {
			c.Pool.For(8, 1, func(lo, _ int) {
				if lo == 5 {
					panic("boom")
				}
			})
		},
	} {
		s := with(t, m, runtime.Options{Threads: 2}, kernel.Table{"Boom": func(*kernel.Site) (kernel.Func, error) {
			return func(c *kernel.Call) error { boom(c); return nil }, nil
		}})
		_, err := s.Run(t.Context(), in{"x": f32(1)}.values())
		var e *runtime.NodeError
		if !errors.As(err, &e) || e.Node != "bad" || e.Op != "Boom" {
			t.Errorf("%s: %v, want an error of node bad", where, err)
		}
	}
}

func TestCancelEndsARunBetweenStepsAndInsideOne(t *testing.T) {
	loop := node("Loop _ _ x -> y", body("body", input("i int64"), input("c bool"), input("s float32 1"), node("Identity c -> co"),
		node("Add s one -> t"), outputs("co t")))
	endless := model(input("x float32 1"), floats("one", nil, 1), loop, outputs("y"))
	slow := model(input("x float32 1"), node("Slow x -> y"), outputs("y"))
	sleeps := kernel.Table{"Slow": func(*kernel.Site) (kernel.Func, error) {
		return func(c *kernel.Call) error {
			c.Pool.For(1<<30, 1, func(int, int) { time.Sleep(time.Millisecond) })
			return nil
		}, nil
	}}
	for name, m := range map[string]*graph.Model{"a loop without end": endless, "a long operator": slow} {
		s := with(t, m, runtime.Options{}, sleeps)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		start := time.Now()
		_, err := s.Run(ctx, in{"x": f32(1)}.values())
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("%s: ended after %v", name, took)
		}
	}
}

// wide is a chain whose middle is n floats per element of x.
func wide(n int64) *graph.Model {
	return model(input("x float32 b 1"), floats("w", tensor.Shape{1, n}, make([]float32, n)...), node("MatMul x w -> h"), node("Tanh h -> h2"),
		node("Transpose w -> wt"), node("MatMul h2 wt -> y"), outputs("y"))
}

func TestMaxMemory(t *testing.T) {
	m := wide(1 << 12)
	plan, err := open(t, m, runtime.Options{}).Plan(map[string]tensor.Shape{"x": {64, 1}})
	if err != nil || plan.Unknown != 0 {
		t.Fatal(plan, err)
	}
	if least := int64(64 * 4 << 12); plan.Activations < least || plan.Activations > 3*least {
		t.Errorf("plan %+v, want activations near %d", plan, least)
	}
	s := open(t, m, runtime.Options{MaxMemory: 1 << 18})
	x := func(n int64) in { return in{"x": tensor.Float32s(tensor.Shape{n, 1}, make([]float32, n)...)} }
	run(t, s, x(2))
	_, err = s.Run(t.Context(), x(64).values())
	var e *runtime.MemoryError
	if !errors.As(err, &e) || e.Need < plan.Activations || e.Have != 1<<18 {
		t.Errorf("%v, want a MemoryError", err)
	}
	run(t, s, x(2))
	fixed := wide(1 << 12)
	fixed.Graph.Inputs[0].Type.Shape[0] = graph.Dim{Value: 64}
	if _, err := New().Open(t.Context(), fixed, runtime.Options{MaxMemory: 1 << 18}); !errors.As(err, &e) {
		t.Errorf("open: %v, want a MemoryError", err)
	}
}

func TestWeightsArePackedOnlyWhileTheyFit(t *testing.T) {
	const k, n = 64, 1024
	m := model(input("x float32 b 64"), input("s float32 1"), floats("v", tensor.Shape{1}, 2), floats("w", tensor.Shape{k, n}, random(k*n, 1)...),
		node("MatMul x w -> h"), node("Mul h v -> y"), outputs("y"))
	x := func(rows int64) in {
		return in{"x": tensor.Float32s(tensor.Shape{rows, k}, random(int(rows)*k, 2)...), "s": f32(0)}
	}
	s := open(t, m, runtime.Options{MaxMemory: 1 << 20, Variables: []string{"v"}})
	if err := s.Set("v", f32(3)); err != nil {
		t.Fatal(err)
	}
	weights := func() int64 {
		p, err := s.Plan(nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.Weights
	}
	few := run(t, s, x(2))["y"].Tensor
	if weights() < 4*k*n {
		t.Fatalf("%d bytes of weights are packed, want at least %d", weights(), 4*k*n)
	}
	many := run(t, s, x(240))["y"].Tensor
	if weights() != 0 {
		t.Errorf("%d bytes of weights are packed beside a product that fills the memory", weights())
	}
	a, _ := few.Bytes()
	b, _ := many.Bytes()
	if string(a) != string(b[:len(a)]) {
		t.Error("the rows have other bits without the packed weight")
	}
	if _, err := s.Run(t.Context(), x(400).values()); err == nil {
		t.Error("a product beyond the memory is no error")
	}
}

func TestAValueThatThePlanDidNotKnowIsBoundedToo(t *testing.T) {
	m := model(input("x float32 n"), node("Big x -> h"), node("Small h -> y"), outputs("y"))
	s := with(t, m, runtime.Options{MaxMemory: 1 << 20}, kernel.Table{
		"Big": func(*kernel.Site) (kernel.Func, error) {
			return func(c *kernel.Call) error { _, err := c.New(0, tensor.Float32, []int{1 << 20}); return err }, nil
		},
		"Small": func(*kernel.Site) (kernel.Func, error) {
			return func(c *kernel.Call) error { _, err := c.New(0, tensor.Float32, []int{1}); return err }, nil
		}})
	_, err := s.Run(t.Context(), in{"x": f32(1)}.values())
	var e *runtime.MemoryError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "Big") {
		t.Errorf("%v, want a MemoryError of Big", err)
	}
}

func TestKeepGivesInnerValues(t *testing.T) {
	m := model(input("x float32 n"), node("Add x x -> a"), node("Sqrt a -> b"), node("Neg b -> y"), outputs("y"))
	s := open(t, m, runtime.Options{Keep: []string{"a", "x"}})
	if got := strings.Join(s.Outputs(), " "); got != "y a x" {
		t.Errorf("outputs %s", got)
	}
	got := run(t, s, in{"x": f32(2, 8)})
	wantFloats(t, got["y"], -2, -4)
	wantFloats(t, got["a"], 4, 16)
	wantFloats(t, got["x"], 2, 8)
	if _, err := New().Open(t.Context(), m, runtime.Options{Keep: []string{"z"}}); err == nil {
		t.Error("a value that is not there is kept")
	}
}

func TestSetReplacesAVariableAtEveryDepth(t *testing.T) {
	m := model(input("x float32 1"), input("c bool"), floats("w", tensor.Shape{1}, 1), node("Neg w -> nw"),
		node("If c -> y", body("then_branch", node("Mul x nw -> a"), outputs("a")),
			body("else_branch", floats("w", tensor.Shape{1}, 5), node("Mul x w -> b"), outputs("b"))), outputs("y"))
	s := open(t, m, runtime.Options{Variables: []string{"w"}})
	check := func(yes, no float32) {
		t.Helper()
		wantFloats(t, run(t, s, in{"x": f32(2), "c": tensor.Bools(nil, true)})["y"], yes)
		wantFloats(t, run(t, s, in{"x": f32(2), "c": tensor.Bools(nil, false)})["y"], no)
	}
	check(-2, 10)
	if err := s.Set("w", f32(3)); err != nil {
		t.Fatal(err)
	}
	check(-6, 6)
	for _, bad := range []*tensor.Tensor{f32(1, 2), tensor.Int64s(tensor.Shape{1}, 1)} {
		if err := s.Set("w", bad); err == nil {
			t.Errorf("a variable became %s%s", bad.DType, bad.Shape)
		}
	}
	if err := s.Set("nw", f32(1)); err == nil {
		t.Error("what is no variable was set")
	}
	if _, err := New().Open(t.Context(), m, runtime.Options{Variables: []string{"v"}}); err == nil {
		t.Error("a variable that the model lacks is no error")
	}
}

func TestOverridableInitializers(t *testing.T) {
	m := model(input("x float32 1"), input("w float32 1"), floats("w", tensor.Shape{1}, 4), node("Add x w -> y"), outputs("y"))
	s := open(t, m, runtime.Options{})
	if len(s.Inputs()) != 1 {
		t.Errorf("%d inputs, want 1", len(s.Inputs()))
	}
	wantFloats(t, run(t, s, in{"x": f32(1)})["y"], 5)
	wantFloats(t, run(t, s, in{"x": f32(1), "w": f32(2)})["y"], 3)
	wantFloats(t, run(t, s, in{"x": f32(1)})["y"], 5)
}

func TestConstantsAreFolded(t *testing.T) {
	m := model(input("x float32 2"), node("Constant -> a", graph.Floats("value_floats", 1, 2)), node("Neg a -> b"), node("Mul b b -> c"),
		node("Add x c -> y"), outputs("y c"))
	b := testBackend()
	opened, err := b.Open(t.Context(), m, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(opened.(*session).main.steps); n != 1 {
		t.Errorf("%d steps, want 1", n)
	}
	for range 2 {
		got := run(t, opened, in{"x": f32(10, 20)})
		wantFloats(t, got["y"], 11, 24)
		wantFloats(t, got["c"], 1, 4)
	}
}

func TestWhatRunReturnsIsTheCallersOwn(t *testing.T) {
	s := open(t, model(input("x float32 n"), node("Add x x -> y"), node("Identity y -> z"), outputs("y z")), runtime.Options{})
	first := run(t, s, in{"x": f32(1, 2)})
	run(t, s, in{"x": f32(5, 6)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantFloats(t, first["y"], 2, 4)
	wantFloats(t, first["z"], 2, 4)
	if _, err := s.Run(t.Context(), in{"x": f32(1)}.values()); err == nil {
		t.Error("a closed session runs")
	}
}

func TestFourBitTensorsCrossTheBorder(t *testing.T) {
	m := model(input("x int4 3"), node("Identity x -> y"), outputs("y"))
	s := open(t, m, runtime.Options{})
	got := run(t, s, in{"x": {DType: tensor.Int4, Shape: tensor.Shape{3}, Data: tensor.Bytes{0x7f, 0x08}}})["y"].Tensor
	if b, _ := got.Bytes(); got.DType != tensor.Int4 || len(b) != 2 || b[0] != 0x7f || b[1] != 0x08 {
		t.Errorf("got %s %x", got.DType, b)
	}
	k, err := kernel.FromTensor(&tensor.Tensor{DType: tensor.Int4, Shape: tensor.Shape{3}, Data: tensor.Bytes{0x7f, 0x08}})
	if err != nil {
		t.Fatal(err)
	}
	if v := kernel.Of[int8](k); v[0] != -1 || v[1] != 7 || v[2] != -8 {
		t.Errorf("unpacked %v, want [-1 7 -8]", v)
	}
}

func TestSparseInitializers(t *testing.T) {
	for name, s := range map[string]*graph.Sparse{
		"coordinates": {Name: "s", Shape: tensor.Shape{2, 3}, Values: f32(5, 7), Indices: tensor.Int64s(tensor.Shape{2, 2}, 0, 1, 1, 2)},
		"places":      {Name: "s", Shape: tensor.Shape{2, 3}, Values: f32(5, 7), Indices: i64(1, 5)},
	} {
		s := open(t, model(s, input("x float32"), node("Add x s -> y"), outputs("y")), runtime.Options{})
		t.Log(name)
		wantFloats(t, run(t, s, in{"x": tensor.Float32s(nil, 1)})["y"], 1, 6, 1, 1, 1, 8)
	}
	for _, at := range []int64{-1, 6, math.MaxInt64} {
		bad := &graph.Sparse{Name: "s", Shape: tensor.Shape{2, 3}, Values: f32(5), Indices: i64(at)}
		if _, err := New().Open(t.Context(), model(bad, input("x float32"), node("Add x s -> y"), outputs("y")), runtime.Options{}); err == nil {
			t.Errorf("an element at %d of 6 is no error", at)
		}
	}
}

func TestAValueLargerThanTheMachineIsAnError(t *testing.T) {
	m := model(input("n int64 1"), node("ConstantOfShape n -> z"), node("Shape z -> y"), outputs("y"))
	_, err := open(t, m, runtime.Options{}).Run(t.Context(), in{"n": i64(1 << 42)}.values())
	var e *runtime.MemoryError
	if !errors.As(err, &e) {
		t.Errorf("%v, want a MemoryError", err)
	}
}

// norms holds what fusion makes one step of: a residual, RMSNorm and LayerNorm in pieces, GELU, SiLU, a masked softmax.
func norms() *graph.Model {
	return model(input("x float32 b t 64"), input("r float32 b t 64"), input("mask float32 t 64"),
		floats("two", nil, 2), floats("eps", nil, 1e-5), floats("half", nil, 0.5), floats("one", nil, 1), floats("root", nil, float32(math.Sqrt2)),
		floats("w", tensor.Shape{64}, random(64, 1)...), floats("bias", tensor.Shape{64}, random(64, 2)...), ints("last", tensor.Shape{1}, -1),
		node("Add x r -> h"),
		node("Pow h two -> p"), node("ReduceMean p last -> m"), node("Add m eps -> me"), node("Sqrt me -> sq"), node("Reciprocal sq -> rs"),
		node("Mul h rs -> n0"), node("Mul w n0 -> n1"),
		node("Sigmoid n1 -> sg"), node("Mul n1 sg -> silu"),
		node("ReduceMean silu last -> mu"), node("Sub silu mu -> d"), node("Pow d two -> d2"), node("ReduceMean d2 last -> var"),
		node("Add var eps -> ve"), node("Sqrt ve -> sd"), node("Div d sd -> ln0"), node("Mul ln0 w -> ln1"), node("Add ln1 bias -> ln"),
		node("Div ln root -> e0"), node("Erf e0 -> e1"), node("Add e1 one -> e2"), node("Mul ln e2 -> e3"), node("Mul e3 half -> gelu"),
		node("Add gelu mask -> s0"), node("Softmax s0 -> soft"), node("Add soft h -> y"), outputs("y h"))
}

func random(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func normInputs(rows int64) in {
	shape := tensor.Shape{rows, 3, 64}
	return in{"x": tensor.Float32s(shape, random(int(rows)*192, 5)...), "r": tensor.Float32s(shape, random(int(rows)*192, 6)...),
		"mask": tensor.Float32s(tensor.Shape{3, 64}, random(192, 7)...)}
}

func TestFusedStepsGiveWhatTheOperatorsGive(t *testing.T) {
	plain := testBackend()
	plain.plain = true
	slow, err := plain.Open(t.Context(), norms(), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fast := open(t, norms(), runtime.Options{})
	if n, all := len(fast.(*session).main.steps), len(slow.(*session).main.steps); n >= all/3 {
		t.Errorf("%d steps of %d are left", n, all)
	}
	a, b := run(t, slow, normInputs(4)), run(t, fast, normInputs(4))
	for _, o := range []string{"y", "h"} {
		x, _ := a[o].Tensor.AsFloat32s()
		y, _ := b[o].Tensor.AsFloat32s()
		for i := range x {
			if d := math.Abs(float64(x[i] - y[i])); !(d <= 1e-5*(1+math.Abs(float64(x[i])))) {
				t.Fatalf("%s[%d]: %v, want %v", o, i, y[i], x[i])
			}
		}
	}
}

func TestARowDependsNeitherOnTheOthersNorOnThreads(t *testing.T) {
	all := run(t, open(t, norms(), runtime.Options{Threads: 1}), normInputs(9))["y"].Tensor
	threads := run(t, open(t, norms(), runtime.Options{Threads: 5}), normInputs(9))["y"].Tensor
	some := run(t, open(t, norms(), runtime.Options{Threads: 2}), normInputs(2))["y"].Tensor
	a, _ := all.Bytes()
	b, _ := threads.Bytes()
	c, _ := some.Bytes()
	if string(a) != string(b) {
		t.Error("five threads give other bits than one")
	}
	if string(a[:len(c)]) != string(c) {
		t.Error("two rows of nine have other bits than two rows alone")
	}
}

func TestFusedStepsTakeOperandsOfOtherTypesAndShapes(t *testing.T) {
	m := model(input("x float32 ? ?"), input("y float32 ? ?"), node("Mul x y -> a"), node("Add a x -> b"), node("Sub b y -> z"), outputs("z"))
	for _, shapes := range [][2]tensor.Shape{{{2, 3}, {2, 3}}, {{2, 3}, {1, 3}}, {{2, 1}, {1, 3}}, {{1, 1}, {4, 1}}, {{1, 1}, {1, 1}}, {{0, 3}, {1, 3}}} {
		x, y := ramp(shapes[0]), ramp(shapes[1])
		plain := testBackend()
		plain.plain = true
		slow, err := plain.Open(t.Context(), m, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := run(t, slow, in{"x": x, "y": y})["z"].Tensor
		got := run(t, open(t, m, runtime.Options{}), in{"x": x, "y": y})["z"].Tensor
		a, _ := want.Bytes()
		b, _ := got.Bytes()
		if !got.Shape.Equal(want.Shape) || string(a) != string(b) {
			t.Errorf("%s and %s: got %s %v, want %s %v", shapes[0], shapes[1], got.Shape, b, want.Shape, a)
		}
	}
}

func ramp(s tensor.Shape) *tensor.Tensor {
	n, _ := s.Elements()
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i + 1)
	}
	return tensor.Float32s(s, v...)
}
