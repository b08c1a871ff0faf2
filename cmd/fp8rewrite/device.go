package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/ort"
)

// deviceOptions are the flags that choose an engine.
type deviceOptions struct {
	device     string
	compute    string
	accumulate string
	ortLib     string
	threads    int
	maxMemory  string
	standard   string // what --compute is where nothing is said
}

// addFlags declares the flags; standard is what --compute is by default.
func (d *deviceOptions) addFlags(cmd *cobra.Command, standard string) {
	d.standard = standard
	f := cmd.Flags()
	f.StringVar(&d.device, "device", "auto", "engine: auto (a GPU that can be used, else cpu), cpu (embedded), cuda or cuda:N (an NVIDIA GPU), or ort (an ONNX Runtime library of yours)")
	f.StringVar(&d.compute, "compute", "", "what a GPU computes float32 in where it is not float8: float32 or bfloat16 (default: "+standard+")")
	f.StringVar(&d.accumulate, "accumulate", "auto", "how a GPU sums float8 products: fast, in the tensor cores' own accumulators, which keep fewer bits; float32; or auto, fast with --compute bfloat16 and else float32")
	f.StringVar(&d.ortLib, "ort-lib", "", "libonnxruntime for --device ort (default: $FP8REWRITE_ORT_LIB, then the usual places)")
	f.IntVar(&d.threads, "threads", 0, "threads of the engine (default: as many as the machine has)")
	f.StringVar(&d.maxMemory, "max-memory", "", "memory for values and packed weights, whose plan is printed, such as 512MB or 4GB (default: no bound)")
	completeWords(cmd, "device", deviceWords...)
	completeAnyFile(cmd, "ort-lib")
	completeWords(cmd, "compute", "float32", "bfloat16")
	completeWords(cmd, "accumulate", "auto", "fast", "float32")
}

// computing is what a GPU computes in, and how it sums float8 products: who wants float32 wants a model's numbers, who wants bfloat16 what
// is deployed.
func (d *deviceOptions) computing() (compute, sums string) {
	compute, sums = d.compute, d.accumulate
	if compute == "" {
		compute = d.standard
	}
	if sums == "auto" {
		if sums = "float32"; compute == "bfloat16" {
			sums = "fast"
		}
	}
	return compute, sums
}

// engine is what a command runs models on, and what is to be said of it.
type engine struct {
	runtime.Backend
	asked    string // what --device said
	compute  string // of a GPU: "float32" or "bfloat16"
	sums     string // of a GPU: "float32" or "fast"
	card     string // the GPU and its libraries
	fallback string // why auto took no GPU
	told     bool   // tell has
	places   *places
}

