package layout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// op is a node to be executed.
type op struct {
	name    string
	opset   int64
	attrs   []*graph.Attribute
	outputs int // 0 stands for 1
}

// run executes the node in an arena of at most a megabyte, so that a size which nobody checked is an error rather than the end.
func (o op) run(in ...kernel.Value) ([]kernel.Value, error) {
	return o.runIn(kernel.NewArena(1<<20), in...)
}

func (o op) runIn(mem *kernel.Arena, in ...kernel.Value) ([]kernel.Value, error) {
	n := &graph.Node{OpType: o.name, Attributes: o.attrs, Outputs: make([]string, max(1, o.outputs))}
	make, ok := Table()[o.name]
	if !ok {
		return nil, fmt.Errorf("no operator %q", o.name)
	}
	f, err := make(&kernel.Site{Node: n, Opset: o.opset})
	if err != nil {
		return nil, err
	}
	c := &kernel.Call{Pool: kernel.NewPool(3), Mem: mem, In: in, Out: []kernel.Value{}}
	for range n.Outputs {
		c.Out, c.Wanted = append(c.Out, nil), append(c.Wanted, true)
	}
	c.Dies = slices.Repeat([]bool{false}, len(in))
	return c.Out, f(c)
}

func f32(shape []int, v ...float32) *kernel.Tensor { return kernel.FromSlice(tensor.Float32, shape, v) }

func i64(v ...int64) *kernel.Tensor { return kernel.FromSlice(tensor.Int64, []int{len(v)}, v) }

func scalar64(v int64) *kernel.Tensor { return kernel.FromSlice(tensor.Int64, nil, []int64{v}) }

func words(v ...string) *kernel.Tensor {
	return &kernel.Tensor{DType: tensor.String, Shape: []int{len(v)}, Strings: v}
}

// count is 0, 1, 2, … in this shape.
func count(shape ...int) *kernel.Tensor {
	v := make([]float32, kernel.Count(shape))
	for i := range v {
		v[i] = float32(i)
	}
	return f32(shape, v...)
}

// spell is a value as text: shape and elements.
func spell(v kernel.Value) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case *kernel.Sequence:
		s := []string{}
		for _, e := range v.Items {
			s = append(s, spell(e))
		}
		return "(" + strings.Join(s, " ") + ")"
	case *kernel.Optional:
		return "?" + spell(v.Item)
	}
	t := v.(*kernel.Tensor)
	s := []string{}
	switch t.DType {
	case tensor.String:
		for _, e := range t.Strings {
			s = append(s, fmt.Sprintf("%q", e))
		}
	case tensor.Complex64:
		for _, e := range kernel.Of[complex64](t) {
			s = append(s, fmt.Sprint(e))
		}
	default:
		if w := width(t) * t.Len(); w != len(t.Bytes) {
			return fmt.Sprintf("%s with %d bytes, want %d", t, len(t.Bytes), w)
		}
		n, err := numbers(t)
		if err != nil {
			return err.Error()
		}
		for _, e := range n {
			if math.Abs(e) < 1e-12 {
				e = 0 // what is left of a sum that should vanish
			}
			s = append(s, fmt.Sprintf("%.4g", e))
		}
	}
	shape := ""
	if len(t.Shape) != 1 {
		shape = kernel.ShapeString(t.Shape)
	}
	return shape + "{" + strings.Join(s, " ") + "}"
}

// example is an execution and what it gives: the outputs as spell writes them, or parts of the error.
type example struct {
	what string
	op   op
	in   []kernel.Value
	want string
	err  []string
}

func check(t *testing.T, examples []example) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.what, func(t *testing.T) {
			t.Helper()
			survives(t, e)
			out, err := e.op.run(e.in...)
			if len(e.err) > 0 {
				if err == nil {
					t.Fatalf("no error, want one with %q", e.err)
				}
				for _, w := range e.err {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("error %q does not say %q", err, w)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, v := range out {
				got = append(got, spell(v))
			}
			if g := strings.Join(got, " ; "); g != e.want {
				t.Errorf("got  %s\nwant %s", g, e.want)
			}
		})
	}
}

type values = []kernel.Value

