package report_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// leaf is one field of the schema that holds a value, as "layers[].shape", with its type in JSON and its class.
type leaf struct{ path, kind, class string }

// walk lists the leaves below a struct and fails on whatever the encoder or the contract does not allow.
func walk(t *testing.T, typ reflect.Type, path string, leaves []leaf) []leaf {
	t.Helper()
	if typ.NumField() > 64 {
		t.Errorf("%s: %d fields, and the decoder keeps track of 64", typ, typ.NumField())
	}
	names := map[string]bool{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, class := f.Tag.Get("json"), f.Tag.Get("class")
		at := strings.TrimPrefix(path+"."+name, ".")
		if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(name) || names[name] {
			t.Errorf("%s.%s: json tag %q", typ, f.Name, name)
		}
		names[name] = true
		if since, ok := f.Tag.Lookup("since"); ok && !regexp.MustCompile(`^1\.[1-9][0-9]*$`).MatchString(since) {
			t.Errorf("%s.%s: since tag %q, want a minor version of schema 1 after 1.0", typ, f.Name, since)
		}
		ft, kind := f.Type, ""
		switch {
		case ft.Kind() == reflect.Pointer:
			ft, kind = ft.Elem(), " or null"
		case ft.Kind() == reflect.Slice:
			if ft, kind = ft.Elem(), " array"; ft.Kind() == reflect.Struct {
				at += "[]"
			}
		}
		if ft.Kind() == reflect.Struct {
			if class != "" {
				t.Errorf("%s.%s: a class belongs to the leaves", typ, f.Name)
			}
			leaves = walk(t, ft, at, leaves)
			continue
		}
		if class != "exact" && class != "tolerant" && class != "volatile" {
			t.Errorf("%s.%s: class %q", typ, f.Name, class)
		}
		switch ft.Kind() {
		case reflect.String:
			kind = "string" + kind
		case reflect.Bool:
			kind = "boolean" + kind
		case reflect.Int64:
			kind = "integer" + kind
		case reflect.Float32, reflect.Float64:
			if ft != reflect.TypeFor[report.Float32]() && ft != reflect.TypeFor[report.Float64]() {
				t.Errorf("%s.%s: a bare %s has no form for NaN", typ, f.Name, ft)
			}
			kind = "number" + kind
		default:
			t.Errorf("%s.%s: %s has no canonical form", typ, f.Name, f.Type)
		}
		leaves = append(leaves, leaf{at, kind, class})
	}
	return leaves
}

func TestEveryLeafHasANameAndAClass(t *testing.T) {
	leaves := walk(t, reflect.TypeFor[report.Report](), "", nil)
	for i, l := range leaves {
		inside := strings.HasPrefix(l.path, "volatile.")
		if inside != (l.class == "volatile") {
			t.Errorf("%s: class %s; volatile fields and they alone lie in the volatile object", l.path, l.class)
		}
		if inside && i < len(leaves)-1 && !strings.HasPrefix(leaves[i+1].path, "volatile.") {
			t.Errorf("%s follows the volatile object, which is last", leaves[i+1].path)
		}
	}
}

const doc = "../docs/REPORT.md"

