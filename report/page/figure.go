package page

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// figure is a plot with the table of what it shows.
type figure struct {
	title string
	note  string // what there is to see, in a sentence or two
	chart chart
	table render.Sheet
}

// chart is what a plot shows: values of series, at layers, steps or other places.
type chart struct {
	axis   string // of the values, with their unit
	log    bool
	zero   bool     // the axis of values begins at 0
	places []string // names of the places; nil for steps
	across string   // what the places are, such as "layer"
	series []series
	// band is the area between two series that have no lines of their own.
	band [2][]float64
}

// series is a value for each place, NaN where there is none.
type series struct {
	name   string
	values []float64
	line   bool // else marks
}

// empty reports whether there is nothing to show.
func (c *chart) empty() bool {
	for _, s := range c.series {
		for _, v := range s.values {
			if c.shown(v) {
				return false
			}
		}
	}
	return true
}

// shown reports whether a value has a place on the axis.
func (c *chart) shown(v float64) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!c.log || v > 0)
}

// bounds is the least and the greatest value that has a place.
func (c *chart) bounds() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	take := func(values []float64) {
		for _, v := range values {
			if c.shown(v) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	for _, s := range c.series {
		take(s.values)
	}
	take(c.band[0])
	take(c.band[1])
	if c.zero {
		low, high = min(low, 0), max(high, 0)
	}
	return low, high
}

// maxName is the number of columns of a name in a table.
const maxName = 64

// layerName is the name of a layer as the other forms have it.
func layerName(name, graph string) string {
	s := render.Name(name, maxName)
	if graph != "" {
		s += " in " + render.Name(graph, maxName/2)
	}
	return s
}

const nothing = "–"

// digits writes a number with four digits.
func digits(v float64) string {
	if math.IsNaN(v) {
		return nothing
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// percent writes a share, which is a hundredth of what it says, with three digits.
func percent(v float64) string {
	if math.IsNaN(v) {
		return nothing
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + "%"
}

// cells adds columns of values to a table; the first has the names.
func cells(title string, names []string, how func(float64) string, cols ...series) render.Sheet {
	s := render.Sheet{Titles: []string{"#", title}, Right: []bool{true, false}}
	for _, c := range cols {
		s.Titles, s.Right = append(s.Titles, c.name), append(s.Right, true)
	}
	for i, n := range names {
		row := []string{strconv.Itoa(i + 1), n}
		for _, c := range cols {
			row = append(row, how(c.values[i]))
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

// extremes says where the least and the greatest value of a series are, and the median.
func extremes(what string, names []string, values []float64, how func(float64) string) string {
	least, most := -1, -1
	var finite []float64
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		finite = append(finite, v)
		if least < 0 || v < values[least] {
			least = i
		}
		if most < 0 || v > values[most] {
			most = i
		}
	}
	switch {
	case len(finite) == 0:
		return ""
	case values[least] == values[most] && len(finite) > 1:
		return fmt.Sprintf("%s: %s everywhere.", what, how(values[least]))
	case len(finite) == 1:
		return fmt.Sprintf("%s: %s (%s).", what, how(values[least]), names[least])
	}
	return fmt.Sprintf("%s: from %s (%s) to %s (%s), median %s.", what, how(values[least]), names[least], how(values[most]), names[most], how(median(finite)))
}

// median is the middle of the values, which it sorts; the lower one of two.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// value is a number that may be missing.
func value[F report.Float32 | report.Float64](p *F) float64 {
	if p == nil {
		return math.NaN()
	}
	return float64(*p)
}