func TestShapesChangeWithoutCopies(t *testing.T) {
	x := count(2, 3)
	check(t, []example{
		{"reshape copies 0 and fills -1", op{name: "Reshape", opset: 14}, values{x, i64(0, -1, 1)}, "[2,3,1]{0 1 2 3 4 5}", nil},
		{"reshape to a scalar", op{name: "Reshape", opset: 13}, values{f32([]int{1, 1}, 7), i64()}, "[]{7}", nil},
		{"reshape of nothing with allowzero", op{name: "Reshape", opset: 14, attrs: []*graph.Attribute{graph.Int("allowzero", 1)}}, values{f32([]int{0, 3}), i64(3, 0)}, "[3,0]{}", nil},
		{"reshape to another size", op{name: "Reshape", opset: 13}, values{x, i64(4)}, "", []string{"6 elements, want 4"}},
		{"reshape with two -1", op{name: "Reshape", opset: 13}, values{x, i64(-1, -1)}, "", []string{"two axes of -1"}},
		{"reshape with a -2", op{name: "Reshape", opset: 13}, values{x, i64(-2)}, "", []string{"extent -2 at axis 0"}},
		{"reshape to what overflows", op{name: "Reshape", opset: 13}, values{x, i64(1<<33, 1<<33)}, "", []string{"not possible"}},
		{"reshape copies an axis that is not there", op{name: "Reshape", opset: 13}, values{x, i64(1, 6, 0)}, "", []string{"axis 2"}},
		{"flatten at 0", op{name: "Flatten", opset: 13, attrs: []*graph.Attribute{graph.Int("axis", 0)}}, values{x}, "[1,6]{0 1 2 3 4 5}", nil},
		{"flatten at the end", op{name: "Flatten", opset: 13, attrs: []*graph.Attribute{graph.Int("axis", 2)}}, values{x}, "[6,1]{0 1 2 3 4 5}", nil},
		{"flatten beyond the end", op{name: "Flatten", opset: 13, attrs: []*graph.Attribute{graph.Int("axis", 3)}}, values{x}, "", []string{"axis 3, want -2 to 2"}},
		{"squeeze everything", op{name: "Squeeze", opset: 13}, values{count(1, 2, 1)}, "{0 1}", nil},
		{"squeeze an axis from the input", op{name: "Squeeze", opset: 13}, values{count(1, 2, 1), i64(-1)}, "[1,2]{0 1}", nil},
		{"squeeze an axis from the attribute", op{name: "Squeeze", opset: 11, attrs: []*graph.Attribute{graph.Ints("axes", 0)}}, values{count(1, 2, 1)}, "[2,1]{0 1}", nil},
		{"squeeze a long axis", op{name: "Squeeze", opset: 13}, values{x, i64(1)}, "", []string{"axis 1", "extent 3, want 1"}},
		{"unsqueeze in any order", op{name: "Unsqueeze", opset: 13}, values{count(2), i64(-1, 0)}, "[1,2,1]{0 1}", nil},
		{"unsqueeze of nothing", op{name: "Unsqueeze", opset: 13}, values{f32([]int{0}), i64(1)}, "[0,1]{}", nil},
		{"unsqueeze an axis twice", op{name: "Unsqueeze", opset: 13}, values{count(2), i64(0, -3)}, "", []string{"axis 0 comes twice"}},
		{"shape", op{name: "Shape", opset: 13}, values{x}, "{2 3}", nil},
		{"shape from a clamped start", op{name: "Shape", opset: 15, attrs: []*graph.Attribute{graph.Int("start", -5), graph.Int("end", -1)}}, values{x}, "{2}", nil},
		{"shape whose start lies behind its end", op{name: "Shape", opset: 15, attrs: []*graph.Attribute{graph.Int("start", 2), graph.Int("end", 1)}}, values{x}, "{}", nil},
		{"size", op{name: "Size", opset: 13}, values{x}, "[]{6}", nil},
		{"an unknown attribute", op{name: "Size", opset: 13, attrs: []*graph.Attribute{graph.Int("speed", 2)}}, values{x}, "", []string{`"speed" is not known`}},
		{"an attribute of another kind", op{name: "Flatten", opset: 13, attrs: []*graph.Attribute{graph.Ints("axis", 2)}}, values{x}, "", []string{`"axis" has kind 7, want 2`}},
	})
}

