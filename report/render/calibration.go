package render

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// The name, the operand and the scale stay in the narrowest table.
var operandColumns = []column{
	{title: "layer"}, {title: "operand", rank: 1}, {title: "scaling", rank: 7}, {title: "steps", right: true, rank: 8},
	{title: "amax", rank: 9}, {title: "largest", right: true, rank: 3}, {title: "last", right: true, rank: 5}, {title: "scale", right: true},
	{title: "saturated", right: true, rank: 2}, {title: "flushed", right: true, rank: 4}, {title: "rejected", right: true, rank: 6},
}

const operandColumn = 1

// calibration writes how the run went and a row for each operand that was observed.
func (o Options) calibration(b *strings.Builder, r *report.Report) error {
	c := r.Calibration
	s := &c.Settings
	first := "first scales of 1"
	if s.AmaxInit {
		first = "first scales from the first batch"
	}
	parts := []string{fmt.Sprintf("%s, %s on %s", steps(s.Steps), rows(s.Rows), word(s.Device)), first}
	if s.Shard != "" {
		parts = append(parts, "shard "+word(s.Shard))
	}
	if s.Ranks > 1 {
		parts = append(parts, count(s.Ranks)+" ranks")
	}
	if s.Freeze {
		parts = append(parts, "scales frozen")
	}
	fmt.Fprintln(b, wrap(strings.Join(parts, ", "), o.Width, "  "))
	gradients := "gradients: their state is as conversion left it, since no backward pass ran"
	if c.GradOutput == report.GradKept {
		gradients = "gradients: their state is as it was, since no backward pass ran"
	}
	fmt.Fprintln(b, wrap(gradients, o.Width, "  "))
	if n := len(c.Losses); n > 0 {
		fmt.Fprintln(b, wrap(fmt.Sprintf("loss %s in the first step, %s in the last", figure(c.Losses[0]), figure(c.Losses[n-1])), o.Width, "  "))
	}
	if len(c.Layers) == 0 {
		fmt.Fprintf(b, "\nThe model has no Float8Linear.\n")
		return nil
	}
	var lines []row
	for i := range c.Layers {
		l := &c.Layers[i]
		lines = append(lines, operandRow(l, "input", &l.Input))
		if l.Weight != nil {
			lines = append(lines, operandRow(l, "weight", l.Weight))
		}
	}
	return o.sheet(b, operandColumns, lines, nil, operandColumn)
}

func operandRow(l *report.CalibratedLayer, operand string, c *report.CalibratedOperand) row {
	name := safe(l.Name, maxName)
	if l.Graph != "" {
		name = cut(name+" in "+safe(l.Graph, maxName), maxName)
	}
	largest, last := none, none
	best := report.Float32(-1)
	for _, a := range c.Amax {
		if !finite(a) || a < 0 {
			continue
		}
		if best = max(best, a); best == a {
			largest = number(a)
		}
		last = number(a)
	}
	p := green
	rejected := c.RejectedInf + c.RejectedNaN
	if !l.Initialized && c.Scaling == report.ScalingDelayed || rejected > 0 {
		p = yellow
	}
	return row{[]string{name, operand, word(string(c.Scaling)), count(l.StepsRun), spark(c.Amax), largest, last, scale(c.QuantScale),
		percent(c.SaturationRate), percent(c.FlushRate), count(rejected)}, p}
}

func finite(f report.Float32) bool { return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) }

// sparkSteps is how many steps a course shows: evenly chosen, the last among them.
const sparkSteps = 16

// spark draws the course of amaxes: the height is the part of the largest; a step that gave no finite amax is a dot.
func spark(amaxes []report.Float32) string {
	n := min(len(amaxes), sparkSteps)
	shown := make([]report.Float32, n)
	top := report.Float32(0)
	for i := range shown {
		shown[i] = amaxes[(i+1)*len(amaxes)/n-1]
		if finite(shown[i]) {
			top = max(top, shown[i])
		}
	}
	levels := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, a := range shown {
		if !finite(a) || a < 0 || top == 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(levels[min(int(a/top*report.Float32(len(levels))), len(levels)-1)])
	}
	return b.String()
}

// percent writes a rate with three digits: 0%, 0.0312%, 12.5%.
func percent(rate *report.Float64) string {
	if rate == nil {
		return none
	}
	return strconv.FormatFloat(100*float64(*rate), 'g', 3, 64) + "%"
}

func steps(n int64) string { return plainly(n, "step", "steps") }

func rows(n int64) string { return plainly(n, "row", "rows") }
