package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/ort"
)

// deviceOptions are the flags that choose an engine.
type deviceOptions struct {
	device    string
	ortLib    string
	threads   int
	maxMemory string
}

func (d *deviceOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.device, "device", "auto", "engine: auto, cpu (embedded), or ort (an ONNX Runtime library of yours)")
	f.StringVar(&d.ortLib, "ort-lib", "", "libonnxruntime for --device ort (default: $FP8REWRITE_ORT_LIB, then the usual places)")
	f.IntVar(&d.threads, "threads", 0, "threads of the engine (default: as many as the machine has)")
	f.StringVar(&d.maxMemory, "max-memory", "", "memory for values and packed weights, whose plan is printed, such as 512MB or 4GB (default: no bound)")
	completeWords(cmd, "device", "auto", "cpu", "ort")
}

// open is the engine that the flags name, which can be used here, and the bounds to open sessions with. auto is the embedded engine: a
// named engine is never replaced by another one.
func (d *deviceOptions) open() (runtime.Backend, runtime.Options, error) {
	opt := runtime.Options{Threads: d.threads}
	if d.threads < 0 {
		return nil, opt, hint(usagef("--threads: got %d, want 1 or more", d.threads), "leave --threads out to use all")
	}
	bytes, err := parseSize(d.maxMemory)
	if err != nil {
		return nil, opt, hint(usageError{fmt.Errorf("--max-memory: %w", err)}, "--max-memory 4GB")
	}
	opt.MaxMemory = bytes
	if d.ortLib != "" && d.device != "ort" {
		return nil, opt, hint(usagef("--ort-lib is for --device ort, got --device %s", d.device), "--device ort")
	}
	var b runtime.Backend
	switch name, _, _ := strings.Cut(d.device, ":"); {
	case d.device == "auto" || d.device == "cpu":
		b = cpu.New()
	case d.device == "ort":
		b = ort.New(d.ortLib)
	case name == "cuda":
		err := &runtime.UnavailableError{Backend: d.device, Err: errors.New("this version has no GPU engine")}
		return nil, opt, hint(err, "--device cpu")
	default:
		return nil, opt, hint(usagef("--device: got %q, want auto, cpu or ort", d.device), "--device cpu")
	}
	if err := b.Check(); err != nil {
		return nil, opt, hint(err, "--device cpu needs nothing but this program")
	}
	return b, opt, nil
}

// tellPlan prints what an engine needs for a batch of what, where it knows: the values that are alive at one time, and weights in the
// form that it computes with. The model's own tensors are where they are.
func tellPlan(w io.Writer, what string, p runtime.Plan) {
	if p.Peak() == 0 { // ONNX Runtime does not say
		return
	}
	text := fmt.Sprintf("peak %s: %s of activations, %s of packed weights", render.Size(p.Peak()), render.Size(p.Activations), render.Size(p.Weights))
	if p.Unknown > 0 {
		text += fmt.Sprintf("; %d values whose size the data decides come on top", p.Unknown)
	}
	fmt.Fprintf(w, "%s: %s\n", what, text)
}

// explainRun adds the flag that helps to an error of an engine.
func explainRun(err error) error {
	var unsupported *runtime.UnsupportedError
	var memory *runtime.MemoryError
	switch {
	case errors.As(err, &unsupported) && unsupported.Backend != "ort":
		return hint(err, "--device ort runs the model with an ONNX Runtime library of yours")
	case errors.As(err, &memory):
		return hint(err, "a smaller --batch-size, or a larger --max-memory")
	}
	return err
}
