package arith

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

var (
	nan    = math.NaN()
	inf    = math.Inf(1)
	minus0 = math.Copysign(0, -1)
)

// node is an operator to be called in a test.
type node struct {
	op      string
	opset   int64 // 0 stands for the newest
	attrs   []*graph.Attribute
	outputs int // 0 stands for 1
	threads int // 0 stands for 2
	dies    bool
}

// make prepares the operator.
func (n node) make() (kernel.Func, error) {
	m := Table()[n.op]
	if m == nil {
		return nil, fmt.Errorf("no operator %s", n.op)
	}
	opset := n.opset
	if opset == 0 {
		opset = 26
	}
	g := &graph.Node{Name: "n", OpType: n.op, Attributes: n.attrs}
	for i := range max(1, n.outputs) {
		g.Outputs = append(g.Outputs, fmt.Sprintf("y%d", i))
	}
	return m(&kernel.Site{Node: g, Opset: opset, Constant: func(int) *kernel.Tensor { return nil }, MayPack: func(int64) bool { return true }})
}

// call runs the operator; a nil input is left out.
func (n node) call(ins ...*kernel.Tensor) ([]*kernel.Tensor, error) {
	f, err := n.make()
	if err != nil {
		return nil, err
	}
	threads := n.threads
	if threads == 0 {
		threads = 2
	}
	outs := max(1, n.outputs)
	c := &kernel.Call{Ctx: context.Background(), Pool: kernel.NewPool(threads), Mem: kernel.NewArena(0), Out: make([]kernel.Value, outs),
		Wanted: make([]bool, outs)}
	for i := range c.Wanted {
		c.Wanted[i] = true
	}
	for _, t := range ins {
		if t == nil {
			c.In = append(c.In, nil)
		} else if n.dies && t.DType != tensor.String {
			// A copy in the arena, which the operator may overwrite.
			m, err := c.Mem.New(t.DType, t.Shape)
			if err != nil {
				return nil, err
			}
			copy(m.Bytes, t.Bytes)
			c.In = append(c.In, m)
		} else {
			c.In = append(c.In, t)
		}
		c.Dies = append(c.Dies, n.dies)
	}
	if err := f(c); err != nil {
		return nil, err
	}
	res := make([]*kernel.Tensor, outs)
	for i, o := range c.Out {
		res[i] = o.(*kernel.Tensor)
	}
	return res, nil
}

// must is call for what has to work; it gives the first output.
func (n node) must(t testing.TB, ins ...*kernel.Tensor) *kernel.Tensor {
	t.Helper()
	out, err := n.call(ins...)
	if err != nil {
		t.Fatalf("%s: %v", n.op, err)
	}
	return out[0]
}

// fails checks that preparing or calling gives an error with the text.
func (n node) fails(t *testing.T, text string, ins ...*kernel.Tensor) {
	t.Helper()
	if _, err := n.call(ins...); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: error %v, want one with %q", n.op, err, text)
	}
}

// of makes a tensor of any numeric type from values, cast one by one; no shape stands for one axis.
func of(d tensor.DType, shape []int, v ...float64) *kernel.Tensor {
	if shape == nil {
		shape = []int{len(v)}
	}
	if len(v) != kernel.Count(shape) {
		panic(fmt.Sprint(shape, " of ", len(v)))
	}
	t := &kernel.Tensor{DType: d, Shape: shape, Bytes: make([]byte, len(v)*kernel.ElemSize(d))}
	src := kernel.FromSlice(tensor.Float64, shape, v)
	if err := convert(kernel.NewPool(1), t, src, narrowing{}); err != nil {
		panic(err)
	}
	return t
}

func f32(shape []int, v ...float64) *kernel.Tensor { return of(tensor.Float32, shape, v...) }

func i64(v ...float64) *kernel.Tensor { return of(tensor.Int64, nil, v...) }

func words(v ...string) *kernel.Tensor {
	return &kernel.Tensor{DType: tensor.String, Shape: []int{len(v)}, Strings: v}
}

// values are a tensor's elements.
func values(t *kernel.Tensor) []float64 {
	v := make([]float64, t.Len())
	for lo := 0; lo < len(v); lo += chunk {
		loadFloat64(v[lo:min(lo+chunk, len(v))], t, lo)
	}
	return v
}

// check1 compares a tensor with what it should be. Differences up to rel·|want| are allowed; signs of zeros and NaN must agree.
func check1(t *testing.T, name string, got *kernel.Tensor, d tensor.DType, shape []int, rel float64, want ...float64) {
	t.Helper()
	if shape == nil {
		shape = []int{len(want)}
	}
	if got.DType != d || kernel.ShapeString(got.Shape) != kernel.ShapeString(shape) {
		t.Errorf("%s: %s, want %s%s", name, got, d, kernel.ShapeString(shape))
		return
	}
	for i, g := range values(got) {
		w := want[i]
		if math.IsNaN(g) && math.IsNaN(w) || g == w && math.Signbit(g) == math.Signbit(w) {
			continue
		}
		if w == 0 || !(math.Abs(g-w) <= rel*math.Abs(w)) {
			t.Errorf("%s: element %d is %v, want %v", name, i, g, w)
			return
		}
	}
}

func attr(a ...*graph.Attribute) []*graph.Attribute { return a }

// rounded are numbers rounded to a type, once.
func rounded(d tensor.DType, v ...float64) []float64 { return values(of(d, nil, v...)) }

var floatTypes = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16}

// ulp is the relative distance of neighbours of a float type; of float64 more, for sums that the tests take in another order.
func ulp(d tensor.DType) float64 {
	return map[tensor.DType]float64{tensor.Float32: 0x1p-23, tensor.Float64: 0x1p-48, tensor.Float16: 0x1p-10, tensor.BFloat16: 0x1p-7}[d]
}
