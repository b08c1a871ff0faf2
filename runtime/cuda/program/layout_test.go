package program

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func list(v ...int64) *tensor.Tensor { return tensor.Int64s(tensor.Shape{int64(len(v))}, v...) }

func TestViewsAndCopies(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	a := floatsOf(rng, true, 2, 3, 4, 5)
	for _, c := range []struct {
		name   string
		copies int                              // launches at most, those that outputs want included
		make   func(x *net, in string) []string // with (float) in its name: it computes
	}{
		{"a reshape", 1, func(x *net, in string) []string { return []string{x.node("Reshape", nil, in, x.constant(list(6, -1)))} }},
		{"a reshape of a transpose", 1, func(x *net, in string) []string {
			return []string{x.node("Reshape", nil, x.node("Transpose", attrs(graph.Ints("perm", 1, 0, 2, 3)), in), x.constant(list(3, 2, 20)))}
		}},
		{"a reshape that joins what is transposed", 1, func(x *net, in string) []string {
			return []string{x.node("Reshape", nil, x.node("Transpose", attrs(graph.Ints("perm", 0, 2, 1, 3)), in), x.constant(list(8, 15)))}
		}},
		{"a transpose without an order", 1, func(x *net, in string) []string { return []string{x.node("Transpose", nil, in)} }},
		{"flatten", 1, func(x *net, in string) []string { return []string{x.node("Flatten", attrs(graph.Int("axis", 2)), in)} }},
		{"unsqueeze and squeeze", 2, func(x *net, in string) []string {
			u := x.node("Unsqueeze", nil, in, x.constant(list(0, -1)))
			return []string{u, x.node("Squeeze", nil, u, x.constant(list(0)))}
		}},
		{"slices", 3, func(x *net, in string) []string {
			return []string{
				x.node("Slice", nil, in, x.constant(list(1, -3)), x.constant(list(100, -1)), x.constant(list(1, 3))),
				x.node("Slice", nil, in, x.constant(list(0)), x.constant(list(5)), x.constant(list(-1)), x.constant(list(2))),
			}
		}},
		{"slices backwards (float)", 3, func(x *net, in string) []string {
			s := x.node("Slice", nil, in, x.constant(list(-1, 10)), x.constant(list(-100, 0)), x.constant(list(3, 2)), x.constant(list(-1, -2)))
			return []string{s, x.node("Neg", nil, s)}
		}},
		{"a split", 3, func(x *net, in string) []string {
			return x.many("Split", 3, attrs(graph.Int("axis", 3)), in, x.constant(list(2, 2, 1)))
		}},
		{"an equal split", 3, func(x *net, in string) []string {
			return x.many("Split", 3, attrs(graph.Int("axis", 1), graph.Int("num_outputs", 3)), in)
		}},
		{"expand", 1, func(x *net, in string) []string {
			s := x.node("Slice", nil, in, x.constant(list(1)), x.constant(list(2)), x.constant(list(2)))
			return []string{x.node("Expand", nil, s, x.constant(list(3, 1, 1, 7, 1)))}
		}},
		{"tiles", 3, func(x *net, in string) []string {
			one := x.node("Slice", nil, in, x.constant(list(1)), x.constant(list(2)), x.constant(list(1)))
			return []string{x.node("Tile", nil, in, x.constant(list(1, 2, 1, 3))), x.node("Tile", nil, one, x.constant(list(1, 4, 1, 1)))}
		}},
		{"concatenations (float)", 6, func(x *net, in string) []string {
			s := x.node("Slice", nil, in, x.constant(list(1)), x.constant(list(3)), x.constant(list(3)))
			n := x.node("Neg", nil, s)
			return []string{x.node("Concat", attrs(graph.Int("axis", -1)), in, s, n)}
		}},
		{"a rotation of halves (float)", 4, func(x *net, in string) []string {
			p := x.many("Split", 2, attrs(graph.Int("axis", 2)), in, x.constant(list(2, 2)))
			return []string{x.node("Concat", attrs(graph.Int("axis", 2)), x.node("Neg", nil, p[1]), p[0])}
		}},
		{"pads (float)", 4, func(x *net, in string) []string {
			return []string{x.node("Pad", nil, in, x.constant(list(0, 1, 0, 2, 1, 0, 0, 3)), x.constant(tensor.Float32s(nil, 1.5))),
				x.node("Pad", nil, in, x.constant(list(-1, 2, 0, -2)), "", x.constant(list(2, 3)))}
		}},
		{"gathers", 5, func(x *net, in string) []string {
			return []string{
				x.node("Gather", attrs(graph.Int("axis", 1)), in, x.input(tensor.Int64s(tensor.Shape{2, 2}, 0, -1, 2, 1))),
				x.node("Gather", attrs(graph.Int("axis", 2)), in, x.constant(list(3, 0, -1))),
				x.node("Gather", attrs(graph.Int("axis", 2)), in, x.constant(list(1, 3))),
				x.node("Gather", attrs(graph.Int("axis", 3)), in, x.constant(tensor.Int64s(nil, -2))),
				x.node("Gather", nil, in, x.constant(tensor.Int64s(tensor.Shape{1, 2}, 0, 1))),
			}
		}},
		{"elementwise operators on views (float)", 3, func(x *net, in string) []string {
			tr := x.node("Transpose", attrs(graph.Ints("perm", 3, 1, 0, 2)), in)
			s := x.node("Slice", nil, tr, x.constant(list(0)), x.constant(list(5)), x.constant(list(0)), x.constant(list(3)))
			return []string{x.node("Tanh", nil, x.node("Add", nil, s, s)), x.node("Relu", nil, tr)}
		}},
	} {
		for _, v := range []*tensor.Tensor{a, boolsOf(rng, 2, 3, 4, 5), intsOf(rng, 1<<20, 2, 3, 4, 5)} {
			if strings.Contains(c.name, "(float)") && v.DType != tensor.Float32 {
				continue
			}
			t.Run(c.name+" of "+v.DType.String(), func(t *testing.T) {
				x := newNet(t)
				in := x.input(v)
				outputs := c.make(x, in)
				p := x.check(kernels.F32, 1e-6, outputs...)
				x.onGPU(p)
				if len(p.Steps) > c.copies {
					t.Errorf("%d launches, want at most %d: %s", len(p.Steps), c.copies, summary(p.Steps))
				}
			})
		}
	}
}

