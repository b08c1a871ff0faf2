package render

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// worst is how many layers are listed where not all are.
const worst = 10

// The name and the ratio stay in the narrowest table.
var errorColumns = []column{
	{title: ""}, {title: "SQNR dB", right: true}, {title: "largest error", right: true, rank: 2}, {title: "cosine", right: true, rank: 3},
	{title: "Inf or NaN", right: true, rank: 1},
}

var costColumns = []column{
	{title: "layer, alone in float8"}, {title: "SQNR dB", right: true}, {title: "loss", right: true, rank: 1}, {title: "correct", right: true, rank: 2},
}

var recipeColumns = []column{
	{title: "recipe"}, {title: "SQNR dB", right: true}, {title: "loss", right: true, rank: 2}, {title: "change", right: true, rank: 1},
	{title: "accuracy", right: true, rank: 4}, {title: "correct", right: true, rank: 3}, {title: "gates", rank: 5},
}

const ratioColumn = 1

// verification writes what the comparison gave: outputs, the metric, the gates, layers, or a row for each recipe.
func (o Options) verification(b *strings.Builder, r *report.Report) error {
	v := r.Verification
	s := &v.Settings
	fmt.Fprintln(b, wrap(fmt.Sprintf("%s, %s on %s", plainly(s.Batches, "batch", "batches"), rows(s.Rows), word(s.Device)), o.Width, "  "))
	if len(v.Models) > 1 {
		return o.recipes(b, v)
	}
	m := &v.Models[0]
	if err := o.errors(b, "output", m.Outputs, len(m.Outputs)); err != nil {
		return err
	}
	o.metric(b, m.Original, m.Rewritten)
	o.gates(b, v)
	if len(m.Layers) > 0 {
		n := worst
		if o.All {
			n = len(m.Layers)
		}
		title := "layer"
		if n < len(m.Layers) {
			title = fmt.Sprintf("layer (%d worst of %d)", n, len(m.Layers))
		}
		if err := o.errors(b, title, m.Layers, n); err != nil {
			return err
		}
	}
	return o.costs(b, v)
}

// errors writes a row for each of the n values with the least SQNR, or for all in their order.
func (o Options) errors(b *strings.Builder, title string, values []report.VerifiedValue, n int) error {
	if n < len(values) {
		values = slices.Clone(values)
		slices.SortStableFunc(values, func(x, y report.VerifiedValue) int { return cmp.Compare(rank(x), rank(y)) })
		values = values[:n]
	}
	cols := slices.Clone(errorColumns)
	cols[nameColumn].title = title
	var lines []row
	for _, x := range values {
		if x.Value == "" {
			lines = append(lines, row{[]string{safe(x.Name, maxName), none, none, none, none}, dim})
			continue
		}
		p := green
		if x.NonFinite > 0 {
			p = yellow
		}
		lines = append(lines, row{[]string{safe(x.Name, maxName), decibels(x.SQNRdB), figure(x.MaxAbs), figure(x.Cosine), count(x.NonFinite)}, p})
	}
	return o.sheet(b, cols, lines, nil, ratioColumn)
}

// rank orders values, the worst first: what was not compared comes last.
func rank(v report.VerifiedValue) float64 {
	if v.Value == "" || math.IsNaN(float64(v.SQNRdB)) {
		return math.Inf(1)
	}
	return float64(v.SQNRdB)
}

func (o Options) metric(b *strings.Builder, was, is *report.TaskMetric) {
	if was == nil || is == nil {
		return
	}
	text := fmt.Sprintf("loss %s (%s), perplexity %s, accuracy %s (%s of %s right)",
		change(figure(was.Loss), figure(is.Loss)), signed(is.Loss-was.Loss), change(figure(was.Perplexity), figure(is.Perplexity)),
		change(share(was.Accuracy), share(is.Accuracy)), change(count(was.Correct), count(is.Correct)), count(is.Rows))
	fmt.Fprintf(b, "\n%s\n", wrap(text, o.Width, "  "))
}