func TestPiecesAreMoved(t *testing.T) {
	x := count(2, 3)
	axis := func(a int64) []*graph.Attribute { return []*graph.Attribute{graph.Int("axis", a)} }
	check(t, []example{
		{"transpose turns round", op{name: "Transpose", opset: 13}, values{x}, "[3,2]{0 3 1 4 2 5}", nil},
		{"transpose of strings", op{name: "Transpose", opset: 13}, values{&kernel.Tensor{DType: tensor.String, Shape: []int{2, 2}, Strings: []string{"a", "b", "c", "d"}}}, `[2,2]{"a" "c" "b" "d"}`, nil},
		{"transpose with a short perm", op{name: "Transpose", opset: 13, attrs: []*graph.Attribute{graph.Ints("perm", 0)}}, values{x}, "", []string{"perm [0]", "float32[2,3]"}},
		{"transpose with an axis twice", op{name: "Transpose", opset: 13, attrs: []*graph.Attribute{graph.Ints("perm", 0, 0)}}, values{x}, "", []string{"axis 0 comes twice"}},
		{"depth to space", op{name: "DepthToSpace", opset: 13, attrs: []*graph.Attribute{graph.Int("blocksize", 2)}}, values{count(1, 8, 1, 1)}, "[1,2,2,2]{0 2 4 6 1 3 5 7}", nil},
		{"depth to space by column, row", op{name: "DepthToSpace", opset: 13, attrs: []*graph.Attribute{graph.Int("blocksize", 2), graph.Str("mode", "CRD")}}, values{count(1, 8, 1, 1)}, "[1,2,2,2]{0 1 2 3 4 5 6 7}", nil},
		{"depth to space with odd channels", op{name: "DepthToSpace", opset: 13, attrs: []*graph.Attribute{graph.Int("blocksize", 2)}}, values{count(1, 6, 1, 1)}, "", []string{"divisible by 4"}},
		{"space to depth", op{name: "SpaceToDepth", opset: 13, attrs: []*graph.Attribute{graph.Int("blocksize", 2)}}, values{count(1, 2, 2, 2)}, "[1,8,1,1]{0 4 1 5 2 6 3 7}", nil},
		{"concat", op{name: "Concat", opset: 13, attrs: axis(-1)}, values{x, f32([]int{2, 1}, 8, 9)}, "[2,4]{0 1 2 8 3 4 5 9}", nil},
		{"concat of what does not fit", op{name: "Concat", opset: 13, attrs: axis(0)}, values{x, count(2, 2)}, "", []string{"input 1 is float32[2,2]", "axis 0"}},
		{"concat without an axis", op{name: "Concat", opset: 13}, values{x}, "", []string{`"axis" is missing`}},
		{"split evenly", op{name: "Split", opset: 13, attrs: axis(1), outputs: 3}, values{x}, "[2,1]{0 3} ; [2,1]{1 4} ; [2,1]{2 5}", nil},
		{"split with a rest", op{name: "Split", opset: 18, attrs: []*graph.Attribute{graph.Int("num_outputs", 3)}, outputs: 3}, values{count(7)}, "{0 1 2} ; {3 4 5} ; {6}", nil},
		{"split by an attribute", op{name: "Split", opset: 11, attrs: []*graph.Attribute{graph.Ints("split", 1, 0, 2)}, outputs: 3}, values{count(3)}, "{0} ; {} ; {1 2}", nil},
		{"split by an input", op{name: "Split", opset: 13, outputs: 2}, values{count(3), i64(2, 1)}, "{0 1} ; {2}", nil},
		{"split into too much", op{name: "Split", opset: 13, outputs: 2}, values{count(3), i64(2, 2)}, "", []string{"parts [2 2]", "extent 3"}},
		{"split into too little", op{name: "Split", opset: 13, outputs: 2}, values{count(3), i64(1, 1)}, "", []string{"add up to 2", "extent 3"}},
		{"split unevenly before opset 18", op{name: "Split", opset: 13, outputs: 2}, values{count(3)}, "", []string{"does not split into 2"}},
		{"expand both ways", op{name: "Expand", opset: 13}, values{count(2, 1), i64(1, 3)}, "[2,3]{0 0 0 1 1 1}", nil},
		{"expand to what does not fit", op{name: "Expand", opset: 13}, values{x, i64(2)}, "", []string{"do not broadcast"}},
		{"expand to what overflows", op{name: "Expand", opset: 13}, values{count(1), i64(1<<40, 1<<40)}, "", []string{"not possible"}},
		{"expand to what is too large", op{name: "Expand", opset: 13}, values{count(1), i64(1 << 30)}, "", []string{"are allowed"}},
		{"tile", op{name: "Tile", opset: 13}, values{count(2, 2), i64(2, 2)}, "[4,4]{0 1 0 1 2 3 2 3 0 1 0 1 2 3 2 3}", nil},
		{"tile no times", op{name: "Tile", opset: 13}, values{x, i64(0, 1)}, "[0,3]{}", nil},
		{"tile too often", op{name: "Tile", opset: 13}, values{x, i64(1<<45, 1)}, "", []string{"not possible"}},
		{"identity", op{name: "Identity", opset: 13}, values{x}, "[2,3]{0 1 2 3 4 5}", nil},
		{"identity of an optional", op{name: "Identity", opset: 16}, values{&kernel.Optional{}}, "?nothing", nil},
	})
}

