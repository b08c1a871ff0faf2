package layout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// numbered is a tensor whose elements all differ, as far as their width lets them.
func numbered(d tensor.DType, shape []int) *kernel.Tensor {
	n := kernel.Count(shape)
	t := &kernel.Tensor{DType: d, Shape: shape}
	if d == tensor.String {
		for i := range n {
			t.Strings = append(t.Strings, fmt.Sprint(i))
		}
		return t
	}
	w := kernel.ElemSize(d)
	t.Bytes = make([]byte, n*w)
	for i := range n {
		for j := range min(w, 4) {
			t.Bytes[i*w+j] = byte(i >> (8 * j))
		}
	}
	return t
}

// element is the text or the bytes at i.
func element(t *kernel.Tensor, i int) string {
	if t.DType == tensor.String {
		return t.Strings[i]
	}
	w := kernel.ElemSize(t.DType)
	return string(t.Bytes[i*w : (i+1)*w])
}

// widths has one type of each width, and one that is narrower than a byte on disk.
var widths = []tensor.DType{tensor.Bool, tensor.Int4, tensor.Float8E4M3FN, tensor.Float16, tensor.Float32, tensor.Int64, tensor.Complex128, tensor.String}

func TestTransposeOfEveryWidthIsThatOfTheIndices(t *testing.T) {
	for _, c := range []struct {
		shape []int
		perm  []int64
	}{
		{[]int{67, 45}, []int64{1, 0}}, {[]int{3, 33, 2, 40}, []int64{0, 2, 1, 3}}, {[]int{2, 35, 33}, []int64{0, 2, 1}},
		{[]int{2, 3, 4, 5}, []int64{3, 1, 0, 2}}, {[]int{33, 3, 34}, []int64{2, 1, 0}}, {[]int{1, 5, 1, 6}, []int64{2, 3, 0, 1}},
		{[]int{4, 0, 3}, []int64{2, 0, 1}}, {nil, nil}, {[]int{7, 2, 2, 2, 3}, []int64{4, 0, 3, 1, 2}},
	} {
		for _, d := range widths {
			x := numbered(d, c.shape)
			out, err := op{name: "Transpose", opset: 25, attrs: []*graph.Attribute{graph.Ints("perm", c.perm...)}}.run(x)
			if err != nil {
				t.Fatal(err)
			}
			y := out[0].(*kernel.Tensor)
			in, at := kernel.Strides(c.shape), make([]int, len(c.shape))
			for i := range y.Len() {
				rest, from := i, 0
				for a := len(at) - 1; a >= 0; a-- {
					from += rest % y.Shape[a] * in[c.perm[a]]
					rest /= y.Shape[a]
				}
				if element(y, i) != element(x, from) {
					t.Fatalf("%s by %v: element %d is %q, want %q", x, c.perm, i, element(y, i), element(x, from))
				}
			}
		}
	}
}

func TestRandomSlicesAreThoseOfTheIndices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		shape := make([]int, 1+r.IntN(4))
		starts, ends, steps, which := make([]int64, len(shape)), make([]int64, len(shape)), make([]int64, len(shape)), make([]int64, len(shape))
		places := make([][]int, len(shape))
		for a := range shape {
			n := 1 + r.IntN(7)
			shape[a], which[a] = n, int64(a)
			// From the list of places that are wanted to the numbers, the other way round than the operator goes.
			from, step, k := r.IntN(n), 1+r.IntN(3), r.IntN(4)
			if r.IntN(2) == 0 {
				step = -step
			}
			p := from
			for range k {
				if p < 0 || p >= n {
					break
				}
				places[a] = append(places[a], p)
				p += step
			}
			starts[a], steps[a], ends[a] = int64(from), int64(step), int64(from)
			if m := len(places[a]); m > 0 {
				last := places[a][m-1]
				ends[a] = int64(last + 1)
				if step < 0 {
					ends[a] = int64(last - 1)
					if ends[a] < 0 {
						ends[a] = -int64(n) - 1
					}
				}
			}
			if r.IntN(2) == 0 {
				starts[a] -= int64(n)
			}
		}
		d := widths[r.IntN(len(widths))]
		x := numbered(d, shape)
		out, err := op{name: "Slice", opset: 13}.run(x, i64(starts...), i64(ends...), i64(which...), i64(steps...))
		if err != nil {
			t.Fatal(err)
		}
		y := out[0].(*kernel.Tensor)
		stride := kernel.Strides(shape)
		for i := range y.Len() {
			rest, from := i, 0
			for a := len(shape) - 1; a >= 0; a-- {
				from += places[a][rest%y.Shape[a]] * stride[a]
				rest /= y.Shape[a]
			}
			if element(y, i) != element(x, from) {
				t.Fatalf("%s from %v to %v by %v: element %d is %q, want %q", x, starts, ends, steps, i, element(y, i), element(x, from))
			}
		}
		for a, p := range places {
			if len(p) != y.Shape[a] {
				t.Fatalf("%s from %v to %v by %v: %s, want %d along axis %d", x, starts, ends, steps, y, len(p), a)
			}
		}
	}
}

