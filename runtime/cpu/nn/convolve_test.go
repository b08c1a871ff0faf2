package nn

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// All ways to compute a convolution of float32 but the plain loops make the same chains.
func TestPlanesAndPanelsGiveTheSameBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	for _, s := range convolutions {
		x, w, b := random(rng, append([]int{s.batch, s.channels}, s.in...)...).f32(), random(rng, append([]int{s.outputs, s.channels / s.group}, s.kernel...)...).f32(), random(rng, s.outputs).f32()
		win := window{autoPad: s.autoPad, strides: ints(s.strides), dilations: ints(s.dilations), pads: ints(s.pads)}
		if win.autoPad == "" {
			win.autoPad = "NOTSET"
		}
		cv, err := newConvolution(&win, s.group, x.Shape, w.Shape)
		if err != nil {
			t.Fatal(err)
		}
		c := &kernel.Call{Ctx: context.Background(), Pool: kernel.NewPool(2), Mem: kernel.NewArena(0)}
		pl := newPlane(cv.sliding)
		if pl == nil {
			t.Errorf("%s: no plane", s.name)
			continue
		}
		shape := cv.outShape(cv.batch, cv.outC)
		ways := [2]*kernel.Tensor{zeros(shape...).f32(), zeros(shape...).f32()}
		of := kernel.Of[float32]
		if err := convolvePlanes(c, cv, pl, of(x), of(w), of(b), of(ways[0])); err != nil {
			t.Fatal(err)
		}
		per := cv.inC / cv.groups
		convolveGemm(c.Pool, cv, func(dst []float32, width, n, g, k0, k1, j0, j1 int) {
			columns(cv.sliding, dst, width, of(x)[(n*cv.inC+g*per)*cv.inSize:], k0, k1, j0, j1)
		}, nil, of(w), of(b), of(ways[1]))
		bits(t, s.name, ways[0], ways[1])
	}
}

func ints(v []int64) []int {
	if v == nil {
		return nil
	}
	out := make([]int, len(v))
	for i, n := range v {
		out[i] = int(n)
	}
	return out
}

func BenchmarkOperators(b *testing.B) {
	rng := rand.New(rand.NewPCG(8, 2))
	for _, c := range []struct {
		name string
		node
		in [][]int
	}{
		{"conv3x3", node{op: "Conv", attrs: []*graph.Attribute{graph.Ints("pads", 1, 1, 1, 1)}}, [][]int{{1, 64, 56, 56}, {64, 64, 3, 3}, {64}}},
		{"conv7x7", node{op: "Conv", attrs: []*graph.Attribute{graph.Ints("pads", 3, 3, 3, 3), graph.Ints("strides", 2, 2)}}, [][]int{{1, 3, 224, 224}, {64, 3, 7, 7}}},
		{"conv1x1", node{op: "Conv"}, [][]int{{1, 256, 28, 28}, {128, 256, 1, 1}}},
		{"depthwise", node{op: "Conv", attrs: []*graph.Attribute{graph.Ints("pads", 1, 1, 1, 1), graph.Int("group", 128)}}, [][]int{{1, 128, 56, 56}, {128, 1, 3, 3}}},
		{"transposed", node{op: "ConvTranspose", attrs: []*graph.Attribute{graph.Ints("strides", 2, 2)}}, [][]int{{1, 64, 32, 32}, {64, 32, 4, 4}}},
		{"maxpool", node{op: "MaxPool", attrs: []*graph.Attribute{graph.Ints("kernel_shape", 3, 3), graph.Ints("strides", 2, 2)}}, [][]int{{1, 64, 112, 112}}},
		{"layernorm", node{op: "LayerNormalization"}, [][]int{{512, 768}, {768}, {768}}},
		{"lstm", node{op: "LSTM", constant: true}, [][]int{{50, 8, 128}, {1, 1024, 128}, {1, 1024, 256}}},
		{"attention", node{op: "Attention"}, [][]int{{4, 12, 128, 64}, {4, 12, 128, 64}, {4, 12, 128, 64}}},
	} {
		var in []*kernel.Tensor
		for _, shape := range c.in {
			in = append(in, random(rng, shape...).f32())
		}
		b.Run(c.name, func(b *testing.B) {
			f, call, err := c.prepare(in...)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := f(call); err != nil {
					b.Fatal(err)
				}
				kernel.Release(call.Out[0])
			}
		})
	}
}