// The tables of codes, the reader's list of fields and the sample in docs/REPORT.md are the code's own.
func TestTheDocumentedSchemaIsTheSchema(t *testing.T) {
	data, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, want := range map[string]string{
		"rules":    codeTable(report.Rules()),
		"reasons":  codeTable(report.Reasons()),
		"changes":  codeTable(report.Changes()),
		"warnings": codeTable(report.Warnings()),
		"example":  "```json\n" + string(encode(t, sample())) + "```\n",
		"section":  "```json\n" + string(encode(t, calibrated())) + "```\n",
		"verified": "```json\n" + string(encode(t, verified())) + "```\n",
		"benched":  "```json\n" + string(encode(t, benched())) + "```\n",
	} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
		i, j := strings.Index(text, begin), strings.Index(text, end)
		if i < 0 || j < i {
			t.Fatalf("%s has no part between %q and %q", doc, begin, end)
		}
		got := text[i+len(begin) : j]
		if *update {
			text = text[:i+len(begin)] + want + text[j:]
		} else if got != want {
			t.Errorf("%s: %s differ; go test ./report -update writes them\ngot:\n%s\nwant:\n%s", doc, name, got, want)
		}
	}
	if *update {
		if err := os.WriteFile(doc, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}

	reportPart, rest, ok := strings.Cut(text, "\n## Inspection\n")
	if !ok {
		t.Fatalf("%s has no section on inspection", doc)
	}
	if got, want := documented(rest), walk(t, reflect.TypeFor[report.Inspection](), "", nil); !reflect.DeepEqual(got, want) {
		t.Errorf("%s: the fields of an inspection are\n%v\nwant\n%v", doc, got, want)
	}
	var want []leaf
	for _, l := range walk(t, reflect.TypeFor[report.Report](), "", nil) {
		path, first := described(l.path)
		if !first {
			continue
		}
		l.path = path
		want = append(want, l)
	}
	if got := documented(reportPart); !reflect.DeepEqual(got, want) {
		t.Errorf("%s: the fields are\n%v\nwant\n%v", doc, got, want)
	}
}

// described is how the page names a field; first is false for a struct whose fields stand there under another name.
func described(path string) (name string, first bool) {
	for _, same := range []struct{ name, first, others string }{
		{"model.*.", "model.input.", "model.output."},
		{"calibration.layers[].*.", "calibration.layers[].input.", "calibration.layers[].weight."},
		{"bench.*.", "bench.model.", "bench.against."},
		{"verification.models[].*[].", "verification.models[].outputs[].", "verification.models[].layers[]."},
		{"verification.models[].*.", "verification.models[].original.", "verification.models[].rewritten."},
	} {
		if strings.HasPrefix(path, same.others) {
			return "", false
		}
		if rest, ok := strings.CutPrefix(path, same.first); ok {
			return same.name + rest, true
		}
	}
	return path, true
}

// documented lists the fields in the tables of a part of the page.
func documented(text string) (leaves []leaf) {
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z][^`]*)` \\| ([^|]*) \\| (exact|tolerant|volatile) \\|").FindAllStringSubmatch(text, -1) {
		leaves = append(leaves, leaf{m[1], m[2], m[3]})
	}
	return leaves
}

func codeTable[C ~string](list []report.CodeInfo[C]) string {
	var b bytes.Buffer
	b.WriteString("| code | sentence |\n|---|---|\n")
	for _, c := range list {
		fmt.Fprintf(&b, "| `%s` | %s |\n", c.Code, c.Template)
	}
	return b.String()
}

func checkList[C ~string](t *testing.T, source []byte, constant string, list []report.CodeInfo[C]) {
	t.Helper()
	var declared, listed []string
	for _, m := range regexp.MustCompile(constant+` = "([a-z0-9-]+)"`).FindAllSubmatch(source, -1) {
		declared = append(declared, string(m[1]))
	}
	for _, c := range list {
		listed = append(listed, string(c.Code))
		if strings.TrimSpace(c.Template) == "" || strings.ContainsAny(c.Template, "|\n") || strings.Count(c.Template, "{") != strings.Count(c.Template, "}") {
			t.Errorf("%s: template %q", c.Code, c.Template)
		}
	}
	if !reflect.DeepEqual(declared, listed) {
		t.Errorf("constants of type %s are %v\nthe list is %v", constant, declared, listed)
	}
	for i, c := range listed {
		for _, other := range listed[:i] {
			if c == other {
				t.Errorf("%s stands twice", c)
			}
		}
	}
}

