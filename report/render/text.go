package render

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter/pkg/twwidth"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// safe makes a name from a file fit for a terminal line: at most limit columns wide, cut in the middle, and quoted with escapes
// if it is empty, begins with a quote, has spaces at its ends, or holds anything that is not a visible character.
func safe(name string, limit int) string {
	name = trim(name, limit)
	if name == "" || name[0] == '"' || name != strings.TrimSpace(name) || strings.ContainsFunc(name, hidden) || !utf8.ValidString(name) {
		name = strconv.Quote(name)
	}
	return cut(name, limit)
}

// maxText is the number of columns to which a sentence or another free text is cut. Reports written by this tool stay below it;
// what Decode reads may not.
const maxText = 1000

// maxWord is the same for a code, an operator or an element type.
const maxWord = 32

// line makes a sentence fit for a terminal: it escapes what is not visible, leaves quotes alone, and cuts only what is no sentence.
func line(s string) string { return visible(s, maxText) }

// word makes a code, an operator or an element type fit for a cell of a table.
func word(s string) string { return visible(s, maxWord) }

func visible(s string, limit int) string {
	s = trim(s, limit)
	if strings.ContainsFunc(s, hidden) || !utf8.ValidString(s) {
		q := strconv.Quote(s)
		s = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	}
	return cut(s, limit)
}

// trim drops the middle of a text that is far longer than limit columns can show, before anything looks at each of its characters:
// it may have ten megabytes.
func trim(s string, limit int) string {
	keep := utf8.UTFMax * limit
	if len(s) <= 3*keep {
		return s
	}
	head, tail := keep, len(s)-keep
	for i := 0; i < utf8.UTFMax && !utf8.RuneStart(s[head]); i++ {
		head--
	}
	for i := 0; i < utf8.UTFMax && !utf8.RuneStart(s[tail]); i++ {
		tail++
	}
	return s[:head] + "…" + s[tail:]
}

func hidden(c rune) bool { return report.Unsafe(c) || c != ' ' && !unicode.IsPrint(c) }

// columns is the number of terminal columns that s takes, escape sequences for color left out. Locales do not enter.
func columns(s string) int { return twwidth.WidthWithOptions(s, twwidth.Options{}) }

// cut shortens s to limit columns, an ellipsis in its middle: both ends of a layer's name matter. Each character counts as at
// least one column, so that a stack of combining marks does not pass for a short name.
func cut(s string, limit int) string {
	chars := []rune(s)
	width := func(c rune) int { return max(1, columns(string(c))) }
	total := 0
	for _, c := range chars {
		total += width(c)
	}
	if total <= limit {
		return s
	}
	limit = max(limit, 3) - 1
	head, tail := 0, len(chars)
	for used, front := 0, true; ; front = !front {
		c := chars[head]
		if !front {
			c = chars[tail-1]
		}
		if used += width(c); used > limit {
			break
		}
		if front {
			head++
		} else {
			tail--
		}
	}
	return string(chars[:head]) + "…" + string(chars[tail:])
}

// wrap breaks a sentence at spaces so that no line is wider than limit, unless a word is; lines after the first begin with indent.
// A limit of 0 leaves it whole.
func wrap(s string, limit int, indent string) string {
	if limit <= 0 {
		return s
	}
	var b strings.Builder
	used := 0
	for i, word := range strings.Split(s, " ") {
		n := columns(word)
		switch {
		case i == 0:
		case used+1+n > limit:
			b.WriteString("\n" + indent)
			used = columns(indent)
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
}

// Name makes a name from a file fit for a line of text: at most limit columns wide, cut in the middle, and quoted with escapes if it is
// empty, begins with a quote, has spaces at its ends, or holds anything that is not a visible character.
func Name(name string, limit int) string { return safe(name, limit) }

// Line makes a sentence fit for a line of text: it escapes what is not visible, and cuts only what is no sentence.
func Line(s string) string { return line(s) }

// Short shortens a line of text to limit columns, an ellipsis in its middle.
func Short(s string, limit int) string { return cut(s, limit) }
