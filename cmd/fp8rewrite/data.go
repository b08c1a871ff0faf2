package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// defaultBatch is the rows of a step where the model leaves them free.
const defaultBatch = 8

// dataOptions are the flags that say which batches a model runs on.
type dataOptions struct {
	path           string
	prefix         string
	inputs         []string
	whole          []string
	batchSize      int64
	steps          int
	allowNonFinite bool

	maxMemory int64                  // bytes that compressed data may unpack to; 0 for the reader's own bound
	given     func(flag string) bool // on the command line
}

func (d *dataOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	d.given = f.Changed
	f.StringVar(&d.path, "data", "", "batches: a .npz, .npy, .safetensors or .jsonl file, a folder of those, or ONNX test sets (input_0.pb)")
	f.StringVar(&d.prefix, "prefix", "", "what stands before an input's name in the name of its array, such as calib_")
	f.StringArrayVar(&d.inputs, "input", nil, "the array of an input, as INPUT=ARRAY (repeatable)")
	f.StringArrayVar(&d.whole, "whole", nil, "an input whose array is given whole at every step instead of row by row (repeatable)")
	f.Int64Var(&d.batchSize, "batch-size", 0, fmt.Sprintf("rows of a step (default: what the model fixes, else %d)", defaultBatch))
	f.IntVar(&d.steps, "steps", 0, "batches to run (default: all the data)")
	f.BoolVar(&d.allowNonFinite, "allow-nonfinite", false, "let Inf and NaN in the data through to the model")
	completeFiles(cmd, "data", dataExtensions...)
}

// check finds flags that make no sense by themselves.
func (d *dataOptions) check(cmd string) error {
	switch {
	case d.path == "":
		return hint(usagef("%s: --data is missing", cmd), "--data BATCHES.npz, with an array for each input of the model")
	case d.batchSize < 0 || d.batchSize == 0 && d.given("batch-size"):
		return hint(usagef("--batch-size: got %d, want 1 or more", d.batchSize), "--batch-size %d", defaultBatch)
	case d.steps < 0 || d.steps == 0 && d.given("steps"):
		return hint(usagef("--steps: got %d, want 1 or more", d.steps), "leave --steps out to run all the data")
	}
	for _, text := range d.inputs {
		if input, array, ok := strings.Cut(text, "="); !ok || input == "" || array == "" {
			return hint(usagef("--input: got %q, want INPUT=ARRAY", text), "--input input_ids=calib_input_ids")
		}
	}
	return nil
}

// open reads the batches for the inputs of m.
func (d *dataOptions) open(m *graph.Model) (*samples.Set, error) {
	opt := samples.Options{
		Model: required(m), Inputs: map[string]string{}, Prefix: d.prefix, Whole: d.whole, BatchSize: d.batchSize, DefaultBatch: defaultBatch,
		Steps: d.steps, AllowNonFinite: d.allowNonFinite, MaxMemory: d.maxMemory, DecodePB: onnxio.UnmarshalTensor,
	}
	for _, text := range d.inputs {
		input, array, _ := strings.Cut(text, "=")
		if !hasInput(opt.Model, input) {
			return nil, hint(fmt.Errorf("--input %q: the model has no input %q", text, input), "it has %s", inputNames(opt.Model))
		}
		opt.Inputs[input] = array
	}
	set, err := samples.Open(d.path, opt)
	return set, explainData(err)
}

// explainData adds the flag that helps to an error of package samples.
func explainData(err error) error {
	var missing *samples.NoArrayError
	if errors.As(err, &missing) {
		switch {
		case len(missing.Prefixes) > 0:
			return hint(err, "--prefix %s", shellWord(missing.Prefixes[0]))
		case missing.Input != "":
			return hint(err, "--input %s=ARRAY", shellWord(missing.Input))
		}
	}
	var fit *samples.FitError
	if errors.As(err, &fit) && fit.Want == samples.Finite {
		return hint(err, "--allow-nonfinite lets it through: the steps that see it change no scale")
	}
	return err
}

// required are the inputs that a run needs: those without a default.
func required(m *graph.Model) []*graph.Value {
	defaults := map[string]bool{}
	for _, i := range m.Graph.Initializers {
		defaults[i.Name] = true
	}
	for _, s := range m.Graph.Sparse {
		defaults[s.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(m.Graph.Inputs), func(v *graph.Value) bool { return defaults[v.Name] })
}

func hasInput(values []*graph.Value, name string) bool {
	for _, v := range values {
		if v.Name == name {
			return true
		}
	}
	return false
}

func inputNames(values []*graph.Value) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = fmt.Sprintf("%q", v.Name)
	}
	return strings.Join(names, ", ")
}

// reading shows how much of the data has been looked through; nil where nothing is shown.
func reading(b *bar, unit string) func(done, total int) {
	progress := b.count("reading data", unit)
	if progress == nil {
		return nil
	}
	return func(done, total int) { progress(int64(done), int64(total)) }
}

// labels reads the right classes for a step from the same data.
func labels(set *samples.Set, name string) func(context.Context, int) (*tensor.Tensor, error) {
	if name == "" {
		return nil
	}
	return func(_ context.Context, step int) (*tensor.Tensor, error) { return set.Aligned(name, step) }
}
