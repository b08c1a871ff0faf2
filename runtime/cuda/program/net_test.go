package program

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// net is a small model that a test puts together.
type net struct {
	t  testing.TB
	g  *graph.Graph
	in map[string]*tensor.Tensor
	// opset and the number of values named so far
	opset int64
	n     int
}

func newNet(t testing.TB) *net {
	return &net{t: t, g: &graph.Graph{Name: "net"}, in: map[string]*tensor.Tensor{}, opset: 23}
}

func (x *net) fresh() string {
	x.n++
	return fmt.Sprintf("v%d", x.n)
}

func (x *net) input(v *tensor.Tensor) string {
	name := x.fresh()
	x.g.Inputs = append(x.g.Inputs, &graph.Value{Name: name, Type: typeOf(v)})
	x.in[name] = v
	return name
}

func (x *net) constant(v *tensor.Tensor) string {
	name := x.fresh()
	x.g.Initializers = append(x.g.Initializers, &graph.Initializer{Name: name, Tensor: v})
	return name
}

func typeOf(v *tensor.Tensor) *graph.Type {
	t := &graph.Type{DType: v.DType, HasShape: true}
	for _, d := range v.Shape {
		t.Shape = append(t.Shape, graph.Dim{Value: d})
	}
	return t
}

// many adds a node with this many outputs. The domain is part of the operator's name.
func (x *net) many(op string, outputs int, attrs []*graph.Attribute, inputs ...string) []string {
	n := &graph.Node{Name: fmt.Sprintf("node %d", len(x.g.Nodes)), OpType: op, Inputs: inputs, Attributes: attrs}
	if ms := "com.microsoft."; strings.HasPrefix(op, ms) {
		n.Domain, n.OpType = ms[:len(ms)-1], op[len(ms):]
	}
	for range outputs {
		n.Outputs = append(n.Outputs, x.fresh())
	}
	x.g.Nodes = append(x.g.Nodes, n)
	return n.Outputs
}

func (x *net) node(op string, attrs []*graph.Attribute, inputs ...string) string {
	return x.many(op, 1, attrs, inputs...)[0]
}

// check runs the net with these outputs by the cpu engine, and as a program, and compares: every element must be within that share of its
// own size, or of 1 where it is smaller. It returns the program.
func (x *net) check(compute kernels.Type, within float64, outputs ...string) *Program {
	x.t.Helper()
	p, _ := x.compare(compute, within, outputs...)
	return p
}

func (x *net) compare(compute kernels.Type, within float64, outputs ...string) (*Program, *machine) {
	x.t.Helper()
	m := &graph.Model{IRVersion: 10, Opsets: []graph.Opset{{Domain: "", Version: x.opset}, {Domain: "com.microsoft", Version: 1}}, Graph: x.g}
	x.g.Outputs = nil
	for _, out := range outputs {
		x.g.Outputs = append(x.g.Outputs, &graph.Value{Name: out})
	}
	var keep []string
	for _, n := range x.g.Nodes {
		for _, out := range n.Outputs {
			if out != "" {
				keep = append(keep, out)
			}
		}
	}
	values := map[string]runtime.Value{}
	for name, v := range x.in {
		values[name] = runtime.FromTensor(v)
	}
	want := evaluated(x.t, m, values, keep)
	st := &specialize.Static{Model: m, Types: map[string]graph.Type{}}
	for name, v := range want {
		st.Types[name] = *typeOf(v.Tensor)
	}
	for name, v := range x.in {
		st.Types[name] = *typeOf(v)
	}
	p, err := Build(st, Options{Card: hopper, Compute: compute})
	if err != nil {
		x.t.Fatal(err)
	}
	sound(x.t, p)
	machine := newMachine(x.t)
	got := machine.run(p, x.in)
	for _, out := range outputs {
		x.same(out, got[out], want[out].Tensor, within)
	}
	return p, machine
}

func (x *net) same(name string, got, want *tensor.Tensor, within float64) {
	x.t.Helper()
	if got == nil || got.DType != want.DType || !got.Shape.Equal(want.Shape) {
		x.t.Fatalf("%q: got %v, want %v", name, got, want)
	}
	g, err := numbers(got)
	if err != nil {
		x.t.Fatal(err)
	}
	w, err := numbers(want)
	if err != nil {
		x.t.Fatal(err)
	}
	for i, v := range w {
		switch {
		case g[i] == v, g[i] != g[i] && v != v:
		case math.Abs(float64(g[i])-float64(v)) <= within*max(1, math.Abs(float64(v))):
		default:
			x.t.Errorf("%q: element %d of %v is %v, want %v", name, i, want.Shape, g[i], v)
			return
		}
	}
}

// onGPU checks that the program has no part for the processor.
func (x *net) onGPU(p *Program) {
	x.t.Helper()
	for _, pl := range p.Placed {
		x.t.Errorf("%s %q runs on %s: %s", pl.Op, pl.Node, pl.Where, pl.Why)
	}
}

// hard are values at which operators differ.
var hard = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0.5, -0.5, 2, -2, 2.5, -1.5, 1e-4, -1e-4, 1e-30, 12, -12, 100, -100, 1e20, -1e20,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.MaxFloat32, -math.MaxFloat32}

// floatsOf are random numbers, some of them hard where asked for.
func floatsOf(rng *rand.Rand, special bool, shape ...int64) *tensor.Tensor {
	v := make([]float32, count(shape))
	for i := range v {
		v[i] = float32(rng.NormFloat64() * 2)
		if special && rng.IntN(2) == 0 {
			v[i] = hard[rng.IntN(len(hard))]
		}
	}
	return tensor.Float32s(shape, v...)
}

func boolsOf(rng *rand.Rand, shape ...int64) *tensor.Tensor {
	v := make([]bool, count(shape))
	for i := range v {
		v[i] = rng.IntN(2) == 0
	}
	return tensor.Bools(shape, v...)
}

func intsOf(rng *rand.Rand, n int64, shape ...int64) *tensor.Tensor {
	v := make([]int64, count(shape))
	for i := range v {
		v[i] = rng.Int64N(2*n) - n
	}
	return tensor.Int64s(shape, v...)
}