func TestSlice(t *testing.T) {
	x := count(6)
	s := op{name: "Slice", opset: 13}
	one := func(start, end, step int64) values { return values{x, i64(start), i64(end), i64(0), i64(step)} }
	check(t, []example{
		{"from the front", s, values{x, i64(1), i64(3)}, "{1 2}", nil},
		{"from the back", s, one(-3, -1, 1), "{3 4}", nil},
		{"beyond the end", s, one(4, math.MaxInt64, 1), "{4 5}", nil},
		{"every other", s, one(0, 6, 2), "{0 2 4}", nil},
		{"backward to the beginning", s, one(-1, math.MinInt64, -2), "{5 3 1}", nil},
		{"backward from before the beginning", s, one(-9, math.MinInt64, -1), "{0}", nil},
		{"backward with the smallest step", s, one(5, -100, math.MinInt64), "{5}", nil},
		{"forward with the largest step", s, one(1, 6, math.MaxInt64), "{1}", nil},
		{"nothing", s, one(4, 2, 1), "{}", nil},
		{"a step of 0", s, one(0, 1, 0), "", []string{"step of axis 0 is 0"}},
		{"an axis that is not there", s, values{x, i64(0), i64(1), i64(1)}, "", []string{"axis 1"}},
		{"fewer ends than starts", s, values{count(2, 2), i64(0, 0), i64(1)}, "", []string{"2 starts, 1 ends"}},
		{"attributes", op{name: "Slice", opset: 9, attrs: []*graph.Attribute{graph.Ints("starts", 0, 1), graph.Ints("ends", -1, 9)}}, values{count(2, 3)}, "[1,2]{1 2}", nil},
		{"attributes where inputs belong", op{name: "Slice", opset: 13, attrs: []*graph.Attribute{graph.Ints("starts", 0), graph.Ints("ends", 1)}}, values{x}, "", []string{"must be inputs in opset 13"}},
		{"two axes", s, values{count(3, 4), i64(-1, 3), i64(-9, 0), i64(0, -1), i64(-1, -2)}, "[3,2]{11 9 7 5 3 1}", nil},
	})
}

