package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda"
	"github.com/fp8rewrite/fp8rewrite/samples"
)

// The two figures of a calibration.
const (
	wholeRun   = "whole"
	stepsAlone = "steps"
)

// calibrated is the name of a figure of a calibration of llama.
func calibrated(device, figure string) string { return "calibrate llama on " + device + ", " + figure }

// opened is an engine that remembers when it had opened a model.
type opened struct {
	runtime.Backend
	at time.Time
}

func (o *opened) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	s, err := o.Backend.Open(ctx, m, opt)
	o.at = time.Now()
	return s, err
}

// runCalibrate times a calibration, twice in one process, and tells the second: by then the engine is started, its libraries are loaded and
// its kernels compiled. It prints two figures. The whole is from the moment that the model is open to the end of the calibration, with all
// that the engine does for this calibration: programs, packed and uploaded weights, recorded launches. Steps is the median of a step,
// without what is done once, times the steps.
func runCalibrate(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("gpu calibrate", flag.ContinueOnError)
	device := fs.String("device", "cuda", "cuda or cpu")
	compute := fs.String("compute", "float32", "what the GPU computes in: float32, with float32 sums, or bfloat16, with fast ones")
	model := fs.String("model", "", "a converted model")
	data := fs.String("data", "", "its batches")
	prefix := fs.String("prefix", "calib_", "what stands before an input's name in the data")
	batch := fs.Int64("batch-size", 8, "rows of a step")
	steps := fs.Int("steps", 8, "steps")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var engine runtime.Backend
	switch *device {
	case "cpu":
		engine = cpu.New()
	case "cuda":
		engine = cuda.New(cuda.Options{Compute: *compute, Exact: *compute == "float32", Host: cpu.New()})
	default:
		return fmt.Errorf("calibrate: --device is %q, want cuda or cpu", *device)
	}
	if err := engine.Check(); err != nil {
		return err
	}
	file, err := onnxio.Open(*model)
	if err != nil {
		return err
	}
	defer file.Close()
	set, err := samples.Open(*data, samples.Options{Model: file.Model.Graph.Inputs, Prefix: *prefix, BatchSize: *batch, Steps: *steps})
	if err != nil {
		return err
	}
	defer set.Close()
	timed := &opened{Backend: engine}
	var took, step time.Duration
	for range 2 {
		var last time.Time
		var each []time.Duration
		opt := calibrate.Options{
			Planned: func(runtime.Plan) { last = time.Now() },
			Progress: func(calibrate.Progress) {
				now := time.Now()
				each = append(each, now.Sub(last))
				last = now
			},
		}
		timed.at = time.Time{}
		if _, err := calibrate.Run(ctx, file.Model, timed, set, opt); err != nil {
			return err
		}
		if took = time.Since(timed.at); timed.at.IsZero() || len(each) != *steps {
			return fmt.Errorf("calibrate: %d steps were made, want %d", len(each), *steps)
		}
		fmt.Fprintln(os.Stderr, took, each)
		slices.Sort(each)
		step = each[len(each)/2]
	}
	out := json.NewEncoder(stdout)
	return errors.Join(out.Encode(result{Name: calibrated(*device, wholeRun), Ms: took.Seconds() * 1e3, Runs: 1}),
		out.Encode(result{Name: calibrated(*device, stepsAlone), Ms: float64(*steps) * step.Seconds() * 1e3, Runs: *steps}))
}
