package program

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// random is a float32 array of values around zero that bfloat16 holds.
func random(seed uint64, dims ...int64) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 7))
	v := make([]float32, count(dims))
	for i := range v {
		v[i] = float8.BFloat16FromFloat32(float32(r.NormFloat64())).Float32()
	}
	return tensor.Float32s(tensor.Shape(dims), v...)
}

// distance is the largest difference of two arrays over the largest magnitude.
func distance(t testing.TB, got, want *tensor.Tensor) float64 {
	t.Helper()
	g, err := got.AsFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	w, err := want.AsFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	if len(g) != len(w) {
		t.Fatalf("%d elements, want %d", len(g), len(w))
	}
	var worst, most float64
	for i := range w {
		d := math.Abs(float64(g[i]) - float64(w[i]))
		if d > worst || math.IsNaN(d) {
			worst = d
		}
		most = max(most, math.Abs(float64(w[i])))
	}
	return worst / max(most, 1e-30)
}

// agrees runs a program on a machine and the model on the processor.
func agrees(t testing.TB, what string, m *graph.Model, p *Program, inputs map[string]*tensor.Tensor, tolerance float64) {
	t.Helper()
	all := map[string]*tensor.Tensor{}
	values := map[string]runtime.Value{}
	for name, x := range inputs {
		all[name], values[name] = x, runtime.FromTensor(x)
	}
	for _, v := range p.Variables {
		all[v.Name] = m.Graph.Initializer(v.Name).Tensor
	}
	got := newMachine(t).run(p, all)
	for name, want := range evaluated(t, m, values, nil) {
		if d := distance(t, got[name], want.Tensor); !(d <= tolerance) {
			t.Errorf("%s: %q differs by %.3g, at most %.3g is right", what, name, d, tolerance)
		}
	}
}

func TestEveryVariantComputesWhatTheProcessorDoes(t *testing.T) {
	// The codes are the same, so what differs is the order of sums, and in bfloat16 the rounding of the result, or of a decoded weight.
	for _, c := range []struct {
		opt       Options
		tolerance float64
	}{{Options{Compute: kernels.F32}, 2e-6}, {Options{Compute: kernels.BF16}, 6e-3}, {Options{Compute: kernels.F32, Plan: onlyBF16}, 2e-6}, {Options{Compute: kernels.F32, Plan: noVectors}, 2e-6}} {
		for _, v := range ops.Variants() {
			for _, size := range [][3]int64{{1, 10, 20}, {4, 32, 64}, {7, 3, 16}} {
				if testing.Short() && size[0] > 1 {
					continue
				}
				for _, channels := range []bool{false, true} {
					for _, variables := range []bool{false, true} {
						l := linears{m: size[0], n: size[1], k: size[2], layers: 3, variant: v, channels: channels, bias: true, observe: true, scales: []float32{20, 20, 70}}
						m := l.model(t)
						p, _ := build(t, m, tensor.Shape{l.m, l.k}, variables, c.opt)
						what := fmt.Sprintf("%v %v, channels %t, variables %t, %v", v, size, channels, variables, c.opt.Compute)
						agrees(t, what, m, p, map[string]*tensor.Tensor{"x": random(3, l.m, l.k)}, c.tolerance)
					}
				}
			}
		}
	}
}

// onlyBF16 refuses float8, noVectors vectors of scales.
func onlyBF16(p lt.Problem) (*lt.Plan, error) {
	if p.X.Float8() {
		return nil, &lt.UnsupportedError{Problem: p, Why: "a test refuses it"}
	}
	return &lt.Plan{Problem: p}, nil
}

func noVectors(p lt.Problem) (*lt.Plan, error) {
	q := p
	q.Channels = false
	return &lt.Plan{Problem: q, MultiplyW: p.Channels}, nil
}

