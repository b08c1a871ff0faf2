package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
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
