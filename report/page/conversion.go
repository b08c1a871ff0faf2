package page

import (
	"fmt"
	"math"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// conversion has the figures of the weights that were rewritten.
func conversion(r *report.Report) []figure {
	var names []string
	amax, sqnr := series{name: "amax"}, series{name: "SQNR dB"}
	saturated, flushed := series{name: "saturated"}, series{name: "flushed to zero"}
	exact := 0
	for i := range r.Layers {
		l := &r.Layers[i]
		if l.Decision != report.Rewritten {
			continue
		}
		names = append(names, layerName(l.Name, l.Graph))
		amax.values = append(amax.values, value(l.Amax))
		sqnr.values = append(sqnr.values, value(l.WeightSQNRdB))
		if l.WeightExact {
			exact++
		}
		share := func(n int64) float64 {
			if l.Elements == 0 {
				return math.NaN()
			}
			return 100 * float64(n) / float64(l.Elements)
		}
		saturated.values = append(saturated.values, share(l.Saturated))
		flushed.values = append(flushed.values, share(l.Flushed))
	}
	var figures []figure
	if len(names) > 0 {
		note := extremes("Ratio of signal to quantization noise", names, sqnr.values, digits)
		if exact > 0 {
			note += fmt.Sprintf(" Exact in float8, and so without a mark: %d.", exact)
		}
		figures = append(figures,
			figure{"Weights: amax of each layer", extremes("Greatest absolute weight", names, amax.values, digits),
				chart{axis: "amax", log: true, places: names, across: "layer", series: []series{amax}}, cells("layer", names, digits, amax)},
			figure{"Weights: SQNR of each layer", note,
				chart{axis: "SQNR, dB", places: names, across: "layer", series: []series{sqnr}}, cells("layer", names, digits, sqnr)},
			figure{"Weights: saturated and flushed to zero", extremes("Saturated", names, saturated.values, percent) + " " +
				extremes("Flushed to zero", names, flushed.values, percent),
				chart{axis: "share of elements, %", zero: true, places: names, across: "layer", series: []series{saturated, flushed}},
				cells("layer", names, percent, saturated, flushed)})
	}
	return append(figures, sizes(r)...)
}

// sizes has the figure of sizes before and after.
func sizes(r *report.Report) []figure {
	places := []string{"rewritten weights"}
	was, is := []int64{r.Totals.BytesBefore}, []int64{r.Totals.BytesAfter}
	if out := r.Model.Output; out != nil {
		whole := "model file"
		if render.IsCheckpoint(&r.Model.Input) {
			whole = "checkpoint"
		}
		places = append([]string{whole}, places...)
		was, is = append([]int64{r.Model.Input.Bytes}, was...), append([]int64{out.Bytes}, is...)
	}
	unit, divisor := "MiB", float64(1<<20)
	if max(was[0], is[0]) >= 4<<30 {
		unit, divisor = "GiB", 1<<30
	} else if max(was[0], is[0]) < 2<<20 {
		unit, divisor = "KiB", 1<<10
	}
	before, after := series{name: "before"}, series{name: "after"}
	table := render.Sheet{Titles: []string{"#", "what", "before", "after", "after / before"}, Right: []bool{true, false, true, true, true}}
	note := ""
	for i, p := range places {
		before.values, after.values = append(before.values, float64(was[i])/divisor), append(after.values, float64(is[i])/divisor)
		part := nothing
		if was[i] > 0 {
			part = percent(100 * float64(is[i]) / float64(was[i]))
			note += fmt.Sprintf("The %s: %s before, %s after. ", p, render.Size(was[i]), render.Size(is[i]))
		}
		table.Rows = append(table.Rows, []string{strconv.Itoa(i + 1), p, render.Size(was[i]), render.Size(is[i]), part})
	}
	if note == "" {
		return nil
	}
	return []figure{{"Size before and after", note, chart{axis: unit, zero: true, places: places, across: "what", series: []series{before, after}}, table}}
}
