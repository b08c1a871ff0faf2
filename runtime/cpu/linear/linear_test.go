package linear

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func call(outputs int, in ...kernel.Value) *kernel.Call {
	c := &kernel.Call{Ctx: context.Background(), Pool: kernel.NewPool(2), Mem: kernel.NewArena(0), In: in, Out: make([]kernel.Value, outputs), Wanted: make([]bool, outputs)}
	for i := range c.Wanted {
		c.Wanted[i] = true
	}
	return c
}

func f32(shape []int, v ...float32) *kernel.Tensor { return kernel.FromSlice(tensor.Float32, shape, v) }

// runOp makes and runs one operator of the table.
func runOp(op string, attrs []*graph.Attribute, in ...kernel.Value) (*kernel.Tensor, error) {
	f, err := Table()[op](&kernel.Site{Node: &graph.Node{OpType: op, Attributes: attrs}, Opset: 21,
		Constant: func(i int) *kernel.Tensor { // the second operand, as a weight would be
			t, _ := in[i].(*kernel.Tensor)
			if i == 1 {
				return t
			}
			return nil
		}, MayPack: func(int64) bool { return true }})
	if err != nil {
		return nil, err
	}
	c := call(1, in...)
	if err := f(c); err != nil {
		return nil, err
	}
	return c.Out[0].(*kernel.Tensor), nil
}

func check(t *testing.T, what string, got *kernel.Tensor, err error, shape []int, want any) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if kernel.ShapeString(got.Shape) != kernel.ShapeString(shape) {
		t.Errorf("%s: shape %v, want %v", what, got.Shape, shape)
		return
	}
	var have any
	switch want.(type) {
	case []float32:
		v, err := floats(got)
		if err != nil {
			t.Fatal(err)
		}
		have = v
	case []float64:
		have = kernel.Of[float64](got)
	case []int32:
		have = kernel.Of[int32](got)
	case []int64:
		have = kernel.Of[int64](got)
	case []uint64:
		have = kernel.Of[uint64](got)
	case []uint8:
		have = kernel.Of[uint8](got)
	case []int8:
		have = kernel.Of[int8](got)
	}
	if reflect.ValueOf(want).Len() == 0 && reflect.ValueOf(have).Len() == 0 {
		return
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("%s: %v, want %v", what, have, want)
	}
}

