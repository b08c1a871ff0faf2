package main

import (
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

func TestRecipeList(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"delayed":                      {"delayed"},
		"delayed,dynamic,i:off":        {"delayed", "dynamic", "i:off"},
		"i:dyn,w:dyn":                  {"i:dyn,w:dyn"},
		"i:off,delayed":                {"i:off", "delayed"},
		"i:del,w:dyn,go:off,i:off":     {"i:del,w:dyn,go:off", "i:off"},
		"w:dyn,go:off,i:dyn, dynamic":  {"w:dyn,go:off", "i:dyn", "dynamic"},
		"i:dyn, w:dyn":                 {"i:dyn,w:dyn"},
		"delayed,w:dyn":                {"delayed,w:dyn"}, // which is no recipe
		"i:del,w:del,go:del,i:dyn,x:y": {"i:del,w:del,go:del", "i:dyn", "x:y"},
	} {
		l := recipeList{"first"}
		if err := l.Set(text); err != nil || !slices.Equal(l[1:], want) {
			t.Errorf("%s: %q, %v, want %q", text, l[1:], err, want)
		}
	}
}

func TestLossesOfAModelWithoutOutputs(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"", "y"} {
		if _, err := newLosses(nil, &graph.Model{Graph: &graph.Graph{}}, "labels", output); err == nil || err.Error() != "the model has no output" {
			t.Errorf("output %q: %v, want that there is none", output, err)
		}
	}
}
