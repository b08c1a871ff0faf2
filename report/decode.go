package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxSize is the number of bytes beyond which Decode refuses a report. Two thousand layers over a thousand steps take a quarter
// of it.
const MaxSize = 256 << 20

// Decode reads a report. It trusts nothing in it:
//
//   - the size is at most MaxSize, the text one JSON object in UTF-8, and memory stays in proportion to it;
//   - another major version is refused;
//   - of this minor version or an older one, every key that the version defines stands exactly once and no other does; the codes
//     are in the closed lists; the totals are the sums of the layers;
//   - of a newer minor version, keys and codes that are not known are passed over. Encode refuses such a report, since it would
//     lose them.
//
// The order of keys and the white space are free. Slices of the result are never nil. Errors name the place: "layers[3].amax".
func Decode(r io.Reader) (*Report, error) {
	var data bytes.Buffer // which grows in larger steps than io.ReadAll
	if f, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() <= MaxSize {
			data.Grow(int(info.Size()) + bytes.MinRead) // and not at all where the size is known
		}
	}
	if _, err := data.ReadFrom(io.LimitReader(r, MaxSize+1)); err != nil {
		return nil, fmt.Errorf("report: read: %w", err)
	}
	rep, err := decode(data.Bytes())
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return rep, nil
}

func decode(data []byte) (*Report, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("larger than %d bytes", MaxSize)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("not UTF-8")
	}
	if !json.Valid(data) {
		var raw json.RawMessage
		return nil, fmt.Errorf("not JSON: %w", json.Unmarshal(data, &raw))
	}
	text, err := findVersion(data)
	if err != nil {
		return nil, err
	}
	v, err := parseVersion(text)
	if err != nil {
		return nil, err
	}
	own := ownVersion()
	if v.major != own.major {
		return nil, fmt.Errorf("schema version %s, want %d.x", text, own.major)
	}
	d := decoder{scanner: scanner{data: data}, minor: v.minor, newer: v.minor > own.minor, fields: map[reflect.Type][]field{}}
	rep := new(Report)
	if err := d.value(reflect.ValueOf(rep).Elem(), nil); err != nil {
		return nil, err
	}
	return rep, rep.check(!d.newer)
}

// findVersion returns the first schema_version of the outermost object.
func findVersion(data []byte) (string, error) {
	s := scanner{data: data}
	if s.peek() != '{' {
		return "", fmt.Errorf("not a JSON object")
	}
	for s.enter(); s.more('}'); {
		if s.text() != "schema_version" {
			s.skip()
			continue
		}
		if s.peek() != '"' {
			return "", fmt.Errorf("schema_version: not a string")
		}
		return s.text(), nil
	}
	return "", fmt.Errorf("no schema_version: not a report of this tool")
}

// scanner walks over text that json.Valid has accepted, so it need not look for errors in the syntax.
type scanner struct {
	data []byte
	pos  int
}

// peek returns the first byte of the next value or delimiter.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// enter steps over the opening delimiter of an object or array.
func (s *scanner) enter() { s.peek(); s.pos++ }

// more reports whether another element follows; if not, it steps over the closing delimiter.
func (s *scanner) more(end byte) bool {
	if s.peek() == end {
		s.pos++
		return false
	}
	return true
}

// text reads a string.
func (s *scanner) text() string {
	s.peek()
	start, escaped := s.pos, false
	for s.pos++; s.data[s.pos] != '"'; s.pos++ {
		if s.data[s.pos] == '\\' {
			escaped = true
			s.pos++
		}
	}
	s.pos++
	raw := s.data[start:s.pos]
	if !escaped {
		return string(raw[1 : len(raw)-1])
	}
	var out string
	_ = json.Unmarshal(raw, &out) // cannot fail: the text is valid
	return out
}

// literal reads a number, true, false or null.
func (s *scanner) literal() string {
	s.peek()
	start := s.pos
	for s.pos < len(s.data) && strings.IndexByte(" \t\r\n,:]}", s.data[s.pos]) < 0 {
		s.pos++
	}
	return string(s.data[start:s.pos])
}

// skip steps over one value of any kind.
func (s *scanner) skip() {
	for depth := 0; ; {
		switch s.peek() {
		case '{', '[':
			depth++
			s.pos++
		case '}', ']':
			depth--
			s.pos++
		case '"':
			s.text()
		default:
			s.literal()
		}
		if depth == 0 {
			return
		}
	}
}

// decoder reads values by the schema that the structs declare.
type decoder struct {
	scanner
	minor  int  // of the text
	newer  bool // than this schema
	fields map[reflect.Type][]field
	length int // of the last list of numbers: that of the next one, mostly
}

// path is where the decoder stands, for errors; nil is the outermost object.
type path struct {
	parent *path
	name   string // of a field; "" for an element
	index  int
}

func (p *path) String() string {
	if p == nil {
		return ""
	}
	if p.name == "" {
		return p.parent.String() + "[" + strconv.Itoa(p.index) + "]"
	}
	if p.parent == nil {
		return p.name
	}
	return p.parent.String() + "." + p.name
}

func (p *path) errorf(format string, args ...any) error {
	if p == nil {
		return fmt.Errorf(format, args...)
	}
	return fmt.Errorf("%s: "+format, append([]any{p}, args...)...)
}

