package specialize

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestWhatFollowsFromShapesIsConstant(t *testing.T) {
	m := text(t, `
in x float32 batch seq 6
first int64 = 0
second int64 = 1
axis int64 1 = 0
two int64 1 = 2
rest int64 1 = -1
zero int64 = 0
out y
out n
out p
Shape x -> s
Gather s first -> b axis=0
Gather s second -> q axis=0
Unsqueeze b axis -> b1
Unsqueeze q axis -> q1
Concat b1 q1 rest two -> target axis=0
Reshape x target -> y
Range zero q second -> n
Cast n -> nf to=1
Sin nf -> sin
Mul sin nf -> unread
Size x -> p`)
	in := map[string]*tensor.Tensor{"x": numbered(t, tensor.Float32, tensor.Shape{2, 5, 6}, nil)}
	st := specialized(t, m, in)
	whole(t, st)
	if got := counts(st.Model); got != "Reshape 1" {
		t.Error(got)
	}
	if v, err := st.Model.Graph.Initializer("n").Tensor.AsInt64s(); err != nil || !slices.Equal(v, []int64{0, 1, 2, 3, 4}) {
		t.Error(v, err)
	}
	if got := extents(st.Types["y"]); !got.Equal(tensor.Shape{2, 5, 3, 2}) {
		t.Error(got)
	}
	a, b := run(t, m, runtime.Options{}, in), run(t, st.Model, runtime.Options{}, in)
	for name, v := range a.Values {
		p, _ := v.Tensor.Bytes()
		q, _ := b.Values[name].Tensor.Bytes()
		if !bytes.Equal(p, q) || !v.Tensor.Shape.Equal(b.Values[name].Tensor.Shape) {
			t.Errorf("output %q is %v, want %v", name, q, p)
		}
	}
	if len(st.Model.Graph.Initializers) != 3 {
		t.Errorf("initializers %d", len(st.Model.Graph.Initializers))
	}
}

func TestWhatDependsOnDataStays(t *testing.T) {
	m := text(t, `
in x float32 2 3
two float32 2 3 = 2
out y
out z
Mul two two -> four
Add x four -> y
NonZero x -> at
Shape at -> s
Cast s -> z to=1`)
	st := specialized(t, m, inputsOf(t, m))
	if got := counts(st.Model); got != "Add 1, Cast 1, NonZero 1, Shape 1" {
		t.Error(got)
	}
	if _, ok := st.Types["at"]; ok {
		t.Error("the number of elements that are not zero is taken for known")
	}
	if v, _ := st.Model.Graph.Initializer("four").Tensor.AsFloat32s(); !slices.Equal(v, []float32{4, 4, 4, 4, 4, 4}) {
		t.Error(v)
	}
	m = text(t, "in x float32 2 3\nout y\nRandomUniform -> r shape=2,3\nAdd x r -> y")
	if got := counts(specialized(t, m, inputsOf(t, m)).Model); got != "Add 1, RandomUniform 1" {
		t.Error(got)
	}
}

func TestVariablesBecomeInputs(t *testing.T) {
	m := text(t, "in x float32 2 3\ns float32 = 3\nk float32 = 2\nout y\nMul s k -> sk\nMul x sk -> y")
	in := inputsOf(t, m)
	st := specialized(t, m, in, Options{Variables: []string{"s"}})
	whole(t, st)
	if got := counts(st.Model); got != "Mul 2" {
		t.Error(got)
	}
	if in := st.Model.Graph.Inputs; len(in) != 2 || in[1].Name != "s" || !in[1].Type.HasShape || len(in[1].Type.Shape) != 0 {
		t.Error(in)
	}
	for _, s := range []float32{3, 5} {
		in["s"] = tensor.Float32s(tensor.Shape{}, s)
		got, _ := run(t, st.Model, runtime.Options{}, in).Values["y"].Tensor.AsFloat32s()
		x, _ := in["x"].AsFloat32s()
		if got[0] != x[0]*(2*s) {
			t.Errorf("%g, want %g", got[0], x[0]*2*s)
		}
	}
	if _, err := Specialize(context.Background(), m, Options{Engine: engine, Variables: []string{"none"}}); err == nil || !strings.Contains(err.Error(), `variable "none"`) {
		t.Error(err)
	}
}

