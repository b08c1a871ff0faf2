package render

import (
	"fmt"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// Section is a part of what Table writes, for another form. The first has the model and no title, then comes one for each job, then one
// about all of them, which has no title either.
type Section struct {
	Title  string
	Blocks []Block
}

// Block is a heading, a table, an entry of a list (a code with its sentence), or else a line of text. Whatever came from a report is fit
// for a line of text in it, and no markup: see Table.
type Block struct {
	Heading string
	Table   *Sheet
	Code    string
	Text    string
}

// Sheet is a table. Its first column has names.
type Sheet struct {
	Titles []string
	Right  []bool // columns whose cells end at the right
	Rows   [][]string
	Footer []string // nil where there is none
}

// Sections gives what Table writes, in parts. Of o it heeds All alone.
func Sections(r *report.Report, o Options) ([]Section, error) {
	o = Options{All: o.All, marked: &marked{sections: []Section{{}}}}
	var b strings.Builder
	if err := o.write(&b, r); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	o.marked.text(&b)
	return o.marked.sections, nil
}

// heading marks a line of text as a heading. No name from a report can: what is not visible is escaped in it.
const heading = "\x01"

// marked collects what is written, as what it is.
type marked struct{ sections []Section }

func (m *marked) add(k Block) {
	s := &m.sections[len(m.sections)-1]
	s.Blocks = append(s.Blocks, k)
}

// text takes the lines in b: headings, and text.
func (m *marked) text(b *strings.Builder) {
	for l := range strings.Lines(b.String()) {
		l = strings.TrimSpace(l)
		if title, ok := strings.CutPrefix(l, heading); ok {
			m.add(Block{Heading: title})
		} else if l != "" {
			m.add(Block{Text: l})
		}
	}
	b.Reset()
}

// section begins a section, after what b holds.
func (m *marked) section(b *strings.Builder, title string) {
	m.text(b)
	m.sections = append(m.sections, Section{Title: title})
}

// sheet adds a table, after what b holds.
func (m *marked) sheet(b *strings.Builder, cols []column, rows []row, footer []string) {
	m.text(b)
	s := &Sheet{Footer: footer}
	for _, c := range cols {
		s.Titles, s.Right = append(s.Titles, c.title), append(s.Right, c.right)
	}
	for _, r := range rows {
		s.Rows = append(s.Rows, r.cells)
	}
	m.add(Block{Table: s})
}

// item adds an entry of a list, after what b holds.
func (m *marked) item(b *strings.Builder, code, text string) {
	m.text(b)
	m.add(Block{Code: code, Text: text})
}