func (d *decoder) value(v reflect.Value, at *path) error {
	kind, c := v.Kind(), d.peek()
	if kind == reflect.Pointer {
		if c == 'n' {
			d.literal()
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(v.Elem(), at)
	}
	switch {
	case kind == reflect.Struct && c == '{':
		return d.object(v, at)
	case kind == reflect.Slice && c == '[':
		return d.array(v, at)
	case kind == reflect.String && c == '"':
		v.SetString(d.text())
		return nil
	case kind == reflect.Bool && (c == 't' || c == 'f'):
		v.SetBool(d.literal() == "true")
		return nil
	case kind == reflect.Int64 && (c == '-' || c >= '0' && c <= '9'):
		text := d.literal()
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return at.errorf("%q is not a 64-bit integer", cutMiddle(text, 40))
		}
		v.SetInt(n)
		return nil
	case kind == reflect.Float32 || kind == reflect.Float64:
		return d.float(v, c, at)
	}
	return at.errorf("got %s, want %s", valueName(c), kindName(kind))
}

func (d *decoder) float(v reflect.Value, c byte, at *path) error {
	var text string
	switch {
	case c == '"':
		text = d.text()
	case c == '-' || c >= '0' && c <= '9':
		text = d.literal()
	default:
		return at.errorf("got %s, want a number", valueName(c))
	}
	f, ok := parseFloat(text, c == '"', v.Type().Bits())
	if !ok {
		return at.errorf("%q is not a float%d", cutMiddle(text, 40), v.Type().Bits())
	}
	v.SetFloat(f)
	return nil
}

func (d *decoder) array(v reflect.Value, at *path) error {
	switch to := v.Addr().Interface().(type) { // nearly all of a long calibration
	case *[]Float32:
		return numbers(d, to, at)
	case *[]Float64:
		return numbers(d, to, at)
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	d.enter()
	zero := reflect.Zero(v.Type().Elem())
	for i := 0; d.more(']'); i++ {
		v.Set(reflect.Append(v, zero))
		if err := d.value(v.Index(i), &path{parent: at, index: i}); err != nil {
			return err
		}
	}
	return nil
}

// numbers reads an array of numbers without reflection.
func numbers[F Float32 | Float64](d *decoder, to *[]F, at *path) error {
	list := make([]F, 0, min(d.length, (len(d.data)-d.pos)/2)) // two bytes a number, at least
	bits := 64
	if _, single := any(list).([]Float32); single {
		bits = 32
	}
	d.enter()
	for i := 0; d.more(']'); i++ {
		c := d.peek()
		if c != '"' && c != '-' && (c < '0' || c > '9') {
			return (&path{parent: at, index: i}).errorf("got %s, want a number", valueName(c))
		}
		var f float64
		var ok bool
		start := d.pos
		if c == '"' {
			f, ok = parseFloat(d.text(), true, bits)
		} else {
			f, ok = parseFloat(string(d.number()), false, bits) // which stays on the stack
		}
		if !ok {
			return (&path{parent: at, index: i}).errorf("%q is not a float%d", cutMiddle(strings.Trim(string(d.data[start:d.pos]), `"`), 40), bits)
		}
		list = append(list, F(f))
	}
	d.length = len(list)
	if cap(list) > 2*len(list) { // the guess was too long: the room goes back
		list = append([]F{}, list...)
	}
	*to = slices.Clip(list)
	return nil
}

// number reads a number; the result is part of the text.
func (s *scanner) number() []byte {
	s.peek()
	start := s.pos
	for s.pos < len(s.data) && (s.data[s.pos] >= '0' && s.data[s.pos] <= '9' || s.data[s.pos] == '.' || s.data[s.pos] == 'e' || s.data[s.pos] == 'E' || s.data[s.pos] == '-' || s.data[s.pos] == '+') {
		s.pos++
	}
	return s.data[start:s.pos]
}

func (d *decoder) object(v reflect.Value, at *path) error {
	fields, ok := d.fields[v.Type()]
	if !ok {
		fields = schemaFields(v.Type())
		d.fields[v.Type()] = fields
	}
	var seen uint64 // by place in fields; a test holds every struct under 64
	next := 0       // the field that follows in canonical order
	for d.enter(); d.more('}'); {
		key := d.text()
		i := next
		if i >= len(fields) || fields[i].name != key {
			i = 0
			for i < len(fields) && fields[i].name != key {
				i++
			}
		}
		if i == len(fields) || fields[i].since > d.minor {
			if d.newer {
				d.skip()
				continue
			}
			return at.errorf("unknown key %q", cutMiddle(key, 80))
		}
		if seen&(1<<i) != 0 {
			return at.errorf("key %q stands twice", key)
		}
		seen |= 1 << i
		next = i + 1
		if err := d.value(v.Field(fields[i].index), &path{parent: at, name: key}); err != nil {
			return err
		}
	}
	for i, f := range fields {
		if f.since <= d.minor && seen&(1<<i) == 0 {
			return at.errorf("no key %q", f.name)
		}
	}
	return nil
}

func valueName(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Struct:
		return "an object"
	case reflect.Slice:
		return "an array"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	}
	return "an integer"
}