func TestMatMulFollowsNumpy(t *testing.T) {
	for _, c := range []struct {
		what  string
		a, b  *kernel.Tensor
		shape []int
		want  []float32
	}{
		{"matrix by matrix", f32([]int{2, 2}, 1, 2, 3, 4), f32([]int{2, 2}, 5, 6, 7, 8), []int{2, 2}, []float32{19, 22, 43, 50}},
		{"vector by vector", f32([]int{2}, 1, 2), f32([]int{2}, 3, 4), nil, []float32{11}},
		{"vector by matrix", f32([]int{2}, 1, 2), f32([]int{2, 3}, 1, 2, 3, 4, 5, 6), []int{3}, []float32{9, 12, 15}},
		{"matrix by vector", f32([]int{3, 2}, 1, 2, 3, 4, 5, 6), f32([]int{2}, 1, 10), []int{3}, []float32{21, 43, 65}},
		{"stack by vector", f32([]int{2, 1, 2}, 1, 2, 3, 4), f32([]int{2}, 1, 10), []int{2, 1}, []float32{21, 43}},
		{"vector by stack", f32([]int{2}, 1, 10), f32([]int{2, 2, 1}, 1, 2, 3, 4), []int{2, 1}, []float32{21, 43}},
		{"stacks that broadcast", f32([]int{2, 1, 1, 2}, 1, 2, 3, 4), f32([]int{2, 2, 1}, 1, 10, 100, 1000), []int{2, 2, 1, 1}, []float32{21, 2100, 43, 4300}},
		{"one by a stack", f32([]int{1, 2}, 1, 2), f32([]int{2, 2, 1}, 1, 10, 100, 1000), []int{2, 1, 1}, []float32{21, 2100}},
		{"stack by a stack of one", f32([]int{2, 1, 2}, 1, 2, 3, 4), f32([]int{1, 2, 1}, 1, 10), []int{2, 1, 1}, []float32{21, 43}},
		{"no columns to sum", f32([]int{2, 0}), f32([]int{0, 2}), []int{2, 2}, []float32{0, 0, 0, 0}},
		{"no rows", f32([]int{0, 2}), f32([]int{2, 2}, 1, 2, 3, 4), []int{0, 2}, []float32{}},
		{"an empty stack", f32([]int{0, 1, 2}), f32([]int{2, 2}, 1, 2, 3, 4), []int{0, 1, 2}, []float32{}},
		{"an empty stack on the right", f32([]int{1, 2}, 1, 2), f32([]int{0, 2, 2}), []int{0, 1, 2}, []float32{}},
	} {
		got, err := runOp("MatMul", nil, c.a, c.b)
		check(t, c.what, got, err, c.shape, c.want)
	}
	two := []int{1, 2}
	got, err := runOp("MatMul", nil, kernel.FromSlice(tensor.Float64, two, []float64{1, 2}), kernel.FromSlice(tensor.Float64, []int{2, 1}, []float64{3, 1e-17}))
	check(t, "float64", got, err, []int{1, 1}, []float64{3})
	got, err = runOp("MatMul", nil, kernel.FromSlice(tensor.Int32, two, []int32{1 << 30, 2}), kernel.FromSlice(tensor.Int32, []int{2, 1}, []int32{4, -3}))
	check(t, "int32 wraps around", got, err, []int{1, 1}, []int32{-6})
	got, err = runOp("MatMul", nil, kernel.FromSlice(tensor.Int64, two, []int64{1 << 40, 2}), kernel.FromSlice(tensor.Int64, []int{2, 1}, []int64{4, -3}))
	check(t, "int64", got, err, []int{1, 1}, []int64{1<<42 - 6})
	got, err = runOp("MatMul", nil, kernel.FromSlice(tensor.Uint64, two, []uint64{1 << 63, 2}), kernel.FromSlice(tensor.Uint64, []int{2, 1}, []uint64{1, 3}))
	check(t, "uint64", got, err, []int{1, 1}, []uint64{1<<63 + 6})
	for _, d := range []tensor.DType{tensor.Float16, tensor.BFloat16} {
		a, _ := narrow(d, two, []float32{1, 2})
		b, _ := narrow(d, []int{2, 1}, []float32{3, 0.5})
		got, err := runOp("MatMul", nil, a, b)
		check(t, d.String(), got, err, []int{1, 1}, []float32{4})
	}
}

