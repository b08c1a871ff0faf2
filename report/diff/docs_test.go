package diff

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/REPORT.md")

// The tables of docs/REPORT.md are the lists of this package.
func TestTheDocumentedListsAreTheLists(t *testing.T) {
	const doc = "../../docs/REPORT.md"
	data, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	kinds := "| kind | severity | what it says |\n|---|---|---|\n"
	for _, k := range Kinds() {
		kinds += fmt.Sprintf("| `%s` | %s | %s |\n", k.Kind, k.Severity, k.Sentence)
	}
	fields := map[FieldClass][]string{}
	for name, c := range classesByName() {
		fields[c] = append(fields[c], "`"+name+"`")
	}
	tolerances := "| class | relative | absolute | fields |\n|---|---|---|---|\n"
	for _, x := range DefaultTolerances() {
		slices.Sort(fields[x.Class])
		tolerances += fmt.Sprintf("| `%s` | %g | %g | %s |\n", x.Class, x.Relative, x.Absolute, strings.Join(fields[x.Class], ", "))
	}
	for name, want := range map[string]string{"kinds": kinds, "tolerances": tolerances} {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
		i, j := strings.Index(text, begin), strings.Index(text, end)
		if i < 0 || j < i {
			t.Fatalf("%s has no part between %q and %q", doc, begin, end)
		}
		if *update {
			text = text[:i+len(begin)] + want + text[j:]
		} else if got := text[i+len(begin) : j]; got != want {
			t.Errorf("%s: %s differ; go test ./report/diff -update writes them\ngot:\n%s\nwant:\n%s", doc, name, got, want)
		}
	}
	for _, f := range Formats() {
		if !strings.Contains(text, fmt.Sprintf("\n| `%s` |", f)) {
			t.Errorf("%s does not say what the format %s is", doc, f)
		}
	}
	if *update {
		if err := os.WriteFile(doc, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