// TestRandomViews goes through views of views, and compares them with what the processor makes.
func TestRandomViews(t *testing.T) {
	times := 200
	if testing.Short() {
		times = 40
	}
	for seed := range uint64(times) {
		rng := rand.New(rand.NewPCG(5, seed))
		x := newNet(t)
		dims := []int64{2, 3, 4, 6}
		v := x.input(floatsOf(rng, false, dims...))
		var outputs []string
		for range 2 + rng.IntN(8) {
			axis := rng.IntN(len(dims))
			switch rng.IntN(7) {
			case 0:
				perm := make([]int64, len(dims))
				next := make([]int64, len(dims))
				for i, p := range rng.Perm(len(dims)) {
					perm[i], next[i] = int64(p), dims[p]
				}
				v, dims = x.node("Transpose", attrs(graph.Ints("perm", perm...)), v), next
			case 1:
				// Join two neighbours, or cut one.
				next := slices.Clone(dims)
				switch {
				case rng.IntN(2) == 0 && axis+1 < len(dims):
					next[axis] *= next[axis+1]
					next = slices.Delete(next, axis+1, axis+2)
				case dims[axis]%2 == 0 && len(dims) < 5:
					next = slices.Insert(next, axis, 2)
					next[axis+1] /= 2
				}
				v, dims = x.node("Reshape", nil, v, x.constant(list(next...))), next
			case 2:
				step := int64(1 + rng.IntN(2))
				if rng.IntN(4) == 0 {
					step = -step
				}
				first, last := int64(0), dims[axis]
				if step < 0 {
					first, last = dims[axis]-1, -100
				} else if dims[axis] > 2 {
					first = int64(rng.IntN(2))
				}
				n := (dims[axis] - first + step - 1) / step
				if step < 0 {
					n = (dims[axis] - step - 1) / -step
				}
				v = x.node("Slice", nil, v, x.constant(list(first)), x.constant(list(last)), x.constant(list(int64(axis))), x.constant(list(step)))
				dims = slices.Clone(dims)
				dims[axis] = n
			case 3:
				if dims[axis] > 1 {
					parts := x.many("Split", 2, attrs(graph.Int("axis", int64(axis))), v, x.constant(list(1, dims[axis]-1)))
					v = parts[1]
					dims = slices.Clone(dims)
					dims[axis]--
					outputs = append(outputs, parts[0])
				}
			case 4:
				if len(dims) < 5 {
					v = x.node("Unsqueeze", nil, v, x.constant(list(int64(axis))))
					dims = slices.Insert(slices.Clone(dims), axis, 1)
				}
			case 5:
				if dims[axis] == 1 {
					to := slices.Clone(dims)
					to[axis] = 3
					v, dims = x.node("Expand", nil, v, x.constant(list(to...))), to
				} else {
					v = x.node("Gather", attrs(graph.Int("axis", int64(axis))), v, x.constant(list(-1, 0)))
					dims = slices.Clone(dims)
					dims[axis] = 2
				}
			default:
				v = x.node("Neg", nil, v)
			}
		}
		p := x.check(kernels.F32, 0, append(outputs, v)...)
		x.onGPU(p)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestPadsOfOtherTypes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 2))
	for _, v := range []*tensor.Tensor{boolsOf(rng, 3, 4), intsOf(rng, 100, 3, 4)} {
		x := newNet(t)
		p := x.check(kernels.F32, 0, x.node("Pad", nil, x.input(v), x.constant(list(1, 0, 0, 2))))
		x.onGPU(p)
	}
}

// TestViewsThatDoNotFitOneLaunch holds that views which together have more dimensions than a launch counts are copied before, and that
// what no kernel can copy stays with the processor.
func TestViewsThatDoNotFitOneLaunch(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	x := newNet(t)
	var in []string
	for i := range int64(3) {
		perm := []int64{0, 1, 2, 3, 4, 5}
		perm[2*i], perm[2*i+1] = perm[2*i+1], perm[2*i]
		in = append(in, x.node("Transpose", attrs(graph.Ints("perm", perm...)), x.input(floatsOf(rng, false, 2, 2, 3, 3, 2, 2))))
	}
	p := x.check(kernels.F32, 0, x.node("Max", nil, in...))
	x.onGPU(p)
	if got := summary(p.Steps); got != "1 chain, 3 copy" {
		t.Errorf("%s, want a copy of each view and a chain", got)
	}
	x = newNet(t)
	p = x.check(kernels.F32, 0, x.node("Transpose", attrs(graph.Ints("perm", 5, 3, 1, 4, 2, 0)), x.input(floatsOf(rng, false, 2, 2, 3, 3, 2, 2))))
	if len(p.Placed) != 1 || !strings.Contains(p.Placed[0].Why, "more than 5 dimensions") {
		t.Errorf("placed: %v", p.Placed)
	}
}