func TestEveryConstantIsInItsClosedList(t *testing.T) {
	reason, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	change, err := os.ReadFile("change.go")
	if err != nil {
		t.Fatal(err)
	}
	checkList(t, reason, "RuleCode", report.Rules())
	checkList(t, reason, "ReasonCode", report.Reasons())
	checkList(t, change, "ChangeCode", report.Changes())
	checkList(t, change, "WarningCode", report.Warnings())
}

func TestSentencesQuoteNamesAndStayShort(t *testing.T) {
	for _, c := range []struct {
		template string
		args     []any
		want     string
	}{
		{"the weight {weight} has rank {rank}", []any{"fc1.w", 3}, `the weight "fc1.w" has rank 3`},
		{"shape {shape}", []any{[]int64{2, 3}}, "shape [2,3]"},
		{"because {why}", []any{report.Text("it is so")}, "because it is so"},
		{"{a} and {b}", []any{"x"}, `"x" and {b}`},
		{"{a}", []any{1, 2}, "1"},
		{"{a} {b}", []any{"{b}", "x"}, `"{b}" "x"`},
		{"{a}", []any{"\x1b[2J\u202e"}, `"\x1b[2J\u202e"`},
		{"{a", []any{1}, "{a"},
	} {
		if got := report.Fill(c.template, c.args...); got != c.want {
			t.Errorf("Fill(%q, %v) = %s, want %s", c.template, c.args, got, c.want)
		}
	}
	long := report.Fill("the weight {weight} is odd", strings.Repeat("é", 5_000_000))
	if len(long) > 400 || !strings.Contains(long, "…") || strings.Contains(long, "\uFFFD") {
		t.Errorf("a name of 10 MB gives a sentence of %d bytes: %.400s", len(long), long)
	}
}

func TestTotalsCountASharedWeightOnce(t *testing.T) {
	r := sample()
	want := report.Totals{
		Layers: 6, Rewritten: 3, Kept: 3, Elements: 512 + 64, Flushed: 3, BytesBefore: 2048 + 256, BytesAfter: 512 + 64,
		Rules: []report.RuleCount{{Code: report.RuleMatMul, Layers: 2}, {Code: report.RuleGemm, Layers: 1}},
		Reasons: []report.ReasonCount{{Code: report.ReasonNoConstantOperand, Layers: 1}, {Code: report.ReasonWeightNonfinite, Layers: 1},
			{Code: report.ReasonLeftConstantBatched, Layers: 1}},
	}
	if !reflect.DeepEqual(r.Totals, want) {
		t.Errorf("got  %+v\nwant %+v", r.Totals, want)
	}
	r.Finish()
	if !reflect.DeepEqual(r.Totals, want) {
		t.Error("a second Finish changes the totals")
	}
}

func TestQuantScalesAreSummedUp(t *testing.T) {
	if q := report.NewQuantScale(nil, false); q != nil {
		t.Errorf("no scales give %+v", q)
	}
	got := report.NewQuantScale([]float32{3, 1, 2}, true)
	if want := (report.QuantScale{Granularity: report.PerChannel, Count: 3, Min: 1, Max: 3}); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
}

func TestWeightSQNRIsANumberOrExactOrUnknown(t *testing.T) {
	var l report.Layer
	l.SetWeightSQNR(infinite)
	if l.WeightSQNRdB != nil || !l.WeightExact {
		t.Errorf("infinite: %v, exact %v", l.WeightSQNRdB, l.WeightExact)
	}
	l.SetWeightSQNR(30)
	if l.WeightSQNRdB == nil || *l.WeightSQNRdB != 30 || l.WeightExact {
		t.Errorf("30 dB: %v, exact %v", l.WeightSQNRdB, l.WeightExact)
	}
	l.SetWeightSQNR(float64(notANumber))
	if l.WeightSQNRdB != nil || l.WeightExact {
		t.Errorf("unknown: %v, exact %v", l.WeightSQNRdB, l.WeightExact)
	}
}
