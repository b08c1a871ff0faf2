package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// chain is a model of MatMuls in a row, each with a square float32 weight of the given width, that data gives.
func chain(layers int, width int64, data tensor.Data) *graph.Model {
	shape := []graph.Dim{{Value: -1, Param: "n"}, {Value: width}}
	value := func(name string) *graph.Value {
		return &graph.Value{Name: name, Type: &graph.Type{Kind: graph.TensorKind, DType: tensor.Float32, Shape: shape, HasShape: true}}
	}
	g := &graph.Graph{Name: "chain", Inputs: []*graph.Value{value("x")}, Outputs: []*graph.Value{value(fmt.Sprint("y", layers-1))}}
	last := "x"
	for i := range layers {
		w := &tensor.Tensor{DType: tensor.Float32, Shape: tensor.Shape{width, width}, Data: data}
		g.Initializers = append(g.Initializers, &graph.Initializer{Name: fmt.Sprint("w", i), Tensor: w})
		out := fmt.Sprint("y", i)
		g.Nodes = append(g.Nodes, &graph.Node{Name: fmt.Sprint("layer", i), OpType: "MatMul", Inputs: []string{last, fmt.Sprint("w", i)}, Outputs: []string{out}})
		last = out
	}
	return &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 19}}, Graph: g}
}

// overridable is a model whose weight w is a graph input too, so that a caller may replace it.
func overridable() *graph.Model {
	const width = 4
	m := chain(1, width, ramp(width*width*4))
	w := m.Graph.Initializers[0]
	w.Name, m.Graph.Nodes[0].Inputs[1] = "w", "w"
	m.Graph.Inputs = append(m.Graph.Inputs, &graph.Value{Name: "w", Type: &graph.Type{Kind: graph.TensorKind, DType: tensor.Float32,
		Shape: []graph.Dim{{Value: width}, {Value: width}}, HasShape: true}})
	return m
}

// ramp is that many bytes of float32s from -1 to 1, over and over: quick to make, and nothing that a file system could fold.
type ramp int64

func (r ramp) Size() int64 { return int64(r) }

func (r ramp) WriteTo(w io.Writer) (int64, error) {
	const steps = 1 << 18
	b := make([]byte, 0, 4*steps)
	for i := range steps {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(2*float32(i)/steps-1))
	}
	var written int64
	for written < int64(r) {
		n, err := w.Write(b[:min(int64(len(b)), int64(r)-written)])
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func save(path string, m *graph.Model, external bool) error {
	_, err := onnxio.Save(context.Background(), path, m, onnxio.SaveOptions{ExternalData: external})
	return err
}
