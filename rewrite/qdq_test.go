package rewrite_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func twoLayers() *graph.Model {
	return model(node("MatMul x fc.weight -> h"), node("Gemm h up.weight b -> y", graph.Int("transB", 1)), x(),
		weight("fc.weight", 8, 6), weight("up.weight", 3, 6), weight("b", 3))
}

// calibrated converts m and sets the state of each layer as if it had seen an amax of 7.
func calibrated(t *testing.T, m *graph.Model, opt rewrite.Options) *graph.Model {
	t.Helper()
	res := convert(t, m, opt)
	res.Model.Graph.Walk(func(g *graph.Graph) {
		for _, i := range g.Initializers {
			switch {
			case strings.HasSuffix(i.Name, ".fp8_scale_input"):
				i.Tensor = tensor.Float32s(tensor.Shape{}, 448.0/7)
			case strings.HasSuffix(i.Name, ".fp8_initialized"):
				i.Tensor = tensor.Bools(tensor.Shape{}, true)
			}
		}
	})
	return res.Model
}

func lowered(t *testing.T, m *graph.Model) (*rewrite.Result, error) {
	t.Helper()
	return rewrite.ConvertQDQ(context.Background(), m, rewrite.Options{Recipe: scaling.DefaultRecipe()})
}

func TestLoweringMakesPairs(t *testing.T) {
	res, err := lowered(t, calibrated(t, twoLayers(), rewrite.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	m := res.Model
	want := []string{
		"QuantizeLinear x fc.fp8_dequant_scale_input fp8_zero_point -> fc.fp8_QuantizeLinear",
		"DequantizeLinear fc.fp8_QuantizeLinear fc.fp8_dequant_scale_input fp8_zero_point -> fc.fp8_DequantizeLinear",
		"DequantizeLinear fc.fp8_weight_qdq fc.fp8_dequant_scale_weight fp8_zero_point -> fc.fp8_DequantizeLinear_2",
		"MatMul fc.fp8_DequantizeLinear fc.fp8_DequantizeLinear_2 -> h",
		"QuantizeLinear h up.fp8_dequant_scale_input fp8_zero_point -> up.fp8_QuantizeLinear",
		"DequantizeLinear up.fp8_QuantizeLinear up.fp8_dequant_scale_input fp8_zero_point -> up.fp8_DequantizeLinear",
		"DequantizeLinear up.fp8_weight_qdq up.fp8_dequant_scale_weight fp8_zero_point -> up.fp8_DequantizeLinear_2",
		"Gemm up.fp8_DequantizeLinear up.fp8_DequantizeLinear_2 -> up.fp8_output",
		"Add up.fp8_output b -> y",
	}
	if got := lines(m.Graph); !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if len(m.Functions) > 0 || m.OpsetVersion("ai.fp8rewrite") != 0 || m.OpsetVersion("") < 19 {
		t.Errorf("%d functions are left, opsets %v", len(m.Functions), m.Opsets)
	}
	for _, layer := range []string{"fc", "up"} {
		for _, side := range []string{"input", "weight"} {
			s, err := find(t, m, layer+".fp8_dequant_scale_"+side).AsFloat32s()
			if err != nil || len(s) != 1 || s[0] != 7.0/448 {
				t.Errorf("%s: scale of the %s is %v (%v), want 7/448", layer, side, s, err)
			}
		}
	}
	// MatMul takes [K, N], Gemm with transB [N, K].
	for name, shape := range map[string]tensor.Shape{"fc.fp8_weight_qdq": {8, 6}, "up.fp8_weight_qdq": {3, 6}} {
		if c := find(t, m, name); c.DType != tensor.Float8E4M3FN || !c.Shape.Equal(shape) {
			t.Errorf("%s is %s %v, want float8e4m3fn %v", name, c.DType, c.Shape, shape)
		}
	}
	if got := decisionsOf(res); !slices.Equal(got, []string{"fc: qdq", "up: qdq"}) {
		t.Errorf("decided %q", got)
	}
}

func TestLoweringPerChannel(t *testing.T) {
	recipe := scaling.DefaultRecipe()
	recipe.PerChannel = true
	res, err := lowered(t, calibrated(t, twoLayers(), rewrite.Options{Recipe: recipe}))
	if err != nil {
		t.Fatal(err)
	}
	for layer, want := range map[string]struct{ axis, n int64 }{"fc": {1, 6}, "up": {0, 3}} {
		if s := find(t, res.Model, layer+".fp8_dequant_scale_weight"); !s.Shape.Equal(tensor.Shape{want.n}) {
			t.Errorf("%s: scales %v, want [%d]", layer, s.Shape, want.n)
		}
		for _, n := range res.Model.Graph.Nodes {
			if n.OpType == "DequantizeLinear" && n.Input(0) == layer+".fp8_weight_qdq" && n.AttrInt("axis", -1) != want.axis {
				t.Errorf("%s: axis %d, want %d", layer, n.AttrInt("axis", -1), want.axis)
			}
		}
	}
}

func TestLoweringTurnsTheCodes(t *testing.T) {
	m := calibrated(t, model(node("MatMul x fc.weight -> y"), x(), weight("fc.weight", 8, 6)), rewrite.Options{})
	stored, err := find(t, m, "fc.fp8_weight").Bytes()
	if err != nil {
		t.Fatal(err)
	}
	res, err := lowered(t, m)
	if err != nil {
		t.Fatal(err)
	}
	turned, err := find(t, res.Model, "fc.fp8_weight_qdq").Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		for k := range 8 {
			if stored[n*8+k] != turned[k*6+n] {
				t.Fatalf("code of output %d, input %d is %#x, want %#x", n, k, turned[k*6+n], stored[n*8+k])
			}
		}
	}
}

func TestLoweredLayersShareTheirWeight(t *testing.T) {
	m := model(node("MatMul x fc.weight -> y"), node("MatMul u fc.weight -> z"), node("Gemm x fc.weight -> v"), x(), value("u", tensor.Float32, 3, 8), weight("fc.weight", 8, 6))
	res, err := lowered(t, calibrated(t, m, rewrite.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, i := range res.Model.Graph.Initializers {
		if i.Tensor.DType == tensor.Float8E4M3FN && len(i.Tensor.Shape) == 2 {
			codes = append(codes, i.Name)
		}
	}
	// Two MatMuls read [K, N], the Gemm reads [N, K].
	if want := []string{"fc.fp8_weight_qdq", "fc_3.fp8_weight_qdq"}; !slices.Equal(codes, want) {
		t.Errorf("the weights are %q, want %q", codes, want)
	}
}

func TestAWeightOnlyModelIsLoweredAtOnce(t *testing.T) {
	recipe, err := scaling.DefaultRecipe().ParseModes("i:off")
	if err != nil {
		t.Fatal(err)
	}
	res, err := rewrite.ConvertQDQ(context.Background(), twoLayers(), rewrite.Options{Recipe: recipe})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range res.Model.Graph.Nodes {
		if n.OpType == "QuantizeLinear" || n.Domain != "" {
			t.Errorf("node %q is a %s", n.Name, n.OpType)
		}
	}
	for _, c := range res.Changes {
		if c.Code == report.ChangeFunctionAdded {
			t.Error("reports a function that is not there")
		}
	}
}

func TestWhatCannotBeLowered(t *testing.T) {
	dynamic := scaling.DefaultRecipe()
	dynamic.Input = scaling.Dynamic
	uncalibrated := convert(t, twoLayers(), rewrite.Options{}).Model
	var missing *rewrite.NotCalibratedError
	if _, err := lowered(t, uncalibrated); !errors.As(err, &missing) || missing.Layer != "fc" {
		t.Errorf("got %v, want a NotCalibratedError of fc", err)
	}
	observed := calibrated(t, twoLayers(), rewrite.Options{})
	for _, n := range observed.Graph.Nodes {
		if strings.HasPrefix(n.OpType, "Float8Linear") {
			observed.Graph.Outputs = append(observed.Graph.Outputs, &graph.Value{Name: n.Outputs[1]})
		}
	}
	zero := calibrated(t, twoLayers(), rewrite.Options{})
	zero.Graph.Initializer("up.fp8_scale_input").Tensor = tensor.Float32s(tensor.Shape{}, 0)
	for name, c := range map[string]struct {
		model *graph.Model
		words string
	}{
		"dynamic":          {convert(t, twoLayers(), rewrite.Options{Recipe: dynamic}).Model, "fp8rewrite calibrate"},
		"original weights": {calibrated(t, twoLayers(), rewrite.Options{Weights: rewrite.OriginalWeights}), "original type"},
		"observed":         {observed, "--observe"},
		"a scale of zero":  {zero, `"up.fp8_scale_input": element 0 is 0, want one above zero`},
	} {
		if res, err := lowered(t, c.model); err == nil || !strings.Contains(err.Error(), c.words) || res != nil {
			t.Errorf("%s: got %v, want %q", name, err, c.words)
		}
	}
}

func TestScalesThatTheTypeCannotHoldStayInFloat32(t *testing.T) {
	for d, pairs := range map[tensor.DType]bool{tensor.Float16: true, tensor.BFloat16: false} {
		w := zeros("fc.weight", d, 8, 6) // its scale is 1
		m := calibrated(t, model(node("MatMul x fc.weight -> y"), value("x", d, 5, 8), w), rewrite.Options{})
		m.Graph.Initializer("fc.fp8_scale_input").Tensor = tensor.Float32s(tensor.Shape{}, 448.0/5)
		res, err := lowered(t, m)
		if err != nil {
			t.Fatal(err)
		}
		casts := 0
		for _, n := range res.Model.Graph.Nodes {
			if n.OpType == "Cast" {
				casts++
			}
		}
		// 5/448 has more bits than bfloat16, so the activation is cast to float32 and the product back.
		if scale := find(t, res.Model, "fc.fp8_dequant_scale_input"); pairs != (scale.DType == d) || pairs != (casts == 0) {
			t.Errorf("%s: the scale is %s, with %d casts", d, scale.DType, casts)
		}
	}
}