// A default is a constant where nobody gives the input, and an input where somebody does.
func TestDefaultsOfInputs(t *testing.T) {
	m := text(t, "in x float32 2 3\nin d float32\nd float32 = 3\nout y\nMul d d -> dd\nMul x dd -> y")
	x := numbered(t, tensor.Float32, tensor.Shape{2, 3}, nil)
	if got := counts(specialized(t, m, map[string]*tensor.Tensor{"x": x}).Model); got != "Mul 1" {
		t.Error(got)
	}
	st := specialized(t, m, map[string]*tensor.Tensor{"x": x, "d": tensor.Float32s(tensor.Shape{}, 1)})
	if got := counts(st.Model); got != "Mul 2" || st.Model.Graph.Initializer("d") != nil || len(st.Model.Graph.Inputs) != 2 {
		t.Error(got)
	}
}

func TestConstantsBeyondTheBoundStayNodes(t *testing.T) {
	lines := "in x float32 8 8\nn int64 2 = 8 8\nout y\nConstantOfShape n -> zeros\nCos zeros -> ones\nAdd x ones -> y"
	m := text(t, lines)
	becomes(t, m, "Add 1")
	becomes(t, m, "Add 1, ConstantOfShape 1, Cos 1", Options{MaxFold: 255})
}

func TestFunctionsAreExpanded(t *testing.T) {
	m := text(t, "in x float32 2 3\nout y\nTwice x -> y")
	m.Graph.Nodes[0].Domain = "f"
	m.Functions = []*graph.Function{{Name: "Twice", Domain: "f", Inputs: []string{"a"}, Outputs: []string{"b"}, Opsets: []graph.Opset{{Version: 23}},
		Nodes: []*graph.Node{{OpType: "Shape", Inputs: []string{"a"}, Outputs: []string{"s"}},
			{OpType: "Add", Inputs: []string{"a", "a"}, Outputs: []string{"d"}}, {OpType: "Reshape", Inputs: []string{"d", "s"}, Outputs: []string{"b"}}}}}
	m.SetOpset("f", 1)
	becomes(t, m, "Add 1, Reshape 1") // the Reshape gives the output its name
}

// choice is "If c" with two branches over x.
func choice(t *testing.T, cond string) *graph.Model {
	m := text(t, "in x float32 2 3\nin c bool\nt bool = 1\nf bool = 0\ntwo float32 = 2\nout y\nMul x two -> x2\nIf "+cond+" -> z\nNeg z -> y")
	branch := func(lines string) *graph.Graph {
		g := text(t, lines).Graph
		g.Inputs = nil
		return g
	}
	m.Graph.Nodes[1].Attributes = []*graph.Attribute{
		{Name: "then_branch", Kind: graph.AttrGraph, Graph: branch("one float32 = 1\nout r\nAdd x2 one -> r")},
		{Name: "else_branch", Kind: graph.AttrGraph, Graph: branch("out r\nAbs x2 -> r")}}
	return m
}

func TestABranchThatIsKnownIsTaken(t *testing.T) {
	for cond, want := range map[string]string{"t": "Add 1, Mul 1, Neg 1", "f": "Abs 1, Mul 1, Neg 1", "c": "If 1, Mul 1, Neg 1"} {
		m := choice(t, cond)
		unread(m)
		becomes(t, m, want)
	}
	// A condition that follows from shapes.
	m := choice(t, "known")
	m.Graph.Nodes = append(m.Graph.Nodes, node(t, strings.Fields("Shape x -> s")), node(t, strings.Fields("Size s -> r")), node(t, strings.Fields("Cast r -> known to=9")))
	unread(m)
	becomes(t, m, "Add 1, Mul 1, Neg 1")
}

func TestALoopOverConstantsIsComputed(t *testing.T) {
	m := text(t, "in x float32 2 3\nn int64 = 4\nt bool = 1\nstart float32 = 1\nout y\nLoop n t start -> last\nMul x last -> y")
	body := text(t, "in i int64\nin more bool\nin v float32\ntwo float32 = 2\nout more2\nout w\nIdentity more -> more2\nMul v two -> w").Graph
	m.Graph.Nodes[0].Attributes = []*graph.Attribute{{Name: "body", Kind: graph.AttrGraph, Graph: body}}
	st := becomes(t, m, "Mul 1")
	if v, _ := st.Model.Graph.Initializer("last").Tensor.AsFloat32s(); v[0] != 16 {
		t.Error(v)
	}
}

