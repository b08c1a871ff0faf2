package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// row is a line of the table: something that was asked for. What has a bar and was not measured, or did not run, is not met.
type row struct {
	What string `json:"what"`
	Got  string `json:"got"`
	Bar  string `json:"bar"` // "" for what is only shown
	Met  bool   `json:"met"`
}

// below, above are rows with a bar; shown is one without. NaN is what was not measured.
func below(what string, got, bar float64, unit string) row {
	return row{what, figure(got, unit), "≤ " + number(bar) + unit, got <= bar}
}

func above(what string, got, bar float64, unit string) row {
	return row{what, figure(got, unit), "≥ " + number(bar) + unit, got >= bar}
}

func shown(what string, got float64, unit string) row {
	return row{What: what, Got: figure(got, unit), Met: true}
}

func figure(v float64, unit string) string {
	if math.IsNaN(v) {
		return "not measured"
	}
	return number(v) + unit
}

// failed is a row for what could not be measured.
func failed(what string, err error) row {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return row{What: what, Got: first, Bar: "runs"}
}

func passed(what, got string) row { return row{What: what, Got: got, Bar: "passes", Met: true} }

// number writes a figure with four digits.
func number(v float64) string { return fmt.Sprintf("%.4g", v) }

// writeTable writes the rows as Markdown and says how many bars are met.
func writeTable(w io.Writer, rows []row) error {
	cell := func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", " ") }
	var b strings.Builder
	b.WriteString("| what | measured | bar | met |\n|---|---|---|---|\n")
	for _, r := range rows {
		verdict := ""
		if r.Bar != "" {
			verdict = "**no**"
			if r.Met {
				verdict = "yes"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(r.What), cell(r.Got), cell(r.Bar), verdict)
	}
	met, bars := tally(rows)
	fmt.Fprintf(&b, "\n%d of %d bars are met\n", met, bars)
	_, err := io.WriteString(w, b.String())
	return err
}

// tally counts the bars, and those that are met.
func tally(rows []row) (met, bars int) {
	for _, r := range rows {
		if r.Bar == "" {
			continue
		}
		bars++
		if r.Met {
			met++
		}
	}
	return met, bars
}

// verdict is an error where a bar is missed, or nothing was held against one.
func verdict(rows []row) error {
	met, bars := tally(rows)
	switch {
	case bars == 0:
		return errors.New("run: nothing was held against a bar")
	case met < bars:
		return fmt.Errorf("run: %d of %d bars are missed or not measured", bars-met, bars)
	}
	return nil
}
