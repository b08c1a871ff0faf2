package page

import (
	"fmt"
	"math"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// maxBars is how many layers a ranking shows; its table has all.
const maxBars = 24

// verification has the figures of what float8 cost.
func verification(v *report.Verification) []figure {
	var figures []figure
	if len(v.Models) > 1 {
		figures = append(figures, recipes(v))
	} else if m := &v.Models[0]; len(m.Layers) > 0 {
		var names []string
		sqnr := series{name: "SQNR dB"}
		exact := 0
		for _, l := range m.Layers {
			names = append(names, layerName(l.Name, ""))
			x := float64(l.SQNRdB)
			switch {
			case l.Value == "":
				x = math.NaN()
			case math.IsInf(x, 1):
				x = math.NaN()
				exact++
			}
			sqnr.values = append(sqnr.values, x)
		}
		note := extremes("Ratio of each layer's output to its error", names, sqnr.values, digits)
		if exact > 0 {
			note += fmt.Sprintf(" Without an error, and so without a mark: %d.", exact)
		}
		figures = append(figures, figure{"Outputs of the layers: SQNR", note,
			chart{axis: "SQNR, dB", places: names, across: "layer", series: []series{sqnr}}, cells("layer", names, digits, sqnr)})
	}
	if len(v.Sensitivity) > 0 {
		figures = append(figures, sensitivity(v))
	}
	return figures
}

// recipes compares rewritten models by their recipes.
func recipes(v *report.Verification) figure {
	var names []string
	sqnr := series{name: "least SQNR dB"}
	table := render.Sheet{Titles: []string{"#", "recipe", "least SQNR dB", "loss", "change"}, Right: []bool{true, false, true, true, true}}
	for i := range v.Models {
		m := &v.Models[i]
		least := math.NaN()
		for _, o := range m.Outputs {
			if x := float64(o.SQNRdB); !math.IsInf(x, 1) && !(x >= least) {
				least = x
			}
		}
		names = append(names, render.Name(m.Recipe, maxName))
		sqnr.values = append(sqnr.values, least)
		row := []string{strconv.Itoa(i + 1), names[i], digits(least), nothing, nothing}
		if m.Rewritten != nil && m.Original != nil {
			row[3], row[4] = digits(float64(m.Rewritten.Loss)), fmt.Sprintf("%+.6f", float64(m.Rewritten.Loss-m.Original.Loss))
		}
		table.Rows = append(table.Rows, row)
	}
	return figure{"Recipes", extremes("Least ratio of an output to its error", names, sqnr.values, digits),
		chart{axis: "SQNR, dB", zero: true, places: names, across: "recipe", series: []series{sqnr}}, table}
}

// sensitivity shows what each layer alone costs, by the loss where there are labels.
func sensitivity(v *report.Verification) figure {
	loss := v.Sensitivity[0].LossIncrease != nil
	table := render.Sheet{Titles: []string{"#", "layer, alone in float8", "SQNR dB", "loss", "correct"}, Right: []bool{true, false, true, true, true}}
	var names []string
	shown := series{name: "increase of the loss"}
	c := chart{axis: "increase of the loss, nats", zero: true, across: "layer"}
	if !loss {
		shown.name = "SQNR dB"
		c.axis, c.zero = "SQNR of the output that suffers most, dB", false
	}
	for i, l := range v.Sensitivity {
		names = append(names, layerName(l.Name, ""))
		row := []string{strconv.Itoa(i + 1), names[i], digits(float64(l.SQNRdB)), nothing, nothing}
		x := float64(l.SQNRdB)
		if loss {
			x = value(l.LossIncrease)
		}
		if l.LossIncrease != nil {
			row[3] = fmt.Sprintf("%+.6f", float64(*l.LossIncrease))
		}
		if l.Correct != nil {
			row[4] = fmt.Sprintf("%+d", *l.Correct)
		}
		shown.values = append(shown.values, x)
		table.Rows = append(table.Rows, row)
	}
	note := "What each layer costs when it alone is float8, the most expensive first."
	if len(names) > maxBars {
		note += fmt.Sprintf(" The first %d of %d; the table has all.", maxBars, len(names))
		names, shown.values = names[:maxBars], shown.values[:maxBars]
	}
	c.places, c.series = names, []series{shown}
	return figure{"Sensitivity", note, c, table}
}
