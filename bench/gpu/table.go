package main

import (
	"fmt"
	"io"
	"strings"
)

// row is a line of the table: something that was asked for.
type row struct {
	What string `json:"what"`
	Got  string `json:"got"`
	Bar  string `json:"bar"` // "" for what is only shown
	Met  bool   `json:"met"`
}

// below, above are rows with a bar; shown is one without.
func below(what string, got, bar float64, unit string) row {
	return row{what, number(got) + unit, "≤ " + number(bar) + unit, got <= bar}
}

func above(what string, got, bar float64, unit string) row {
	return row{what, number(got) + unit, "≥ " + number(bar) + unit, got >= bar}
}

func shown(what string, got float64, unit string) row {
	return row{What: what, Got: number(got) + unit, Met: true}
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
	met, bars := 0, 0
	for _, r := range rows {
		verdict := ""
		if r.Bar != "" {
			bars++
			verdict = "**no**"
			if r.Met {
				met++
				verdict = "yes"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(r.What), cell(r.Got), cell(r.Bar), verdict)
	}
	fmt.Fprintf(&b, "\n%d of %d bars are met\n", met, bars)
	_, err := io.WriteString(w, b.String())
	return err
}
