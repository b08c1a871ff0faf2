package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	reports "github.com/fp8rewrite/fp8rewrite/report"
)

// longReport is a calibration of 2,000 layers in 1,000 steps whose amaxes are larger by a factor.
func longReport(by float32) *reports.Report {
	const layers, steps = 2000, 1000
	r := &reports.Report{Kind: reports.KindCalibrate, Model: reports.Model{Input: reports.Artifact{Name: "large.fp8.onnx", Format: "onnx", SHA256: "22"}},
		State: reports.State{Calibrated: true, DelayedLayers: layers, InitializedLayers: layers}, Calibration: &reports.Calibration{GradOutput: reports.GradInitial,
			Settings: reports.CalibrationSettings{Steps: steps, Rows: steps, BatchSize: 1, Device: "cpu", Ranks: 1}}}
	for i := range layers {
		o := reports.CalibratedOperand{Scaling: reports.ScalingDelayed, QuantScale: reports.NewQuantScale([]float32{37.25}, false)}
		for s := range steps {
			v := by * (3 + float32((i*31+s*17)%97)/97)
			o.Amax, o.Scale = append(o.Amax, reports.Float32(v)), append(o.Scale, reports.Float32(448/v))
		}
		o.History = o.Amax[:16]
		r.Calibration.Layers = append(r.Calibration.Layers, reports.CalibratedLayer{Name: fmt.Sprintf("model.layers.%d.mlp.down_proj", i), Op: "Float8Linear", StepsRun: steps,
			Initialized: true, Input: o})
	}
	r.Finish()
	return r
}

// TestLongReportsAreQuick bounds the processor time of the commands on long reports: a second each on a machine of today, which is tried
// three times, and a few of them where the machine is slow or busy.
func TestLongReportsAreQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: reports of 2,000 layers and 1,000 steps")
	}
	const bound = 4 * time.Second
	dir := t.TempDir()
	for name, by := range map[string]float32{"a.json": 1, "b.json": 1.001, "c.json": 1.5} {
		var b bytes.Buffer
		if err := reports.Encode(&b, longReport(by)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"show, html", exitDone, []string{"report", "show", "a.json", "--format", "html", "-o", "a.html"}},
		{"show, table", exitDone, []string{"report", "show", "a.json", "-o", "a.txt"}},
		{"diff, within", exitDone, []string{"diff", "a.json", "b.json"}},
		{"diff, beyond", exitGate, []string{"diff", "a.json", "c.json"}},
	} {
		least := time.Hour
		wall := time.Hour
		for range 3 {
			cmd := exec.Command("fp8rewrite", c.args...) // which TestMain put there
			cmd.Dir = dir
			start := time.Now()
			err := cmd.Run()
			took := time.Since(start)
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.code {
				t.Fatalf("%s: %v, want exit status %d", c.name, err, c.code)
			}
			least, wall = min(least, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()), min(wall, took)
		}
		t.Logf("%s: %v of processor time, %v", c.name, least.Round(time.Millisecond), wall.Round(time.Millisecond))
		if least > bound {
			t.Errorf("%s took %v of processor time, want less than %v", c.name, least, bound)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "a.html")); err != nil || info.Size() > 5_000_000 {
		t.Errorf("the page: %v, %v", info, err)
	}
}