func TestGatherAndScatter(t *testing.T) {
	x := count(2, 3)
	axis := []*graph.Attribute{graph.Int("axis", 1)}
	how := func(r string) []*graph.Attribute { return []*graph.Attribute{graph.Str("reduction", r)} }
	grid := func(shape []int, v ...int64) *kernel.Tensor { return kernel.FromSlice(tensor.Int64, shape, v) }
	check(t, []example{
		{"gather rows", op{name: "Gather", opset: 13}, values{x, i64(-1, 0)}, "[2,3]{3 4 5 0 1 2}", nil},
		{"gather columns by a matrix", op{name: "Gather", opset: 13, attrs: axis}, values{x, grid([]int{1, 2}, 2, -3)}, "[2,1,2]{2 0 5 3}", nil},
		{"gather one", op{name: "Gather", opset: 13}, values{x, scalar64(1)}, "{3 4 5}", nil},
		{"gather strings", op{name: "Gather", opset: 13}, values{words("a", "b"), i64(1, 1)}, `{"b" "b"}`, nil},
		{"gather beyond the end", op{name: "Gather", opset: 13}, values{x, i64(2)}, "", []string{"index 2", "axis 0", "extent 2"}},
		{"gather by floats", op{name: "Gather", opset: 13}, values{x, count(1)}, "", []string{"want int64 or int32"}},
		{"gather elements", op{name: "GatherElements", opset: 13, attrs: axis}, values{x, grid([]int{2, 2}, 0, -1, 1, 1)}, "[2,2]{0 2 4 4}", nil},
		{"gather elements along the first axis", op{name: "GatherElements", opset: 13}, values{x, grid([]int{1, 2}, 1, 0)}, "[1,2]{3 1}", nil},
		{"gather elements of too wide a grid", op{name: "GatherElements", opset: 13}, values{x, grid([]int{1, 4}, 0, 0, 0, 0)}, "", []string{"does not fit", "axis 1"}},
		{"gather elements of another rank", op{name: "GatherElements", opset: 13}, values{x, i64(0)}, "", []string{"as many axes"}},
		{"gather tuples", op{name: "GatherND", opset: 13}, values{x, grid([]int{2, 2}, 0, 1, 1, -1)}, "{1 5}", nil},
		{"gather rows by tuples", op{name: "GatherND", opset: 13}, values{x, grid([]int{1, 1}, 1)}, "[1,3]{3 4 5}", nil},
		{"gather tuples in batches", op{name: "GatherND", opset: 13, attrs: []*graph.Attribute{graph.Int("batch_dims", 1)}}, values{x, grid([]int{2, 1}, 2, 0)}, "{2 3}", nil},
		{"gather tuples that are too long", op{name: "GatherND", opset: 13}, values{x, grid([]int{1, 3}, 0, 0, 0)}, "", []string{"tuples of 3"}},
		{"gather tuples beyond the end", op{name: "GatherND", opset: 13}, values{x, grid([]int{1, 2}, 0, 3)}, "", []string{"index 3", "axis 1", "extent 3"}},
		{"scatter elements", op{name: "ScatterElements", opset: 18, attrs: axis}, values{x, grid([]int{2, 1}, 1, -1), f32([]int{2, 1}, 8, 9)}, "[2,3]{0 8 2 3 4 9}", nil},
		{"scatter elements, adding twice", op{name: "ScatterElements", opset: 18, attrs: how("add")}, values{count(3), i64(1, 1), f32([]int{2}, 8, 9)}, "{0 18 2}", nil},
		{"scatter elements, the largest", op{name: "ScatterElements", opset: 18, attrs: how("max")}, values{count(3), i64(1, 2), f32([]int{2}, 8, -9)}, "{0 8 2}", nil},
		{"scatter elements, an unknown way", op{name: "ScatterElements", opset: 18, attrs: how("mean")}, values{count(3), i64(1), f32([]int{1}, 8)}, "", []string{`"mean"`, "none, add"}},
		{"scatter elements beyond the end", op{name: "Scatter", opset: 9}, values{count(3), i64(-4), f32([]int{1}, 8)}, "", []string{"index -4"}},
		{"scatter updates of another shape", op{name: "Scatter", opset: 9}, values{count(3), i64(0), f32([]int{2}, 8, 9)}, "", []string{"updates are float32[2]"}},
		{"scatter updates of another type", op{name: "Scatter", opset: 9}, values{count(3), i64(0), i64(1)}, "", []string{"float32 and int64"}},
		{"scatter tuples", op{name: "ScatterND", opset: 18}, values{x, grid([]int{1, 1}, -1), f32([]int{1, 3}, 7, 8, 9)}, "[2,3]{0 1 2 7 8 9}", nil},
		{"scatter tuples, multiplying", op{name: "ScatterND", opset: 18, attrs: how("mul")}, values{x, grid([]int{2, 2}, 0, 1, 0, 1), f32([]int{2}, 2, 3)}, "[2,3]{0 6 2 3 4 5}", nil},
		{"scatter tuples, the smallest", op{name: "ScatterND", opset: 18, attrs: how("min")}, values{x, grid([]int{1, 2}, 1, 2), f32([]int{1}, 2)}, "[2,3]{0 1 2 3 4 2}", nil},
		{"scatter strings with a sum", op{name: "ScatterND", opset: 18, attrs: how("add")}, values{words("a"), grid([]int{1, 1}, 0), words("b")}, "", []string{`reduction "add" of string`}},
		{"a cache", op{name: "TensorScatter", opset: 24}, values{count(2, 3, 1), f32([]int{2, 2, 1}, 6, 7, 8, 9), i64(0, 1)}, "[2,3,1]{6 7 2 3 8 9}", nil},
		{"a cache that goes round", op{name: "TensorScatter", opset: 24, attrs: []*graph.Attribute{graph.Str("mode", "circular")}}, values{count(1, 3, 1), f32([]int{1, 2, 1}, 8, 9), i64(5)}, "[1,3,1]{9 1 8}", nil},
		{"a cache that is full", op{name: "TensorScatter", opset: 24}, values{count(1, 3, 1), f32([]int{1, 2, 1}, 8, 9), i64(2)}, "", []string{"write index 2 of batch entry 0"}},
		{"compress", op{name: "Compress", opset: 11, attrs: axis}, values{x, kernel.FromSlice(tensor.Bool, []int{2}, []bool{false, true})}, "[2,1]{1 4}", nil},
		{"compress what is flattened", op{name: "Compress", opset: 11}, values{x, kernel.FromSlice(tensor.Bool, []int{4}, []bool{true, false, false, true})}, "{0 3}", nil},
		{"compress by too much", op{name: "Compress", opset: 11, attrs: []*graph.Attribute{graph.Int("axis", 0)}}, values{x, kernel.FromSlice(tensor.Bool, []int{3}, []bool{true, false, true})}, "", []string{"condition has 3", "extent 2"}},
	})
}

