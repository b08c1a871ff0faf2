package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// recording is what the reference library saw: the part of golden.json that says how its step in bfloat16 went.
type recording struct {
	Delayed struct {
		Steps []struct {
			Loss   float64
			Layers map[string]map[string]struct{ Amax float64 }
		}
	} `json:"delayed_scaled_mm_bf16"`
}

// readReport reads a report of fp8rewrite.
func readReport(path string) (*report.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := report.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// against holds a calibration against the recording: the relative errors of the inputs' amaxes, sorted, and the largest error of a loss.
func (g *recording) against(c *report.Calibration) (amaxes []float64, loss float64, err error) {
	if len(c.Losses) != len(g.Delayed.Steps) {
		return nil, 0, fmt.Errorf("%d losses, the recording has %d", len(c.Losses), len(g.Delayed.Steps))
	}
	for i, step := range g.Delayed.Steps {
		loss = max(loss, math.Abs(float64(c.Losses[i])-step.Loss))
		for _, l := range c.Layers {
			want, ok := step.Layers[l.Name]["input"]
			if !ok {
				return nil, 0, fmt.Errorf("layer %q is not in the recording", l.Name)
			}
			amaxes = append(amaxes, relative(float64(l.Input.Amax[i]), want.Amax))
		}
	}
	if len(amaxes) == 0 {
		return nil, 0, errors.New("no layers")
	}
	slices.Sort(amaxes)
	return amaxes, loss, nil
}

func readRecording(path string) (*recording, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	g := new(recording)
	if err := json.Unmarshal(b, g); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(g.Delayed.Steps) == 0 {
		return nil, fmt.Errorf("%s: no steps", path)
	}
	return g, nil
}

// relative is |a−b|/|b|; NaN and a b of 0 that a does not equal count as infinite.
func relative(a, b float64) float64 {
	switch {
	case a == b:
		return 0
	case math.IsNaN(a) || math.IsNaN(b) || b == 0:
		return math.Inf(1)
	}
	return math.Abs(a-b) / math.Abs(b)
}

// states are the relative differences of two calibrations of one model, sorted: of every amax of the inputs, and of the last scales.
func states(a, b *report.Calibration) ([]float64, error) {
	if len(a.Layers) != len(b.Layers) || len(a.Layers) == 0 {
		return nil, fmt.Errorf("%d layers and %d", len(a.Layers), len(b.Layers))
	}
	var d []float64
	for i := range a.Layers {
		x, y := &a.Layers[i], &b.Layers[i]
		if x.Name != y.Name {
			return nil, fmt.Errorf("layers %q and %q", x.Name, y.Name)
		}
		if len(x.Input.Amax) != len(y.Input.Amax) || x.Input.QuantScale == nil || y.Input.QuantScale == nil {
			return nil, fmt.Errorf("layer %q: %d amaxes and %d, or no scale", x.Name, len(x.Input.Amax), len(y.Input.Amax))
		}
		for k := range x.Input.Amax {
			d = append(d, relative(float64(x.Input.Amax[k]), float64(y.Input.Amax[k])))
		}
		d = append(d, relative(float64(x.Input.QuantScale.Min), float64(y.Input.QuantScale.Min)))
	}
	slices.Sort(d)
	return d, nil
}

// share is the part of sorted values that are at most limit.
func share(sorted []float64, limit float64) float64 {
	n, _ := slices.BinarySearchFunc(sorted, limit, func(v, limit float64) int {
		if v <= limit {
			return -1
		}
		return 1
	})
	return float64(n) / float64(len(sorted))
}
