package arith

import (
	"context"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// BenchmarkOperators times what transformers spend their elementwise time on: activations of 4 × 128 rows of 768, attention scores of
// 12 heads. The rate counts the bytes of the result.
func BenchmarkOperators(b *testing.B) {
	rows := []int{4, 128, 768}
	x := func(d tensor.DType, shape ...int) *kernel.Tensor {
		v := sequence(kernel.Count(shape))
		for i := range v {
			v[i] /= 16
		}
		return of(d, shape, v...)
	}
	f := tensor.Float32
	last := attr(graph.Int("axis", -1))
	tests := []struct {
		name string
		n    node
		ins  []*kernel.Tensor
	}{
		{"Add", node{op: "Add"}, []*kernel.Tensor{x(f, rows...), x(f, rows...)}},
		{"AddBias", node{op: "Add"}, []*kernel.Tensor{x(f, rows...), x(f, 768)}},
		{"MulScalar", node{op: "Mul"}, []*kernel.Tensor{x(f, rows...), x(f, 1)}},
		{"SubRows", node{op: "Sub"}, []*kernel.Tensor{x(f, rows...), x(f, 4, 128, 1)}},
		{"MaskScores", node{op: "Add"}, []*kernel.Tensor{x(f, 4, 12, 128, 128), x(f, 4, 1, 128, 128)}},
		{"AddFloat16", node{op: "Add"}, []*kernel.Tensor{x(tensor.Float16, rows...), x(tensor.Float16, rows...)}},
		{"AddInt64", node{op: "Add"}, []*kernel.Tensor{x(tensor.Int64, rows...), x(tensor.Int64, rows...)}},
		{"Pow2", node{op: "Pow"}, []*kernel.Tensor{x(f, rows...), f32([]int{}, 2)}},
		{"Gelu", node{op: "Gelu"}, []*kernel.Tensor{x(f, 4, 128, 3072)}},
		{"Tanh", node{op: "Tanh"}, []*kernel.Tensor{x(f, 4, 128, 3072)}},
		{"Relu", node{op: "Relu"}, []*kernel.Tensor{x(f, 4, 128, 3072)}},
		{"Softmax", node{op: "Softmax"}, []*kernel.Tensor{x(f, 4, 12, 128, 128)}},
		{"SoftmaxAxis1", node{op: "Softmax", attrs: attr(graph.Int("axis", 1))}, []*kernel.Tensor{x(f, 4, 128, 768)}},
		{"ReduceMeanRows", node{op: "ReduceMean"}, []*kernel.Tensor{x(f, rows...), i64(-1)}},
		{"ReduceMeanColumns", node{op: "ReduceMean"}, []*kernel.Tensor{x(f, rows...), i64(0, 1)}},
		{"ReduceMaxAll", node{op: "ReduceMax"}, []*kernel.Tensor{x(f, rows...)}},
		{"Where", node{op: "Where"}, []*kernel.Tensor{x(tensor.Bool, 1, 1, 128, 128), x(f, 4, 12, 128, 128), x(f, 1)}},
		{"Equal", node{op: "Equal"}, []*kernel.Tensor{x(f, rows...), x(f, rows...)}},
		{"CastToFloat16", castNode(tensor.Float16), []*kernel.Tensor{x(f, rows...)}},
		{"CastFromFloat16", castNode(f), []*kernel.Tensor{x(tensor.Float16, rows...)}},
		{"CastToE4M3", castNode(tensor.Float8E4M3FN), []*kernel.Tensor{x(f, rows...)}},
		{"CastInt64ToFloat", castNode(f), []*kernel.Tensor{x(tensor.Int64, rows...)}},
		{"Quantize", node{op: "QuantizeLinear"}, []*kernel.Tensor{x(f, rows...), f32([]int{}, 0.1)}},
		{"Dequantize", node{op: "DequantizeLinear", attrs: last}, []*kernel.Tensor{x(tensor.Int8, 768, 768), x(f, 768)}},
		{"Sin", node{op: "Sin"}, []*kernel.Tensor{x(f, rows...)}},
		{"TopK", node{op: "TopK"}, []*kernel.Tensor{x(f, 128, 1000), i64(5)}},
		{"ArgMax", node{op: "ArgMax", attrs: last}, []*kernel.Tensor{x(f, 128, 32000)}},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			g, err := tt.n.make()
			if err != nil {
				b.Fatal(err)
			}
			c := &kernel.Call{Ctx: context.Background(), Pool: kernel.NewPool(2), Mem: kernel.NewArena(0), Out: make([]kernel.Value, 1),
				Wanted: []bool{true}, Dies: make([]bool, len(tt.ins))}
			for _, t := range tt.ins {
				c.In = append(c.In, t)
			}
			for b.Loop() {
				if err := g(c); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(c.Out[0].(*kernel.Tensor).Bytes)))
				kernel.Release(c.Out[0])
			}
		})
	}
}
