package rewrite_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// weightsOf are the weights and weight scales of every Float8Linear of the main graph, by the layer's name.
func weightsOf(t *testing.T, m *graph.Model) map[string][2][]byte {
	t.Helper()
	out := map[string][2][]byte{}
	s := graph.NewScope(m.Graph, nil, nil)
	for _, n := range m.Graph.Nodes {
		if !ops.IsFloat8Linear(n) {
			continue
		}
		var b [2][]byte
		for i, input := range []int{ops.InWeight, ops.InScaleWeight} {
			c := s.Find(n.Input(input)).Constant
			if c == nil {
				t.Fatalf("layer %q: no %q", ops.LayerName(n), n.Input(input))
			}
			var buf bytes.Buffer
			if _, err := c.Tensor.Data.WriteTo(&buf); err != nil {
				t.Fatal(err)
			}
			b[i] = buf.Bytes()
		}
		out[ops.LayerName(n)] = b
	}
	return out
}

// What Freeze stores is what a conversion to float8 weights stores, in every granularity and rounding of the scale.
func TestFreezeStoresWhatConversionStores(t *testing.T) {
	for _, modes := range []string{"delayed", "i:del,w:dyn", "dynamic"} {
		for _, perChannel := range []bool{false, true} {
			r, err := scaling.DefaultRecipe().ParseModes(modes)
			if err != nil {
				t.Fatal(err)
			}
			r.PerChannel, r.PowerOfTwo, r.Margin = perChannel, perChannel, 1
			m := open(t, "gpt2", "model.onnx")
			want := convert(t, m, rewrite.Options{Recipe: r})
			original := convert(t, m, rewrite.Options{Recipe: r, Weights: rewrite.OriginalWeights})
			before := weightsOf(t, original.Model)
			got, err := rewrite.Freeze(context.Background(), original.Model)
			if err != nil {
				t.Fatal(err)
			}
			w, g := weightsOf(t, want.Model), weightsOf(t, got)
			if len(g) != len(w) || len(g) != 17 {
				t.Errorf("%s: %d layers, want %d", r, len(g), len(w))
			}
			for name, b := range g {
				if !bytes.Equal(b[0], w[name][0]) || !bytes.Equal(b[1], w[name][1]) {
					t.Errorf("%s: layer %q differs from its conversion", r, name)
				}
			}
			for _, n := range got.Graph.Nodes {
				if v, ok := ops.ParseVariant(n.OpType); ok && v.Weight != ops.WeightFloat8 {
					t.Errorf("%s: %q is still a %s", r, n.Name, n.OpType)
				}
			}
			for _, f := range got.Functions {
				if v, ok := ops.ParseVariant(f.Name); ok && v.Weight != ops.WeightFloat8 {
					t.Errorf("%s: the function %s is still there", r, f.Name)
				}
			}
			for name, b := range weightsOf(t, original.Model) {
				if !bytes.Equal(b[0], before[name][0]) || !bytes.Equal(b[1], before[name][1]) {
					t.Errorf("%s: the input model changed at layer %q", r, name)
				}
			}
			again, err := rewrite.Freeze(context.Background(), got)
			if err != nil || again != got {
				t.Errorf("%s: a frozen model does not come back as it is: %v", r, err)
			}
		}
	}
}

func TestFreezeRefusesAWeightThatIsNotFinite(t *testing.T) {
	m := convert(t, open(t, "digits", "digits_mlp.onnx"), rewrite.Options{Weights: rewrite.OriginalWeights}).Model
	s := graph.NewScope(m.Graph, nil, nil)
	for _, n := range m.Graph.Nodes {
		if ops.IsFloat8Linear(n) {
			c := s.Find(n.Input(ops.InWeight)).Constant
			v := make([]float32, c.Tensor.Elements())
			v[1] = float32(math.NaN())
			c.Tensor = tensor.Float32s(c.Tensor.Shape, v...)
		}
	}
	var bad *rewrite.NonFiniteWeightError
	if _, err := rewrite.Freeze(context.Background(), m); !errors.As(err, &bad) || bad.Layer == "" {
		t.Errorf("got %v", err)
	}
}
