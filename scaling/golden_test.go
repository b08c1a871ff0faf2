package scaling

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The committed recordings are those of float8_experimental in delayed scaling: eight steps of training, 29 layers, three operands.
func TestScaleOfEveryRecordedHistory(t *testing.T) {
	type operand struct {
		History []float32
		Scale   *float32
	}
	type recording struct {
		Steps []struct {
			Step   int
			Layers map[string]map[string]operand
		}
	}
	b, err := os.ReadFile(filepath.Join("..", "testdata", "models", "llama", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		HistoryLen int       `json:"history_len"`
		Recording  recording `json:"delayed_emulate_f32"`
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	formatMax := map[string]float32{"input": 448, "weight": 448, "grad_output": 57344} // float8e4m3fn, float8e5m2 for the gradient
	same, all := 0, 0
	for _, step := range golden.Recording.Steps {
		for layer, operands := range step.Layers {
			for name, o := range operands {
				limit, known := formatMax[name]
				if !known || o.Scale == nil || len(o.History) != golden.HistoryLen {
					t.Fatalf("step %d, %s: operand %q has no scale, or %d amaxes, want %d", step.Step, layer, name, len(o.History), golden.HistoryLen)
				}
				amax := float32(0)
				for _, a := range o.History {
					amax = max(amax, a)
				}
				all++
				// The scale kept is -1, which no recording holds, so that an amax that is wrongly refused shows.
				if got := DefaultRecipe().Scale(limit, amax, -1); got == QuantScale(*o.Scale) {
					same++
				} else {
					t.Errorf("step %d, %s, %s: Scale(%g, %v) = %v, recorded %v", step.Step, layer, name, limit, amax, got, *o.Scale)
				}
			}
		}
	}
	if all != 696 {
		t.Errorf("%d scales recorded, want 696: 8 steps of 29 layers of 3 operands", all)
	}
	t.Logf("%d of %d scales agree bit for bit", same, all)
}
