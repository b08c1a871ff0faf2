package program

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestProducersWriteTheCodes holds that whatever makes a layer's input casts it by the way, in rows of its own: those of heads where the
// layer sees them joined, and rows with gaps where the layer's are padded. In float32 the codes, and so the results, are those of the
// processor, but for what lies between two codes.
func TestProducersWriteTheCodes(t *testing.T) {
	turn := attrs(graph.Ints("perm", 0, 2, 1, 3))
	for _, c := range []struct {
		name  string
		dims  []int64 // of the input
		cols  int64   // of the layer
		casts int     // launches that only cast
		want  string
		make  func(x *net, in string) string
	}{
		{"a chain", []int64{2, 3, 32}, 32, 0, "1 chain", func(x *net, in string) string {
			return x.node("Tanh", nil, x.node("Neg", nil, in))
		}},
		{"a chain over heads", []int64{2, 3, 4, 16}, 64, 0, "1 chain", func(x *net, in string) string { return x.node("Tanh", nil, in) }},
		{"a chain with gaps", []int64{2, 3, 20}, 20, 0, "1 chain", func(x *net, in string) string { return x.node("Tanh", nil, in) }},
		{"a chain over heads with gaps", []int64{2, 3, 4, 5}, 20, 1, "1 chain", func(x *net, in string) string { return x.node("Tanh", nil, in) }},
		{"an activation", []int64{2, 3, 32}, 32, 0, "1 gelu_erf", func(x *net, in string) string { return x.node("Gelu", nil, in) }},
		{"an activation over heads", []int64{2, 3, 4, 16}, 64, 0, "1 gelu_erf", func(x *net, in string) string { return x.node("Gelu", nil, in) }},
		{"an activation with gaps", []int64{2, 3, 20}, 20, 0, "1 gelu_erf", func(x *net, in string) string { return x.node("Gelu", nil, in) }},
		{"a gate", []int64{2, 3, 64}, 32, 0, "1 silu_mul", func(x *net, in string) string {
			p := x.many("Split", 2, attrs(graph.Int("axis", -1), graph.Int("num_outputs", 2)), in)
			return x.node("Mul", nil, x.node("Mul", nil, p[0], x.node("Sigmoid", nil, p[0])), p[1])
		}},
		{"a norm", []int64{2, 3, 32}, 32, 0, "1 rms norm", func(x *net, in string) string {
			return x.node("RMSNormalization", nil, in, x.constant(random(1, 32)))
		}},
		{"a norm of heads", []int64{2, 3, 4, 16}, 64, 0, "1 rms norm", func(x *net, in string) string {
			return x.node("RMSNormalization", nil, in, x.constant(random(1, 16)))
		}},
		{"a norm with gaps", []int64{2, 3, 20}, 20, 0, "1 layer norm", func(x *net, in string) string {
			return x.node("LayerNormalization", nil, in, x.constant(random(1, 20)), x.constant(random(2, 20)))
		}},
		{"attention", []int64{2, 4, 3, 16}, 64, 0, "1 attention", func(x *net, in string) string {
			return x.node("Transpose", turn, x.node("Attention", nil, in, in, in))
		}},
		{"attention of three axes", []int64{2, 3, 64}, 64, 0, "1 attention", func(x *net, in string) string {
			return x.node("Attention", attrs(graph.Int("q_num_heads", 4), graph.Int("kv_num_heads", 4)), in, in, in)
		}},
		{"attention with gaps", []int64{2, 4, 3, 5}, 20, 1, "1 attention", func(x *net, in string) string {
			return x.node("Transpose", turn, x.node("Attention", nil, in, in, in))
		}},
	} {
		for _, read := range []bool{false, true} {
			for _, recipe := range []string{"i:del,w:del,go:del h16 max", "i:dyn,w:dyn,go:dyn h16 max"} {
				t.Run(fmt.Sprint(c.name, read, recipe[:5]), func(t *testing.T) {
					x := newNet(t)
					v := floatsOf(rand.New(rand.NewPCG(8, 1)), false, c.dims...)
					out := c.make(x, x.input(v))
					rows := x.node("Reshape", nil, out, x.constant(list(-1, c.cols)))
					y := x.node("MatMul", nil, rows, x.constant(random(3, c.cols, 24)))
					outputs := []string{y}
					if read {
						outputs = append(outputs, out)
					}
					for _, name := range outputs {
						x.g.Outputs = append(x.g.Outputs, &graph.Value{Name: name, Type: &graph.Type{DType: tensor.Float32}})
					}
					m := converted(t, &graph.Model{IRVersion: 10, Opsets: []graph.Opset{{Version: x.opset}}, Graph: x.g}, recipe, rewrite.Float8Weights)
					p, _ := build(t, m, v.Shape, false, Options{})
					sound(t, p)
					// One code more or less is an eighth of an element, of which many make a sum.
					agrees(t, c.name, m, p, x.in, 2e-2)
					got := summary(p.Steps)
					if !strings.Contains(got, c.want) {
						t.Errorf("%s, want %s", got, c.want)
					}
					if stored := strings.HasPrefix(recipe, "i:del"); stored && strings.Count(got, "cast") != c.casts || strings.Contains(got, "1 amax") {
						t.Errorf("%s, want %d casts and no amax", got, c.casts)
					}
				})
			}
		}
	}
}
