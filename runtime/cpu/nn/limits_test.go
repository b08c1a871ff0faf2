package nn

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// A kernel that is much wider than what it slides over has no plane: the taps that read inside are then looked for.
func TestWindowsMuchWiderThanTheInput(t *testing.T) {
	x := &array{[]int{1, 2, 2}, []float64{1, 2, -3, -4}}
	window := []*graph.Attribute{graph.Ints("kernel_shape", 20000), graph.Ints("pads", 19999, 1)}
	// The first window sees the first element, the second both, the third, one further, both.
	same(t, "maximum", node{op: "MaxPool", attrs: window}.must(t, x.f32())[0], tensor.Float32, &array{[]int{1, 2, 3}, []float64{1, 2, 2, -3, -3, -3}})
	same(t, "mean", node{op: "AveragePool", attrs: window}.must(t, x.f32())[0], tensor.Float32, &array{[]int{1, 2, 3}, []float64{1, 1.5, 1.5, -3, -3.5, -3.5}})
	w := zeros(2, 1, 20000)
	*w.ref(0, 0, 19999), *w.ref(0, 0, 19998), *w.ref(1, 0, 19997) = 1, 10, 1
	conv := node{op: "Conv", attrs: []*graph.Attribute{graph.Ints("pads", 19999, 1), graph.Int("group", 2)}}
	same(t, "depthwise", conv.must(t, x.f32(), w.f32())[0], tensor.Float32, &array{[]int{1, 2, 3}, []float64{1, 12, 20, 0, 0, -3}})
	conv = node{op: "Conv", attrs: []*graph.Attribute{graph.Ints("pads", 19999, 1)}}
	one := &array{[]int{2, 1, 2}, x.v}
	same(t, "convolution", conv.must(t, one.f32(), w.f32())[0], tensor.Float32, &array{[]int{2, 2, 3}, []float64{1, 12, 20, 0, 0, 1, -3, -34, -40, 0, 0, -3}})
}

func TestNumbersThatNoMemoryHoldsAreErrors(t *testing.T) {
	x := zeros(1, 1, 2, 2).f32()
	huge := int64(math.MaxInt32)
	node{op: "MaxPool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", huge, huge), graph.Ints("pads", huge, huge, 0, 0)}}.refuses(t, "is not possible", x)
	node{op: "MaxPool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", 1, huge), graph.Ints("pads", 0, huge, 0, 0)}}.refuses(t, "a kernel of 2147483647 elements, want at most", x)
	node{op: "AveragePool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", 1, 1), graph.Ints("pads", huge, huge, 0, 0)}}.refuses(t, "is not possible", x)
	node{op: "MaxPool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", 1, math.MaxInt64)}}.refuses(t, "want every number from 1 to", x)
	node{op: "ConvTranspose", attrs: []*graph.Attribute{graph.Ints("strides", huge, huge)}}.refuses(t, "the output would have extent 2147483649", x, x)
	// no elements, but extents whose product no integer holds
	empty := &array{[]int{1 << 40, 1, 0}, nil}
	node{op: "RNN"}.refuses(t, "is not possible", empty.f32(), zeros(1, 1<<10, 0).f32(), (&array{[]int{1, 1 << 10, 1 << 10}, make([]float64, 1<<20)}).f32())
}

func TestEmptyInputsGiveEmptyOutputs(t *testing.T) {
	same(t, "no images", node{op: "Conv"}.must(t, zeros(0, 2, 5, 5).f32(), zeros(3, 2, 3, 3).f32())[0], tensor.Float32, zeros(0, 3, 3, 3))
	same(t, "no channels", node{op: "Conv"}.must(t, zeros(1, 0, 5, 5).f32(), zeros(3, 0, 3, 3).f32(), list(1, 2, 3).f32())[0], tensor.Float32,
		(slide{kernel: []int{3, 3}, in: []int{5, 5}, out: []int{3, 3}, batch: 1, channels: 0, outputs: 3, group: 1}).convolve(zeros(1, 0, 5, 5), zeros(3, 0, 3, 3), list(1, 2, 3)))
	same(t, "no outputs", node{op: "Conv"}.must(t, zeros(1, 2, 5, 5).f32(), zeros(0, 2, 3, 3).f32())[0], tensor.Float32, zeros(1, 0, 3, 3))
	same(t, "no rows", node{op: "LayerNormalization"}.must(t, zeros(0, 4).f32(), zeros(4).f32())[0], tensor.Float32, zeros(0, 4))
	same(t, "no queries", node{op: "Attention"}.must(t, zeros(1, 2, 0, 4).f32(), zeros(1, 2, 3, 4).f32(), zeros(1, 2, 3, 4).f32())[0], tensor.Float32, zeros(1, 2, 0, 4))
	same(t, "no batch", node{op: "LSTM"}.must(t, zeros(4, 0, 3).f32(), zeros(1, 8, 3).f32(), zeros(1, 8, 2).f32())[0], tensor.Float32, zeros(4, 1, 0, 2))
	same(t, "no images to pool", node{op: "MaxPool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", 2)}}.must(t, zeros(0, 3, 4).f32())[0], tensor.Float32, zeros(0, 3, 3))
}
