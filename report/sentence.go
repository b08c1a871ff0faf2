package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CodeInfo is one entry of a closed list: the code, and what it says.
type CodeInfo[C ~string] struct {
	Code C
	// Template is the sentence, with placeholders such as {weight}.
	Template string
}

// Text is an argument of a sentence that is put in as it is, where a string is put in as a quoted name.
type Text string

// maxNameInSentence is the length, in bytes, to which a name is cut in a sentence. The whole name stands in the layer.
const maxNameInSentence = 160

// Fill puts args, in order, into the placeholders of a template: a string as a quoted name (cut in the middle if it is very long),
// Text as it is, everything else as fmt prints it, slices with commas. A placeholder that has no argument stays; an argument that
// has no placeholder is left out.
func Fill(template string, args ...any) string {
	var b strings.Builder
	for {
		open := strings.IndexByte(template, '{')
		if open < 0 || len(args) == 0 {
			break
		}
		end := strings.IndexByte(template[open:], '}')
		if end < 0 {
			break
		}
		b.WriteString(template[:open])
		b.WriteString(argument(args[0]))
		template, args = template[open+end+1:], args[1:]
	}
	b.WriteString(template)
	return b.String()
}

func argument(a any) string {
	switch a := a.(type) {
	case string:
		return strconv.Quote(cutMiddle(a, maxNameInSentence))
	case Text:
		return string(a)
	case []int64:
		parts := make([]string, len(a))
		for i, d := range a {
			parts[i] = strconv.FormatInt(d, 10)
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return fmt.Sprint(a)
}

// cutMiddle shortens s to at most limit bytes, an ellipsis in its middle, without breaking a character.
func cutMiddle(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	keep := (limit - len("…")) / 2
	head, tail := keep, len(s)-keep
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	for tail < len(s) && !utf8.RuneStart(s[tail]) {
		tail++
	}
	return s[:head] + "…" + s[tail:]
}

func sentence[C ~string](list []CodeInfo[C], code C, args []any) string {
	for _, c := range list {
		if c.Code == code {
			return Fill(c.Template, args...)
		}
	}
	return ""
}
