package render

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// The name and the time stay in the narrowest table.
var benchColumns = []column{
	{title: "layer"}, {title: "tokens", right: true, rank: 6}, {title: "N×K", right: true, rank: 5}, {title: "ms", right: true},
	{title: "product", right: true, rank: 4}, {title: "TFLOP/s", right: true, rank: 3}, {title: "GB/s", right: true, rank: 7}, {title: "of ceiling", right: true, rank: 8},
	{title: "against", right: true, rank: 2}, {title: "speedup", right: true, rank: 1},
}

const speedupColumn = 9

var partColumns = []column{
	{title: "what runs"}, {title: "steps", right: true, rank: 2}, {title: "ms", right: true}, {title: "GB/s", right: true, rank: 1},
}

var shapeColumns = []column{
	{title: "tokens × features"}, {title: "float8 ms", right: true, rank: 1}, {title: "bfloat16 ms", right: true, rank: 2}, {title: "speedup", right: true},
}

// benchmark writes the times of the models, of what runs, and of the layers, and what to keep.
func (o Options) benchmark(b *strings.Builder, r *report.Report) error {
	m := r.Bench
	s := &m.Settings
	parts := []string{fmt.Sprintf("%s on %s", plainly(s.Runs, "run", "runs"), word(s.Device))}
	if m.Execution.Compute != "" {
		parts = append(parts, "computing in "+word(m.Execution.Compute))
	}
	for _, i := range s.Inputs {
		parts = append(parts, fmt.Sprintf("%s %s[%s]", safe(i.Name, maxName), word(i.DType), shape(i.Shape)))
	}
	fmt.Fprintln(b, wrap(strings.Join(parts, ", "), o.Width, "  "))
	if len(m.Ceilings) > 0 {
		rates := make([]string, len(m.Ceilings))
		for i, c := range m.Ceilings {
			rates[i] = fmt.Sprintf("%s %s %s", word(c.Name), digits(c.Value), word(c.Unit))
		}
		fmt.Fprintln(b, wrap("ceilings: "+strings.Join(rates, ", "), o.Width, "  "))
	}
	b.WriteByte('\n')
	o.benched(b, &m.Model)
	if a := m.Against; a != nil {
		o.benched(b, a)
		if m.Model.Median > 0 && a.Median > 0 {
			fmt.Fprintf(b, "  speedup %s, %s of the time\n", ratio(a.Median/m.Model.Median), percent(new(m.Model.Median/a.Median)))
		}
	}
	if err := o.steps(b, &m.Model); err != nil {
		return err
	}
	if len(m.Layers) > 0 {
		var lines []row
		for i := range m.Layers {
			lines = append(lines, benchRow(&m.Layers[i]))
		}
		if err := o.sheet(b, benchColumns, lines, nil, speedupColumn); err != nil {
			return err
		}
	}
	if len(m.Shapes) > 0 {
		var lines []row
		for _, s := range m.Shapes {
			p := green
			if s.Speedup <= 1 {
				p = yellow
			}
			lines = append(lines, row{[]string{fmt.Sprintf("%d × %d", s.Tokens, s.Features), digits(s.Float8), digits(s.BFloat16), ratio(s.Speedup)}, p})
		}
		if err := o.sheet(b, shapeColumns, lines, nil, 3); err != nil {
			return err
		}
	}
	o.advice(b, m)
	return nil
}

// benched writes the line of one model.
func (o Options) benched(b *strings.Builder, m *report.BenchedModel) {
	text := fmt.Sprintf("%s: %s ms (%s to %s)", safe(m.Name, maxName), digits(m.Median), digits(m.Fastest), digits(m.Slowest))
	if m.Rate > 0 {
		text += fmt.Sprintf(", %s TFLOP/s", digits(m.Rate))
	}
	if m.WeightBytes > 0 || m.ActivationBytes > 0 {
		text += fmt.Sprintf(", %s of weights, %s of activations", size(m.WeightBytes), size(m.ActivationBytes))
	}
	fmt.Fprintln(b, wrap("  "+text, o.Width, "    "))
}

// steps writes where the time of the model goes.
func (o Options) steps(b *strings.Builder, m *report.BenchedModel) error {
	var lines []row
	for _, p := range m.Parts {
		lines = append(lines, row{[]string{word(p.Name), count(p.Steps), digits(p.Time), orNone(p.Rate)}, ""})
	}
	if len(lines) == 0 {
		return nil
	}
	return o.sheet(b, partColumns, lines, nil, 0)
}

func benchRow(l *report.BenchedLayer) row {
	cells := []string{safe(l.Name, maxName), none, none, digits(l.Time), orNone(l.Matmul), orNone(l.Rate), orNone(l.Memory), none, none, none}
	if l.Tokens > 0 {
		cells[1], cells[2] = count(l.Tokens), shape([]int64{l.OutFeatures, l.InFeatures})
	}
	if l.OfCeiling != nil {
		cells[7] = percent(l.OfCeiling)
	}
	p := green
	if l.Against != nil && l.Speedup != nil {
		cells[8], cells[9] = digits(*l.Against), ratio(*l.Speedup)
	}
	if l.Keep {
		p = yellow
	}
	return row{cells, p}
}

// advice says which layers to keep, as flags of convert.
func (o Options) advice(b *strings.Builder, m *report.Bench) {
	a := m.Advice
	if a == nil {
		return
	}
	fmt.Fprintf(b, "\n%s\n", o.paint(bold, "Advice"))
	if len(a.Keep) == 0 {
		fmt.Fprintln(b, wrap("  float8 is faster in every layer that was measured", o.Width, "    "))
	} else {
		flags := make([]string, len(a.Exclude))
		for i, e := range a.Exclude {
			flags[i] = "--exclude '" + strings.ReplaceAll(line(e), "'", `'\''`) + "'"
		}
		o.item(b, "keep", yellow, fmt.Sprintf("%s in which float8 is no faster, %s ms together: convert with %s", layers(int64(len(a.Keep))), digits(a.Saved), strings.Join(flags, " ")))
	}
	if a.MinDim > 0 {
		o.item(b, "shape", yellow, fmt.Sprintf("for models with layers like these: --min-dim %d", a.MinDim))
	}
	if len(m.Shapes) > 0 {
		tokens := count(m.Shapes[len(m.Shapes)-1].Tokens)
		switch {
		case a.CardMinDim < 0:
			o.item(b, "card", yellow, "at "+tokens+" tokens float8 is faster for none of the shapes that were tried")
		case a.CardMinDim == 0:
			o.item(b, "card", green, "at "+tokens+" tokens float8 is faster for every shape that was tried")
		default:
			o.item(b, "card", yellow, fmt.Sprintf("at %s tokens float8 is faster from %d features on: --min-dim %d", tokens, a.CardMinDim, a.CardMinDim))
		}
	}
}

// digits writes a measured figure with four digits: 0.03125, 12.35, 1,256.
func digits(f report.Float64) string {
	if f >= 1000 && f < 1e15 {
		return count(int64(f + 0.5))
	}
	return strconv.FormatFloat(float64(f), 'g', 4, 64)
}

// orNone leaves out what the engine does not say.
func orNone(f report.Float64) string {
	if f == 0 {
		return none
	}
	return digits(f)
}

// ratio writes a speedup: 1.62×.
func ratio(f report.Float64) string { return strconv.FormatFloat(float64(f), 'f', 2, 64) + "×" }
