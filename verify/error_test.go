package verify

import (
	"math"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestErrorOfTwoTensors(t *testing.T) {
	var a accumulator
	// Two batches: the error is over all elements, not a mean of two errors.
	for _, p := range [][2][]float32{{{3, 4}, {3, 4.5}}, {{12}, {12}}} {
		n := int64(len(p[0]))
		if err := a.add(tensor.Float32s(tensor.Shape{n}, p[0]...), tensor.Float32s(tensor.Shape{n}, p[1]...)); err != nil {
			t.Fatal(err)
		}
	}
	e := a.error()
	if want := 10 * math.Log10(169/0.25); math.Abs(e.SQNR-want) > 1e-12 {
		t.Errorf("SQNR %v, want 10·log10(Σ reference² / Σ error²) = %v", e.SQNR, want)
	}
	if e.MaxAbs != 0.5 || e.Elements != 3 || e.NonFinite != 0 {
		t.Errorf("got %+v", e)
	}
	if want := (9 + 18 + 144) / math.Sqrt(169*(9+20.25+144)); math.Abs(e.Cosine-want) > 1e-12 {
		t.Errorf("cosine %v, want %v", e.Cosine, want)
	}
}

func TestEqualTensorsHaveNoError(t *testing.T) {
	var a accumulator
	x := tensor.Float32s(tensor.Shape{2}, 1, float32(math.NaN()))
	if err := a.add(x, x); err != nil {
		t.Fatal(err)
	}
	if e := a.error(); !math.IsInf(e.SQNR, 1) || e.Cosine != 1 || e.NonFinite != 0 {
		t.Errorf("got %+v", e)
	}
}

func TestNonFiniteElementsAreCountedAndLeftOut(t *testing.T) {
	var a accumulator
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	if err := a.add(tensor.Float32s(tensor.Shape{4}, 1, 2, inf, inf), tensor.Float32s(tensor.Shape{4}, 1, nan, inf, -inf)); err != nil {
		t.Fatal(err)
	}
	if e := a.error(); e.NonFinite != 2 || !math.IsInf(e.SQNR, 1) {
		t.Errorf("got %+v, want 2 elements that differ in Inf and NaN", e)
	}
}

func TestShapesMustAgree(t *testing.T) {
	var a accumulator
	if err := a.add(tensor.Float32s(tensor.Shape{2}, 1, 2), tensor.Float32s(tensor.Shape{1, 2}, 1, 2)); err == nil {
		t.Error("no error for [2] against [1,2]")
	}
}

func TestTask(t *testing.T) {
	var k task
	logits := tensor.Float32s(tensor.Shape{2, 2, 3}, 1, 2, 3, 0, 0, 0, 5, 1, 1, 1000, 0, -1000)
	if err := k.add(logits, tensor.Int64s(tensor.Shape{2, 2}, 2, 1, -100, 0)); err != nil {
		t.Fatal(err)
	}
	m := k.metric()
	want := (math.Log(math.Exp(1)+math.Exp(2)+math.Exp(3)) - 3 + math.Log(3) + 0) / 3
	if m.Rows != 3 || m.Correct != 2 || math.Abs(m.Loss-want) > 1e-12 || math.Abs(m.Perplexity()-math.Exp(want)) > 1e-12 {
		t.Errorf("got %+v, want loss %v over 3 rows, 2 of them correct: the negative label leaves its row out", m, want)
	}
}

func TestLabelsThatDoNotFit(t *testing.T) {
	logits := tensor.Float32s(tensor.Shape{2, 3}, 1, 2, 3, 4, 5, 6)
	for name, labels := range map[string]*tensor.Tensor{
		"another shape": tensor.Int64s(tensor.Shape{3}, 0, 0, 0),
		"no such class": tensor.Int64s(tensor.Shape{2}, 0, 3),
		"a float type":  tensor.Float32s(tensor.Shape{2}, 0, 1),
	} {
		if err := new(task).add(logits, labels); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestGates(t *testing.T) {
	limit := func(x float64) *float64 { return &x }
	m := &Measured{
		Outputs: []Named{{Name: "a", Error: Error{SQNR: 30}}, {Name: "b", Error: Error{SQNR: 20}}},
		Before:  &Metric{Rows: 397, Loss: 1, Correct: 389}, After: &Metric{Rows: 397, Loss: 1.02, Correct: 388},
	}
	for _, c := range []struct {
		name  string
		gates Gates
		want  int
	}{
		{"no limit", Gates{}, 0},
		{"one output is below", Gates{MinSQNR: limit(25)}, 1},
		{"both are above", Gates{MinSQNR: limit(20)}, 0},
		{"the loss gains too much", Gates{MaxLossIncrease: limit(0.01)}, 1},
		{"the loss may gain so much", Gates{MaxLossIncrease: limit(0.03)}, 0},
		{"one image of 397 is one image of 397", Gates{MaxAccuracyDrop: limit(1.0 / 397)}, 0},
		{"one image is more than none", Gates{MaxAccuracyDrop: limit(0)}, 1},
	} {
		if got := c.gates.Check(m); len(got) != c.want {
			t.Errorf("%s: %v, want %d", c.name, got, c.want)
		}
	}
	bad := &Measured{Outputs: []Named{{Name: "a", Error: Error{SQNR: math.Inf(1), NonFinite: 1}}}, Before: m.Before,
		After: &Metric{Rows: 397, Loss: math.NaN()}}
	if got := (Gates{MinSQNR: limit(0), MaxLossIncrease: limit(9)}).Check(bad); len(got) != 2 {
		t.Errorf("%v: Inf in an output and a NaN loss keep no limit", got)
	}
}

func TestALayerThatBreaksTheModelCostsMost(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	costs := []Cost{{Layer: "dear", Judged: true, LossIncrease: 0.1, Noise: 0.5}, {Layer: "broken", Judged: true, LossIncrease: nan, Noise: inf},
		{Layer: "cheap", Judged: true, LossIncrease: 0.01}, {Layer: "helps", Judged: true, LossIncrease: -0.01, Noise: 0.7}}
	slices.SortStableFunc(costs, dearer)
	for i, want := range []string{"broken", "dear", "cheap", "helps"} {
		if costs[i].Layer != want {
			t.Errorf("place %d: %s, want %s", i, costs[i].Layer, want)
		}
	}
	unjudged := []Cost{{Layer: "quiet", Noise: 0.1}, {Layer: "loud", Noise: 0.2}}
	slices.SortStableFunc(unjudged, dearer)
	if unjudged[0].Layer != "loud" {
		t.Errorf("without labels %s leads, want the one with the larger noise", unjudged[0].Layer)
	}
}

func TestLabelsThatAreNoClassesJudgeNothing(t *testing.T) {
	if _, err := Judge(tensor.Float32s(tensor.Shape{1, 2}, 1, 2), tensor.Int64s(tensor.Shape{1}, -1)); err == nil {
		t.Error("no error where every label is negative")
	}
}
