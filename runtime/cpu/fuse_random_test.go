package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// randomModel is a few operators that fusion knows over values whose shapes broadcast in all ways, some of them read several times, some
// of them outputs.
func randomModel(r *rand.Rand) (*graph.Model, in) {
	full := []int64{1 + r.Int64N(3), 1 + r.Int64N(3), 1 + r.Int64N(4), 1 + r.Int64N(40)}
	inputs := in{}
	var parts []any
	var names []string
	for i := range 2 + r.IntN(3) {
		shape := tensor.Shape(append([]int64(nil), full...))
		for a := range shape {
			if r.IntN(3) == 0 {
				shape[a] = 1
			}
		}
		shape = shape[r.IntN(4):]
		n, _ := shape.Elements()
		name := fmt.Sprintf("in%d", i)
		v := &graph.Value{Name: name, Type: &graph.Type{DType: tensor.Float32, HasShape: true}}
		for range shape {
			v.Type.Shape = append(v.Type.Shape, graph.Dim{Value: -1})
		}
		parts = append(parts, v)
		names = append(names, name)
		inputs[name] = tensor.Float32s(shape, random(int(n), r.Uint64())...)
	}
	parts = append(parts, floats("c", nil, 0.7), floats("two", nil, 2), ints("axes", tensor.Shape{1}, -1), ints("front", tensor.Shape{4}, 1, 1, 1, 1))
	// A value of four axes for what needs to know them.
	parts = append(parts, node("Expand "+names[0]+" front -> wide"))
	names = append(names, "wide", "c")
	pick := func() string { return names[r.IntN(len(names))] }
	for i := range 5 + r.IntN(16) {
		out := fmt.Sprintf("v%d", i)
		var n *graph.Node
		switch r.IntN(10) {
		case 0, 1, 2, 3:
			n = node([]string{"Add", "Sub", "Mul", "Max"}[r.IntN(4)] + " " + pick() + " " + pick() + " -> " + out)
		case 4, 5:
			n = node([]string{"Neg", "Tanh", "Sigmoid", "Erf", "Relu"}[r.IntN(5)] + " " + pick() + " -> " + out)
		case 6:
			n = node("Pow " + pick() + " two -> " + out)
		case 7:
			n = node([]string{"ReduceMean", "ReduceMax"}[r.IntN(2)] + " wide axes -> " + out)
		case 8:
			n = node("Softmax wide -> "+out, graph.Int("axis", -1))
		default:
			n = node("Transpose wide -> "+out, graph.Ints("perm", 1, 0, 2, 3))
			if full[0] != full[1] { // would not broadcast with the others
				n = node("Transpose wide -> "+out, graph.Ints("perm", 0, 1, 2, 3))
			}
		}
		parts = append(parts, n)
		names = append(names, out)
	}
	last := names[len(names)-1]
	outs := last
	if other := pick(); other != last && other[0] == 'v' {
		outs += " " + other
	}
	return model(append(parts, outputs(outs))...), inputs
}

func TestRandomModelsGiveTheSameFused(t *testing.T) {
	fused := 0
	seeds := []uint64{618, 5402} // a reduction of one element that is an output; a transposed operand whose rows are apart
	for seed := range uint64(400) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		m, inputs := randomModel(rand.New(rand.NewPCG(seed, 2)))
		plain := testBackend()
		plain.plain = true
		slow, err := plain.Open(t.Context(), m, runtime.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		fast := open(t, m, runtime.Options{Threads: 2})
		for _, s := range fast.(*session).main.steps {
			if s.held != nil {
				fused++
			}
		}
		want := run(t, slow, inputs)
		for range 2 {
			got := run(t, fast, inputs)
			for _, o := range fast.Outputs() {
				if !got[o].Tensor.Shape.Equal(want[o].Tensor.Shape) {
					t.Fatalf("model %d: %s has shape %s, want %s", seed, o, got[o].Tensor.Shape, want[o].Tensor.Shape)
				}
				x, _ := want[o].Tensor.AsFloat32s()
				y, _ := got[o].Tensor.AsFloat32s()
				for i := range x {
					d := math.Abs(float64(x[i] - y[i]))
					if !(d <= 1e-4*(1+math.Abs(float64(x[i]))) || x[i] == y[i] || x[i] != x[i] && y[i] != y[i]) {
						t.Fatalf("model %d: %s[%d] is %v, want %v", seed, o, i, y[i], x[i])
					}
				}
			}
		}
	}
	if fused < 200 {
		t.Errorf("%d fused steps in 400 models", fused)
	}
}

