package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxSize is the number of bytes beyond which Read refuses a file.
const MaxSize = 1 << 20

// Policy is what a file says.
type Policy struct {
	Model, Baseline, Data, Output, Device string // paths as the file has them

	sections map[string][]Setting
}

// Setting is a key of a section with its values as the command's flag takes them, one flag for each.
type Setting struct {
	Key    string
	Values []string
}

// Section gives the settings of a section in the order of Fields; false where the file does not have it.
func (p *Policy) Section(name string) ([]Setting, bool) {
	s, ok := p.sections[name]
	return s, ok
}

// Set puts a setting into a section, in place of one of its key, and reports whether the policy has the section. A policy converts
// whether it has that section or not, so it has it from then on.
func (p *Policy) Set(section string, s Setting) bool {
	settings, ok := p.sections[section]
	if !ok && section != Convert {
		return false
	}
	settings = slices.DeleteFunc(slices.Clone(settings), func(x Setting) bool { return x.Key == s.Key })
	p.sections[section] = append(settings, s)
	return true
}

// Error is a mistake in a file.
type Error struct {
	Line, Column int
	Text         string
	// Unknown is the key that is not known, Known those that are; both empty for another mistake.
	Unknown string
	Known   []string
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
}

func wrong(n *yaml.Node, format string, args ...any) error {
	return &Error{Line: n.Line, Column: n.Column, Text: fmt.Sprintf(format, args...)}
}

// Read reads a policy file: one YAML document of mappings, lists and plain values. Keys that the schema does not have, keys that stand
// twice, values of another type, anchors, aliases and tags are errors, each with its place; they are of type *Error but for text that is
// no YAML.
func Read(r io.Reader) (*Policy, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("policy: read: %w", err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("policy: larger than %d bytes", MaxSize)
	}
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("policy: the file is empty")
		}
		return nil, fmt.Errorf("policy: not YAML: %w", err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("policy: more than one document")
	}
	p, err := read(doc.Content[0])
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return p, nil
}

func read(root *yaml.Node) (*Policy, error) {
	fields := map[string][]Field{}
	for _, f := range Fields() {
		fields[f.Section] = append(fields[f.Section], f)
	}
	p := &Policy{sections: map[string][]Setting{}}
	have := map[string][]string{}
	err := entries(root, "the policy", func(key, value *yaml.Node) error {
		for _, s := range sections {
			if s.name != key.Value {
				continue
			}
			settings, err := section(value, s.name, fields[s.name])
			p.sections[s.name] = settings
			return err
		}
		for _, f := range fields[""] {
			if f.Key == key.Value {
				values, err := f.values(value)
				have[f.Key] = values
				return err
			}
		}
		known := names(fields[""])
		for _, s := range sections {
			known = append(known, s.name)
		}
		return unknown(key, "the policy", known)
	})
	if err != nil {
		return nil, err
	}
	for _, key := range required {
		if len(have[key]) == 0 || have[key][0] == "" {
			return nil, wrong(root, "the key %q is missing", key)
		}
	}
	for key, to := range map[string]*string{"model": &p.Model, "baseline": &p.Baseline, "data": &p.Data, "output": &p.Output, "device": &p.Device} {
		if v := have[key]; len(v) > 0 {
			*to = v[0]
		}
	}
	for _, s := range []string{Calibrate, Verify} {
		if _, ok := p.sections[s]; ok && p.Data == "" {
			return nil, wrong(root, "the key %q is missing, and there is a section %s", "data", s)
		}
	}
	return p, nil
}

// section reads the settings of a section, in the order of its fields.
func section(n *yaml.Node, name string, fields []Field) ([]Setting, error) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Anchor == "" {
		return nil, nil
	}
	got := map[string][]string{}
	err := entries(n, name, func(key, value *yaml.Node) error {
		for _, f := range fields {
			if f.Key == key.Value {
				values, err := f.values(value)
				got[f.Key] = values
				return err
			}
		}
		return unknown(key, name, names(fields))
	})
	var settings []Setting
	for _, f := range fields {
		if v, ok := got[f.Key]; ok {
			settings = append(settings, Setting{f.Key, v})
		}
	}
	return settings, err
}

