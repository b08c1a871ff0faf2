package samples

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func jsonl(t *testing.T, text string) (*Set, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	ids := &graph.Value{Name: "input_ids", Type: &graph.Type{DType: tensor.Int64, HasShape: true,
		Shape: []graph.Dim{{Value: -1, Param: "batch"}, {Value: -1, Param: "seq"}}}}
	s, err := Open(path, Options{Model: []*graph.Value{ids}, BatchSize: 2})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func TestLinesOfJSONAreRows(t *testing.T) {
	s, err := jsonl(t, `{"text": "a", "input_ids": [1, 2, 3], "labels": [2, 3, -100], "words": ["x"]}`+"\n\n"+
		`{"input_ids": [4, 5, 6], "labels": [5, 6, 9007199254740993]}`+"\r\n"+`{"labels": [8, 9, 1], "input_ids": [7, 8, 9]}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Names(); !slices.Equal(got, []string{"input_ids", "labels"}) {
		t.Errorf("got arrays %q", got)
	}
	if s.Steps() != 2 || s.Rows(0) != 2 || s.Rows(1) != 1 {
		t.Fatalf("got %d steps", s.Steps())
	}
	for i, want := range [][]int64{{1, 2, 3, 4, 5, 6}, {7, 8, 9}} {
		step, err := s.Step(i)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := step["input_ids"].AsInt64s(); err != nil || !slices.Equal(got, want) {
			t.Errorf("step %d: got %v (%v), want %v", i, got, err, want)
		}
	}
	labels, err := s.Aligned("labels", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := labels.AsInt64s(); !slices.Equal(got, []int64{2, 3, -100, 5, 6, 9007199254740993}) {
		t.Errorf("labels: got %v", got)
	}
}

func TestLinesThatDoNotFitAreRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"another length", `{"input_ids": [1, 2]}` + "\n" + `{"input_ids": [1]}`, `line 2: key "input_ids": got 1 numbers, want 2 as in the first line`},
		{"a fraction", `{"input_ids": [1, 2.5]}`, `line 1: key "input_ids": element 1: got 2.5, want a whole number`},
		{"a number that is too large", `{"input_ids": [99999999999999999999]}`, `element 0: got 99999999999999999999, want a whole number`},
		{"a key that comes later", `{"input_ids": [1]}` + "\n" + `{"input_ids": [1], "labels": [1]}`, `line 2: key "labels" is in no line before it`},
		{"a key that goes away", `{"input_ids": [1], "labels": [1]}` + "\n" + `{"input_ids": [1]}`, `line 2: no list "labels", which the first line has`},
		{"a key that stands twice", `{"input_ids": [1], "input_ids": [2]}`, `line 1: the key "input_ids" stands twice`},
		{"no object", `[1, 2]`, `line 1: it is not a JSON object but begins with [`},
		{"no JSON", `{"input_ids": [1`, `line 1: `},
		{"two objects", `{"input_ids": [1]} {}`, `line 1: something follows the object`},
		{"text alone", `{"text": "a"}`, `no array in this file`},
		{"nothing", "", `no array in this file`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := jsonl(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
