package nn

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// node is an operator to be tested.
type node struct {
	op       string
	opset    int64
	attrs    []*graph.Attribute
	outs     int // outputs, 0 for one
	threads  int // 0 for two
	constant bool
}

// run makes and executes the operator once.
func (n node) run(in ...*kernel.Tensor) ([]*kernel.Tensor, error) {
	f, c, err := n.prepare(in...)
	if err != nil {
		return nil, err
	}
	if err := f(c); err != nil {
		return nil, err
	}
	out := make([]*kernel.Tensor, len(c.Out))
	for i, v := range c.Out {
		out[i], _ = v.(*kernel.Tensor)
	}
	return out, nil
}

// prepare makes the operator, and a call of it.
func (n node) prepare(in ...*kernel.Tensor) (kernel.Func, *kernel.Call, error) {
	maker, ok := Table()[n.op]
	if !ok {
		return nil, nil, fmt.Errorf("no operator %q", n.op)
	}
	outs, opset, threads := max(1, n.outs), n.opset, n.threads
	if opset == 0 {
		opset = 23
	}
	if threads == 0 {
		threads = 2
	}
	site := &kernel.Site{Node: &graph.Node{OpType: n.op, Attributes: n.attrs}, Opset: opset}
	if domain, _, ok := strings.Cut(n.op, "."); ok {
		site.Node.Domain = domain
	}
	site.Constant = func(i int) *kernel.Tensor {
		if n.constant && i < len(in) && i > 0 {
			return in[i]
		}
		return nil
	}
	site.MayPack = func(int64) bool { return true }
	c := &kernel.Call{Ctx: context.Background(), Pool: kernel.NewPool(threads), Mem: kernel.NewArena(0), Out: make([]kernel.Value, outs),
		Wanted: make([]bool, outs)}
	for i := range outs {
		c.Wanted[i] = true
		site.Node.Outputs = append(site.Node.Outputs, fmt.Sprint("out", i))
	}
	for _, t := range in {
		if t == nil {
			c.In = append(c.In, nil)
		} else {
			c.In = append(c.In, t)
		}
	}
	f, err := maker(site)
	return f, c, err
}

// must is run where nothing may go wrong.
func (n node) must(t *testing.T, in ...*kernel.Tensor) []*kernel.Tensor {
	t.Helper()
	out, err := n.run(in...)
	if err != nil {
		t.Fatalf("%s: %v", n.op, err)
	}
	return out
}

// refuses checks that the operator fails with an error that holds all words.
func (n node) refuses(t *testing.T, words string, in ...*kernel.Tensor) {
	t.Helper()
	_, err := n.run(in...)
	if err == nil {
		t.Errorf("%s: no error, want one with %q", n.op, words)
		return
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("%s: error %q, want one with %q", n.op, err, words)
	}
}

// array is numbers with a shape, as tests compute them.
type array struct {
	shape []int
	v     []float64
}

func zeros(shape ...int) *array { return &array{shape, make([]float64, kernel.Count(shape))} }

// random has numbers that all float types hold exactly: multiples of 1/64 from -2 on, below 2.
func random(rng *rand.Rand, shape ...int) *array {
	a := zeros(shape...)
	for i := range a.v {
		a.v[i] = float64(rng.IntN(256)-128) / 64
	}
	return a
}

// list is an array of one axis.
func list(v ...float64) *array { return &array{[]int{len(v)}, v} }

// at is the element at an index; outside of the array it is 0.
func (a *array) at(index ...int) float64 {
	p := a.place(index)
	if p < 0 {
		return 0
	}
	return a.v[p]
}

// ref is where an element lies.
func (a *array) ref(index ...int) *float64 { return &a.v[a.place(index)] }

func (a *array) place(index []int) int {
	p := 0
	for i, n := range a.shape {
		if index[i] < 0 || index[i] >= n {
			return -1
		}
		p = p*n + index[i]
	}
	return p
}

// as is the array as a tensor of type d. nil stays nil.
func (a *array) as(d tensor.DType) *kernel.Tensor {
	if a == nil {
		return nil
	}
	t := &kernel.Tensor{DType: d, Shape: a.shape, Bytes: make([]byte, len(a.v)*kernel.ElemSize(d))}
	for i, v := range a.v {
		switch d {
		case tensor.Float32:
			kernel.Of[float32](t)[i] = float32(v)
		case tensor.Float64:
			kernel.Of[float64](t)[i] = v
		case tensor.Float16:
			kernel.Of[float8.Float16](t)[i] = float8.Float16FromFloat32(float32(v))
		case tensor.BFloat16:
			kernel.Of[float8.BFloat16](t)[i] = float8.BFloat16FromFloat32(float32(v))
		case tensor.Int8:
			kernel.Of[int8](t)[i] = int8(v)
		case tensor.Uint8, tensor.Bool:
			kernel.Of[uint8](t)[i] = uint8(v)
		case tensor.Int32:
			kernel.Of[int32](t)[i] = int32(v)
		case tensor.Int64:
			kernel.Of[int64](t)[i] = int64(v)
		default:
			panic(d)
		}
	}
	return t
}

func (a *array) f32() *kernel.Tensor { return a.as(tensor.Float32) }

// numbers is a tensor's content.
func numbers(t *kernel.Tensor) []float64 {
	v := make([]float64, t.Len())
	if err := widen(kernel.NewPool(1), v, t); err != nil {
		panic(err)
	}
	return v
}

// tolerances are relative to 1 + |want|.
var tolerances = map[tensor.DType]float64{tensor.Float64: 1e-12, tensor.Float32: 2e-5, tensor.Float16: 2e-3, tensor.BFloat16: 2e-2}

// same checks type, shape and numbers.
func same(t *testing.T, what string, got *kernel.Tensor, d tensor.DType, want *array) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: no output", what)
		return
	}
	if got.DType != d || !equalShape(got.Shape, want.shape) {
		t.Errorf("%s: %s, want %s%s", what, got, d, kernel.ShapeString(want.shape))
		return
	}
	for i, g := range numbers(got) {
		w := want.v[i]
		if math.IsNaN(g) != math.IsNaN(w) || !(math.Abs(g-w) <= tolerances[d]*(1+math.Abs(w))) && g != w && !math.IsNaN(w) {
			t.Errorf("%s: element %d is %v, want %v", what, i, g, w)
			return
		}
	}
}

// bits checks that tensors are the same to the last bit.
func bits(t *testing.T, what string, got, want *kernel.Tensor) {
	t.Helper()
	if string(got.Bytes) != string(want.Bytes) {
		t.Errorf("%s: not the same bits", what)
	}
}

var floatTypes = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16}
