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
	sections, err := Sections(r, o)
	if err != nil {
		return fmt.Errorf("report: markdown: %w", err)
	}
	jobs := 0
	for _, s := range sections {
		if s.Title != "" {
			jobs++
		}
	}
	var b strings.Builder
	level := "###" // the first heading is the largest
	heading := func(title string) {
		fmt.Fprintf(&b, "%s %s\n\n", level, entities(title))
		level = "####"
	}
	for _, s := range sections {
		if s.Title != "" && jobs > 1 {
			heading(s.Title)
		}
		for i, k := range s.Blocks {
			switch {
			case k.Heading != "":
				heading(k.Heading)
			case k.Table != nil:
				k.Table.markdown(&b)
			case k.Code != "":
				fmt.Fprintf(&b, "- <code>%s</code>: %s\n", entities(k.Code), entities(k.Text))
				if i+1 == len(s.Blocks) || s.Blocks[i+1].Code == "" {
					b.WriteByte('\n')
				}
			default:
				fmt.Fprintf(&b, "%s\n\n", entities(k.Text))
			}
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("report: write: %w", err)
	}
	return nil
}

// markdown writes a table; the first column has names, which are set as code.
func (t *Sheet) markdown(b *strings.Builder) {
	line := func(cells []string, set func(i int, s string) string) {
		for i, c := range cells {
			b.WriteString("| " + set(i, c) + " ")
		}
		b.WriteString("|\n")
	}
	line(t.Titles, func(_ int, s string) string { return entities(s) })
	for _, right := range t.Right {
		if right {
			b.WriteString("|--:")
		} else {
			b.WriteString("|---")
		}
	}
	b.WriteString("|\n")
	for _, r := range t.Rows {
		line(r, func(i int, s string) string {
			if i == nameColumn && s != "" {
				return "<code>" + entities(s) + "</code>"
			}
			return entities(s)
		})
	}
	if t.Footer != nil {
		line(t.Footer, func(_ int, s string) string {
			if s == "" {
				return ""
			}
			return "<b>" + entities(s) + "</b>"
		})
	}
	b.WriteByte('\n')
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
