package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	data    dataOptions
	device  deviceOptions
	against string
	shapes  []string
	runs    int
	out     string
	json    bool
	quiet   bool
}

// Runs that a median is of where --runs does not say: a card does a model in milliseconds.
const (
	cardRuns = 30
	hostRuns = 10
)

func newBench() *cobra.Command {
	o := &benchOptions{}
	cmd := &cobra.Command{
		Use:   "bench MODEL.onnx [--against ORIGINAL.onnx]",
		Short: "Time a model as a whole and layer by layer, and say which layers float8 slows down",
		Long: `bench times runs of a model: as a whole and, where the device can, step by step. On a GPU it measures what the card reaches in a float8
product, in a bfloat16 product and in moving memory, and holds the layers against that. --against takes the model that this one was made
from: layers that float8 makes no faster are listed as --exclude flags for convert, with the --min-dim that says the same by shape.

Inputs are random, of the declared types. Where the model leaves a size open, --shape says it, or --data gives a batch of real inputs.
Inputs and outputs are not moved while a GPU is timed. Where --compute and --accumulate do not say otherwise it is timed as models are
deployed: in bfloat16, with fast sums.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`,
		Example: `  fp8rewrite bench model.fp8.onnx --shape input_ids=1x8 --runs 3
  fp8rewrite bench model.calibrated.onnx --against model.onnx --shape input_ids=4x32 --runs 3 --report bench.json
  fp8rewrite bench model.calibrated.onnx --against model.onnx --data data.npz --prefix calib_ --runs 3`,
		Args:              one("the model to time"),
		ValidArgsFunction: modelFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runBench(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], o)
		},
	}
	o.device.addFlags(cmd, "bfloat16")
	f := cmd.Flags()
	f.StringVar(&o.against, "against", "", "the model to compare with, such as the one that this one was converted from")
	f.StringArrayVar(&o.shapes, "shape", nil, "the shape of an input, as NAME=2x4096x4096 (repeatable)")
	f.IntVar(&o.runs, "runs", 0, fmt.Sprintf("runs that a median is of (default: %d on a GPU, %d elsewhere)", cardRuns, hostRuns))
	o.data.addFlags(cmd)
	f.StringVar(&o.out, "report", "", "file to write the JSON report to")
	f.BoolVar(&o.json, "json", false, "print the JSON report instead of the table")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors")
	completeFiles(cmd, "report", "json")
	completeFiles(cmd, "against", "onnx")
	return cmd
}

// check finds conflicts between flags before any work.
func (o *benchOptions) check() error {
	if o.data.path != "" {
		if err := o.data.check("bench"); err != nil {
			return err
		}
	}
	for _, flag := range []string{"prefix", "input", "whole", "batch-size", "steps", "allow-nonfinite"} {
		if o.data.path == "" && o.data.given(flag) {
			return hint(usagef("--%s is about the batches of --data, and there is none", flag), "--data BATCHES.npz, or --shape NAME=2x128 for random inputs")
		}
	}
	switch {
	case o.data.path != "" && len(o.shapes) > 0:
		return hint(usagef("--shape is for random inputs, and --data brings its own"), "leave one of them out")
	case o.runs < 0, o.runs == 0 && o.data.given("runs"):
		return hint(usagef("--runs: got %d, want 1 or more", o.runs), "--runs %d", cardRuns)
	case o.quiet && o.json:
		return hint(usagef("--quiet and --json contradict each other"), "leave --quiet out: --json prints nothing else")
	case o.out == "-":
		return hint(usagef("--report wants a file, got %q", o.out), "--json prints the report on stdout")
	}
	named := map[string]bool{}
	for _, text := range o.shapes {
		name, _, err := parseShape(text)
		if err != nil {
			return hint(usageError{fmt.Errorf("--shape: %w", err)}, "--shape input_ids=8x128")
		}
		if named[name] {
			return hint(usagef("--shape: input %q is given twice", name), "leave one of them out")
		}
		named[name] = true
	}
	return nil
}

