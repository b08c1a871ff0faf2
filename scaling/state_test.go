package scaling

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The amaxes that float8_experimental recorded, played through a State, give the histories and scales that it recorded. In every
// step the first observation is a smaller one, as of another rank or an earlier iteration.
func TestStateReplaysTheRecordings(t *testing.T) {
	type operand struct {
		Amax    float32
		History []float32
		Scale   float32
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
		Emulated   recording `json:"delayed_emulate_f32"`
		Cublas     recording `json:"delayed_scaled_mm_bf16"`
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	formatMax := map[string]float32{"input": 448, "weight": 448, "grad_output": 57344}
	r := DefaultRecipe()
	r.HistoryLen = golden.HistoryLen
	for _, run := range []struct {
		name string
		recording
	}{{"emulated", golden.Emulated}, {"cublas", golden.Cublas}} {
		t.Run(run.name, func(t *testing.T) {
			states, checked := map[[2]string]*State{}, 0
			for _, step := range run.Steps {
				for layer, operands := range step.Layers {
					for role, o := range operands {
						key := [2]string{layer, role}
						s := states[key]
						if s == nil {
							s = NewState(r, formatMax[role])
							states[key] = s
						}
						s.Observe(o.Amax / 2)
						s.Observe(o.Amax)
						v, err := s.Advance()
						if err != nil || v != Accepted {
							t.Fatalf("step %d, %v: %v, %v", step.Step, key, v, err)
						}
						checked++
						if !slices.Equal(s.History(), o.History) || float32(s.Scale()) != o.Scale {
							t.Errorf("step %d, %v: history %v and scale %v, recorded %v and %v", step.Step, key, s.History(), s.Scale(), o.History, o.Scale)
						}
					}
				}
			}
			if checked != 8*29*3 {
				t.Errorf("%d states compared, want 696: 8 steps of 29 layers of 3 operands", checked)
			}
		})
	}
}

func TestStateRefusesAWrongOrder(t *testing.T) {
	var order *OrderError
	s := NewState(DefaultRecipe(), 448)
	if _, err := s.Advance(); !errors.As(err, &order) || order.Verb != "Advance" {
		t.Errorf("Advance at once: got %v", err)
	}
	s.Observe(1)
	if _, err := s.Advance(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Advance(); !errors.As(err, &order) {
		t.Errorf("Advance twice: got %v", err)
	}
}

func TestUnusableStepsLeaveTheStateAsItIs(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	r := Recipe{HistoryLen: 2}
	s := NewState(r, 448)
	step := func(want Verdict, amaxes ...float32) {
		t.Helper()
		for _, a := range amaxes {
			s.Observe(a)
		}
		if len(amaxes) == 0 {
			s.Unobserved()
		}
		if got, err := s.Advance(); got != want || err != nil {
			t.Errorf("%v: got %v, %v; want %v", amaxes, got, err, want)
		}
	}
	step(RejectedZero, 0)
	step(NotObserved)
	if s.Initialized() || s.Scale() != 1 {
		t.Errorf("a zero and a step without the operand initialize: %v, scale %v", s.Initialized(), s.Scale())
	}
	step(Accepted, 7)
	step(Accepted, 3.5)
	for _, c := range []struct {
		want Verdict
		in   []float32
	}{{RejectedNaN, []float32{nan, 100}}, {RejectedNaN, []float32{100, nan, inf}}, {RejectedInf, []float32{100, inf}}, {RejectedZero, []float32{0, 0}}, {NotObserved, nil}} {
		step(c.want, c.in...)
		if !slices.Equal(s.History(), []float32{3.5, 7}) || s.Scale() != 64 || !s.Initialized() {
			t.Errorf("%v changed the state: %v, scale %v", c.in, s.History(), s.Scale())
		}
	}
	if got, want := s.Rejected(), (Rejected{Zero: 2, Inf: 1, NaN: 2}); got != want {
		t.Errorf("rejected: got %+v, want %+v", got, want)
	}
	step(Accepted, 3.5)
	if s.Scale() != 128 {
		t.Errorf("the largest left the window: scale %v, want 448/3.5", s.Scale())
	}
	s.Unobserved()
	step(Accepted, 7) // observed after all
	if s.Scale() != 64 {
		t.Errorf("scale %v, want 64", s.Scale())
	}
}

func TestMostRecentScalesByTheNewest(t *testing.T) {
	s := NewState(Recipe{HistoryLen: 4, Compute: MostRecent, Margin: 1}, 448)
	for _, a := range []float32{7, 3.5} {
		s.Observe(a)
		if _, err := s.Advance(); err != nil {
			t.Fatal(err)
		}
	}
	if s.Scale() != 64 || !slices.Equal(s.History(), []float32{3.5, 7, 0, 0}) {
		t.Errorf("scale %v, want 448/3.5/2; history %v", s.Scale(), s.History())
	}
}

func TestAStoredStateGoesOn(t *testing.T) {
	r := Recipe{HistoryLen: 2}
	s, err := RestoreState(r, 448, []float32{7, 3.5}, 64, true)
	if err != nil {
		t.Fatal(err)
	}
	s.Observe(1)
	if _, err := s.Advance(); err != nil || s.Scale() != 64 || !slices.Equal(s.History(), []float32{1, 7}) {
		t.Errorf("got %v, scale %v, %v", s.History(), s.Scale(), err)
	}
	for _, c := range []struct {
		history []float32
		scale   QuantScale
	}{{[]float32{1}, 1}, {[]float32{1, -1}, 1}, {[]float32{float32(math.NaN()), 0}, 1}, {[]float32{float32(math.Inf(1)), 0}, 1},
		{[]float32{0, 0}, 0}, {[]float32{0, 0}, QuantScale(math.Inf(1))}, {[]float32{0, 0}, QuantScale(math.NaN())}} {
		if _, err := RestoreState(r, 448, c.history, c.scale, true); err == nil {
			t.Errorf("RestoreState(%v, %v): no error", c.history, c.scale)
		}
	}
}
