package rewrite_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestAModelOfAnotherVersionOfTheOperatorIsRefused(t *testing.T) {
	m := model(x(), weight("w", 8, 4), node("MatMul x w -> y"))
	m.SetOpset(ops.Domain, 2)
	_, err := rewrite.Convert(context.Background(), m, rewrite.Options{Recipe: scaling.DefaultRecipe()})
	if err == nil || !strings.Contains(err.Error(), "at version 2") {
		t.Errorf("got %v, want an error that names version 2", err)
	}
}

func TestBothSpellingsOfTheDefaultDomainAreLifted(t *testing.T) {
	m := model(x(), weight("w", 8, 4), node("MatMul x w -> y"))
	m.Opsets = []graph.Opset{{Domain: "ai.onnx", Version: 13}, {Domain: "", Version: 17}}
	res := convert(t, m, rewrite.Options{})
	var versions []int64
	for _, o := range res.Model.Opsets {
		if graph.CanonicalDomain(o.Domain) == "" {
			versions = append(versions, o.Version)
		}
	}
	if !slices.Equal(versions, []int64{19}) {
		t.Errorf("imports of ONNX's own operators: %v, want one, 19", versions)
	}
}

// TestAlphaAndBetaThatFloat16CannotHoldAreAppliedInFloat32: a float16 alpha of 1e5 would be an infinity, and a product of two
// float16 constants is one that ONNX Runtime warns of.
func TestAlphaAndBetaThatFloat16CannotHoldAreAppliedInFloat32(t *testing.T) {
	w, c := zeros("w", tensor.Float16, 8, 4), zeros("c", tensor.Float16, 4)
	gemm := node("g: Gemm x w c -> y", graph.Float("alpha", 1e5), graph.Float("beta", 0.7))
	res := convert(t, model(value("x", tensor.Float16, 5, 8), w, c, gemm), rewrite.Options{})
	var kinds []string
	for _, n := range res.Model.Graph.Nodes {
		kinds = append(kinds, n.OpType)
	}
	if want := []string{"Float8Linear", "Cast", "Mul", "Cast", "Add"}; !slices.Equal(kinds, want) {
		t.Errorf("nodes: got %v, want %v", kinds, want)
	}
	alpha := res.Model.Graph.Initializer("g.fp8_alpha")
	if alpha == nil || alpha.Tensor.DType != tensor.Float32 {
		t.Errorf("alpha: got %+v, want a float32 scalar", alpha)
	}
	if b := res.Model.Graph.Initializer("g.fp8_bias"); b == nil || b.Tensor.DType != tensor.Float16 || b.Tensor.Elements() != 4 {
		t.Errorf("bias: got %+v, want four float16 elements", b)
	}
}

func TestBetaIsFoldedIntoAConstantBias(t *testing.T) {
	gemm := node("g: Gemm x w c -> y", graph.Float("beta", 2))
	res := convert(t, model(x(), weight("w", 8, 4), weight("c", 4), gemm), rewrite.Options{})
	b := res.Model.Graph.Initializer("g.fp8_bias")
	if b == nil {
		t.Fatal("no folded bias")
	}
	if got, _ := b.Tensor.AsFloat32s(); !slices.Equal(got, []float32{2, 4, 6, 8}) {
		t.Errorf("bias times 2: got %v", got)
	}
	if res.Model.Graph.Initializer("c") != nil {
		t.Error("the original bias is still there, and nothing reads it")
	}
}

func TestWhatTrainingReadsStays(t *testing.T) {
	m := model(x(), weight("w", 8, 4), node("MatMul x w -> y"))
	m.Pinned = []string{"w"}
	if res := convert(t, m, rewrite.Options{}); res.Model.Graph.Initializer("w") == nil {
		t.Error("the weight that training reads is gone")
	}
}

func TestAGemmWithAnAttributeOfTheWrongTypeStays(t *testing.T) {
	for _, a := range []*graph.Attribute{graph.Str("transB", "1"), graph.Int("alpha", 2), graph.Ref("transA", "t", graph.AttrInt)} {
		res := convert(t, model(x(), weight("w", 8, 4), node("g: Gemm x w -> y", a)), rewrite.Options{})
		l := res.Layers()[0]
		if l.Reason == nil || l.Reason.Code != report.ReasonModelInvalid || !strings.Contains(l.Reason.Sentence, a.Name) {
			t.Errorf("%s: got %+v, want %s", a.Name, l.Reason, report.ReasonModelInvalid)
		}
	}
}

func TestAThousandUnknownOperatorsAreOneLine(t *testing.T) {
	m := model(x())
	for range 1000 {
		m.Graph.Nodes = append(m.Graph.Nodes, node("Foo x -> y"))
	}
	_, err := rewrite.Convert(context.Background(), m, rewrite.Options{Recipe: scaling.DefaultRecipe()})
	if err == nil || len(err.Error()) > 300 || !strings.Contains(err.Error(), "(and 999 more)") {
		t.Errorf("got %v", err)
	}
}

func TestTheFormOfTheWeightsBelongsToTheRecipe(t *testing.T) {
	first := convert(t, open(t, "digits", "digits_mlp.onnx"), rewrite.Options{Exclude: patterns("2")})
	_, err := rewrite.Convert(context.Background(), first.Model, rewrite.Options{Recipe: scaling.DefaultRecipe(), Weights: rewrite.OriginalWeights})
	if err == nil || !strings.Contains(err.Error(), "Float8LinearOriginalWeight") {
		t.Errorf("got %v, want an error that names both forms", err)
	}
}

// TestAChainOfReshapesThatReshapeThemselvesEnds: each step would follow two operands, and 2^60 steps are too many.
func TestAChainOfReshapesThatReshapeThemselvesEnds(t *testing.T) {
	parts := []any{value("z", tensor.Int64), &graph.Initializer{Name: "r0", Tensor: tensor.Int64s(tensor.Shape{1}, 1)}}
	for i := range 60 {
		parts = append(parts, node(fmt.Sprintf("Reshape r%d r%d -> r%d", i, i, i+1)))
	}
	parts = append(parts, node("MatMul z r60 -> y"))
	convert(t, model(parts...), rewrite.Options{})
}
