package diff

import (
	"reflect"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// TestEveryFieldHasAKindOrAClass walks the schema: an exact field has a kind of its own, a tolerant one a class of figures.
func TestEveryFieldHasAKindOrAClass(t *testing.T) {
	d := newDiffer(&report.Report{SchemaVersion: report.SchemaVersion}, &report.Report{SchemaVersion: report.SchemaVersion}, DefaultTolerances())
	leaves := 0
	var walk func(typ reflect.Type, at string)
	walk = func(typ reflect.Type, at string) {
		for _, f := range d.schema(typ) {
			path, ft := at+f.name, typ.Field(f.index).Type
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			switch {
			case ft.Kind() == reflect.Struct:
				walk(ft, path+".")
			case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
				if _, ok := d.lists[path]; !ok {
					t.Errorf("the list %s is compared by position", path)
				}
				walk(ft.Elem(), path+"[].")
			case f.class == "tolerant":
				leaves++
				if _, ok := d.tolerance[f.name]; !ok && path != "verification.models[].failures[].value" { // by its gate

					t.Errorf("%s has no class of figures", path)
				}
			default:
				leaves++
				if d.kindAt(path) == FieldChanged {
					t.Errorf("%s has no kind", path)
				}
			}
		}
	}
	walk(reflect.TypeFor[report.Report](), "")
	if leaves < 100 {
		t.Errorf("%d fields seen", leaves)
	}
}

func TestKindsAreAClosedListInOrderOfSeverity(t *testing.T) {
	rank := map[Severity]int{Error: 0, Warning: 1, Note: 2}
	seen, last := map[Kind]bool{}, 0
	for _, k := range Kinds() {
		r, ok := rank[k.Severity]
		if seen[k.Kind] || !ok || r < last || k.Sentence == "" {
			t.Errorf("kind %+v", k)
		}
		seen[k.Kind], last = true, r
	}
	for path, k := range kindsByPath() {
		if !seen[k] {
			t.Errorf("%s: kind %q is not in the list", path, k)
		}
	}
	for path, l := range lists() {
		for _, k := range []Kind{l.added, l.removed} {
			if k != "" && !seen[k] {
				t.Errorf("%s: kind %q is not in the list", path, k)
			}
		}
	}
}
