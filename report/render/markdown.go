package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// Markdown writes r as GitHub's Markdown: the text of the table, its tables, lists and headings as such. Names from the model cannot
// become markup, mentions or links.
func Markdown(w io.Writer, r *report.Report, o Options) error {
	o.Width, o.Color, o.marked = 0, false, &marked{level: "###"}
	var b strings.Builder
	if err := o.write(&b, r); err != nil {
		return fmt.Errorf("report: markdown: %w", err)
	}
	o.marked.text(&b)
	if _, err := io.WriteString(w, o.marked.out.String()); err != nil {
		return fmt.Errorf("report: write: %w", err)
	}
	return nil
}

// heading marks a line of text as a heading. No name from a report can: what is not visible is escaped in it.
const heading = "\x01"

// marked is a document in Markdown.
type marked struct {
	out   strings.Builder
	level string // of the next heading: the first is the largest
	list  bool   // the last that was written is an entry of a list
}

// text takes the lines in b: headings, and what is no heading as paragraphs.
func (m *marked) text(b *strings.Builder) {
	for l := range strings.Lines(b.String()) {
		l = strings.TrimSpace(l)
		if l == "" {
			continue
		}
		m.endList()
		if title, ok := strings.CutPrefix(l, heading); ok {
			fmt.Fprintf(&m.out, "%s %s\n\n", m.level, entities(title))
			m.level = "####"
			continue
		}
		fmt.Fprintf(&m.out, "%s\n\n", entities(l))
	}
	b.Reset()
}

func (m *marked) endList() {
	if m.list {
		m.out.WriteByte('\n')
		m.list = false
	}
}

func (m *marked) item(code, text string) {
	fmt.Fprintf(&m.out, "- <code>%s</code>: %s\n", entities(code), entities(text))
	m.list = true
}

// sheet writes a table; the first column has names, which are set as code.
func (m *marked) sheet(cols []column, titles []string, rows []row, footer []string) {
	m.endList()
	line := func(cells []string, set func(i int, s string) string) {
		for i, c := range cells {
			m.out.WriteString("| " + set(i, c) + " ")
		}
		m.out.WriteString("|\n")
	}
	line(titles, func(_ int, s string) string { return entities(s) })
	for _, c := range cols {
		if c.right {
			m.out.WriteString("|--:")
		} else {
			m.out.WriteString("|---")
		}
	}
	m.out.WriteString("|\n")
	for _, r := range rows {
		line(r.cells, func(i int, s string) string {
			if i == nameColumn && s != "" {
				return "<code>" + entities(s) + "</code>"
			}
			return entities(s)
		})
	}
	if footer != nil {
		line(footer, func(_ int, s string) string {
			if s == "" {
				return ""
			}
			return "<b>" + entities(s) + "</b>"
		})
	}
	m.out.WriteByte('\n')
}

// entities writes each ASCII character that Markdown, HTML or GitHub may take for its own as an entity, so that text stays text. What
// cannot be markup where it stands is left alone: the source should be readable too.
func entities(s string) string {
	if s == none {
		return s
	}
	var b strings.Builder
	for i, c := range s {
		if c >= 0x80 || alphanumeric(s, i) || i > 0 && strings.ContainsRune(" ,;()\"%", c) {
			b.WriteRune(c)
			continue
		}
		inside := alphanumeric(s, i-1) && alphanumeric(s, i+1)
		keep := false
		switch c {
		case ' ', ',', '(', '"':
			keep = true
		case '.': // www. begins a link
			keep = inside && (i < 3 || !strings.EqualFold(s[i-3:i], "www"))
		case '_', '/':
			keep = inside
		case '-': // before a space it begins a list
			keep = i > 0 || alphanumeric(s, i+1)
		case ':': // before anything else it may be of a link or an emoji
			keep = i > 0 && i+1 < len(s) && s[i+1] == ' '
		}
		if keep {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, "&#%d;", c)
		}
	}
	return b.String()
}

// alphanumeric reports whether there is an ASCII letter or digit at s[i].
func alphanumeric(s string, i int) bool {
	if i < 0 || i >= len(s) {
		return false
	}
	c := s[i]
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