// gates says of each limit whether it is kept.
func (o Options) gates(b *strings.Builder, v *report.Verification) {
	if len(v.Settings.Gates) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", o.paint(bold, "Gates"))
	for _, g := range v.Settings.Gates {
		failed := false
		for _, f := range v.Models[0].Failures {
			if f.Gate != g.Name {
				continue
			}
			failed = true
			of := ""
			if f.Subject != "" {
				of = " of " + safe(f.Subject, maxName)
			}
			o.item(b, g.Name, yellow, fmt.Sprintf("not met: %s%s, the limit is %s", figure(f.Value), of, figure(g.Limit)))
		}
		if !failed {
			o.item(b, g.Name, green, "met: the limit is "+figure(g.Limit))
		}
	}
}

// costs writes what each layer alone costs, and what to exclude.
func (o Options) costs(b *strings.Builder, v *report.Verification) error {
	if len(v.Sensitivity) == 0 {
		return nil
	}
	list := v.Sensitivity
	if !o.All && len(list) > worst {
		list = list[:worst]
	}
	var lines []row
	for _, c := range list {
		loss, correct := none, none
		if c.LossIncrease != nil {
			loss = signed(*c.LossIncrease)
		}
		if c.Correct != nil {
			correct = fmt.Sprintf("%+d", *c.Correct)
		}
		lines = append(lines, row{[]string{safe(c.Name, maxName), decibels(c.SQNRdB), loss, correct}, ""})
	}
	if err := o.sheet(b, costColumns, lines, nil, ratioColumn); err != nil {
		return err
	}
	if more := len(v.Sensitivity) - len(list); more > 0 {
		fmt.Fprintln(b, o.paint(dim, fmt.Sprintf("and %s more that cost less", layers(int64(more)))))
	}
	e := v.Exclusion
	if e == nil {
		return nil
	}
	fmt.Fprintf(b, "\n%s\n", o.paint(bold, "To meet the gates"))
	if !e.Met {
		o.item(b, "exclude", yellow, "no head of this list meets them")
		return nil
	}
	for _, l := range e.Layers {
		o.item(b, "exclude", green, safe(l, maxName))
	}
	o.metric(b, v.Models[0].Original, e.Rewritten)
	return nil
}

// recipes writes a row for each recipe.
func (o Options) recipes(b *strings.Builder, v *report.Verification) error {
	var lines []row
	for _, m := range v.Models {
		cells := []string{safe(m.Recipe, maxName), decibels(least(m.Outputs)), none, none, none, none, none}
		if m.Rewritten != nil {
			cells[2], cells[3] = figure(m.Rewritten.Loss), signed(m.Rewritten.Loss-m.Original.Loss)
			cells[4], cells[5] = share(m.Rewritten.Accuracy), count(m.Rewritten.Correct)
		}
		p := green
		if len(v.Settings.Gates) > 0 {
			cells[6] = "met"
		}
		if len(m.Failures) > 0 {
			p, cells[6] = yellow, "not met"
		}
		lines = append(lines, row{cells, p})
	}
	if err := o.sheet(b, recipeColumns, lines, nil, ratioColumn); err != nil {
		return err
	}
	if was := v.Models[0].Original; was != nil {
		fmt.Fprintln(b, wrap(fmt.Sprintf("The original: loss %s, accuracy %s, %s of %s right.", figure(was.Loss), share(was.Accuracy), count(was.Correct), count(was.Rows)), o.Width, "  "))
	}
	return nil
}

// least is the smallest SQNR of the outputs.
func least(values []report.VerifiedValue) report.Float64 {
	v := report.Float64(math.Inf(1))
	for _, x := range values {
		v = min(v, x.SQNRdB)
	}
	return v
}

func decibels(v report.Float64) string {
	if math.IsInf(float64(v), 1) {
		return "exact"
	}
	return strconv.FormatFloat(float64(v), 'f', 2, 64)
}

// figure writes a number with six digits: losses differ in the fourth.
func figure(v report.Float64) string { return strconv.FormatFloat(float64(v), 'g', 6, 64) }

// share writes an accuracy with two decimals: 97.98%.
func share(v report.Float64) string { return strconv.FormatFloat(100*float64(v), 'f', 2, 64) + "%" }

func signed(v report.Float64) string { return fmt.Sprintf("%+.6f", float64(v)) }

// plainly counts in words.
func plainly(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}