func TestEveryWidthIsMovedWhole(t *testing.T) {
	for _, d := range widths {
		x := numbered(d, []int{2, 3})
		for _, c := range []struct {
			op   op
			in   values
			want []int // places in x, -1 for zero
		}{
			{op{name: "Tile", opset: 13}, values{x, i64(1, 2)}, []int{0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5}},
			{op{name: "Expand", opset: 13}, values{x, i64(2, 1, 1)}, []int{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5}},
			{op{name: "Gather", opset: 13, attrs: []*graph.Attribute{graph.Int("axis", 1)}}, values{x, i64(2, 0)}, []int{2, 0, 5, 3}},
			{op{name: "GatherElements", opset: 13}, values{x, kernel.FromSlice(tensor.Int64, []int{1, 3}, []int64{1, 0, 1})}, []int{3, 1, 5}},
			{op{name: "ScatterElements", opset: 13}, values{x, kernel.FromSlice(tensor.Int64, []int{1, 1}, []int64{1}), cell(x, 2)}, []int{0, 1, 2, 2, 4, 5}},
			{op{name: "Concat", opset: 13, attrs: []*graph.Attribute{graph.Int("axis", 1)}}, values{x, x}, []int{0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5}},
			{op{name: "Pad", opset: 21}, values{x, i64(0, -1, 0, 1)}, []int{1, 2, -1, 4, 5, -1}},
			{op{name: "Pad", opset: 21, attrs: []*graph.Attribute{graph.Str("mode", "reflect")}}, values{x, i64(0, 1, 0, 0)}, []int{1, 0, 1, 2, 4, 3, 4, 5}},
			{op{name: "Trilu", opset: 14}, values{x}, []int{0, 1, 2, -1, 4, 5}},
			{op{name: "Resize", opset: 19}, values{x, nil, nil, i64(2, 6)}, []int{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5}},
		} {
			out, err := c.op.run(c.in...)
			if err != nil {
				t.Errorf("%s of %s: %v", c.op.name, d, err)
				continue
			}
			y := out[0].(*kernel.Tensor)
			nothing := numbered(d, []int{1})
			if d == tensor.String {
				nothing.Strings[0] = ""
			}
			for i, p := range c.want {
				want := element(nothing, 0)
				if p >= 0 {
					want = element(x, p)
				}
				if y.Len() != len(c.want) || element(y, i) != want {
					t.Errorf("%s of %s: %s, element %d is %q, want %q", c.op.name, d, y, i, element(y, i), want)
					break
				}
			}
		}
	}
}

// cell is one element of x as a matrix.
func cell(x *kernel.Tensor, i int) *kernel.Tensor {
	t := numbered(x.DType, []int{1, 1})
	move(t, 0, x, i, 1)
	return t
}

// TestNothingIsHeldTooLongOrTooShort runs operators in an arena that has room for a few values only: what is given back too rarely fills
// it, what is given back too often is overwritten while it is still looked at.
func TestNothingIsHeldTooLongOrTooShort(t *testing.T) {
	mem := kernel.NewArena(64 << 10)
	x, err := mem.New(tensor.Float32, []int{16, 64})
	if err != nil {
		t.Fatal(err)
	}
	v := kernel.Of[float32](x)
	for i := range v {
		v[i] = float32(i)
	}
	want := slices.Clone(v)
	axis := []*graph.Attribute{graph.Int("axis", 0)}
	for _, c := range []struct {
		op op
		in values
	}{
		{op{name: "Identity", opset: 13}, values{x}}, {op{name: "Reshape", opset: 13}, values{x, i64(-1)}}, {op{name: "Transpose", opset: 13}, values{x}},
		{op{name: "Slice", opset: 13}, values{x, i64(0), i64(99)}}, {op{name: "Split", opset: 13, outputs: 2}, values{x}},
		{op{name: "Expand", opset: 13}, values{x, i64(1, 16, 64)}}, {op{name: "SequenceConstruct", opset: 11}, values{x, x}},
		{op{name: "SplitToSequence", opset: 11}, values{x}}, {op{name: "Optional", opset: 15}, values{x}},
		{op{name: "ScatterND", opset: 13}, values{x, kernel.FromSlice(tensor.Int64, []int{1, 1}, []int64{3}), count(1, 64)}},
		{op{name: "Resize", opset: 13, attrs: []*graph.Attribute{graph.Str("mode", "linear")}}, values{x, nil, f32([]int{2}, 1.5, 0.5)}},
		{op{name: "Concat", opset: 13, attrs: axis}, values{x, x}}, {op{name: "SequenceInsert", opset: 11}, values{&kernel.Sequence{Items: values{x}, DType: tensor.Float32}, x}},
		{op{name: "SequenceErase", opset: 11}, values{&kernel.Sequence{Items: values{x, x}, DType: tensor.Float32}}},
		{op{name: "SequenceAt", opset: 11}, values{&kernel.Sequence{Items: values{x}}, scalar64(0)}}, {op{name: "OptionalGetElement", opset: 15}, values{&kernel.Optional{Item: x}}},
	} {
		for range 100 {
			out, err := c.op.runIn(mem, c.in...)
			if err != nil {
				t.Fatalf("%s: %v", c.op.name, err)
			}
			for _, o := range out {
				kernel.Release(o)
			}
		}
		if !x.Sole() || !slices.Equal(kernel.Of[float32](x), want) {
			t.Fatalf("%s: the input is held more or less often than before, or was written to", c.op.name)
		}
	}
}

