package report

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// Encode writes r in canonical form: keys in the order of the schema, every key present, two spaces of indent, arrays of numbers
// and strings on one line, shortest round-trip numbers, a newline at the end. Equal reports give equal bytes, on every machine and
// with every version of Go: that is why the writer is this file and not encoding/json. Characters that steer a terminal or hide
// text (controls, bidirectional marks, zero-width characters) are escaped; bytes that are not UTF-8 become U+FFFD, since JSON
// cannot carry them.
//
// It fails on a report that was not finished, on codes that are not in the closed lists, and on write errors.
func Encode(w io.Writer, r *Report) error {
	if r.SchemaVersion != SchemaVersion {
		return fmt.Errorf("report: schema version %q, want %q: the report was not finished by this version", r.SchemaVersion, SchemaVersion)
	}
	if err := r.check(true); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return writeCanonical(w, reflect.ValueOf(r).Elem())
}

// EncodeInspection writes what inspect found in the same canonical form. It fails on write errors.
func EncodeInspection(w io.Writer, in *Inspection) error {
	return writeCanonical(w, reflect.ValueOf(in).Elem())
}

func writeCanonical(w io.Writer, v reflect.Value) error {
	buf := appendValue(nil, v, 0)
	if _, err := w.Write(append(buf, '\n')); err != nil {
		return fmt.Errorf("report: write: %w", err)
	}
	return nil
}

func appendValue(dst []byte, v reflect.Value, depth int) []byte {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return append(dst, "null"...)
		}
		return appendValue(dst, v.Elem(), depth)
	case reflect.Struct:
		dst = append(dst, '{')
		for i, f := range schemaFields(v.Type()) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendLine(dst, depth+1)
			dst = appendString(dst, f.name)
			dst = append(dst, ": "...)
			dst = appendValue(dst, v.Field(f.index), depth+1)
		}
		return append(appendLine(dst, depth), '}')
	case reflect.Slice:
		return appendSlice(dst, v, depth)
	case reflect.String:
		return appendString(dst, v.String())
	case reflect.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case reflect.Int64:
		return strconv.AppendInt(dst, v.Int(), 10)
	case reflect.Float32:
		return appendFloat(dst, v.Float(), 32)
	case reflect.Float64:
		return appendFloat(dst, v.Float(), 64)
	}
	// A test walks the schema and allows only the kinds above.
	panic("report: no JSON form for " + v.Type().String())
}

func appendSlice(dst []byte, v reflect.Value, depth int) []byte {
	lines := v.Type().Elem().Kind() == reflect.Struct
	dst = append(dst, '[')
	for i := range v.Len() {
		switch {
		case lines && i > 0:
			dst = appendLine(append(dst, ','), depth+1)
		case lines:
			dst = appendLine(dst, depth+1)
		case i > 0:
			dst = append(dst, ", "...)
		}
		dst = appendValue(dst, v.Index(i), depth+1)
	}
	if lines && v.Len() > 0 {
		dst = appendLine(dst, depth)
	}
	return append(dst, ']')
}

func appendLine(dst []byte, depth int) []byte {
	dst = append(dst, '\n')
	for range depth {
		dst = append(dst, "  "...)
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i, c := range s { // invalid bytes arrive as U+FFFD
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', byte(c))
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c > 0xffff && Unsafe(c):
			c -= 0x10000
			dst = appendEscape(appendEscape(dst, 0xd800+c>>10), 0xdc00+c&0x3ff)
		case Unsafe(c):
			dst = appendEscape(dst, c)
		case c == utf8.RuneError:
			dst = append(dst, "\uFFFD"...)
		default:
			dst = append(dst, s[i:i+utf8.RuneLen(c)]...)
		}
	}
	return append(dst, '"')
}

func appendEscape(dst []byte, unit rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[unit>>12&15], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15])
}

// Unsafe reports whether c steers a terminal, hides or reorders text: controls, line separators, bidirectional marks, zero-width
// and tag characters. The list is written out so that the canonical form does not move with Go's Unicode tables.
func Unsafe(c rune) bool {
	switch {
	case c < 0x20,
		0x7f <= c && c <= 0x9f,     // DEL and C1, which some terminals obey
		c == 0xad,                  // soft hyphen
		c == 0x61c,                 // Arabic letter mark
		c == 0x180e,                // Mongolian vowel separator
		0x200b <= c && c <= 0x200f, // zero width, left-to-right and right-to-left marks
		0x2028 <= c && c <= 0x202e, // line and paragraph separators, embeddings and overrides
		0x2060 <= c && c <= 0x206f, // word joiner, isolates, deprecated format characters
		c == 0xfeff,                // byte order mark
		0xfff9 <= c && c <= 0xfffb, // interlinear annotation
		0xe0000 <= c && c <= 0xe0fff:
		return true
	}
	return false
}
