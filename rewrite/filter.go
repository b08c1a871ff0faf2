package rewrite

import (
	"fmt"
	"regexp"
	"strings"
)

// Pattern chooses layers by name: a glob, in which * stands for any run of characters (dots too), ? for one and [...] for one of a
// set, matched against the whole name; or, after "re:", a regular expression matched anywhere in the name.
type Pattern struct {
	Text string
	re   *regexp.Regexp
}

// ParsePattern reads a pattern.
func ParsePattern(s string) (Pattern, error) {
	expr, isRE := strings.CutPrefix(s, "re:")
	if !isRE {
		var err error
		if expr, err = globExpr(s); err != nil {
			return Pattern{}, err
		}
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", s, err)
	}
	return Pattern{Text: s, re: re}, nil
}

// Literal is the text of a pattern that matches the layer called name alone.
func Literal(name string) string {
	if name == "" || strings.ContainsAny(name, `*?[\\`) || strings.HasPrefix(name, "re:") {
		return "re:^" + regexp.QuoteMeta(name) + "$"
	}
	return name
}

// Match reports whether the pattern chooses the layer called name.
func (p Pattern) Match(name string) bool { return p.re.MatchString(name) }

func globExpr(glob string) (string, error) {
	if glob == "" {
		return "", fmt.Errorf("pattern %q: is empty", glob)
	}
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteByte('.')
		case '[':
			end := strings.IndexByte(glob[i:], ']')
			if end < 2 {
				return "", fmt.Errorf("pattern %q: the set that [ opens is empty or not closed", glob)
			}
			set := glob[i+1 : i+end]
			b.WriteByte('[')
			if set[0] == '!' || set[0] == '^' {
				b.WriteByte('^')
				set = set[1:]
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`).Replace(set))
			b.WriteByte(']')
			i += end
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	b.WriteByte('$')
	return b.String(), nil
}