func TestPad(t *testing.T) {
	x := count(2, 3)
	mode := func(m string) op {
		return op{name: "Pad", opset: 19, attrs: []*graph.Attribute{graph.Str("mode", m)}}
	}
	check(t, []example{
		{"constant", mode("constant"), values{x, i64(0, 1, 1, 0), f32(nil, 9)}, "[3,4]{9 0 1 2 9 3 4 5 9 9 9 9}", nil},
		{"zeros by default", op{name: "Pad", opset: 13}, values{x, i64(0, 0, 0, 1)}, "[2,4]{0 1 2 0 3 4 5 0}", nil},
		{"strings", mode("constant"), values{words("a"), i64(1, 0)}, `{"" "a"}`, nil},
		{"negative pads", mode("constant"), values{x, i64(0, -1, 1, -1), f32(nil, 9)}, "[3,1]{1 4 9}", nil},
		{"reflect", mode("reflect"), values{count(3), i64(2, 3)}, "{2 1 0 1 2 1 0 1}", nil},
		{"reflect one", mode("reflect"), values{count(1), i64(1, 1)}, "{0 0 0}", nil},
		{"reflect what was cut", mode("reflect"), values{count(4), i64(-1, 1)}, "{1 2 3 2}", nil},
		{"edge", mode("edge"), values{count(3), i64(2, 1)}, "{0 0 0 1 2 2}", nil},
		{"wrap", mode("wrap"), values{count(3), i64(2, 4)}, "{1 2 0 1 2 0 1 2 0}", nil},
		{"wrap in two axes", mode("wrap"), values{x, i64(1, 0, 0, 1)}, "[3,4]{3 4 5 3 0 1 2 0 3 4 5 3}", nil},
		{"only some axes", mode("edge"), values{x, i64(1, 0), nil, i64(-1)}, "[2,4]{0 0 1 2 3 3 4 5}", nil},
		{"attributes", op{name: "Pad", opset: 7, attrs: []*graph.Attribute{graph.Ints("pads", 0, 1, 0, 0), graph.Float("value", 2.5)}}, values{x}, "[2,4]{2.5 0 1 2 2.5 3 4 5}", nil},
		{"an unknown mode", mode("mirror"), values{x, i64(0, 0, 0, 0)}, "", []string{`"mirror"`, "constant, reflect, edge, wrap"}},
		{"too few pads", mode("edge"), values{x, i64(0, 0)}, "", []string{"2 pads for 2 axes"}},
		{"pads that take too much", mode("constant"), values{x, i64(0, -2, 0, -2)}, "", []string{"axis 1 with extent 3"}},
		{"pads that are too large", mode("constant"), values{x, i64(0, 0, 0, 1<<40)}, "", []string{"are allowed"}},
		{"pads that overflow", mode("constant"), values{x, i64(0, math.MaxInt64, 0, 0)}, "", []string{"not possible"}},
		{"nothing to continue", mode("edge"), values{f32([]int{0}), i64(1, 0)}, "", []string{"nothing to continue"}},
		{"center crop and pad", op{name: "CenterCropPad", opset: 18}, values{count(2, 5), i64(3, 2)}, "[3,2]{1 2 6 7 0 0}", nil},
		{"center pad by an odd number", op{name: "CenterCropPad", opset: 18, attrs: []*graph.Attribute{graph.Ints("axes", -1)}}, values{f32([]int{1, 2}, 1, 2), i64(5)}, "[1,5]{0 1 2 0 0}", nil},
	})
}

