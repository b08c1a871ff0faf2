package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// calibration has the figures of what a calibration observed.
func calibration(c *report.Calibration) []figure {
	inputs, weights := observed{}, observed{}
	for i := range c.Layers {
		l := &c.Layers[i]
		name := layerName(l.Name, l.Graph)
		inputs.add(name, &l.Input)
		if l.Weight != nil {
			weights.add(name, l.Weight)
		}
	}
	figures := inputs.figures("Inputs")
	figures = append(figures, weights.figures("Weights while calibrating")...)
	if len(c.Losses) > 0 {
		losses := series{name: "loss", line: true}
		table := render.Sheet{Titles: []string{"step", "loss"}, Right: []bool{true, true}}
		for i, l := range c.Losses {
			losses.values = append(losses.values, float64(l))
			table.Rows = append(table.Rows, []string{strconv.Itoa(i + 1), digits(float64(l))})
		}
		figures = append(figures, figure{"Loss over the steps", fmt.Sprintf("Mean cross-entropy of each batch in nats, under the scales of the steps before it: "+
			"%s in the first step, %s in the last.", digits(losses.values[0]), digits(losses.values[len(losses.values)-1])),
			chart{axis: "loss, nats", across: "step", series: []series{losses}}, table})
	}
	return figures
}

// observed is what was observed of one operand of each layer.
type observed struct {
	names                []string
	courses              [][]float64 // by layer and step; NaN where there is no finite amax
	first, largest, last []float64
	middle               []float64
	saturated, flushed   []float64
	counted              bool
}

func (o *observed) add(name string, c *report.CalibratedOperand) {
	course := make([]float64, len(c.Amax))
	first, largest, last := math.NaN(), math.NaN(), math.NaN()
	var finite []float64
	for i, a := range c.Amax {
		v := float64(a)
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			course[i] = math.NaN()
			continue
		}
		course[i], last = v, v
		if len(finite) == 0 {
			first, largest = v, v
		}
		finite, largest = append(finite, v), max(largest, v)
	}
	o.names, o.courses = append(o.names, name), append(o.courses, course)
	o.first, o.largest, o.last, o.middle = append(o.first, first), append(o.largest, largest), append(o.last, last), append(o.middle, median(finite))
	o.saturated, o.flushed = append(o.saturated, 100*value(c.SaturationRate)), append(o.flushed, 100*value(c.FlushRate))
	o.counted = o.counted || c.SaturationRate != nil
}

func (o *observed) figures(of string) []figure {
	if len(o.names) == 0 {
		return nil
	}
	largest, middle := series{name: "largest", values: o.largest}, series{name: "median over the steps", values: o.middle}
	first, last := series{name: "first", values: o.first}, series{name: "last", values: o.last}
	figures := []figure{{of + ": amax of each layer", extremes("Largest amax of all steps", o.names, o.largest, digits),
		chart{axis: "amax", log: true, places: o.names, across: "layer", series: []series{largest, middle}}, cells("layer", o.names, digits, largest, middle)}}
	figures = append(figures, o.course(of, cells("layer", o.names, digits, first, middle, largest, last))...)
	if o.counted {
		saturated, flushed := series{name: "saturated", values: o.saturated}, series{name: "flushed to zero", values: o.flushed}
		figures = append(figures, figure{of + ": saturated and flushed to zero",
			extremes("Saturated", o.names, o.saturated, percent) + " " + extremes("Flushed to zero", o.names, o.flushed, percent),
			chart{axis: "share of elements cast, %", zero: true, places: o.names, across: "layer", series: []series{saturated, flushed}},
			cells("layer", o.names, percent, saturated, flushed)})
	}
	return figures
}

// maxCourses is how many layers have a line of their own.
const maxCourses = 6

// course has the figures of amaxes over the steps: of the layers that varied most, and of all relative to their largest.
func (o *observed) course(of string, table render.Sheet) []figure {
	steps := len(o.courses[0])
	if steps < 2 {
		return nil
	}
	most := make([]int, 0, len(o.names))
	for i := range o.names {
		if o.middle[i] > 0 {
			most = append(most, i)
		}
	}
	slices.SortStableFunc(most, func(a, b int) int { return cmp.Compare(o.largest[b]/o.middle[b], o.largest[a]/o.middle[a]) })
	most = most[:min(len(most), maxCourses)]
	slices.Sort(most)
	lines := chart{axis: "amax", log: true, across: "step"}
	for _, i := range most {
		lines.series = append(lines.series, series{name: o.names[i], values: o.courses[i], line: true})
	}
	note := "Each layer has a line."
	if len(o.names) > len(most) {
		note = fmt.Sprintf("The %d layers of %d whose largest amax exceeds their median most.", len(most), len(o.names))
	}
	figures := []figure{{of + ": amax over the steps", note + " Where a scale comes from a history, an amax far above those before it saturates in its step.", lines, table}}
	if len(o.names) <= len(most) {
		return figures
	}
	// All layers in one picture: each amax as a part of the layer's largest.
	low, mid, high := make([]float64, steps), make([]float64, steps), make([]float64, steps)
	parts := render.Sheet{Titles: []string{"step", "5% of layers below", "median", "5% of layers above"}, Right: []bool{true, true, true, true}}
	var row []float64
	for s := range steps {
		row = row[:0]
		for i, c := range o.courses {
			if s < len(c) && o.largest[i] > 0 && !math.IsNaN(c[s]) {
				row = append(row, c[s]/o.largest[i])
			}
		}
		low[s], mid[s], high[s] = math.NaN(), math.NaN(), math.NaN()
		if len(row) > 0 {
			slices.Sort(row)
			at := func(q float64) float64 { return row[int(q*float64(len(row)-1)+0.5)] }
			low[s], mid[s], high[s] = at(0.05), at(0.5), at(0.95)
		}
		parts.Rows = append(parts.Rows, []string{strconv.Itoa(s + 1), digits(low[s]), digits(mid[s]), digits(high[s])})
	}
	return append(figures, figure{of + ": amax over the steps, all layers",
		"Each amax as a part of its layer's largest: the median over the layers, and the range that nine of ten are in.",
		chart{axis: "part of the largest", zero: true, across: "step", series: []series{{name: "median", values: mid, line: true}}, band: [2][]float64{low, high}}, parts})
}
