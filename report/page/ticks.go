package page

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// ticks marks an axis at round numbers.
type ticks struct{ log bool }

// Ticks are the marks between low and high: multiples of 1, 2 or 5 times a power of ten or, of a logarithmic axis, those numbers
// themselves; only the powers where there are many.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	var marks []plot.Tick
	add := func(v float64) {
		if v >= low*(1-1e-9)-1e-300 && v <= high*(1+1e-9)+1e-300 || v >= low && v <= high {
			marks = append(marks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 6, 64)})
		}
	}
	if t.log {
		first, last := int(math.Floor(math.Log10(low))), int(math.Ceil(math.Log10(high)))
		every, factors := max(1, (last-first)/6), []float64{1, 2, 5}
		if last-first > 3 {
			factors = factors[:1]
		}
		for e := first; e <= last; e += every {
			for _, f := range factors {
				add(f * math.Pow(10, float64(e)))
			}
		}
		return marks
	}
	step := round((high - low) / 7)
	for k := math.Ceil(low / step); k*step <= high*(1+1e-9) && len(marks) < 20; k++ {
		v, _ := strconv.ParseFloat(strconv.FormatFloat(k*step, 'g', 6, 64), 64) // without the error of the product
		marks = append(marks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 6, 64)})
	}
	return marks
}

// round is the least of 1, 2 and 5 times a power of ten that is v or more.
func round(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= v*(1-1e-9) {
			return f * power
		}
	}
	return 10 * power
}

// whole marks an axis of layers or steps, which are counted from 1.
type whole struct{}

// Ticks are the first number and round ones.
func (w whole) Ticks(low, high float64) []plot.Tick {
	marks := []plot.Tick{{Value: 1, Label: "1"}}
	step := max(1, round((high-low)/6.5))
	for v := step; v <= high; v += step {
		if v > 1 && (v == step && step > 2 || v > step || v-1 >= step) {
			marks = append(marks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
		}
	}
	return marks
}

// named marks an axis of places with their names, the first at the top.
type named []string

// Ticks are the names.
func (n named) Ticks(low, high float64) []plot.Tick {
	marks := make([]plot.Tick, len(n))
	for i, name := range n {
		marks[i] = plot.Tick{Value: -float64(i), Label: name}
	}
	return marks
}