func TestMatMulRefuses(t *testing.T) {
	for what, in := range map[string][2]*kernel.Tensor{
		"a scalar":                {f32(nil, 1), f32([]int{1}, 1)},
		"two types":               {f32([]int{1}, 1), kernel.FromSlice(tensor.Int32, []int{1}, []int32{1})},
		"three columns, two rows": {f32([]int{1, 3}, 1, 2, 3), f32([]int{2, 1}, 1, 2)},
		"stacks of two and three": {f32([]int{2, 1, 1}, 1, 2), f32([]int{3, 1, 1}, 1, 2, 3)},
		"bools":                   {kernel.FromSlice(tensor.Bool, []int{1}, []bool{true}), kernel.FromSlice(tensor.Bool, []int{1}, []bool{true})},
	} {
		if _, err := runOp("MatMul", nil, in[0], in[1]); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestGemm(t *testing.T) {
	a, b := f32([]int{2, 3}, 1, 2, 3, 4, 5, 6), f32([]int{3, 2}, 1, 2, 3, 4, 5, 6)
	at, bt := f32([]int{3, 2}, 1, 4, 2, 5, 3, 6), f32([]int{2, 3}, 1, 3, 5, 2, 4, 6)
	shape := []int{2, 2}
	trans := func(attrs ...*graph.Attribute) []*graph.Attribute { return attrs }
	ta, tb := graph.Int("transA", 1), graph.Int("transB", 1)
	alpha, beta := graph.Float("alpha", 0.5), graph.Float("beta", 2)
	for _, c := range []struct {
		what  string
		attrs []*graph.Attribute
		in    []kernel.Value
		want  []float32
	}{
		{"plain", nil, []kernel.Value{a, b}, []float32{22, 28, 49, 64}},
		{"transA", trans(ta), []kernel.Value{at, b}, []float32{22, 28, 49, 64}},
		{"transB", trans(tb), []kernel.Value{a, bt}, []float32{22, 28, 49, 64}},
		{"both", trans(ta, tb), []kernel.Value{at, bt}, []float32{22, 28, 49, 64}},
		{"alpha", trans(alpha), []kernel.Value{a, b}, []float32{11, 14, 24.5, 32}},
		{"C left out", nil, []kernel.Value{a, b, nil}, []float32{22, 28, 49, 64}},
		{"a row", nil, []kernel.Value{a, b, f32([]int{2}, 1, 2)}, []float32{23, 30, 50, 66}},
		{"a row of two axes", trans(beta), []kernel.Value{a, b, f32([]int{1, 2}, 1, 2)}, []float32{24, 32, 51, 68}},
		{"a column", trans(alpha, beta), []kernel.Value{a, b, f32([]int{2, 1}, 1, 2)}, []float32{13, 16, 28.5, 36}},
		{"a scalar", nil, []kernel.Value{a, b, f32(nil, 1)}, []float32{23, 29, 50, 65}},
		{"one element", nil, []kernel.Value{a, b, f32([]int{1}, 1)}, []float32{23, 29, 50, 65}},
		{"a matrix", trans(beta), []kernel.Value{a, b, f32(shape, 1, 2, 3, 4)}, []float32{24, 32, 55, 72}},
		{"beta of zero drops NaN", trans(graph.Float("beta", 0)), []kernel.Value{a, b, f32(nil, float32(math.NaN()))}, []float32{22, 28, 49, 64}},
	} {
		got, err := runOp("Gemm", c.attrs, c.in...)
		check(t, c.what, got, err, shape, c.want)
		for _, d := range []tensor.DType{tensor.Float16, tensor.BFloat16} {
			in := make([]kernel.Value, len(c.in))
			for i, v := range c.in {
				if v != nil {
					f := v.(*kernel.Tensor)
					in[i], _ = narrow(d, f.Shape, kernel.Of[float32](f))
				}
			}
			got, err := runOp("Gemm", c.attrs, in...)
			check(t, c.what+" in "+d.String(), got, err, shape, c.want)
		}
		wide, whole := make([]kernel.Value, len(c.in)), make([]kernel.Value, len(c.in))
		want64, wantInt := make([]float64, len(c.want)), make([]int32, len(c.want))
		for i, v := range c.want {
			want64[i], wantInt[i] = float64(v), int32(v)
		}
		for i, v := range c.in {
			if v == nil {
				continue
			}
			f := v.(*kernel.Tensor)
			x, y := make([]float64, f.Len()), make([]int32, f.Len())
			for j, e := range kernel.Of[float32](f) {
				x[j], y[j] = float64(e), int32(e)
			}
			wide[i], whole[i] = kernel.FromSlice(tensor.Float64, f.Shape, x), kernel.FromSlice(tensor.Int32, f.Shape, y)
		}
		got, err = runOp("Gemm", c.attrs, wide...)
		check(t, c.what+" in float64", got, err, shape, want64)
		if c.want[2] == float32(wantInt[2]) {
			got, err = runOp("Gemm", c.attrs, whole...)
			check(t, c.what+" in int32", got, err, shape, wantInt)
		}
	}
	for what, in := range map[string][]kernel.Value{
		"three axes":          {f32([]int{1, 1, 1}, 1), b},
		"inner sizes":         {a, a},
		"C of another size":   {a, b, f32([]int{3}, 1, 2, 3)},
		"C of three axes":     {a, b, f32([]int{1, 1, 2}, 1, 2)},
		"C of another type":   {a, b, kernel.FromSlice(tensor.Int32, nil, []int32{1})},
		"a missing operand":   {a, nil},
		"C larger than the Y": {f32([]int{1, 3}, 1, 2, 3), b, f32([]int{2, 2}, 1, 2, 3, 4)},
	} {
		if _, err := runOp("Gemm", nil, in...); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := runOp("Gemm", []*graph.Attribute{graph.Int("broadcast", 1)}, a, b); err == nil {
		t.Error("an attribute of Gemm-6: no error")
	}
}

// What is fused has the bits of the operators one after another.
func TestFusedIsUnfused(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	m, k, n := 37, 50, 45
	random := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	act := func(v []float32) {
		for i, x := range v {
			v[i] = float32(math.Tanh(float64(x)))
		}
	}
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16} {
		a, _ := narrow(d, []int{m, k}, random(m*k))
		b, _ := narrow(d, []int{k, n}, random(k*n))
		bias, biasV := narrow(d, []int{n}, random(n))
		add, addV := narrow(d, []int{m, n}, random(m*n))
		round := func(v []float32) {
			if d != tensor.Float32 {
				roundTo(v, d)
			}
		}
		for _, f := range []Fuse{{}, {Bias: bias}, {Act: act}, {Bias: bias, Act: act}, {Add: add}, {Add: add, Act: act}, {Bias: bias, Add: add, Act: act}} {
			if d != tensor.Float32 && f.Bias != nil && f.Add != nil {
				continue
			}
			plain, err := runOp("MatMul", nil, a, b)
			if err != nil {
				t.Fatal(err)
			}
			held, _ := floats(plain)
			want := append([]float32(nil), held...)
			if f.Bias != nil {
				for i := range want {
					want[i] += biasV[i%n]
				}
				round(want)
			}
			if f.Add != nil {
				for i := range want {
					want[i] += addV[i]
				}
				round(want)
			}
			if f.Act != nil {
				act(want)
				round(want)
			}
			mm, _ := NewMatMul(&kernel.Site{Node: &graph.Node{OpType: "MatMul"}})
			c := call(1, a, b)
			if err := mm.Run(c, f); err != nil {
				t.Fatal(err)
			}
			check(t, fmt.Sprintf("%v MatMul, bias %t, add %t, act %t", d, f.Bias != nil, f.Add != nil, f.Act != nil), c.Out[0].(*kernel.Tensor), nil, []int{m, n}, want)
			g, _ := NewGemm(&kernel.Site{Node: &graph.Node{OpType: "Gemm"}})
			c = call(1, a, b)
			if err := g.Run(c, f); err != nil {
				t.Fatal(err)
			}
			check(t, fmt.Sprintf("%v Gemm, bias %t, add %t, act %t", d, f.Bias != nil, f.Add != nil, f.Act != nil), c.Out[0].(*kernel.Tensor), nil, []int{m, n}, want)
		}
		// A Gemm's own C rounds together with the product.
		plain, err := runOp("Gemm", nil, a, b, bias)
		if err != nil {
			t.Fatal(err)
		}
		held, _ := floats(plain)
		want := append([]float32(nil), held...)
		act(want)
		round(want)
		g, _ := NewGemm(&kernel.Site{Node: &graph.Node{OpType: "Gemm"}})
		c := call(1, a, b, bias)
		if err := g.Run(c, Fuse{Act: act}); err != nil {
			t.Fatal(err)
		}
		check(t, d.String()+" Gemm with C and act", c.Out[0].(*kernel.Tensor), nil, []int{m, n}, want)
		if err := g.Run(c, Fuse{Bias: bias}); err == nil {
			t.Error("a bias beside C: no error")
		}
	}
	mm, _ := NewMatMul(&kernel.Site{Node: &graph.Node{OpType: "MatMul"}})
	a, b := f32([]int{1, 1}, 1), f32([]int{1, 2}, 1, 2)
	for what, f := range map[string]Fuse{"a short bias": {Bias: f32([]int{1}, 1)}, "a small matrix": {Add: f32([]int{1}, 1)},
		"a bias of another type": {Bias: kernel.FromSlice(tensor.Float64, []int{2}, []float64{1, 2})}} {
		if err := mm.Run(call(1, a, b), f); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestMatMulInteger(t *testing.T) {
	a := kernel.FromSlice(tensor.Uint8, []int{2, 2}, []uint8{1, 200, 3, 255})
	b := kernel.FromSlice(tensor.Int8, []int{2, 2}, []int8{-128, 5, 7, 127})
	got, err := runOp("MatMulInteger", nil, a, b)
	check(t, "no zero points", got, err, []int{2, 2}, []int32{1*-128 + 200*7, 5 + 200*127, 3*-128 + 255*7, 15 + 255*127})
	got, err = runOp("MatMulInteger", nil, a, b, kernel.FromSlice(tensor.Uint8, []int{2}, []uint8{1, 3}), kernel.FromSlice(tensor.Int8, []int{1, 2}, []int8{-1, 5}))
	check(t, "a zero point for each row and column", got, err, []int{2, 2}, []int32{199 * 8, 199 * 122, 252 * 8, 252 * 122})
	if _, err := runOp("MatMulInteger", nil, a, b, kernel.FromSlice(tensor.Uint8, []int{3}, []uint8{1, 2, 3})); err == nil {
		t.Error("three zero points for two rows: no error")
	}
	// The largest sums stay exact beyond what one float32 chain holds.
	const k = 3000
	ones, down := make([]uint8, k), make([]int8, k)
	for i := range ones {
		ones[i], down[i] = 255, -128
	}
	got, err = runOp("MatMulInteger", nil, kernel.FromSlice(tensor.Uint8, []int{1, k}, ones), kernel.FromSlice(tensor.Int8, []int{k, 1}, down), nil, kernel.FromSlice(tensor.Int8, nil, []int8{127}))
	check(t, "large", got, err, []int{1, 1}, []int32{-255 * 255 * k})
}

func TestQLinearMatMul(t *testing.T) {
	one := func(v float32) *kernel.Tensor { return f32(nil, v) }
	u8 := func(shape []int, v ...uint8) *kernel.Tensor { return kernel.FromSlice(tensor.Uint8, shape, v) }
	// (a-10)·0.5 times (b-20)·0.25, in steps of 0.1 around 128.
	a, b := u8([]int{2, 2}, 12, 14, 10, 250), u8([]int{2, 1}, 24, 28)
	got, err := runOp("QLinearMatMul", nil, a, one(0.5), u8(nil, 10), b, one(0.25), u8(nil, 20), one(0.1), u8(nil, 128))
	check(t, "uint8", got, err, []int{2, 1}, []uint8{128 + 50, 255}) // (2·4+4·8)·0.125 = 5
	got, err = runOp("QLinearMatMul", nil, a, f32([]int{2}, 0.5, 0.0001), u8([]int{2}, 10, 10), b, one(0.25), u8(nil, 20), one(0.1), u8(nil, 128))
	check(t, "a scale for each row", got, err, []int{2, 1}, []uint8{178, 128})
	e := kernel.FromSlice(tensor.Float8E4M3FN, []int{1, 2}, []uint8{0x38, 0xC0}) // 1, -2
	ec := kernel.FromSlice(tensor.Float8E4M3FN, []int{2, 1}, []uint8{0x40, 0x40})
	z := kernel.FromSlice(tensor.Float8E4M3FN, nil, []uint8{0})
	got, err = runOp("QLinearMatMul", nil, e, one(2), z, ec, one(3), z, one(6), z)
	check(t, "float8", got, err, []int{1, 1}, []uint8{uint8(float8.E4M3FNFromFloat32(-2, float8.Saturate))})
}

func TestEinsum(t *testing.T) {
	eq := func(s string) []*graph.Attribute {
		return []*graph.Attribute{{Name: "equation", Kind: graph.AttrString, String: []byte(s)}}
	}
	a := f32([]int{2, 2}, 1, 2, 3, 4)
	b := f32([]int{2, 2}, 5, 6, 7, 8)
	cube := f32([]int{2, 2, 2}, 1, 2, 3, 4, 5, 6, 7, 8)
	for _, c := range []struct {
		equation string
		in       []kernel.Value
		shape    []int
		want     []float32
	}{
		{"ij,jk->ik", []kernel.Value{a, b}, []int{2, 2}, []float32{19, 22, 43, 50}},
		{"ij,jk", []kernel.Value{a, b}, []int{2, 2}, []float32{19, 22, 43, 50}},
		{"ij , jk -> k i", []kernel.Value{a, b}, []int{2, 2}, []float32{19, 43, 22, 50}},
		{"ij->ji", []kernel.Value{a}, []int{2, 2}, []float32{1, 3, 2, 4}},
		{"ba", []kernel.Value{a}, []int{2, 2}, []float32{1, 3, 2, 4}},
		{"ii", []kernel.Value{a}, nil, []float32{5}},
		{"ii->i", []kernel.Value{a}, []int{2}, []float32{1, 4}},
		{"ij->", []kernel.Value{a}, nil, []float32{10}},
		{"ij->i", []kernel.Value{a}, []int{2}, []float32{3, 7}},
		{"...ii->...i", []kernel.Value{cube}, []int{2, 2}, []float32{1, 4, 5, 8}},
		{"...ij,jk->...ik", []kernel.Value{cube, a}, []int{2, 2, 2}, []float32{7, 10, 15, 22, 23, 34, 31, 46}},
		{"b...,...->b", []kernel.Value{cube, a}, []int{2}, []float32{30, 70}},
		{"i,i", []kernel.Value{f32([]int{2}, 1, 2), f32([]int{2}, 3, 4)}, nil, []float32{11}},
		{"i,j->ij", []kernel.Value{f32([]int{2}, 1, 2), f32([]int{2}, 3, 4)}, []int{2, 2}, []float32{3, 4, 6, 8}},
		{",ij->ij", []kernel.Value{f32(nil, 2), a}, []int{2, 2}, []float32{2, 4, 6, 8}},
		{"ij,ij->ij", []kernel.Value{a, b}, []int{2, 2}, []float32{5, 12, 21, 32}},
		{"ij,jk,kl->il", []kernel.Value{a, b, a}, []int{2, 2}, []float32{85, 126, 193, 286}},
		{"ij,kl->", []kernel.Value{a, b}, nil, []float32{260}},
		{"abc,dbc->da", []kernel.Value{cube, cube}, []int{2, 2}, []float32{30, 70, 70, 174}},
		{"abc,bdc->ad", []kernel.Value{cube, cube}, []int{2, 2}, []float32{44, 64, 100, 152}},
		{"ij,ij->i", []kernel.Value{a, f32([]int{1, 2}, 1, 10)}, []int{2}, []float32{21, 43}},
	} {
		got, err := runOp("Einsum", eq(c.equation), c.in...)
		check(t, c.equation, got, err, c.shape, c.want)
		half, whole := make([]kernel.Value, len(c.in)), make([]kernel.Value, len(c.in))
		for i, v := range c.in {
			f := v.(*kernel.Tensor)
			half[i], _ = narrow(tensor.Float16, f.Shape, kernel.Of[float32](f))
			x := make([]int64, f.Len())
			for j, e := range kernel.Of[float32](f) {
				x[j] = int64(e)
			}
			whole[i] = kernel.FromSlice(tensor.Int64, f.Shape, x)
		}
		got, err = runOp("Einsum", eq(c.equation), half...)
		check(t, c.equation+" in float16", got, err, c.shape, c.want)
		want := make([]int64, len(c.want))
		for i, v := range c.want {
			want[i] = int64(v)
		}
		got, err = runOp("Einsum", eq(c.equation), whole...)
		check(t, c.equation+" in int64", got, err, c.shape, want)
	}
	for equation, in := range map[string][]kernel.Value{
		"ij->k": {a}, "i1": {a}, "ijk": {a}, "ij,jk->ik": {a, f32([]int{3, 1}, 1, 2, 3)}, "ij,": {a}, "ij->ii": {a}, "......": {a}, "i.j": {a}, "ij->...ij": {a, a},
	} {
		if _, err := runOp("Einsum", eq(equation), in...); err == nil {
			t.Errorf("%q: no error", equation)
		}
	}
}