func TestNodesThatChangeNothingGo(t *testing.T) {
	becomes(t, text(t, `
in x float32 2 3
shape int64 2 = 2 -1
ones int64 2 = 1 1
pads int64 4 = 0 0 0 0
from int64 1 = 0
far int64 1 = 100
axis int64 1 = 1
out y
Identity x -> a
Cast a -> b to=1
Reshape b shape -> c
Expand c ones -> d
Transpose d -> e perm=0,1
Concat e -> f axis=0
Slice f from far axis -> g
Pad g pads -> h
Dropout h -> i
Tile i ones -> j
Neg j -> y`), "Neg 1")
	becomes(t, text(t, `
in x float32 2 3
from int64 1 = -1
far int64 1 = -100
axis int64 1 = 1
back int64 1 = -1
out y
Slice x from far axis back -> r
Transpose r -> s perm=1,0
Cast s -> i to=7
Neg i -> y`), "Cast 1, Neg 1, Slice 1, Transpose 1")
}

func TestEqualWorkIsDoneOnce(t *testing.T) {
	becomes(t, text(t, "in x float32 2 3\none float32 = 1\neins float32 = 1\nout y\nAdd x one -> a\nAdd x eins -> b\nAbs a -> c\nAbs b -> d\nMul c d -> y"),
		"Abs 1, Add 1, Mul 1")
	becomes(t, text(t, "in x float32 2 3\nout y\nout z\nNeg x -> y\nNeg x -> z"), "Neg 2")
	becomes(t, text(t, "in x float32 2 3\nout y\nSoftmax x -> a axis=0\nSoftmax x -> b axis=1\nAdd a b -> y"), "Add 1, Softmax 2")
}

func TestNamesThatAreDefinedTwice(t *testing.T) {
	// In order: each reader means the definition before it.
	becomes(t, text(t, "in x float32 2 3\nout y\nout a\nNeg x -> a\nAbs a -> b\nExp b -> a\nAdd a b -> y"), "Abs 1, Add 1, Exp 1, Neg 1")
	// Not in order: the first definition.
	m := text(t, "in x float32 2 3\nout y\nAdd a b -> y\nNeg x -> a\nAbs a -> b\nExp b -> a")
	st := specialized(t, m, inputsOf(t, m))
	if got := counts(st.Model); got != "Abs 1, Add 1, Neg 1" {
		t.Error(got)
	}
	for _, lines := range []string{"in x float32 2 3\nx float32 2 3\nout y\nNeg x -> y\nNeg x -> x"} {
		if _, err := Specialize(context.Background(), text(t, lines), Options{Engine: engine}); err == nil || !strings.Contains(err.Error(), "twice") {
			t.Error(err)
		}
	}
}

// What repeats for each batch is held once, where nobody sees the difference.
func TestALargeMaskIsHeldForOneBatch(t *testing.T) {
	lines := "in x float32 5 2 2048 2048\nn int64 = 2048\nz int64 = 0\none int64 = 1\nRange z n one -> i\nfirst int64 1 = 0\nsecond int64 1 = 1\nUnsqueeze i first -> row\n" +
		"Unsqueeze i second -> column\nLessOrEqual row column -> seen\nfour int64 4 = 5 1 2048 2048\nExpand seen four -> all\nzero float32 = 0\nfar float32 = -inf\nWhere all zero far -> m\nout y\nAdd x m -> y"
	for _, more := range []string{"", "\nout all"} {
		m := text(t, lines+more)
		st, err := Specialize(context.Background(), m, Options{Engine: engine, MaxFold: 32 << 20})
		if err != nil {
			t.Fatal(err)
		}
		want, size := "Add 1", tensor.Shape{1, 1, 2048, 2048}
		if more != "" {
			want, size = "Add 1, Where 1", tensor.Shape{5, 1, 2048, 2048}
		}
		if got := counts(st.Model); got != want {
			t.Errorf("operators %s, want %s", got, want)
		}
		if got := extents(st.Types[st.Model.Graph.Nodes[len(st.Model.Graph.Nodes)-1].Input(1)]); !got.Equal(size) {
			t.Errorf("the mask has shape %s, want %s", got, size)
		}
	}
}

func TestTheOriginalStaysAsItIs(t *testing.T) {
	for _, path := range []string{"llama/model.onnx", "digits/digits_cnn.onnx"} {
		m := load(t, path)
		before := onnxBytes(t, m)
		name := m.Graph.Inputs[0].Name
		shape := tensor.Shape{2, 64}
		if _, err := Specialize(context.Background(), m, Options{Engine: engine, Shapes: map[string]tensor.Shape{name: shape}}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, onnxBytes(t, m)) {
			t.Errorf("%s has changed", path)
		}
	}
}