// A view names the elements that the operators would copy.
func TestRandomViewsAgreeWithTheOperators(t *testing.T) {
	viewed := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		start := []int64{1 + r.Int64N(3), 1 + r.Int64N(4), 1 + r.Int64N(4)}
		x := ramp(start)
		dense, err := kernel.FromTensor(x)
		if err != nil {
			t.Fatal(err)
		}
		v, ok := whole(dense), true
		v0 := &graph.Value{Name: "v0", Type: &graph.Type{DType: tensor.Float32}}
		parts := []any{v0}
		shape := start
		n := 1 + r.IntN(5)
		for i := range n {
			op, arg := "", []int64(nil)
			switch r.IntN(4) {
			case 0:
				op = "Transpose"
			case 1:
				op, arg = "Unsqueeze", []int64{r.Int64N(int64(len(shape)+1)) - int64(r.IntN(2)*(len(shape)+1))}
			case 2:
				op, arg = "Expand", append([]int64{1 + r.Int64N(2)}, shape...)
				if len(shape) > 5 {
					op, arg = "Expand", shape
				}
			default:
				op = "Reshape"
				// Cut all elements anew.
				rest, _ := tensor.Shape(shape).Elements()
				for len(arg) < 3 {
					d := 1 + r.Int64N(6)
					if rest%d == 0 {
						arg = append(arg, d)
						rest /= d
					}
				}
				arg = append(arg, rest)
				if r.IntN(2) == 0 {
					arg[r.IntN(4)] = -1
				}
			}
			from, to := fmt.Sprintf("v%d", i), fmt.Sprintf("v%d", i+1)
			s := &step{opset: 18}
			if op == "Transpose" {
				perm := make([]int64, len(shape))
				for j, p := range r.Perm(len(shape)) {
					perm[j] = int64(p)
				}
				s.node = node(op+" "+from+" -> "+to, graph.Ints("perm", perm...))
			} else {
				name := fmt.Sprintf("a%d", i)
				parts = append(parts, ints(name, tensor.Shape{int64(len(arg))}, arg...))
				s.node = node(op + " " + from + " " + name + " -> " + to)
			}
			parts = append(parts, s.node)
			if ok {
				v, ok = v.apply(s, func(int) *kernel.Tensor { return kernel.FromSlice(tensor.Int64, []int{len(arg)}, arg) })
			}
			if !ok {
				parts = append(parts, outputs(to))
				break
			}
			shape = nil
			for _, d := range v.shape() {
				shape = append(shape, int64(d))
			}
			if i == n-1 {
				parts = append(parts, outputs(to))
			}
		}
		if !ok {
			continue
		}
		viewed++
		m := model(parts...)
		got := run(t, open(t, m, runtime.Options{}), in{"v0": x})[m.Graph.Outputs[0].Name].Tensor
		if !got.Shape.Equal(shape) {
			t.Fatalf("model %d: view %v, want %s", seed, shape, got.Shape)
		}
		want, _ := got.AsFloat32s()
		for i, o := range v.offsets(len(shape)) {
			if float32(o+1) != want[i] {
				t.Fatalf("model %d: element %d is %d, want %v", seed, i, o+1, want[i])
			}
		}
	}
	if viewed < 150 {
		t.Errorf("%d of 300 chains are views", viewed)
	}
}
