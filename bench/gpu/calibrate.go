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
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda"
	"github.com/fp8rewrite/fp8rewrite/samples"
)

// runCalibrate times a calibration, twice in one process: the second time engines are started and kernels compiled. It prints two figures:
// the whole, from the moment that the model is planned to the end of the last step, and without what engines do once for a model and a
// shape (programs, packed weights, recorded launches), which is so many times the median of a step.
func runCalibrate(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("gpu calibrate", flag.ContinueOnError)
	device := fs.String("device", "cuda", "cuda or cpu")
	compute := fs.String("compute", "float32", "what the GPU computes in: float32 or bfloat16")
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
		engine = cuda.New(cuda.Options{Compute: *compute, Host: cpu.New()})
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
	var took, step time.Duration
	for range 2 {
		var planned, last time.Time
		var each []time.Duration
		opt := calibrate.Options{
			Planned: func(runtime.Plan) { planned = time.Now(); last = planned },
			Progress: func(calibrate.Progress) {
				now := time.Now()
				each = append(each, now.Sub(last))
				last = now
			},
		}
		if _, err := calibrate.Run(ctx, file.Model, engine, set, opt); err != nil {
			return err
		}
		if planned.IsZero() {
			return errors.New("calibrate: the engine did not plan")
		}
		took = time.Since(planned)
		fmt.Fprintln(os.Stderr, each)
		slices.Sort(each)
		step = each[len(each)/2]
	}
	out := json.NewEncoder(stdout)
	name := fmt.Sprintf("calibrate llama %d steps on %s", *steps, *device)
	return errors.Join(out.Encode(result{Name: name, Ms: float64(*steps) * step.Seconds() * 1e3, Runs: *steps}),
		out.Encode(result{Name: name + ", whole", Ms: took.Seconds() * 1e3, Runs: 1}))
}
