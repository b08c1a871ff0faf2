package samples

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestDataOfTheSharedModels reads data that NumPy compressed, where a checkout has it beside it.
func TestDataOfTheSharedModels(t *testing.T) {
	dir := os.Getenv("FP8REWRITE_MODELS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "models")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no trained models at %s: set FP8REWRITE_MODELS to their folder", dir)
	}
	for _, c := range []struct {
		model, input, label string
		dtype               tensor.DType
		axes                int
		size, steps, last   int
	}{
		{"llama", "input_ids", "labels", tensor.Int64, 2, 8, 8, 8},
		{"gpt2", "input_ids", "labels", tensor.Int64, 2, 24, 3, 16},
		{"digits", "image", "label", tensor.Float32, 2, 100, 3, 56},
	} {
		t.Run(c.model, func(t *testing.T) {
			s, err := Open(filepath.Join(dir, c.model, "data.npz"), Options{
				Model: []*graph.Value{input(c.input, c.dtype, -1, -1)}, Prefix: "calib_", BatchSize: int64(c.size),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.Steps() != c.steps || s.Rows(c.steps-1) != c.last {
				t.Errorf("%d steps, the last with %d rows; want %d and %d", s.Steps(), s.Rows(c.steps-1), c.steps, c.last)
			}
			if err := s.Check(t.Context(), nil); err != nil {
				t.Error(err)
			}
			x, err := s.Step(c.steps - 1)
			if err != nil {
				t.Fatal(err)
			}
			labels, err := s.Aligned(c.label, c.steps-1)
			if err != nil {
				t.Fatal(err)
			}
			if got := x[c.input].Shape[0]; got != int64(c.last) || labels.Shape[0] != got {
				t.Errorf("inputs %s and labels %s, want %d rows", x[c.input].Shape, labels.Shape, c.last)
			}
			if c.model == "digits" {
				return
			}
			// Labels are the inputs moved by one: the content is the right one.
			ids, err := x[c.input].AsInt64s()
			if err != nil {
				t.Fatal(err)
			}
			next, err := labels.AsInt64s()
			if err != nil {
				t.Fatal(err)
			}
			for i := range ids {
				if i%128 != 127 && ids[i+1] != next[i] {
					t.Fatalf("element %d: label %d, want the next input %d", i, next[i], ids[i+1])
				}
			}
		})
	}
}

// input is a model's input; an axis of -1 is free.
func input(name string, d tensor.DType, axes ...int64) *graph.Value {
	t := &graph.Type{DType: d, HasShape: true}
	for i, n := range axes {
		dim := graph.Dim{Value: n}
		if n < 0 && i == 0 {
			dim.Param = "batch"
		}
		t.Shape = append(t.Shape, dim)
	}
	return &graph.Value{Name: name, Type: t}
}