// entries calls do for each entry of a mapping.
func entries(n *yaml.Node, what string, do func(key, value *yaml.Node) error) error {
	if err := plain(n); err != nil {
		return err
	}
	if n.Kind != yaml.MappingNode {
		return wrong(n, "%s is %s, want keys with values", what, describe(n))
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		for _, x := range []*yaml.Node{key, value} {
			if err := plain(x); err != nil {
				return err
			}
		}
		if key.Kind != yaml.ScalarNode || key.Tag != "!!str" {
			return wrong(key, "a key of %s is %s, want text", what, describe(key))
		}
		if seen[key.Value] {
			return wrong(key, "the key %q stands twice in %s", short(key.Value), what)
		}
		seen[key.Value] = true
		if err := do(key, value); err != nil {
			return err
		}
	}
	return nil
}

// plain refuses what would make a file mean something else than what it shows.
func plain(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return wrong(n, "anchors and aliases are not taken")
	case n.Style&yaml.TaggedStyle != 0:
		return wrong(n, "the tag %q is not taken", short(n.Tag))
	}
	return nil
}

func unknown(key *yaml.Node, where string, known []string) error {
	return &Error{Line: key.Line, Column: key.Column, Text: fmt.Sprintf("unknown key %q in %s", short(key.Value), where), Unknown: key.Value, Known: known}
}

func names(fields []Field) []string {
	var list []string
	for _, f := range fields {
		list = append(list, f.Key)
	}
	return list
}

// values reads the value of a field as flags take it.
func (f *Field) values(n *yaml.Node) ([]string, error) {
	mismatch := func(n *yaml.Node) error { return wrong(n, "%s is %s, want %s", f.Key, describe(n), f.Type) }
	switch f.Type {
	case Texts:
		if n.Kind != yaml.SequenceNode {
			if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
				return nil, mismatch(n)
			}
			return []string{n.Value}, nil
		}
		values := []string{}
		for _, x := range n.Content {
			if err := plain(x); err != nil {
				return nil, err
			}
			if x.Kind != yaml.ScalarNode || x.Tag != "!!str" {
				return nil, wrong(x, "an entry of %s is %s, want text in quotes", f.Key, describe(x))
			}
			values = append(values, x.Value)
		}
		return values, nil
	case Tolerances:
		if n.Kind == yaml.MappingNode {
			values := []string{}
			err := entries(n, f.Key, func(key, value *yaml.Node) error {
				v, ok := number(value)
				if !ok || strings.Contains(key.Value, "=") || key.Value == "" {
					return wrong(value, "%s of %q is %s, want a number for a class", f.Key, short(key.Value), describe(value))
				}
				values = append(values, key.Value+"="+v)
				return nil
			})
			return values, err
		}
	}
	if n.Kind != yaml.ScalarNode {
		return nil, mismatch(n)
	}
	value, ok := n.Value, false
	switch f.Type {
	case Text:
		ok = n.Tag == "!!str"
		if ok && f.Words != nil && !slices.Contains(f.Words, value) {
			return nil, wrong(n, "%s is %q, want %s", f.Key, short(value), strings.Join(f.Words, " or "))
		}
	case Whole:
		v, err := strconv.ParseInt(value, 10, 64)
		ok = err == nil && n.Tag == "!!int"
		value = strconv.FormatInt(v, 10)
		if ok && f.Words != nil && !slices.Contains(f.Words, value) {
			return nil, wrong(n, "%s is %s, want %s", f.Key, value, strings.Join(f.Words, " or "))
		}
	case Number, Tolerances:
		value, ok = number(n)
	case Switch:
		ok = n.Tag == "!!bool"
		value = strings.ToLower(value)
		ok = ok && (value == "true" || value == "false")
	}
	if !ok {
		return nil, mismatch(n)
	}
	return []string{value}, nil
}

// number is a finite number as a flag takes it.
func number(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" || plain(n) != nil {
		return "", false
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	return strconv.FormatFloat(v, 'g', -1, 64), err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// describe says what a node is.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	if n.Tag == "!!str" {
		return strconv.Quote(short(n.Value))
	}
	return short(n.Value)
}

// short cuts what an error quotes.
func short(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