// runBench checks what can be checked before the slow work, and opens models and data.
func runBench(ctx context.Context, stdout, stderr io.Writer, in string, o *benchOptions) error {
	start := time.Now()
	if err := o.check(); err != nil {
		return err
	}
	backend, limits, err := o.device.open()
	if err != nil {
		return err
	}
	args := []string{in}
	if o.against != "" {
		args = append(args, o.against)
	}
	if o.out != "" {
		for _, in := range append(slices.Clone(args), o.data.path) {
			if in != "" && sameTarget(o.out, in) {
				return hint(fmt.Errorf("report %q is the same file as the input %q", o.out, in), "--report report.json")
			}
		}
		if err := atomicfile.Probe(o.out); err != nil {
			return err
		}
	}
	b := &benchmark{benchOptions: o, backend: backend, limits: limits, start: start, stdout: stdout, stderr: stderr}
	for _, in := range args {
		file, err := onnxio.Open(in)
		if err != nil {
			return explainOpen(in, err)
		}
		defer file.Close()
		if err := (&outputs{report: o.out}).refuseData(file, ""); err != nil {
			return err
		}
		b.files = append(b.files, file)
	}
	if o.data.path != "" {
		if b.set, err = o.data.open(b.files[0].Model); err != nil {
			return err
		}
		defer b.set.Close()
		if err := (&outputs{report: o.out}).refuseBatches(b.set, ""); err != nil {
			return err
		}
	}
	err = mapfile.Guard(func() error { return b.run(ctx) })
	for _, f := range b.files {
		err = explainChange(f, err)
	}
	return explainRun(explainData(err))
}

// benchmark is one run of the command.
type benchmark struct {
	*benchOptions
	files          []*onnxio.File // the model, the one to compare with
	set            *samples.Set   // nil for random inputs
	backend        *engine
	limits         runtime.Options
	start          time.Time
	stdout, stderr io.Writer
}

func (b *benchmark) run(ctx context.Context) error {
	var sums []*digests
	for _, f := range b.files {
		d := digestInput(ctx, f)
		defer d.stop()
		sums = append(sums, d)
	}
	section := &reports.Bench{Settings: reports.BenchSettings{Device: b.backend.Name(), Runs: int64(b.count())}}
	inputs, err := b.inputs(ctx, &section.Settings)
	if err != nil {
		return err
	}
	if !b.quiet {
		b.backend.tell(b.stderr, &b.device)
	}
	bar := newBar(b.stderr, b.quiet)
	defer bar.clear()
	progress := bar.count("timing", "model")
	if last := b.files[len(b.files)-1].Model; len(b.files) > 1 || len(nameLayers(last).float8) == 0 {
		b.backend.places.original = last
	}
	var timed []*timing
	for i, f := range b.files {
		t, err := b.time(ctx, f.Model, inputs)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(f.Path), err)
		}
		timed = append(timed, t)
		if progress != nil {
			progress(int64(i+1), int64(len(b.files)))
		}
	}
	bar.clear()
	b.fill(section, timed)
	if err := b.measure(ctx, section); err != nil {
		return err
	}
	last := timed[len(timed)-1].names
	judge(section, slices.Sorted(maps.Keys(last.layers)))
	return b.tell(ctx, sums, section)
}

// count is how many runs a median is of.
func (b *benchmark) count() int {
	switch {
	case b.runs > 0:
		return b.runs
	case b.backend.compute != "":
		return cardRuns
	}
	return hostRuns
}

// inputs are what the models are run on, and what the report says of it.
func (b *benchmark) inputs(ctx context.Context, s *reports.BenchSettings) (map[string]runtime.Value, error) {
	var arrays map[string]*tensor.Tensor
	var err error
	if b.set != nil {
		if arrays, err = b.set.Step(0); err != nil {
			return nil, err
		}
		if s.Data, err = b.set.Fingerprint(ctx); err != nil {
			return nil, err
		}
	} else if arrays, err = randomInputs(b.files[0].Model, b.shapes); err != nil {
		return nil, err
	}
	values := map[string]runtime.Value{}
	for _, v := range required(b.files[0].Model) {
		t := arrays[v.Name]
		values[v.Name] = runtime.FromTensor(t)
		s.Inputs = append(s.Inputs, reports.BenchInput{Name: v.Name, DType: t.DType.String(), Shape: append([]int64{}, t.Shape...)})
	}
	for _, f := range b.files[1:] {
		for _, v := range required(f.Model) {
			if _, ok := values[v.Name]; !ok {
				return nil, fmt.Errorf("%s: input %q: %s has no such input", filepath.Base(f.Path), v.Name, filepath.Base(b.files[0].Path))
			}
		}
	}
	return values, nil
}

// timing is what was measured of one model.
type timing struct {
	profile *runtime.Profile
	steps   bool        // the profile has steps
	names   *layerNames // of the model's layers
}

