package onnxpb_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
)

// TestSchemaIsTheOneOfTheOnnxPackage compares the generated descriptors with
// testdata/schema.txt, which testdata/schema.py prints from the onnx Python
// package: every message, field, number, label, type, packing, reserved
// number and name, and enum value. Membership in a oneof is left out on
// purpose: the schema says why it has none.
func TestSchemaIsTheOneOfTheOnnxPackage(t *testing.T) {
	text, err := os.ReadFile("testdata/schema.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			line, _, _ = strings.Cut(line, " oneof:")
			want[line] = true
		}
	}
	file := onnxpb.File_internal_onnxpb_onnx_ir13_proto
	got := map[string]bool{"syntax " + file.Syntax().String(): true}
	add := func(format string, args ...any) { got[fmt.Sprintf(format, args...)] = true }
	describeEnums(add, file.Enums())
	describeMessages(add, file.Messages())

	if len(want) < 200 {
		t.Errorf("testdata/schema.txt: got %d lines, want a whole schema", len(want))
	}
	for _, line := range missing(want, got) {
		t.Errorf("onnx has %q, the bindings do not", line)
	}
	for _, line := range missing(got, want) {
		t.Errorf("the bindings have %q, onnx does not", line)
	}
}

func missing(from, in map[string]bool) []string {
	var lines []string
	for line := range from {
		if !in[line] {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// local is a descriptor's name without the proto package.
func local(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package())+".")
}

func describeEnums(add func(string, ...any), enums protoreflect.EnumDescriptors) {
	for i := range enums.Len() {
		e := enums.Get(i)
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			add("enum %s %s = %d", local(e), v.Name(), v.Number())
		}
	}
}

func describeMessages(add func(string, ...any), messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		m := messages.Get(i)
		add("message %s", local(m))
		for j := range m.ReservedRanges().Len() {
			r := m.ReservedRanges().Get(j) // the end is exclusive
			add("reserved %s %d to %d", local(m), r[0], r[1]-1)
		}
		for j := range m.ReservedNames().Len() {
			add("reserved %s %s", local(m), m.ReservedNames().Get(j))
		}
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			line := fmt.Sprintf("field %s %s = %d %s %s", local(m), f.Name(), f.Number(), f.Cardinality(), f.Kind())
			switch {
			case f.Message() != nil:
				line += " " + local(f.Message())
			case f.Enum() != nil:
				line += " " + local(f.Enum())
			}
			if f.IsPacked() {
				line += " packed"
			}
			if f.HasDefault() {
				line += " default:" + f.Default().String()
			}
			add("%s", line)
		}
		describeEnums(add, m.Enums())
		describeMessages(add, m.Messages())
	}
}
