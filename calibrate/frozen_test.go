package calibrate_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

func TestAScaleWithoutAnObservationIsNotFrozen(t *testing.T) {
	zeros := rows{"x", [][][]float32{{{0, 0, 0, 0}}, {{0, 0, 0, 0}}}}
	// Layer b sees zeros alone, behind a Relu.
	negative := rows{"x", [][][]float32{{{-7, -7, 7, -1}}}}
	dynamic, _ := scaling.DefaultRecipe().ParseModes("i:dyn,w:dyn")
	dynamic.HistoryLen = 3
	for name, c := range map[string]struct {
		opt  rewrite.Options
		data rows
		want []string
	}{
		"zeros everywhere":          {rewrite.Options{}, zeros, []string{"a", "b"}},
		"zeros in one layer":        {rewrite.Options{}, negative, []string{"b"}},
		"zeros on original weights": {rewrite.Options{Weights: rewrite.OriginalWeights}, negative, []string{"b"}},
		"observed":                  {rewrite.Options{Weights: rewrite.OriginalWeights}, some(), nil},
		"scales of every run":       {rewrite.Options{Weights: rewrite.OriginalWeights, Recipe: dynamic}, zeros, nil},
	} {
		m := run(t, layerModel(t, c.opt), c.data, calibrate.Options{}).Model
		frozen, err := rewrite.Freeze(context.Background(), m)
		if err != nil {
			t.Fatal(err)
		}
		err = calibrate.MarkFrozen(frozen)
		var missing *calibrate.UnobservedError
		if c.want == nil && err != nil || c.want != nil && (!errors.As(err, &missing) || !slices.Equal(missing.Layers, c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		p, readErr := calibrate.ReadProvenance(frozen)
		if readErr != nil || p.Frozen != (c.want == nil) {
			t.Errorf("%s: provenance %+v, %v", name, p, readErr)
		}
	}
	if got, want := (&calibrate.UnobservedError{Layers: []string{"a", "b", "c", "d", "e", "f"}}).Error(),
		`layers "a", "b", "c", "d" and 2 more: no amax above zero was observed, so there is no scale to freeze`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