// time runs one model. An engine that cannot profile is timed from outside.
func (b *benchmark) time(ctx context.Context, m *graph.Model, inputs map[string]runtime.Value) (t *timing, err error) {
	session, err := b.backend.Open(ctx, m, b.limits)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	own := map[string]runtime.Value{}
	shapes := map[string]tensor.Shape{}
	for _, v := range session.Inputs() {
		own[v.Name] = inputs[v.Name]
		shapes[v.Name] = inputs[v.Name].Tensor.Shape
	}
	t = &timing{names: nameLayers(m)}
	profiler, ok := session.(runtime.Profiler)
	if s, wrapped := session.(*placedSession); wrapped {
		profiler, ok = s.Session.(runtime.Profiler)
	}
	if ok {
		if t.profile, err = profiler.Profile(ctx, own, b.count()); err != nil {
			return nil, err
		}
		t.steps = len(t.profile.Steps) > 0
		return t, nil
	}
	p := &runtime.Profile{Device: b.backend.Name()}
	if plan, err := session.Plan(shapes); err == nil {
		p.Weights, p.Arena = plan.Weights, plan.Activations+plan.Scratch
	}
	const warmUps = 2
	for i := range b.count() + warmUps {
		start := time.Now()
		if _, err := session.Run(ctx, own); err != nil {
			return nil, err
		}
		if i >= warmUps {
			p.Totals = append(p.Totals, time.Since(start))
		}
	}
	p.Total = slices.Sorted(slices.Values(p.Totals))[len(p.Totals)/2]
	t.profile = p
	return t, nil
}

// features are the widths whose layers the card is asked about.
var features = []int64{256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192}

// measure asks the card what it reaches, where there is one.
func (b *benchmark) measure(ctx context.Context, section *reports.Bench) error {
	card, ok := b.backend.places.Backend.(*cuda.Backend)
	if !ok {
		return nil
	}
	tokens := mostTokens(section.Layers)
	widths := features
	if tokens == 0 {
		widths = nil
	}
	rates, squares, notes, err := card.Measure(ctx, tokens, widths)
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil: // the models' times stand
		notes = append(notes, fmt.Sprintf("the GPU by itself was not measured to the end: %v", err))
	}
	for _, note := range notes {
		if !b.quiet {
			fmt.Fprintf(b.stderr, "note: %s\n", oneLine(note))
		}
	}
	for _, c := range []reports.Ceiling{{Name: reports.CeilingFloat8, Unit: "TFLOP/s", Value: figure(rates.Float8 / 1e12)},
		{Name: reports.CeilingBFloat16, Unit: "TFLOP/s", Value: figure(rates.BFloat16 / 1e12)},
		{Name: reports.CeilingMemory, Unit: "GB/s", Value: figure(rates.Memory / 1e9)}} {
		if c.Value > 0 {
			section.Ceilings = append(section.Ceilings, c)
		}
	}
	for _, s := range squares {
		section.Shapes = append(section.Shapes, reports.BenchedShape{Tokens: s.Tokens, Features: s.Features, Float8: milliseconds(s.Float8),
			BFloat16: milliseconds(s.BFloat16), Speedup: figure(float64(s.BFloat16) / float64(s.Float8))})
	}
	return nil
}

// tell completes the report and puts it where the flags ask for it.
func (b *benchmark) tell(ctx context.Context, digests []*digests, section *reports.Bench) error {
	section.Execution = b.backend.execution()
	model := b.files[0].Model
	rep := &reports.Report{Kind: reports.KindBench, Bench: section, State: rewrite.Inspect(model).State}
	if text, ok := model.Property(ops.MetadataRecipe); ok {
		if recipe, err := scaling.Parse(text); err == nil {
			rep.Settings = recipeSettings(recipe)
		}
	}
	sums, err := digests[0].wait(ctx)
	if err != nil {
		return err
	}
	rep.Model.Input = inputArtifact(b.files[0], sums)
	fillVolatile(rep, b.start)
	b.backend.fill(&rep.Volatile)
	rep.Finish()
	if err := writeReport(b.stdout, rep, b.out, b.json, b.quiet, render.Options{}); err != nil {
		return err
	}
	if b.quiet {
		return nil
	}
	b.backend.tellPlaces(b.stderr)
	if a := section.Advice; a != nil && len(a.Exclude) > 0 {
		flags := make([]string, len(a.Exclude))
		for i, e := range a.Exclude {
			flags[i] = "--exclude " + shellWord(e)
		}
		fmt.Fprintf(b.stderr, "next: fp8rewrite convert %s %s -o %s\n", shellWord(b.files[1].Path), strings.Join(flags, " "), shellWord(suggestOutput(b.files[1].Path)))
	}
	return nil
}