// open is the engine that the flags name, which can be used here, and the bounds to open sessions with. auto is a GPU that can be used,
// else the embedded engine: a named engine is never replaced by another one.
func (d *deviceOptions) open() (*engine, runtime.Options, error) {
	opt := runtime.Options{Threads: d.threads}
	if d.threads < 0 {
		return nil, opt, hint(usagef("--threads: got %d, want 1 or more", d.threads), "leave --threads out to use all")
	}
	bytes, err := parseSize(d.maxMemory)
	if err != nil {
		return nil, opt, hint(usageError{fmt.Errorf("--max-memory: %w", err)}, "--max-memory 4GB")
	}
	opt.MaxMemory = bytes
	name, number, numbered := strings.Cut(d.device, ":")
	switch {
	case d.ortLib != "" && d.device != "ort":
		return nil, opt, hint(usagef("--ort-lib is for --device ort, got --device %s", d.device), "--device ort")
	case d.compute != "" && d.compute != "float32" && d.compute != "bfloat16":
		return nil, opt, hint(usagef("--compute: got %q, want float32 or bfloat16", d.compute), "--compute bfloat16")
	case d.accumulate != "auto" && d.accumulate != "float32" && d.accumulate != "fast":
		return nil, opt, hint(usagef("--accumulate: got %q, want auto, fast or float32", d.accumulate), "--accumulate float32")
	case d.compute != "" && (d.device == "cpu" || d.device == "ort"):
		return nil, opt, hint(usagef("--compute is for --device cuda, got --device %s", d.device), "leave --compute out")
	case d.accumulate != "auto" && (d.device == "cpu" || d.device == "ort"):
		return nil, opt, hint(usagef("--accumulate is for --device cuda, got --device %s", d.device), "leave --accumulate out")
	}
	e := &engine{asked: d.device}
	compute, sums := d.computing()
	onGPU := cuda.Options{Compute: compute, Exact: sums == "float32", Host: cpu.New()}
	switch {
	case d.device == "auto":
		gpu := cuda.New(onGPU)
		if err := gpu.Check(); err != nil {
			e.Backend, e.fallback = cpu.New(), shortly(err)
			break
		}
		e.Backend = gpu
	case d.device == "cpu":
		e.Backend = cpu.New()
	case d.device == "ort":
		e.Backend = ort.New(d.ortLib)
	case name == "cuda":
		if numbered {
			n, err := strconv.Atoi(number)
			if onGPU.Device = n; err != nil || n < 0 || strconv.Itoa(n) != number {
				return nil, opt, hint(usagef("--device: got %q, want cuda or cuda:N with the number of a GPU", d.device), "fp8rewrite devices lists them")
			}
		}
		e.Backend = cuda.New(onGPU)
	default:
		return nil, opt, hint(usagef("--device: got %q, want auto, cpu, cuda, cuda:N or ort", d.device), "--device cpu")
	}
	if err := e.Check(); err != nil {
		if name == "cuda" {
			return nil, opt, hint(err, "fp8rewrite devices lists what was found; --device cpu needs nothing but this program")
		}
		return nil, opt, hint(err, "--device cpu needs nothing but this program")
	}
	if b, ok := e.Backend.(*cuda.Backend); ok {
		e.compute, e.sums, e.card = compute, sums, b.Card()
	}
	e.places = &places{Backend: e.Backend}
	e.Backend = e.places
	return e, opt, nil
}

// share is called once it is known how many processes share the rows of a step. They join their amaxes in the middle of a run, which the
// GPU's engine cannot: auto goes to the embedded one then.
func (e *engine) share(processes int) {
	if processes > 1 && e.asked == "auto" && e.compute != "" {
		e.places = &places{Backend: cpu.New()}
		e.Backend, e.compute, e.sums, e.card = e.places, "", "", ""
		e.fallback = fmt.Sprintf("%d processes share the rows, which a GPU cannot", processes)
	}
}

// tell says once that auto took no GPU.
func (e *engine) tell(w io.Writer, d *deviceOptions) {
	if e.fallback == "" || e.told {
		return
	}
	e.told = true
	text := fmt.Sprintf("note: running on the cpu: %s", e.fallback)
	if d.compute != "" {
		text += "; --compute " + d.compute + " is for GPUs"
	}
	fmt.Fprintln(w, oneLine(text))
}

// shortly is the first line of why an engine cannot be used, without the places where it was looked for.
func shortly(err error) string {
	var unavailable *runtime.UnavailableError
	if errors.As(err, &unavailable) {
		err = unavailable.Err
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	first, _, _ = strings.Cut(first, "; ")
	return first
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
	var lost *driver.LostError
	switch {
	case errors.As(err, &lost):
		return hint(err, "the GPU is lost to this process, not to the next one: run it again, or with --device cpu")
	case errors.As(err, &unsupported) && unsupported.Backend != "ort":
		return hint(err, "--device ort runs the model with an ONNX Runtime library of yours")
	case errors.As(err, &memory) && memory.Of == "":
		return hint(err, "a smaller --batch-size, or a larger --max-memory")
	case errors.As(err, &memory), driver.IsOutOfMemory(err): // the card is the limit
		return hint(err, "a smaller batch: --batch-size, or --shape for random inputs")
	}
	return err
}
