package samples

import (
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestLabelsAreFromTheSplitOfTheInputs has the labels of one split under the prefix, and others under the bare name.
func TestLabelsAreFromTheSplitOfTheInputs(t *testing.T) {
	path := putNpz(t, arrays{
		"train_x": tensor.Float32s(tensor.Shape{2, 1}, 1, 2),
		"train_y": tensor.Int64s(tensor.Shape{2}, 7, 8),
		"y":       tensor.Int64s(tensor.Shape{2}, 0, 1),
	})
	s := open(t, path, Options{Model: model(input("x", tensor.Float32, -1, 1)), Prefix: "train_", BatchSize: 2})
	y, err := s.Aligned("y", 0)
	if err != nil || !slices.Equal(numbers(t, y), []int64{7, 8}) {
		t.Errorf("labels %v, %v, want those of the prefix, [7 8]", y, err)
	}
}
