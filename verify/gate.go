package verify

import (
	"fmt"
	"math"
)

// Gates are the limits that a rewritten model must keep. A nil field is no limit.
type Gates struct {
	MinSQNR         *float64 // dB, of every output
	MaxLossIncrease *float64 // nats
	MaxAccuracyDrop *float64 // 0 to 1
}

// Any reports whether there is a limit.
func (g Gates) Any() bool {
	return g.MinSQNR != nil || g.MaxLossIncrease != nil || g.MaxAccuracyDrop != nil
}

// NeedLabels reports whether a limit is about the task metric.
func (g Gates) NeedLabels() bool { return g.MaxLossIncrease != nil || g.MaxAccuracyDrop != nil }

// Failure is a limit that was not kept.
type Failure struct {
	Gate       string // min-sqnr, max-loss-increase, max-accuracy-drop
	Output     string // whose SQNR it is; "" for the metric
	Got, Limit float64
}

// String is the failure as a sentence.
func (f Failure) String() string {
	if f.Output != "" {
		return fmt.Sprintf("%s: the SQNR of output %q is %.6g dB, below the limit %g", f.Gate, f.Output, f.Got, f.Limit)
	}
	return fmt.Sprintf("%s: got %.6g, above the limit %g", f.Gate, f.Got, f.Limit)
}

// Check gives the limits that m does not keep. A figure that is NaN keeps none, but for the SQNR of an output that is zero in both models;
// outputs that differ in Inf and NaN have no SQNR.
func (g Gates) Check(m *Measured) []Failure {
	var out []Failure
	if g.MinSQNR != nil {
		for _, o := range m.Outputs {
			sqnr := o.SQNR
			switch {
			case math.IsNaN(sqnr) && o.same():
				continue
			case math.IsNaN(sqnr), o.NonFinite > 0:
				sqnr = math.Inf(-1)
			}
			if !(sqnr >= *g.MinSQNR) {
				out = append(out, Failure{"min-sqnr", o.Name, sqnr, *g.MinSQNR})
			}
		}
	}
	if g.MaxLossIncrease != nil {
		if d := m.LossIncrease(); !(d <= *g.MaxLossIncrease) {
			out = append(out, Failure{"max-loss-increase", "", d, *g.MaxLossIncrease})
		}
	}
	if g.MaxAccuracyDrop != nil {
		// An accuracy is a quotient of counts, and its difference is rounded: a thousandth of a row is below any real difference.
		slack := 1e-3 / float64(m.Before.Rows)
		if d := m.AccuracyDrop(); !(d <= *g.MaxAccuracyDrop+slack) {
			out = append(out, Failure{"max-accuracy-drop", "", d, *g.MaxAccuracyDrop})
		}
	}
	return out
}