func TestMadeAndSelected(t *testing.T) {
	check(t, []example{
		{"one hot", op{name: "OneHot", opset: 11}, values{i64(1, -1, 3), scalar64(3), f32([]int{2}, 2, 5)}, "[3,3]{2 5 2 2 2 5 2 2 2}", nil},
		{"one hot along the first axis", op{name: "OneHot", opset: 11, attrs: []*graph.Attribute{graph.Int("axis", 0)}}, values{count(2), f32([]int{1}, 2), words("no", "yes")}, `[2,2]{"yes" "no" "no" "yes"}`, nil},
		{"one hot of no depth", op{name: "OneHot", opset: 11}, values{i64(1), scalar64(0), i64(0, 1)}, "", []string{"depth"}},
		{"one hot of too much depth", op{name: "OneHot", opset: 11}, values{i64(1), scalar64(1 << 40), i64(0, 1)}, "", []string{"are allowed"}},
		{"non zero", op{name: "NonZero", opset: 13}, values{f32([]int{2, 2}, 0, 1, float32(math.NaN()), float32(math.Copysign(0, -1)))}, "[2,2]{0 1 1 0}", nil},
		{"non zero of a scalar", op{name: "NonZero", opset: 13}, values{scalar64(3)}, "[0,1]{}", nil},
		{"non zero of strings", op{name: "NonZero", opset: 13}, values{words("", "a")}, "[1,1]{1}", nil},
		{"eye", op{name: "EyeLike", opset: 9, attrs: []*graph.Attribute{graph.Int("k", -1)}}, values{count(2, 3)}, "[2,3]{0 0 0 1 0 0}", nil},
		{"eye far away", op{name: "EyeLike", opset: 9, attrs: []*graph.Attribute{graph.Int("k", math.MaxInt64)}}, values{count(1, 2)}, "[1,2]{0 0}", nil},
		{"upper triangle", op{name: "Trilu", opset: 14}, values{count(2, 3), scalar64(1)}, "[2,3]{0 1 2 0 0 5}", nil},
		{"lower triangle", op{name: "Trilu", opset: 14, attrs: []*graph.Attribute{graph.Int("upper", 0)}}, values{count(2, 3)}, "[2,3]{0 0 0 3 4 0}", nil},
		{"reverse sequences", op{name: "ReverseSequence", opset: 10}, values{count(3, 2), i64(2, 3)}, "[3,2]{2 5 0 3 4 1}", nil},
		{"reverse sequences of batches", op{name: "ReverseSequence", opset: 10, attrs: []*graph.Attribute{graph.Int("batch_axis", 0), graph.Int("time_axis", 1)}}, values{count(2, 3), i64(1, 2)}, "[2,3]{0 1 2 4 3 5}", nil},
		{"reverse more than there is", op{name: "ReverseSequence", opset: 10}, values{count(3, 1), i64(4)}, "", []string{"sequence length 4 of batch entry 0"}},
		{"a constant", op{name: "ConstantOfShape", opset: 9}, values{i64(2)}, "{0 0}", nil},
		{"a constant int4", op{name: "ConstantOfShape", opset: 21, attrs: []*graph.Attribute{graph.TensorAttr("value", &tensor.Tensor{DType: tensor.Int4, Shape: tensor.Shape{1}, Data: tensor.Bytes{0x0D}})}}, values{i64(2)}, "{-3 -3}", nil},
		{"a constant of a negative shape", op{name: "ConstantOfShape", opset: 9}, values{i64(2, -1)}, "", []string{"extent -1 at axis 1"}},
		{"a constant of a huge shape", op{name: "ConstantOfShape", opset: 9}, values{i64(1 << 45)}, "", []string{"not possible"}},
		{"range down", op{name: "Range", opset: 11}, values{scalar64(5), scalar64(0), scalar64(-2)}, "{5 3 1}", nil},
		{"range of floats", op{name: "Range", opset: 11}, values{f32(nil, 0), f32(nil, 1), f32(nil, 0.3)}, "{0 0.3 0.6 0.9}", nil},
		{"range the wrong way", op{name: "Range", opset: 11}, values{scalar64(5), scalar64(0), scalar64(1)}, "{}", nil},
		{"range by nothing", op{name: "Range", opset: 11}, values{scalar64(5), scalar64(0), scalar64(0)}, "", []string{"by 0"}},
		{"range of everything", op{name: "Range", opset: 11}, values{scalar64(math.MinInt64), scalar64(math.MaxInt64), scalar64(1)}, "", []string{"has 18446744073709551615 elements"}},
		{"range with the largest step", op{name: "Range", opset: 11}, values{scalar64(math.MaxInt64), scalar64(math.MinInt64), scalar64(math.MinInt64)}, "{9.223e+18 -1}", nil},
		{"range to infinity", op{name: "Range", opset: 11}, values{f32(nil, 0), f32(nil, float32(math.Inf(1))), f32(nil, 1)}, "", []string{"+Inf"}},
		{"unique", op{name: "Unique", opset: 11, outputs: 4}, values{f32([]int{5}, 2, 1, 2, 3, 1)}, "{1 2 3} ; {1 0 3} ; {1 0 1 2 0} ; {2 2 1}", nil},
		{"unique in order of appearance", op{name: "Unique", opset: 11, outputs: 4, attrs: []*graph.Attribute{graph.Int("sorted", 0)}}, values{words("b", "a", "b")}, `{"b" "a"} ; {0 1} ; {0 1 0} ; {2 1}`, nil},
		{"unique columns", op{name: "Unique", opset: 11, outputs: 3, attrs: []*graph.Attribute{graph.Int("axis", -1)}}, values{f32([]int{2, 3}, 1, 0, 1, 1, 1, 1)}, "[2,2]{0 1 1 1} ; {1 0} ; {1 0 1}", nil},
		{"unique NaN", op{name: "Unique", opset: 11}, values{f32([]int{3}, float32(math.NaN()), 1, float32(math.NaN()))}, "{1 NaN}", nil},
	})
}

