package page

import (
	"fmt"
	"math"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// bench has the figures of what was measured.
func bench(b *report.Bench) []figure {
	figures := []figure{runs(b)}
	if len(b.Layers) > 0 {
		var names []string
		time, against, speedup := series{name: render.Name(b.Model.Name, 32)}, series{name: "against"}, series{name: "speedup"}
		for _, l := range b.Layers {
			names = append(names, layerName(l.Name, ""))
			time.values, against.values = append(time.values, float64(l.Time)), append(against.values, value(l.Against))
			speedup.values = append(speedup.values, value(l.Speedup))
		}
		c := chart{axis: "ms", zero: true, places: names, across: "layer", series: []series{time}}
		if b.Against != nil {
			against.name = render.Name(b.Against.Name, 32)
			c.series = append(c.series, against)
		}
		figures = append(figures, figure{"Time of each layer", extremes("Milliseconds", names, time.values, digits), c,
			cells("layer", names, digits, time, against, speedup)})
		if c := (chart{axis: "speedup", zero: true, places: names, across: "layer", series: []series{speedup}}); !c.empty() {
			figures = append(figures, figure{"Speedup of each layer", extremes("How many times as fast as in the other model", names, speedup.values, digits), c,
				cells("layer", names, digits, speedup)})
		}
	}
	if len(b.Model.Parts) > 0 {
		var names []string
		time := series{name: "ms"}
		table := render.Sheet{Titles: []string{"#", "what runs", "steps", "ms", "GB/s"}, Right: []bool{true, false, true, true, true}}
		for i, p := range b.Model.Parts {
			names = append(names, render.Name(p.Name, maxName))
			time.values = append(time.values, float64(p.Time))
			table.Rows = append(table.Rows, []string{strconv.Itoa(i + 1), names[i], strconv.FormatInt(p.Steps, 10), digits(float64(p.Time)), digits(float64(p.Rate))})
		}
		figures = append(figures, figure{"Where the time goes", extremes("Milliseconds", names, time.values, digits),
			chart{axis: "ms", zero: true, places: names, across: "what", series: []series{time}}, table})
	}
	if len(b.Shapes) > 0 {
		var names []string
		float8, wide := series{name: "float8"}, series{name: "bfloat16"}
		table := render.Sheet{Titles: []string{"#", "tokens × features", "float8 ms", "bfloat16 ms", "speedup"}, Right: []bool{true, false, true, true, true}}
		for i, s := range b.Shapes {
			names = append(names, fmt.Sprintf("%d × %d", s.Tokens, s.Features))
			float8.values, wide.values = append(float8.values, positive(s.Float8)), append(wide.values, positive(s.BFloat16))
			table.Rows = append(table.Rows, []string{strconv.Itoa(i + 1), names[i], digits(float64(s.Float8)), digits(float64(s.BFloat16)), digits(float64(s.Speedup))})
		}
		figures = append(figures, figure{"Products of these sizes", "Tokens times features in and out, with the cast of the input.",
			chart{axis: "ms", log: true, places: names, across: "tokens × features", series: []series{float8, wide}}, table})
	}
	return figures
}

// runs has the times of the models as a whole.
func runs(b *report.Bench) figure {
	models := []*report.BenchedModel{&b.Model}
	if b.Against != nil {
		models = append(models, b.Against)
	}
	var names []string
	time := series{name: "median"}
	table := render.Sheet{Titles: []string{"#", "model", "median ms", "fastest ms", "slowest ms"}, Right: []bool{true, false, true, true, true}}
	note := fmt.Sprintf("Median of %d runs.", b.Settings.Runs)
	for i, m := range models {
		names = append(names, render.Name(m.Name, maxName))
		time.values = append(time.values, float64(m.Median))
		table.Rows = append(table.Rows, []string{strconv.Itoa(i + 1), names[i], digits(float64(m.Median)), digits(float64(m.Fastest)), digits(float64(m.Slowest))})
		note += fmt.Sprintf(" %s: %s ms.", names[i], digits(float64(m.Median)))
	}
	return figure{"Time of a run", note, chart{axis: "ms", zero: true, places: names, across: "model", series: []series{time}}, table}
}

func positive(f report.Float64) float64 {
	if f > 0 {
		return float64(f)
	}
	return math.NaN()
}
