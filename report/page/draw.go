package page

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// The size of a plot, in units of the text in it, which has 12.
const (
	width    = 400
	height   = 220
	rowPitch = 15 // height of a place that has its name beside it
	maxNamed = 24 // places that have
	maxLabel = 26 // columns of such a name
)

// maxSeries is how many series have a color.
const maxSeries = 8

// The colors are placeholders: the page puts variables of its style sheet in their place, which follow the reader's scheme.
var (
	textColor = color.RGBA{0xfe, 0, 0x10, 0xff}
	gridColor = color.RGBA{0xfe, 0, 0x11, 0xff}
	bandColor = color.RGBA{0xfe, 0, 0x12, 0xff}
)

func seriesColor(i int) color.RGBA { return color.RGBA{0xfe, 0, uint8(i%maxSeries + 1), 0xff} }

// variables names the style sheet's variables for the colors.
var variables = func() *strings.Replacer {
	var pairs []string
	add := func(c color.RGBA, name string) {
		hex := fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B)
		pairs = append(pairs, "fill:"+hex, "fill:var(--"+name+")", "stroke:"+hex, "stroke:var(--"+name+")")
	}
	add(textColor, "soft")
	add(gridColor, "grid")
	add(bandColor, "band")
	for i := range maxSeries {
		add(seriesColor(i), fmt.Sprint("s", i+1))
	}
	// The font is that of the page.
	pairs = append(pairs, "font-family:Liberation Sans;font-variant:normal;font-weight:normal;font-style:normal;", "", "\n\tstyle=", " style=")
	return strings.NewReplacer(pairs...)
}()

var header = regexp.MustCompile(`(?s)^.*?<svg [^>]*>\n`)