func TestSequencesAndOptionals(t *testing.T) {
	a, b := count(1), count(2)
	seq := &kernel.Sequence{Items: []kernel.Value{a, b}, DType: tensor.Float32}
	check(t, []example{
		{"construct", op{name: "SequenceConstruct", opset: 11}, values{a, b}, "({0} {0 1})", nil},
		{"construct of two types", op{name: "SequenceConstruct", opset: 11}, values{a, i64(1)}, "", []string{"input 1 is int64[1]"}},
		{"empty", op{name: "SequenceEmpty", opset: 11}, nil, "()", nil},
		{"insert at the back", op{name: "SequenceInsert", opset: 11}, values{seq, count(3)}, "({0} {0 1} {0 1 2})", nil},
		{"insert before the last", op{name: "SequenceInsert", opset: 11}, values{seq, count(3), scalar64(-1)}, "({0} {0 1 2} {0 1})", nil},
		{"insert at the end by its number", op{name: "SequenceInsert", opset: 11}, values{seq, count(3), scalar64(2)}, "({0} {0 1} {0 1 2})", nil},
		{"insert too far", op{name: "SequenceInsert", opset: 11}, values{seq, count(3), scalar64(3)}, "", []string{"position 3, want -2 to 2"}},
		{"insert another type", op{name: "SequenceInsert", opset: 11}, values{seq, i64(3)}, "", []string{"the sequence holds float32"}},
		{"erase the last", op{name: "SequenceErase", opset: 11}, values{seq}, "({0})", nil},
		{"erase the first", op{name: "SequenceErase", opset: 11}, values{seq, scalar64(-2)}, "({0 1})", nil},
		{"erase from nothing", op{name: "SequenceErase", opset: 11}, values{&kernel.Sequence{}}, "", []string{"empty"}},
		{"at", op{name: "SequenceAt", opset: 11}, values{seq, scalar64(-1)}, "{0 1}", nil},
		{"at too far", op{name: "SequenceAt", opset: 11}, values{seq, scalar64(2)}, "", []string{"position 2, want -2 to 1"}},
		{"length", op{name: "SequenceLength", opset: 11}, values{seq}, "[]{2}", nil},
		{"length of a tensor", op{name: "SequenceLength", opset: 11}, values{a}, "", []string{"not a sequence"}},
		{"split into ones without the axis", op{name: "SplitToSequence", opset: 11, attrs: []*graph.Attribute{graph.Int("keepdims", 0), graph.Int("axis", 1)}}, values{count(2, 2)}, "({0 2} {1 3})", nil},
		{"split into a length", op{name: "SplitToSequence", opset: 11}, values{count(3), scalar64(2)}, "({0 1} {2})", nil},
		{"split into lengths", op{name: "SplitToSequence", opset: 11}, values{count(3), i64(1, 2)}, "({0} {1 2})", nil},
		{"split into no length", op{name: "SplitToSequence", opset: 11}, values{count(3), scalar64(0)}, "", []string{"length 0"}},
		{"concat from a sequence", op{name: "ConcatFromSequence", opset: 11, attrs: []*graph.Attribute{graph.Int("axis", 0)}}, values{seq}, "{0 0 1}", nil},
		{"stack a sequence", op{name: "ConcatFromSequence", opset: 11, attrs: []*graph.Attribute{graph.Int("axis", -1), graph.Int("new_axis", 1)}}, values{&kernel.Sequence{Items: []kernel.Value{b, b}}}, "[2,2]{0 0 1 1}", nil},
		{"concat of nothing", op{name: "ConcatFromSequence", opset: 11, attrs: []*graph.Attribute{graph.Int("axis", 0)}}, values{&kernel.Sequence{}}, "", []string{"nothing to concatenate"}},
		{"an optional", op{name: "Optional", opset: 15}, values{a}, "?{0}", nil},
		{"an optional of nothing", op{name: "Optional", opset: 15}, nil, "?nothing", nil},
		{"has", op{name: "OptionalHasElement", opset: 15}, values{&kernel.Optional{Item: a}}, "[]{1}", nil},
		{"has not", op{name: "OptionalHasElement", opset: 15}, values{&kernel.Optional{}}, "[]{0}", nil},
		{"has no input", op{name: "OptionalHasElement", opset: 18}, nil, "[]{0}", nil},
		{"get", op{name: "OptionalGetElement", opset: 15}, values{&kernel.Optional{Item: seq}}, "({0} {0 1})", nil},
		{"get from nothing", op{name: "OptionalGetElement", opset: 15}, values{&kernel.Optional{}}, "", []string{"empty"}},
	})
}