func onnxBytes(t *testing.T, m *graph.Model) []byte {
	t.Helper()
	b, err := onnxio.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInputsThatDoNotFit(t *testing.T) {
	m := text(t, "in x float32 batch 3\nout y\nNeg x -> y")
	for want, shapes := range map[string]map[string]tensor.Shape{
		`input "x"`:  {"x": {2, 4}},
		"2 axes":     {"x": {2, 3, 1}},
		`input "z"`:  {"x": {2, 3}, "z": {1}},
		"be counted": {"x": {-2, 3}},
	} {
		_, err := Specialize(context.Background(), m, Options{Engine: engine, Shapes: shapes})
		var bad *runtime.InputError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestModelsThatAreNone(t *testing.T) {
	if _, err := Specialize(context.Background(), &graph.Model{}, Options{Engine: engine}); err == nil {
		t.Error("no graph, and no error")
	}
	m := text(t, "in x float32 2\nout y\nAdd x y -> z\nNeg z -> y")
	if _, err := Specialize(context.Background(), m, Options{Engine: engine}); err == nil || !strings.Contains(err.Error(), "depend on its own output") {
		t.Error(err)
	}
	m = text(t, "in x float32 2\nout y\nNeg x -> z")
	if _, err := Specialize(context.Background(), m, Options{Engine: engine}); err == nil || !strings.Contains(err.Error(), `output "y"`) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Specialize(ctx, load(t, "digits/digits_mlp.onnx"), Options{Engine: engine, Shapes: map[string]tensor.Shape{"image": {1, 64}}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The engine itself says whether the types are right.
func TestTypesOfOperatorsThatChangeExtents(t *testing.T) {
	for _, lines := range []string{
		"in x float32 2 3 8 6\nscales float32 4 = 1 1 2 0.7\nResize x _ scales -> y",
		"in x float32 2 3 8 6\nscales float32 2 = 1.5 3\nResize x _ scales -> y axes=2,3",
		"in x float32 2 3 8 6\nsizes int64 4 = 2 3 5 7\nResize x _ _ sizes -> y",
		"in x float32 2 4 8 6\nw float32 4 3 3 2\nConvTranspose x w -> y strides=2,3 pads=1,0,0,1 output_padding=1,0",
		"in x float32 2 4 8 6\nw float32 4 3 3 2\nConvTranspose x w -> y strides=2,3 output_shape=16,18",
		"in x float32 2 8 3 5\nDepthToSpace x -> y blocksize=2",
		"in x float32 2 3 4 6\nSpaceToDepth x -> y blocksize=2",
		"in x float32 2 3 4 6\nin g float32 2 5 7 2\nGridSample x g -> y",
		"in x float32 5 2 4\nw float32 2 8 4\nr float32 2 8 2\nLSTM x w r -> y hidden_size=2",
		"in x float32 5 2 4\nw float32 1 6 4\nr float32 1 6 2\nGRU x w r -> ignored y hidden_size=2",
	} {
		m := text(t, "out y\n"+lines)
		if strings.HasPrefix(m.Graph.Nodes[0].OpType, "LSTM") {
			m.Graph.Nodes[0].SetAttr(graph.Str("direction", "bidirectional"))
		}
		becomes(t, m, m.Graph.Nodes[0].OpType+" 1")
	}
}

// What the engine refuses stays, and the rest is computed all the same.
func TestWhatTheEngineCannotComputeStays(t *testing.T) {
	m := text(t, "in x float32 2\na float32 2 = 3\nout y\nMul a a -> b\nThing b -> c\nNeg b -> d\nAdd x d -> e\nAdd e c -> y")
	m.Graph.Nodes[1].Domain = "custom"
	m.SetOpset("custom", 1)
	st := specialized(t, m, inputsOf(t, m))
	if got := counts(st.Model); got != "Add 2, Thing 1" {
		t.Error(got)
	}
	for name, want := range map[string]float32{"b": 9, "d": -9} {
		if v, err := st.Model.Graph.Initializer(name).Tensor.AsFloat32s(); err != nil || v[0] != want {
			t.Errorf("%q is %v, want %g", name, v, want)
		}
	}
}
