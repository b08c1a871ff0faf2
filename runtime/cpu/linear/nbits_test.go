package linear

import (
	"context"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestMatMulNBits multiplies with a weight of two rows, whose codes, zero points and scales are small enough to follow by hand.
func TestMatMulNBits(t *testing.T) {
	for _, c := range []struct {
		name  string
		bits  int64
		codes []uint8
		zeros []uint8
		want  []float32
	}{
		// Rows of four codes in blocks of two: row 0 is (1 2 | 3 4), row 1 is (15 0 | 8 8).
		{"four bits, the usual zero of 8", 4, []uint8{0x21, 0x43, 0x0f, 0x88}, nil, []float32{
			(1-8)*0.5*1 + (2-8)*0.5*10 + (3-8)*2*100 + (4-8)*2*1000, (15-8)*1*1 + (0-8)*1*10,
		}},
		{"four bits with zero points", 4, []uint8{0x21, 0x43, 0x0f, 0x88}, []uint8{0x31, 0x80}, []float32{
			1*0.5*10 + 1*2*1000, 15 * 1 * 1,
		}},
		{"eight bits", 8, []uint8{129, 128, 128, 127, 128, 130, 128, 128}, nil, []float32{1*0.5*1 - 1*2*1000, 2 * 1 * 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &graph.Node{OpType: "MatMulNBits", Attributes: []*graph.Attribute{graph.Int("K", 4), graph.Int("N", 2), graph.Int("bits", c.bits), graph.Int("block_size", 2)}}
			f, err := newNBits(&kernel.Site{Node: n})
			if err != nil {
				t.Fatal(err)
			}
			call := &kernel.Call{Ctx: context.Background(), Pool: kernel.NewPool(2), Mem: kernel.NewArena(0), Out: make([]kernel.Value, 1), Wanted: []bool{true}}
			call.In = []kernel.Value{
				kernel.FromSlice(tensor.Float32, []int{1, 4}, []float32{1, 10, 100, 1000}),
				kernel.FromSlice(tensor.Uint8, []int{2, 2, int(c.bits) / 4}, c.codes),
				kernel.FromSlice(tensor.Float32, []int{4}, []float32{0.5, 2, 1, 3}),
			}
			if c.zeros != nil {
				call.In = append(call.In, kernel.FromSlice(tensor.Uint8, []int{2}, c.zeros))
			}
			if err := f(call); err != nil {
				t.Fatal(err)
			}
			if got := kernel.Of[float32](call.Out[0].(*kernel.Tensor)); got[0] != c.want[0] || got[1] != c.want[1] {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