// TestScatterWritesInPlaceOnlyWhereItMay looks at a cache that nobody reads later, one that somebody does, and one that is its own update.
func TestScatterWritesInPlaceOnlyWhereItMay(t *testing.T) {
	for _, c := range []struct{ dies, updates, inPlace bool }{{true, false, true}, {false, false, false}, {true, true, false}} {
		mem := kernel.NewArena(0)
		x, err := mem.New(tensor.Float32, []int{3})
		if err != nil {
			t.Fatal(err)
		}
		copy(kernel.Of[float32](x), []float32{1, 2, 3})
		up := f32([]int{3}, 7, 8, 9)
		if c.updates {
			up = x
		}
		f, err := makeScatterElements(&kernel.Site{Node: &graph.Node{OpType: "ScatterElements"}, Opset: 18})
		if err != nil {
			t.Fatal(err)
		}
		call := &kernel.Call{Pool: kernel.NewPool(1), Mem: mem, In: values{x, i64(2, 0, 1), up}, Out: make(values, 1), Wanted: []bool{true}, Dies: []bool{c.dies, true, c.updates}}
		if err := f(call); err != nil {
			t.Fatal(err)
		}
		y := call.Out[0].(*kernel.Tensor)
		if same := &y.Bytes[0] == &x.Bytes[0]; same != c.inPlace {
			t.Errorf("%+v: in place %v", c, same)
		}
		want := []float32{8, 9, 7}
		if c.updates {
			want = []float32{2, 3, 1}
		}
		if !slices.Equal(kernel.Of[float32](y), want) {
			t.Errorf("%+v: %v, want %v", c, kernel.Of[float32](y), want)
		}
	}
}

func benchmark(b *testing.B, shape []int, o op, in ...kernel.Value) {
	x := count(shape...)
	mem := kernel.NewArena(0)
	b.SetBytes(int64(2 * len(x.Bytes)))
	b.ResetTimer()
	for b.Loop() {
		out, err := o.runIn(mem, append(values{x}, in...)...)
		if err != nil {
			b.Fatal(err)
		}
		kernel.Release(out[0])
	}
}

func perm(p ...int64) op {
	return op{name: "Transpose", opset: 13, attrs: []*graph.Attribute{graph.Ints("perm", p...)}}
}

func BenchmarkTransposeHeads(b *testing.B)   { benchmark(b, []int{8, 128, 12, 64}, perm(0, 2, 1, 3)) }
func BenchmarkTransposeMatrix(b *testing.B)  { benchmark(b, []int{1024, 768}, perm(1, 0)) }
func BenchmarkTransposeLastTwo(b *testing.B) { benchmark(b, []int{96, 128, 64}, perm(0, 2, 1)) }
func BenchmarkTransposeChannelsLast(b *testing.B) {
	benchmark(b, []int{4, 64, 56, 56}, perm(0, 2, 3, 1))
}
func BenchmarkSliceRows(b *testing.B) {
	benchmark(b, []int{1024, 768}, op{name: "Slice", opset: 13}, i64(0), i64(384), i64(1))
}
func BenchmarkExpand(b *testing.B) {
	benchmark(b, []int{8, 1, 768}, op{name: "Expand", opset: 13}, i64(8, 128, 768))
}
func BenchmarkResizeNearest(b *testing.B) {
	benchmark(b, []int{1, 64, 80, 80}, op{name: "Resize", opset: 13, attrs: []*graph.Attribute{graph.Str("mode", "nearest")}}, nil, f32([]int{4}, 1, 1, 2, 2))
}
func BenchmarkResizeLinear(b *testing.B) {
	benchmark(b, []int{1, 64, 80, 80}, op{name: "Resize", opset: 13, attrs: []*graph.Attribute{graph.Str("mode", "linear")}}, nil, f32([]int{4}, 1, 1, 2, 2))
}
