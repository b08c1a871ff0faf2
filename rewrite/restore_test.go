package rewrite

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestRestoredModelsConvertToTheSameWeights: what a conversion makes of a restored model is what it made of the original, codes, scales and
// amaxes to the bit, and the restored model has the operators that the original had.
func TestRestoredModelsConvertToTheSameWeights(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"digits/digits_mlp.onnx", "digits/digits_cnn.onnx", "gpt2/model.onnx"} {
		for _, perChannel := range []bool{false, true} {
			file, err := onnxio.Open(filepath.Join("..", "testdata", "models", filepath.FromSlash(path)))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			opt := Options{Recipe: scaling.DefaultRecipe()}
			opt.Recipe.PerChannel = perChannel
			first, err := Convert(context.Background(), file.Model, opt)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Restore(first.Model, tensor.Undefined)
			if err != nil {
				t.Fatal(err)
			}
			before, after := operators(file.Model), operators(back.Model)
			for _, op := range []string{"MatMul", "Gemm"} {
				if before[op] != after[op] {
					t.Errorf("%s: %d nodes of %s, the original has %d", path, after[op], op, before[op])
				}
			}
			for op := range after {
				if strings.HasPrefix(op, "Float8") {
					t.Errorf("%s: a %s is left", path, op)
				}
			}
			if v, there := back.Model.Property(ops.MetadataRecipe); there {
				t.Errorf("%s: the recipe %q is left", path, v)
			}
			again, err := Convert(context.Background(), back.Model, opt)
			if err != nil {
				t.Fatal(err)
			}
			one, two := states(t, first.Model), states(t, again.Model)
			if len(one) == 0 || len(one) != len(two) {
				t.Errorf("%s: %d and %d codes and scales", path, len(one), len(two))
			}
			differ := 0
			for i := range min(len(one), len(two)) {
				if one[i] != two[i] {
					differ++
				}
			}
			if differ > 0 {
				t.Errorf("%s, per channel %v: %d of %d codes and scales differ", path, perChannel, differ, len(one))
			}
		}
	}
}

func operators(m *graph.Model) map[string]int {
	n := map[string]int{}
	graph.WalkNodes(m.Graph.Nodes, func(node *graph.Node) { n[node.OpType]++ })
	return n
}

// states are the codes, multipliers and amaxes of all layers in graph order.
func states(t *testing.T, m *graph.Model) []string {
	t.Helper()
	var out []string
	scope := graph.NewScope(m.Graph, nil, nil)
	for _, n := range m.Graph.Nodes {
		if !ops.IsFloat8Linear(n) {
			continue
		}
		l, err := ops.ReadLayer(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{l.Weight, l.ScaleWeight, l.AmaxHistoryWeight} {
			b, err := scope.Find(name).Constant.Tensor.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(b))
		}
	}
	return out
}

// TestWeightsComeBackInPlace: a MatMul's as [K, N], and each is the product of its code and its scale.
func TestWeightsComeBackInPlace(t *testing.T) {
	t.Parallel()
	file, err := onnxio.Open(filepath.Join("..", "testdata", "models", "gpt2", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	res, err := Convert(context.Background(), file.Model, Options{Recipe: scaling.DefaultRecipe()})
	if err != nil {
		t.Fatal(err)
	}
	back, err := Restore(res.Model, tensor.Float32)
	if err != nil {
		t.Fatal(err)
	}
	originals := map[string]*tensor.Tensor{}
	for _, i := range file.Model.Graph.Initializers {
		originals[i.Name] = i.Tensor
	}
	compared := 0
	for _, i := range back.Model.Graph.Initializers {
		was := originals[i.Name]
		if was == nil || len(was.Shape) != 2 || i.Tensor.DType != tensor.Float32 {
			continue
		}
		if !was.Shape.Equal(i.Tensor.Shape) {
			t.Errorf("%s has shape %s, had %s", i.Name, i.Tensor.Shape, was.Shape)
			continue
		}
		a, err := was.AsFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		b, err := i.Tensor.AsFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		amax := float64(float8.AmaxFloat32(a))
		for k := range a {
			limit := math.Max(math.Abs(float64(a[k]))/16, amax/448/512) * 1.0001 // half a step of float8
			if d := math.Abs(float64(a[k]) - float64(b[k])); d > limit {
				t.Fatalf("%s element %d: %v became %v", i.Name, k, a[k], b[k])
			}
		}
		compared++
	}
	if compared < 10 {
		t.Errorf("%d matrices compared, want all", compared)
	}
	if _, err := Restore(res.Model, tensor.BFloat16); err == nil || !strings.Contains(err.Error(), "its activation is float32, and a product has one type") {
		t.Errorf("another type: %v", err)
	}
	if _, err := Restore(file.Model, tensor.Undefined); !errors.Is(err, ErrNothingToRestore) {
		t.Errorf("a model without Float8Linear: %v", err)
	}
}