// TestProductsComputeWhatTheProcessorDoes goes through the shapes, layouts and arguments of MatMul and Gemm.
func TestProductsComputeWhatTheProcessorDoes(t *testing.T) {
	type operand struct {
		dims     []int64
		perm     []int64 // a Transpose before the product; nil: none
		constant bool
	}
	in := func(dims ...int64) operand { return operand{dims: dims} }
	turned := func(perm []int64, dims ...int64) operand { return operand{dims: dims, perm: perm} }
	weight := func(dims ...int64) operand { return operand{dims: dims, constant: true} }
	attr := func(kv ...*graph.Attribute) []*graph.Attribute { return kv }
	for _, c := range []struct {
		name  string
		op    string
		in    []operand
		attrs []*graph.Attribute
		steps string // "" for any
	}{
		{"a matrix and a weight", "MatMul", []operand{in(5, 8), weight(8, 12)}, nil, "1 matmul float32"},
		{"a batch and a weight", "MatMul", []operand{in(2, 3, 5, 8), weight(8, 12)}, nil, "1 matmul float32"},
		{"a weight on the left", "MatMul", []operand{weight(5, 8), in(8, 12)}, nil, "1 matmul float32"},
		{"a batch and a batch", "MatMul", []operand{in(2, 3, 5, 8), in(2, 3, 8, 4)}, nil, "1 matmul float32"},
		{"keys that are transposed", "MatMul", []operand{in(2, 3, 5, 8), turned([]int64{0, 1, 3, 2}, 2, 3, 4, 8)}, nil, "1 matmul float32"},
		{"heads that lie among each other", "MatMul", []operand{turned([]int64{0, 2, 1, 3}, 2, 5, 3, 8), turned([]int64{0, 2, 3, 1}, 2, 4, 3, 8)}, nil, "2 copy, 1 matmul float32"},
		{"queries that are transposed", "MatMul", []operand{turned([]int64{1, 0}, 8, 5), in(8, 4)}, nil, "1 copy, 1 matmul float32"},
		{"a batch that repeats on the right", "MatMul", []operand{in(6, 5, 8), in(1, 8, 4)}, nil, "1 matmul float32"},
		{"a batch that repeats on the left", "MatMul", []operand{in(5, 8), in(6, 8, 4)}, nil, "1 matmul float32"},
		{"batches that repeat crosswise", "MatMul", []operand{in(2, 1, 5, 8), in(1, 3, 8, 4)}, nil, "2 copy, 1 matmul float32"},
		{"a batch that repeats within", "MatMul", []operand{in(2, 3, 5, 8), in(2, 1, 8, 4)}, nil, "1 copy, 1 matmul float32"},
		{"a vector and a matrix", "MatMul", []operand{in(8), in(8, 4)}, nil, "1 matmul float32"},
		{"a matrix and a vector", "MatMul", []operand{in(5, 8), in(8)}, nil, "1 matmul float32"},
		{"two vectors", "MatMul", []operand{in(8), in(8)}, nil, "1 matmul float32"},
		{"a vector and a batch", "MatMul", []operand{in(8), in(3, 8, 4)}, nil, "1 matmul float32"},
		{"a batch and a vector", "MatMul", []operand{in(3, 5, 8), in(8)}, nil, "1 matmul float32"},
		{"Gemm", "Gemm", []operand{in(5, 8), weight(8, 12), weight(12)}, nil, "1 matmul float32"},
		{"Gemm with a weight as PyTorch has it", "Gemm", []operand{in(5, 8), weight(12, 8), weight(1, 12)}, attr(graph.Int("transB", 1)), "1 matmul float32"},
		{"Gemm of a transposed matrix", "Gemm", []operand{in(8, 5), weight(8, 12)}, attr(graph.Int("transA", 1)), "1 copy, 1 matmul float32"},
		{"Gemm with factors", "Gemm", []operand{in(5, 8), weight(8, 12), weight(12)}, attr(graph.Float("alpha", 0.5), graph.Float("beta", 3)), ""},
		{"Gemm with a factor alone", "Gemm", []operand{in(5, 8), weight(8, 12)}, attr(graph.Float("alpha", 0.5)), "1 chain, 1 matmul float32"},
		{"Gemm whose addend does not count", "Gemm", []operand{in(5, 8), weight(8, 12), weight(12)}, attr(graph.Float("beta", 0)), "1 matmul float32"},
		{"Gemm plus a matrix", "Gemm", []operand{in(5, 8), weight(8, 12), in(5, 12)}, nil, "1 add, 1 matmul float32"},
		{"Gemm plus a column", "Gemm", []operand{in(5, 8), weight(8, 12), weight(5, 1)}, nil, "1 chain, 1 matmul float32"},
		{"Gemm plus a scalar", "Gemm", []operand{in(5, 8), weight(8, 12), weight()}, nil, ""},
	} {
		for _, compute := range []kernels.Type{kernels.F32, kernels.BF16} {
			g := &graph.Graph{Name: "product"}
			m := &graph.Model{IRVersion: 10, Graph: g, Opsets: []graph.Opset{{Version: 23}}}
			n := &graph.Node{Name: "product", OpType: c.op, Outputs: []string{"y"}, Attributes: c.attrs}
			inputs := map[string]*tensor.Tensor{}
			for i, o := range c.in {
				name := fmt.Sprintf("in%d", i)
				x := random(uint64(i), o.dims...)
				if o.constant {
					g.Initializers = append(g.Initializers, &graph.Initializer{Name: name, Tensor: x})
				} else {
					typ := &graph.Type{DType: tensor.Float32, HasShape: true}
					for _, d := range o.dims {
						typ.Shape = append(typ.Shape, graph.Dim{Value: d})
					}
					g.Inputs = append(g.Inputs, &graph.Value{Name: name, Type: typ})
					inputs[name] = x
				}
				if o.perm != nil {
					g.Nodes = append(g.Nodes, &graph.Node{Name: "turn " + name, OpType: "Transpose", Inputs: []string{name}, Outputs: []string{name + " turned"},
						Attributes: []*graph.Attribute{graph.Ints("perm", o.perm...)}})
					name += " turned"
				}
				n.Inputs = append(n.Inputs, name)
			}
			g.Nodes = append(g.Nodes, n)
			g.Outputs = []*graph.Value{{Name: "y", Type: &graph.Type{DType: tensor.Float32}}}
			st, err := specialize.Specialize(context.Background(), m, specialize.Options{Engine: cpu.New()})
			if err != nil {
				t.Fatal(err)
			}
			p, err := Build(st, Options{Card: hopper, Compute: compute})
			if err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("%s, %v", c.name, compute)
			sound(t, p)
			if got := summary(p.Steps); compute == kernels.F32 && c.steps != "" && got != c.steps || len(p.Placed) > 0 {
				t.Errorf("%s: %s, want %s, %v", what, got, c.steps, p.Placed)
			}
			tolerance := 1e-6
			if compute == kernels.BF16 {
				tolerance = 1e-2
			}
			agrees(t, what, m, p, inputs, tolerance)
		}
	}
}
