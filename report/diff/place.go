package diff

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// place is where in a report a value stands: a field, or an entry of a list, whose key or index it has.
type place struct {
	parent *place
	name   string // of a field; key of an entry
	graph  string // of an entry that is a layer of a subgraph
	index  int
	entry  bool
	keyed  bool
}

// String is the path: layers["fc1"].amax.
func (p *place) String() string {
	var b strings.Builder
	p.write(&b, true)
	return b.String()
}

// pattern is the path with empty brackets: layers[].amax.
func (p *place) pattern() string {
	var b strings.Builder
	p.write(&b, false)
	return b.String()
}

func (p *place) write(b *strings.Builder, entries bool) {
	if p == nil {
		return
	}
	p.parent.write(b, entries)
	switch {
	case !p.entry:
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(p.name)
	case !entries:
		b.WriteString("[]")
	case !p.keyed:
		b.WriteString("[" + strconv.Itoa(p.index) + "]")
	default:
		b.WriteString("[" + quote(p.name))
		if p.graph != "" {
			b.WriteString(" in " + quote(p.graph))
		}
		b.WriteByte(']')
	}
}

// quote is s as a JSON string in which nothing hides or steers.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""` // a string has always a form
	}
	return escapeUnsafe(strings.TrimSuffix(b.String(), "\n"))
}

// escapeUnsafe writes the characters of JSON text that hide, reorder or steer as \u escapes. They stand in strings only.
func escapeUnsafe(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case !hidden(c) || c == '\n': // a line feed between JSON values: strings have it escaped
			b.WriteRune(c)
		case c > 0xffff:
			c -= 0x10000
			escape(&b, 0xd800+c>>10)
			escape(&b, 0xdc00+c&0x3ff)
		default:
			escape(&b, c)
		}
	}
	return b.String()
}

func escape(b *strings.Builder, unit rune) {
	const hex = "0123456789abcdef"
	b.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		b.WriteByte(hex[unit>>shift&15])
	}
}

func hidden(c rune) bool { return report.Unsafe(c) || c != ' ' && !unicode.IsPrint(c) }
