package rewrite_test

import (
	"context"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestPartialTakesTheStateOfItsLayers(t *testing.T) {
	for _, weights := range []rewrite.Weights{rewrite.Float8Weights, rewrite.OriginalWeights} {
		file, err := onnxio.Open("../testdata/models/digits/digits_mlp.onnx")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		res, err := rewrite.Convert(context.Background(), file.Model, rewrite.Options{Recipe: scaling.DefaultRecipe(), Weights: weights})
		if err != nil {
			t.Fatal(err)
		}
		full := res.Model
		names := layers(full)
		for i, n := range names {
			scaleOf(full, n).Tensor = tensor.Float32s(nil, float32(i)+2)
		}
		part, err := rewrite.Partial(context.Background(), file.Model, full, names[1:2])
		if err != nil {
			t.Fatal(err)
		}
		if got := layers(part); len(got) != 1 || got[0] != names[1] {
			t.Fatalf("%s: layers %v, want %q alone", weights, got, names[1])
		}
		if v, _ := scaleOf(part, names[1]).Tensor.AsFloat32s(); v[0] != 3 {
			t.Errorf("%s: scale %v, want that of the whole model, 3", weights, v)
		}
		if none, err := rewrite.Partial(context.Background(), file.Model, full, nil); err != nil || none != file.Model {
			t.Errorf("%s: no layer gives %v, %v, want the original", weights, none, err)
		}
		if _, err := rewrite.Partial(context.Background(), file.Model, full, []string{"other"}); err == nil || !strings.Contains(err.Error(), `"other"`) {
			t.Errorf("%s: a layer that is not there: %v", weights, err)
		}
	}
}

func TestLiteralMatchesOneName(t *testing.T) {
	for _, name := range []string{"a.b", "layers[0]", "what?", "*", "re:x", `back\slash`, "", "tab\t"} {
		p, err := rewrite.ParsePattern(rewrite.Literal(name))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if !p.Match(name) || p.Match(name+"x") || p.Match("x"+name) {
			t.Errorf("%q: the pattern %q matches more or less than the name", name, p.Text)
		}
	}
}

func layers(m *graph.Model) (names []string) {
	graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
		if ops.IsFloat8Linear(n) {
			names = append(names, ops.LayerName(n))
		}
	})
	return names
}

func scaleOf(m *graph.Model, layer string) *graph.Initializer {
	return m.Graph.Initializer(ops.StateName(layer, ops.InScaleInput))
}
