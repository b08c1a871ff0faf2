package calibrate

import (
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// What a course of amaxes is warned of.
const (
	// OutlierRatio is how many times the median over the layers a layer's largest amax may be. float8e4m3fn has normal numbers over
	// fifteen binades; a tensor with an amax 32 times that of its like has five of them above its ordinary elements, which then have
	// less than half of the range that others have, down to the subnormal numbers and to zero.
	OutlierRatio = 32

	// outlierPeers is how many layers there must be for a median to say what is usual.
	outlierPeers = 4

	// SpikeRatio is how many times its own median an operand's largest amax may be: eight times is three binades, as many as
	// float8e4m3fn has bits of mantissa. A maximum over the history keeps the scale that small until the step has left it.
	SpikeRatio = 8

	// GrowthRatio is by how much the last amax may be above the largest of the steps before. An eighth is the distance between
	// neighbours of float8e4m3fn at the top of a binade's upper half, so the value that was cast to the largest number would be cast
	// to the next one, if there were one; it saturates instead.
	GrowthRatio = 1.125

	// growthSteps is how many observed steps there must be: the last of two is the larger one in half of all cases.
	growthSteps = 4
)

// Warnings says what the user should know of the amaxes that a run saw, by layer in their order; of the course of amaxes only where
// scales are made from it. Measured numbers stay out of the
// sentences, as two devices differ in them; they are in the report's rows.
func (res *Result) Warnings() []report.Warning {
	var out []report.Warning
	warn := func(code report.WarningCode, layer string, args ...any) {
		out = append(out, report.NewWarning(code, layer, args...))
	}
	usual := res.medianInput()
	for i := range res.Layers {
		l := &res.Layers[i]
		if l.Ran == 0 {
			warn(report.WarnDeadLayer, l.Name, l.Name, report.Text("it did not run in any step"))
			continue
		}
		for _, o := range l.operands() {
			if r := o.Rejected; r.Inf+r.NaN > 0 {
				warn(report.WarnAmaxRejected, l.Name, o.word(), l.Name, r.NaN, r.Inf)
			}
			amaxes, steps := o.accepted()
			if len(amaxes) == 0 {
				why := "was zero in every step"
				if o.Rejected.Inf+o.Rejected.NaN > 0 {
					why = "was never finite and above zero"
				}
				warn(report.WarnDeadLayer, l.Name, l.Name, report.Text("its "+o.what+" "+why))
				continue
			}
			at := argmax(amaxes)
			largest, last := amaxes[at], len(amaxes)-1
			switch {
			case o.what == "input" && usual > 0 && largest > OutlierRatio*usual:
				warn(report.WarnOutlierLayer, l.Name, o.word(), l.Name, OutlierRatio)
			case o.Mode == scaling.Delayed && len(amaxes) >= growthSteps && largest > SpikeRatio*median(amaxes):
				warn(report.WarnAmaxSpike, l.Name, o.word(), l.Name, steps[at]+1, SpikeRatio)
			}
			if o.Mode == scaling.Delayed && len(amaxes) >= growthSteps && steps[last] == res.Steps-1 && amaxes[last] > GrowthRatio*slices.Max(amaxes[:last]) {
				warn(report.WarnAmaxGrowing, l.Name, o.word(), l.Name, report.Text("12.5"))
			}
		}
	}
	return out
}

// named is an operand with its role.
type named struct {
	*Operand
	what string
}

func (n named) word() report.Text { return report.Text(n.what) }

func (l *Layer) operands() []named {
	out := []named{{&l.Input, "input"}}
	if l.Weight != nil {
		out = append(out, named{l.Weight, "weight"})
	}
	return out
}

// accepted are the amaxes that a scale can be made from, and the steps that they are from.
func (o *Operand) accepted() (amaxes []float32, steps []int) {
	for i, a := range o.Amaxes {
		if scaling.Usable(a) {
			amaxes, steps = append(amaxes, a), append(steps, i)
		}
	}
	return amaxes, steps
}

// medianInput is the median over the layers of their inputs' largest amax; 0 where too few have one.
func (res *Result) medianInput() float32 {
	var largest []float32
	for i := range res.Layers {
		if amaxes, _ := res.Layers[i].Input.accepted(); len(amaxes) > 0 {
			largest = append(largest, slices.Max(amaxes))
		}
	}
	if len(largest) < outlierPeers {
		return 0
	}
	return median(largest)
}

// median is the lower one of an even number of values.
func median(v []float32) float32 {
	s := slices.Sorted(slices.Values(v))
	return s[(len(s)-1)/2]
}

func argmax(v []float32) int {
	best, at := float32(math.Inf(-1)), 0
	for i, x := range v {
		if x > best {
			best, at = x, i
		}
	}
	return at
}
