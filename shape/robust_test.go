package shape

import (
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Every rule is fed operands and attributes that make no sense: files are not to be trusted, and the answer may be anything that
// is not a crash or an extent below 0.
func TestNonsenseDoesNotCrash(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	odd := []int64{-1 << 63, -1 << 31, -3, -2, -1, 0, 1, 2, 3, 7, 300, 1 << 31, 1 << 40, 1<<63 - 1}
	pick := func() int64 { return odd[r.IntN(len(odd))] }
	list := func() []int64 {
		v := make([]int64, r.IntN(5))
		for i := range v {
			v[i] = pick()
		}
		return v
	}
	names := []string{"axis", "axes", "perm", "shape", "split", "starts", "ends", "steps", "pads", "kernel_shape", "strides", "dilations",
		"group", "k", "to", "dtype", "keepdims", "noop_with_empty_axes", "num_outputs", "num_scan_inputs", "scan_input_axes",
		"scan_output_axes", "batch_dims", "transA", "transB", "allowzero", "start", "end", "stash_type", "output_dtype", "ceil_mode"}
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	for op := range newRules() {
		for range rounds {
			n := &graph.Node{OpType: op, Outputs: []string{"y", "z", "v"}[:1+r.IntN(3)]}
			g := &graph.Graph{Name: "g"}
			for i := range r.IntN(6) {
				name := string(rune('a' + i))
				switch r.IntN(4) {
				case 0: // left out
					n.Inputs = append(n.Inputs, "")
					continue
				case 1: // a constant
					v := list()
					s := tensor.Shape{int64(len(v))}
					if len(v) == 1 && r.IntN(2) == 0 {
						s = tensor.Shape{}
					}
					g.Initializers = append(g.Initializers, &graph.Initializer{Name: name, Tensor: tensor.Int64s(s, v...)})
				default:
					ty := &graph.Type{DType: tensor.DType(r.IntN(12)), HasShape: r.IntN(4) > 0}
					for range r.IntN(5) {
						ty.Shape = append(ty.Shape, graph.Dim{Value: max(pick(), -1), Param: []string{"", "N"}[r.IntN(2)]})
					}
					g.Inputs = append(g.Inputs, &graph.Value{Name: name, Type: ty})
				}
				n.Inputs = append(n.Inputs, name)
			}
			for range r.IntN(5) {
				name := names[r.IntN(len(names))]
				if r.IntN(2) == 0 {
					n.SetAttr(graph.Int(name, pick()))
				} else {
					n.SetAttr(graph.Ints(name, list()...))
				}
			}
			switch op {
			case "Einsum":
				n.SetAttr(graph.Str("equation", []string{"", "->", "ij,jk->ik", "a,,->aa", "...->", "é->é", "ab->abc"}[r.IntN(7)]))
			case "If", "Loop", "Scan":
				for _, name := range []string{"then_branch", "else_branch", "body"} {
					b := &graph.Graph{Nodes: []*graph.Node{node("Relu a -> p")}, Outputs: []*graph.Value{{Name: "p"}, {Name: "q"}, {Name: "a"}}[:r.IntN(4)]}
					for i := range r.IntN(6) {
						b.Inputs = append(b.Inputs, &graph.Value{Name: string(rune('A' + i))})
					}
					n.SetAttr(sub(name, b))
				}
			}
			g.Nodes = []*graph.Node{n}
			m := &graph.Model{IRVersion: int64(3 + 5*r.IntN(2)), Opsets: []graph.Opset{{Version: []int64{1, 6, 8, 11, 21}[r.IntN(5)]}}, Graph: g}
			i := Infer(m)
			for _, out := range n.Outputs {
				ty, _ := i.Of(g, out)
				for _, d := range ty.Shape {
					if d.Value < -1 {
						t.Fatalf("%s: extent %d", op, d.Value)
					}
				}
			}
		}
	}
}
