package calibrate

import (
	"math"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

func TestWarningsSayWhatIsUnusual(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	type w struct {
		layer string
		code  report.WarningCode
	}
	flat := []float32{4, 4, 4, 4, 4}
	for name, c := range map[string]struct {
		layers map[string][]float32
		want   []w
	}{
		"nothing":                                   {map[string][]float32{"a": flat, "b": {1, 2, 3, 3.3, 3.4}}, nil},
		"a layer that did not run":                  {map[string][]float32{"a": {-1, -1, -1, -1, -1}}, []w{{"a", report.WarnDeadLayer}}},
		"a layer of zeros":                          {map[string][]float32{"a": {0, 0, 0, 0, -1}}, []w{{"a", report.WarnDeadLayer}}},
		"a layer of NaN":                            {map[string][]float32{"a": {nan, nan, nan, nan, nan}}, []w{{"a", report.WarnAmaxRejected}, {"a", report.WarnDeadLayer}}},
		"one infinity":                              {map[string][]float32{"a": {4, inf, 4, 4, 4}}, []w{{"a", report.WarnAmaxRejected}}},
		"an outlier among its like":                 {map[string][]float32{"a": flat, "b": flat, "c": flat, "d": {200, 200, 200, 200, 200}}, []w{{"d", report.WarnOutlierLayer}}},
		"one that is not far enough":                {map[string][]float32{"a": flat, "b": flat, "c": flat, "d": {128, 128, 128, 128, 128}}, nil},
		"one of three, which say nothing":           {map[string][]float32{"a": flat, "b": flat, "d": {200, 200, 200, 200, 200}}, nil},
		"a step far above the others":               {map[string][]float32{"a": {4, 40, 4, 4, 4}}, []w{{"a", report.WarnAmaxSpike}}},
		"an amax that grows to the end":             {map[string][]float32{"a": {1, 2, 3, 4, 4.6}}, []w{{"a", report.WarnAmaxGrowing}}},
		"one that grew less than an eighth":         {map[string][]float32{"a": {1, 2, 3, 4, 4.5}}, nil},
		"one that grew before":                      {map[string][]float32{"a": {1, 2, 3, 4.6, 4}}, nil},
		"one that grew and did not run at the last": {map[string][]float32{"a": {1, 2, 3, 4.6, -1}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			res := Result{Steps: 5}
			names := make([]string, 0, len(c.layers))
			for n := range c.layers {
				names = append(names, n)
			}
			slices.Sort(names)
			for _, n := range names {
				l := Layer{Name: n, Input: Operand{Amaxes: c.layers[n]}}
				for _, a := range c.layers[n] {
					if a != Unobserved {
						l.Ran++
						l.Input.Rejected.Add(scaling.Judge(a))
					}
				}
				res.Layers = append(res.Layers, l)
			}
			var got []w
			for _, x := range res.Warnings() {
				got = append(got, w{x.Subject, x.Code})
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
