package rewrite_test

import (
	"context"
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestTheStoredWeightIsTheOriginal reads the weights 1 to 7, which float8 holds exactly, back from the codes: element [n,k] of what
// is stored must be the original's, wherever trans, the side of the constant and operators in between put it.
func TestTheStoredWeightIsTheOriginal(t *testing.T) {
	const n, k = 6, 8
	nk := func(i, j int) int { return i*k + j } // where [n,k] lies in a tensor of shape [N,K]
	kn := func(i, j int) int { return j*n + i }
	right, left := value("x", tensor.Float32, 5, k), value("x", tensor.Float32, k, 5)
	cases := []struct {
		name  string
		model *graph.Model
		at    func(i, j int) int
	}{
		{"MatMul", model(node("MatMul x w.weight -> y"), right, weight("w.weight", k, n)), kn},
		{"MatMul of a transposed weight", model(node("Transpose w.weight -> t"), node("MatMul x t -> y"), right, weight("w.weight", n, k)), nk},
		{"MatMul from the left", model(node("MatMul w.weight x -> y"), left, weight("w.weight", n, k)), nk},
		{"MatMul from the left, transposed", model(node("Transpose w.weight -> t"), node("MatMul t x -> y"), left, weight("w.weight", k, n)), kn},
		{"Gemm", model(node("Gemm x w.weight -> y"), right, weight("w.weight", k, n)), kn},
		{"Gemm, transB", model(node("Gemm x w.weight -> y", graph.Int("transB", 1)), right, weight("w.weight", n, k)), nk},
		{"Gemm, transB of a transposed weight", model(node("Transpose w.weight -> t"), node("Gemm x t -> y", graph.Int("transB", 1)), right, weight("w.weight", k, n)), kn},
		{"Gemm from the left", model(node("Gemm w.weight x -> y"), left, weight("w.weight", n, k)), nk},
		{"Gemm from the left, transA", model(node("Gemm w.weight x -> y", graph.Int("transA", 1)), left, weight("w.weight", k, n)), kn},
		{"a list that a Reshape makes a matrix", model(node("Reshape w.weight s -> t"), node("MatMul x t -> y"), right, weight("w.weight", k*n),
			&graph.Initializer{Name: "s", Tensor: tensor.Int64s(tensor.Shape{2}, k, n)}), kn},
	}
	perChannel := scaling.DefaultRecipe()
	perChannel.PerChannel = true
	for _, c := range cases {
		for form, opt := range map[string]rewrite.Options{"float8": {}, "float8 per channel": {Recipe: perChannel}, "original": {Weights: rewrite.OriginalWeights}} {
			t.Run(c.name+", "+form, func(t *testing.T) {
				res := convert(t, c.model, opt)
				var f *graph.Node
				for _, node := range res.Model.Graph.Nodes {
					if node.Domain == "ai.fp8rewrite" {
						f = node
					}
				}
				if f == nil {
					t.Fatalf("nothing was rewritten: %q", decisionsOf(res))
				}
				stored := find(t, res.Model, f.Input(1))
				if !stored.Shape.Equal(tensor.Shape{n, k}) {
					t.Fatalf("shape %v, want [%d %d]", stored.Shape, n, k)
				}
				scale, err := find(t, res.Model, f.Input(3)).AsFloat32s()
				if err != nil {
					t.Fatal(err)
				}
				b, err := stored.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					for j := range k {
						var got float32
						if form == "original" {
							v, err := stored.AsFloat32s()
							if err != nil {
								t.Fatal(err)
							}
							got = v[i*k+j]
						} else {
							got = float8.E4M3FN(b[i*k+j]).Float32() / scale[i%len(scale)]
						}
						if want := float32(1 + c.at(i, j)%7); math.Abs(float64(got-want)) > 1e-6 {
							t.Fatalf("element [%d,%d] is %v, want %v", i, j, got, want)
						}
					}
				}
			})
		}
	}
}

func TestStateOfANewLayer(t *testing.T) {
	recipe := scaling.DefaultRecipe()
	recipe.HistoryLen, recipe.PerChannel = 3, true
	w := weight("fc.weight", 8, 6)
	w.Tensor = tensor.Float32s(tensor.Shape{8, 6}, append(make([]float32, 47), -14)...)
	res := convert(t, model(node("MatMul x fc.weight -> y"), x(), w), rewrite.Options{Recipe: recipe})
	for name, want := range map[string][]float32{
		"fc.fp8_scale_input":              {1},
		"fc.fp8_scale_grad_output":        {1},
		"fc.fp8_amax_history_input":       {0, 0, 0},
		"fc.fp8_amax_history_grad_output": {0, 0, 0},
		"fc.fp8_amax_history_weight":      {14, 0, 0},
		"fc.fp8_scale_weight":             {1, 1, 1, 1, 1, 32}, // a channel of zeros has no scale of its own
	} {
		got, err := find(t, res.Model, name).AsFloat32s()
		if err != nil || len(got) != len(want) {
			t.Errorf("%s is %v (%v), want %v", name, got, err, want)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s is %v, want %v", name, got, want)
				break
			}
		}
	}
	if yes, err := find(t, res.Model, "fc.fp8_initialized").AsBool(); yes || err != nil {
		t.Errorf("initialized is %v (%v), want false", yes, err)
	}
	if st := res.State(); st.Calibrated || st.DelayedLayers != 1 || st.InitializedLayers != 0 {
		t.Errorf("state %+v", st)
	}
	if have, _ := res.Model.Property(ops.MetadataRecipe); have != recipe.String() {
		t.Errorf("the stored recipe is %q, want %q", have, recipe)
	}
}

func TestASharedWeightCountsOnce(t *testing.T) {
	m := model(node("MatMul x fc.weight -> y"), node("MatMul u fc.weight -> z"), x(), value("u", tensor.Float32, 3, 8), weight("fc.weight", 8, 6))
	res := convert(t, m, rewrite.Options{})
	if err := res.Measured(context.Background()); err != nil {
		t.Fatal(err)
	}
	rows := res.Layers()
	if rows[0].SharedWith != "" || rows[1].SharedWith != "fc" {
		t.Errorf("shared with %q and %q, want none and fc", rows[0].SharedWith, rows[1].SharedWith)
	}
	for _, l := range rows {
		if l.WeightXXH64 == "" || l.WeightXXH64 != rows[0].WeightXXH64 || !l.WeightExact || l.BytesBefore != 192 || l.BytesAfter != 48 {
			t.Errorf("layer %q: %+v", l.Name, l)
		}
	}
}

func TestAnInterruptEndsTheMeasuring(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := rewrite.Convert(ctx, twoLayers(), rewrite.Options{Recipe: scaling.DefaultRecipe()}); err != context.Canceled {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestInspectSaysWhatConvertWouldDecide(t *testing.T) {
	for _, c := range decisions() {
		if c.opt != nil || c.name == "an element that is not a number" || c.name == "an operator that cannot be lifted" {
			continue // Inspect has the default options, reads no weights, and lifts nothing
		}
		rows := rewrite.Inspect(c.model).Layers
		want := convert(t, c.model, rewrite.Options{}).Layers()
		if len(rows) != len(want) {
			t.Errorf("%s: %d rows, want %d", c.name, len(rows), len(want))
			continue
		}
		for i, row := range rows {
			var a, b report.Reason
			if row.Reason != nil {
				a = *row.Reason
			}
			if want[i].Reason != nil {
				b = *want[i].Reason
			}
			if row.Name != want[i].Name || a != b {
				t.Errorf("%s: %q %+v, convert says %q %+v", c.name, row.Name, a, want[i].Name, b)
			}
		}
	}
}