// svg draws a chart as an SVG element with a title and a description.
func svg(c *chart, id, title, note string) (string, error) {
	p := plot.New()
	p.BackgroundColor = nil
	sans := font.Font{Typeface: "Liberation", Variant: "Sans"}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.LineStyle.Color, a.Tick.LineStyle.Color = gridColor, gridColor
		a.Label.TextStyle.Color, a.Tick.Label.Color = textColor, textColor
		a.Label.TextStyle.Font, a.Tick.Label.Font = font.From(sans, 12), font.From(sans, 11.5)
		a.Tick.Length, a.Padding = 3, 2
	}
	low, high := c.bounds()
	values, places := &p.Y, &p.X
	tall := float64(height)
	named := c.named()
	if named {
		values, places = places, values
		rows := float64(len(c.places))
		if c.zero && len(c.series) > 1 {
			rows *= 1.4
		}
		tall = 58 + rowPitch*max(rows, 3)
	}
	values.Label.Text = c.axis
	values.Min, values.Max = span(low, high, c.log, c.zero)
	values.Tick.Marker = ticks{c.log}
	if c.log {
		values.Scale = plot.LogScale{}
	}
	n := c.length()
	if named {
		places.Min, places.Max = -float64(n)+0.5, 0.5
		places.Tick.Marker = labels(c.places)
		places.Tick.Length, places.LineStyle.Width = 0, 0
	} else {
		places.Label.Text = c.across
		places.Min, places.Max = 1, float64(max(n, 2))
		if c.places != nil { // room for half a mark
			places.Min, places.Max = 1-0.015*float64(n), 1.015*float64(n)
		}
		places.Tick.Marker = whole{}
	}
	p.Add(painter{c})
	canvas := vgsvg.New(width, vg.Length(tall))
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	text := variables.Replace(b.String())
	head := header.FindString(text)
	if head == "" {
		return "", fmt.Errorf("report/page: the plot %q has no form of an SVG", title)
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg viewBox="0 0 %d %g" role="img" aria-labelledby="%s-t %s-d">`+"\n", width, tall, id, id)
	fmt.Fprintf(&out, "<title id=\"%s-t\">%s</title><desc id=\"%s-d\">%s</desc>\n", id, escape(title), id, escape(note))
	out.WriteString(text[len(head):])
	return out.String(), nil
}

// named reports whether the places stand with their names, one below the other.
func (c *chart) named() bool { return c.places != nil && len(c.places) <= maxNamed }

// length is the number of places.
func (c *chart) length() int {
	n := len(c.places)
	for _, s := range c.series {
		n = max(n, len(s.values))
	}
	return n
}

// span is the range of an axis that shows low to high with some room around.
func span(low, high float64, log, zero bool) (float64, float64) {
	if log {
		room := max(math.Pow(high/low, 0.05), 1.1)
		return low / room, high * room
	}
	room := 0.05 * (high - low)
	if room == 0 {
		room = max(math.Abs(high)*0.1, 0.5)
	}
	if zero {
		if low < 0 {
			low -= room
		}
		if high > 0 || low == 0 {
			high += room
		}
		return low, high
	}
	return low - room, high + room
}

// labels are the names as the plot has room for: without what all of them begin with, up to a dot or a slash.
func labels(names []string) named {
	common := 0
	if len(names) > 1 {
		common = strings.LastIndexAny(shared(names), "./") + 1
	}
	short := make(named, len(names))
	for i, n := range names {
		short[i] = render.Short(n[common:], maxLabel)
	}
	return short
}

// shared is what all names begin with.
func shared(names []string) string {
	s := names[0]
	for _, n := range names[1:] {
		k := 0
		for k < len(s) && k < len(n) && s[k] == n[k] {
			k++
		}
		s = s[:k]
	}
	return s
}

// painter draws a chart's grid, band and series. Each is one path: a page holds plots of thousands of layers.
type painter struct{ *chart }

// Plot draws on the canvas of the data.
func (c painter) Plot(canvas draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&canvas)
	named := c.named()
	axis, at := &p.Y, y
	if named {
		axis, at = &p.X, x
	}
	var grid vg.Path
	for _, t := range axis.Tick.Marker.Ticks(axis.Min, axis.Max) {
		if v := at(t.Value); named {
			grid.Move(vg.Point{X: v, Y: canvas.Min.Y})
			grid.Line(vg.Point{X: v, Y: canvas.Max.Y})
		} else {
			grid.Move(vg.Point{X: canvas.Min.X, Y: v})
			grid.Line(vg.Point{X: canvas.Max.X, Y: v})
		}
	}
	if named && !c.zero { // a line from each name to its mark
		for k := range c.places {
			grid.Move(vg.Point{X: canvas.Min.X, Y: y(-float64(k))})
			grid.Line(vg.Point{X: canvas.Max.X, Y: y(-float64(k))})
		}
	}
	stroke(&canvas, grid, gridColor, 0.6, nil)
	c.fill(&canvas, x, y)
	for i, s := range c.series {
		switch {
		case s.line:
			c.line(&canvas, x, y, s.values, i)
		case named && c.zero:
			c.bars(&canvas, x, y, s.values, i)
		default:
			c.marks(&canvas, x, y, s.values, i)
		}
	}
}

func stroke(canvas *draw.Canvas, path vg.Path, c color.Color, w vg.Length, dashes []vg.Length) {
	if len(path) > 0 {
		canvas.SetLineStyle(draw.LineStyle{Color: c, Width: w, Dashes: dashes})
		canvas.Stroke(path)
	}
}

// marks draws a mark at each value: a square, or of every other series a flat bar that a square does not hide. A stroke as wide as long is
// the shortest way to write a square.
func (c painter) marks(canvas *draw.Canvas, x, y func(float64) vg.Length, values []float64, i int) {
	size := vg.Length(4.4)
	if n := len(values); !c.named() {
		size = vg.Length(min(4.4, max(1.4, 400/float64(n))))
	}
	long, thick := size, size
	if i%2 == 1 {
		long, thick = size*1.5, size*0.45
	}
	var path vg.Path
	for k, v := range values {
		if !c.shown(v) {
			continue
		}
		at := vg.Point{X: x(float64(k + 1)), Y: 0}
		if c.named() {
			at = vg.Point{X: x(v), Y: y(-float64(k))}
		} else {
			at.Y = y(v)
		}
		path.Move(vg.Point{X: at.X - long/2, Y: at.Y})
		path.Line(vg.Point{X: at.X + long/2, Y: at.Y})
	}
	stroke(canvas, path, seriesColor(i), thick, nil)
}

// bars draws a bar from zero to each value, those of several series side by side.
func (c painter) bars(canvas *draw.Canvas, x, y func(float64) vg.Length, values []float64, i int) {
	of := float64(len(c.series))
	thick := 0.72 / of
	var path vg.Path
	for k, v := range values {
		if !c.shown(v) {
			continue
		}
		top := -float64(k) + 0.36 - float64(i)*thick
		path.Move(vg.Point{X: x(0), Y: y(top)})
		path.Line(vg.Point{X: x(v), Y: y(top)})
		path.Line(vg.Point{X: x(v), Y: y(top - thick*0.92)})
		path.Line(vg.Point{X: x(0), Y: y(top - thick*0.92)})
		path.Close()
	}
	if len(path) > 0 {
		canvas.SetColor(seriesColor(i))
		canvas.Fill(path)
	}
}

// dashes tell lines apart without their colors.
var dashes = [][]vg.Length{nil, {6, 3}, {2, 2}, {8, 2, 2, 2}, {12, 3}, {4, 1, 1, 1}, {1, 3}, {9, 6}}

// line draws a line through the values, broken where there are none.
func (c painter) line(canvas *draw.Canvas, x, y func(float64) vg.Length, values []float64, i int) {
	var path vg.Path
	on := false
	for _, k := range thin(values) {
		v := values[k]
		if !c.shown(v) {
			on = false
			continue
		}
		to := vg.Point{X: x(float64(k + 1)), Y: y(v)}
		if on {
			path.Line(to)
		} else {
			path.Move(to)
			path.Line(vg.Point{X: to.X + 0.5, Y: to.Y}) // a value between two gaps shows
		}
		on = true
	}
	stroke(canvas, path, seriesColor(i), 1.5, dashes[i%len(dashes)])
}

// fill draws the band.
func (c painter) fill(canvas *draw.Canvas, x, y func(float64) vg.Length) {
	low, high := c.band[0], c.band[1]
	var path vg.Path
	add := func(k int, v float64) {
		if to := (vg.Point{X: x(float64(k + 1)), Y: y(v)}); len(path) == 0 {
			path.Move(to)
		} else {
			path.Line(to)
		}
	}
	for _, k := range thin(low) {
		if c.shown(low[k]) {
			add(k, low[k])
		}
	}
	over := thin(high)
	for i := len(over) - 1; i >= 0; i-- {
		if k := over[i]; c.shown(high[k]) {
			add(k, high[k])
		}
	}
	if len(path) > 0 {
		path.Close()
		canvas.SetColor(bandColor)
		canvas.Fill(path)
	}
}

// maxBuckets is into how many parts a long line is cut. Of each its least and its greatest value are drawn, so that no peak is lost.
const maxBuckets = 240

// thin picks the places of a line that are drawn.
func thin(values []float64) []int {
	n := len(values)
	var picked []int
	if n <= 2*maxBuckets {
		for k := range n {
			picked = append(picked, k)
		}
		return picked
	}
	for b := range maxBuckets {
		from, to := b*n/maxBuckets, (b+1)*n/maxBuckets
		least, most := from, from
		for k := from; k < to; k++ {
			if values[k] < values[least] || math.IsNaN(values[least]) {
				least = k
			}
			if values[k] > values[most] || math.IsNaN(values[most]) {
				most = k
			}
		}
		picked = append(picked, min(least, most))
		if least != most {
			picked = append(picked, max(least, most))
		}
	}
	return picked
}
