package onnxio_test

import (
	"reflect"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestTypesMadeAnewAreWritten: a value's type reaches the file though no file gave it.
func TestTypesMadeAnewAreWritten(t *testing.T) {
	matrix := &graph.Type{DType: tensor.Float16, HasShape: true, Shape: []graph.Dim{{Value: 3}, {Value: -1, Param: "n"}, {Value: -1}}}
	list := &graph.Type{Kind: graph.SequenceKind, Elem: matrix}
	types := []*graph.Type{matrix, list, {Kind: graph.OptionalKind, Elem: list}, {DType: tensor.Bool}, {DType: tensor.Int64, HasShape: true}}
	m := &graph.Model{IRVersion: 9, Graph: &graph.Graph{Name: "main"}}
	m.SetOpset("", 19)
	for i, typ := range types {
		m.Graph.Inputs = append(m.Graph.Inputs, &graph.Value{Name: string(rune('a' + i)), Type: typ})
	}
	for range 2 {
		b, err := onnxio.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if m, err = onnxio.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		for i, in := range m.Graph.Inputs {
			got, want := *in.Type, *types[i]
			if len(got.Shape) == 0 && len(want.Shape) == 0 {
				got.Shape = want.Shape
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("input %q: type %+v, want %+v", in.Name, got, want)
			}
		}
		// The second time each kind has become another one.
		types[0], types[1] = types[1], types[0]
		for i := range types {
			m.Graph.Inputs[i].Type = types[i]
		}
	}
}
