package policy

import (
	"bytes"
	"encoding/json"
)

// Type is the type of a setting.
type Type string

// The types.
const (
	Text       Type = "text"
	Whole      Type = "whole number"
	Number     Type = "number"
	Switch     Type = "true or false"
	Texts      Type = "list of texts"               // or one text
	Tolerances Type = "number, or numbers by class" // of a field class of a report
)

// Field is a key of the file.
type Field struct {
	Section string // "" for the file's own keys
	Key     string
	Type    Type
	Says    string
	Words   []string // the values that are allowed; nil for any
}

// The sections.
const (
	Convert   = "convert"
	Calibrate = "calibrate"
	Verify    = "verify"
	Diff      = "diff"
)

// sections are the sections with what they are for.
var sections = []struct{ name, says string }{
	{Convert, "flags of fp8rewrite convert"},
	{Calibrate, "flags of fp8rewrite calibrate; without this section nothing is calibrated"},
	{Verify, "flags of fp8rewrite verify; without this section nothing is verified"},
	{Diff, "flags of fp8rewrite diff"},
}

// Fields lists every key in the order of the schema.
func Fields() []Field {
	fields := []Field{
		{"", "version", Whole, "version of this file's form", []string{"1"}},
		{"", "model", Text, "the trained model; paths are relative to the policy file", nil},
		{"", "baseline", Text, "the report to compare with", nil},
		{"", "data", Text, "batches: a .npz, .npy or .safetensors file, a folder of those, or ONNX test sets", nil},
		{"", "output", Text, "file for the model that comes out; without it none is kept", nil},
		{"", "device", Text, "engine that calibrates and verifies: cpu, cuda, cuda:N, ort or auto", nil},
		{Convert, "recipe", Text, "scaling: delayed, dynamic, or per operand such as i:del,w:del,go:del", nil},
		{Convert, "history-len", Whole, "amaxes kept per operand", nil},
		{Convert, "amax-compute", Text, "amax from a history", []string{"max", "most_recent"}},
		{Convert, "margin", Whole, "divide scales by 2 to this power", nil},
		{Convert, "power-of-two", Switch, "floor scales to a power of two", nil},
		{Convert, "per-channel", Switch, "one weight scale per output channel", nil},
		{Convert, "weights", Text, "stored weights", []string{"float8", "original"}},
		{Convert, "include", Texts, "rewrite only layers whose name matches a glob, or a regular expression after re:", nil},
		{Convert, "exclude", Texts, "keep layers whose name matches a glob, or a regular expression after re:", nil},
		{Convert, "multiple-of", Whole, "keep layers with a dimension that is no multiple of this", nil},
		{Convert, "min-dim", Whole, "keep layers with a dimension below this", nil},
		{Convert, "assume-constant", Switch, "take initializers that are also graph inputs for constants", nil},
		{Convert, "observe", Switch, "make the amax of every layer a graph output", nil},
		{Convert, "external-data", Switch, "write weights to a data file beside the model", nil},
	}
	for _, s := range []string{Calibrate, Verify} {
		fields = append(fields,
			Field{s, "prefix", Text, "what stands before an input's name in the name of its array", nil},
			Field{s, "input", Texts, "the array of an input, as INPUT=ARRAY", nil},
			Field{s, "whole", Texts, "inputs whose array is given whole at every step", nil},
			Field{s, "batch-size", Whole, "rows of a step", nil},
			Field{s, "steps", Whole, "batches to run", nil},
			Field{s, "allow-nonfinite", Switch, "let Inf and NaN in the data through to the model", nil},
			Field{s, "labels", Text, "array with the right classes", nil},
			Field{s, "logits", Text, "output that the labels judge", nil},
			Field{s, "compute", Text, "what a GPU computes float32 in where it is not float8", []string{"float32", "bfloat16"}},
			Field{s, "accumulate", Text, "how a GPU sums float8 products", []string{"auto", "fast", "float32"}})
	}
	return append(fields,
		Field{Calibrate, "no-amax-init", Switch, "cast the first batch with scale 1", nil},
		Field{Calibrate, "freeze", Switch, "store the final scales as static ones", nil},
		Field{Verify, "min-sqnr", Number, "gate: least SQNR of every output in dB", nil},
		Field{Verify, "max-loss-increase", Number, "gate: largest increase of the mean cross-entropy, in nats", nil},
		Field{Verify, "max-accuracy-drop", Number, "gate: largest drop of the accuracy, 0 to 1", nil},
		Field{Verify, "sensitivity", Switch, "rank the layers by what each alone costs", nil},
		Field{Diff, "fail-on", Texts, "kinds of difference that fail, or error, warning, note, all, none", nil},
		Field{Diff, "rel-tol", Tolerances, "relative tolerance, 0 to 1", nil},
		Field{Diff, "abs-tol", Tolerances, "absolute tolerance", nil})
}

// required are the keys that every file has.
var required = []string{"version", "model", "baseline"}

// property is a part of a JSON schema.
type property struct {
	Description string     `json:"description,omitempty"`
	Type        any        `json:"type,omitempty"`
	Enum        []string   `json:"enum,omitempty"`
	Const       int        `json:"const,omitempty"`
	Items       *property  `json:"items,omitempty"`
	OneOf       []property `json:"oneOf,omitempty"`
	Properties  properties `json:"properties,omitempty"`
	Additional  any        `json:"additionalProperties,omitempty"`
	Required    []string   `json:"required,omitempty"`
}

// properties keep their order.
type properties []struct {
	key   string
	value property
}

// MarshalJSON writes an object in order.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, x := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(x.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(x.value)
		if err != nil {
			return nil, err
		}
		b.Write(append(append(key, ':'), value...))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Schema is the JSON schema of the file, draft 2020-12.
func Schema() ([]byte, error) {
	of := func(section string) properties {
		var list properties
		for _, f := range Fields() {
			if f.Section == section {
				list = append(list, struct {
					key   string
					value property
				}{f.Key, f.property()})
			}
		}
		return list
	}
	top := of("")
	for _, s := range sections {
		top = append(top, struct {
			key   string
			value property
		}{s.name, property{Description: s.says, Type: []string{"object", "null"}, Properties: of(s.name), Additional: false}})
	}
	doc := struct {
		Schema string `json:"$schema"`
		Title  string `json:"title"`
		property
	}{"https://json-schema.org/draft/2020-12/schema", "fp8rewrite policy", property{Type: "object", Required: required, Properties: top, Additional: false}}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (f *Field) property() property {
	p := property{Description: f.Says}
	switch f.Type {
	case Text:
		p.Type, p.Enum = "string", f.Words
	case Whole:
		p.Type = "integer"
		if f.Key == "version" {
			p.Const = 1
		}
	case Number:
		p.Type = "number"
	case Switch:
		p.Type = "boolean"
	case Texts:
		p.OneOf = []property{{Type: "string"}, {Type: "array", Items: &property{Type: "string"}}}
	case Tolerances:
		p.OneOf = []property{{Type: "number"}, {Type: "object", Additional: property{Type: "number"}}}
	}
	return p
}
