package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
)

// checkpointOptions are the flags of commands that write checkpoints.
type checkpointOptions struct {
	layout      string
	scales      string
	inputScales string
	tp          int64
	checkpointRun
	changed func(flag string) bool // whether the user gave a flag
}

// checkpointRun are the flags that change how the work goes, and not what it gives.
type checkpointRun struct {
	workers int
	resume  bool
	force   bool
}

func (o *checkpointRun) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&o.workers, "workers", 0, "checkpoints: tensors that are worked on at a time; 0 for one per processor")
	f.BoolVar(&o.resume, "resume", false, "checkpoints: go on from what an interrupted run with the same output left")
	f.BoolVar(&o.force, "force", false, "checkpoints: replace a folder that is not empty")
}

// layouts are the names that --layout takes.
func layouts() []string { return append([]string{}, layout.Names()...) }

func (o *checkpointOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.layout, "layout", "", "checkpoints: "+strings.Join(layouts(), ", ")+" (default: compressed-tensors for a folder with config.json, else float8-linear)")
	f.StringVar(&o.scales, "scales", "", "checkpoints: one weight scale per tensor, channel or block (default: what the layout is mostly used with)")
	f.StringVar(&o.inputScales, "input-scales", "", "checkpoints: calibrated .onnx model, or float8-linear checkpoint, to take static input scales from")
	f.Int64Var(&o.tp, "tp", 1, "checkpoints: devices that will share each layer; what their engine would refuse is kept or refused now")
	o.checkpointRun.addFlags(cmd)
	completeWords(cmd, "layout", layouts()...)
	complete(cmd, "scales", o.scalesOf)
	completeFiles(cmd, "input-scales", "onnx", "safetensors")
	o.changed = f.Changed
}

// scalesOf completes --scales with the granularities of the layout that is given, or that would be taken.
func (o *checkpointOptions) scalesOf(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	words := []string{}
	name, folder := o.layout, true
	if name == "" && len(args) > 0 && checkpoint.IsCheckpoint(args[0]) {
		_, err := os.Stat(filepath.Join(args[0], configFile))
		folder = err == nil
		name = defaultLayout(folder)
	}
	l, err := layout.Find(name)
	for _, g := range []layout.Granularity{layout.PerTensor, layout.PerChannel, layout.PerBlock} {
		fits := err != nil // nothing is known of the layout
		if !fits {
			_, refused := l.Settle(layout.Request{Weights: g, Inputs: o.inputScales != "", Folder: folder})
			fits = refused == nil
		}
		if fits {
			words = append(words, string(g))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// defaultLayout is what a checkpoint becomes where nothing was said. A folder is one with a config.json.
func defaultLayout(folder bool) string {
	if folder {
		return "compressed-tensors"
	}
	return "float8-linear"
}

// The flags that mean something for one kind of input alone.
var (
	onnxFlags = []string{"recipe", "history-len", "margin", "amax-compute", "power-of-two", "assume-constant", "observe", "emit", "weights",
		"external-data"}
	checkpointFlags = []string{"layout", "scales", "input-scales", "tp", "workers", "resume", "force"}
)

// checkKind refuses flags that are not for the kind of the input.
func (o *checkpointOptions) checkKind(in string, isCheckpoint bool) error {
	if o.changed == nil {
		return nil
	}
	if !isCheckpoint {
		for _, name := range checkpointFlags {
			if o.changed(name) {
				return hint(usagef("--%s is for checkpoints, and %q is none", name, in), "a checkpoint is a .safetensors file or a folder of them")
			}
		}
		return nil
	}
	for _, name := range onnxFlags {
		if o.changed(name) {
			return hint(usagef("--%s is for ONNX models, and %q is a checkpoint", name, in), "fp8rewrite help convert says which flags are for checkpoints")
		}
	}
	return nil
}

// suggestCheckpoint is a name for a converted checkpoint beside the shell's place.
func suggestCheckpoint(in, ending string) string {
	base := filepath.Base(filepath.Clean(in))
	if abs, err := filepath.Abs(in); err == nil {
		base = filepath.Base(abs)
	}
	if ext := filepath.Ext(base); strings.EqualFold(ext, ".safetensors") {
		return base[:len(base)-len(ext)] + "." + ending + ext
	}
	return base + "-" + ending
}

// checkCheckpoint finds conflicts between the flags of a conversion of a checkpoint.
func (o *convertOptions) checkCheckpoint(in string) error {
	toFile := "-o " + shellWord(suggestCheckpoint(in, "fp8"))
	switch {
	case o.out == "" && !o.dryRun:
		return hint(usagef("convert: --output is missing"), "fp8rewrite convert %s %s", shellWord(in), toFile)
	case o.out == "-":
		return hint(usagef("-o -: a checkpoint is not written to stdout"), "%s", toFile)
	case o.perChannel && o.ckpt.scales != "" && o.ckpt.scales != string(layout.PerChannel):
		return hint(usagef("--per-channel and --scales %s contradict each other", o.ckpt.scales), "--scales channel")
	case o.ckpt.tp < 1:
		return hint(usagef("--tp: got %d, want 1 or more", o.ckpt.tp), "--tp 8")
	case o.ckpt.workers < 0:
		return hint(usagef("--workers: got %d, want 0 or more", o.ckpt.workers), "--workers 4")
	case o.quiet && o.json:
		return hint(usagef("--quiet and --json contradict each other"), "leave --quiet out: --json prints nothing else")
	case o.all && (o.json || o.quiet):
		return hint(usagef("--all is for the table, which is not printed here"), "leave --all out")
	case o.dryRun && o.report != "":
		return hint(usagef("--dry-run writes nothing, --report wants a file"), "--dry-run --json > %s", shellWord(o.report))
	case o.report == "-":
		return hint(usagef("--report wants a file, got %q", o.report), "--json prints the report on stdout")
	case o.dryRun && o.ckpt.resume:
		return hint(usagef("--dry-run and --resume contradict each other"), "leave --resume out")
	}
	return nil
}

// conversionOptions turn the flags into options of a conversion of src.
func (o *convertOptions) conversionOptions(src *checkpoint.Source) (checkpoint.Options, error) {
	opt := checkpoint.Options{MultipleOf: o.multipleOf, MinDim: o.minDim, TensorParallel: o.ckpt.tp, Version: buildVersion()}
	name := o.ckpt.layout
	if name == "" {
		name = defaultLayout(src.Config != nil)
	}
	var err error
	if opt.Layout, err = layout.Find(name); err != nil {
		return opt, hint(usageError{fmt.Errorf("--%w", err)}, "--layout compressed-tensors")
	}
	switch g := layout.Granularity(o.ckpt.scales); g {
	case "", layout.PerTensor, layout.PerChannel, layout.PerBlock:
		opt.Weights = g
	default:
		return opt, hint(usagef("--scales: got %q, want tensor, channel or block", o.ckpt.scales), "--scales channel")
	}
	if o.perChannel {
		opt.Weights = layout.PerChannel
	}
	if o.multipleOf < 0 || o.minDim < 0 {
		return opt, hint(usagef("--multiple-of and --min-dim want 0 or more, got %d and %d", o.multipleOf, o.minDim), "--multiple-of 16")
	}
	for _, list := range []struct {
		texts []string
		to    *[]checkpoint.Pattern
	}{{o.include, &opt.Include}, {o.exclude, &opt.Exclude}} {
		for _, text := range list.texts {
			p, err := rewrite.ParsePattern(text)
			if err != nil {
				return opt, hint(usageError{err}, "globs match whole layer names, as in '*.down_proj'; --dry-run --all lists the names")
			}
			*list.to = append(*list.to, checkpoint.Pattern{Text: text, Match: p.Match})
		}
	}
	if o.ckpt.inputScales != "" {
		if opt.InputAmax, err = readInputAmaxes(o.ckpt.inputScales); err != nil {
			return opt, err
		}
	}
	return opt, nil
}

// runCheckpoint converts a checkpoint.
func (o *convertOptions) runCheckpoint(ctx context.Context, stdout, stderr io.Writer, in string) (err error) {
	start := time.Now()
	if err := o.checkCheckpoint(in); err != nil {
		return err
	}
	src, err := checkpoint.Open(in)
	if err != nil {
		return explainOpen(in, err)
	}
	defer src.Close()
	opt, err := o.conversionOptions(src)
	if err != nil {
		return err
	}
	workers, err := joinWorkers()
	if err != nil {
		return err
	}
	defer func() { err = workers.leave(ctx, err) }()
	stdout, stderr = workers.speak(stdout, stderr, &o.quiet)
	if err := o.ckpt.probe(src, o.out, o.report, o.dryRun); err != nil {
		return err
	}
	c, err := checkpoint.NewConversion(src, opt)
	if err != nil {
		return o.explainConversion(in, err)
	}
	bar := newBar(stderr, o.quiet)
	defer bar.clear()
	rep := &reports.Report{Kind: reports.KindConvert}
	if o.dryRun {
		if err := mapfile.Guard(func() error { return c.Measure(ctx, o.ckpt.workers) }); err != nil {
			return err
		}
		if err := planModels(c, src, rep, o.out, in); err != nil {
			return err
		}
	} else {
		res, err := c.Run(ctx, o.out, o.ckpt.options(workers, bar))
		bar.clear()
		if err != nil {
			return o.ckpt.explain(ctx, err, in, o.out)
		}
		fillModels(rep, res, src, o.out)
	}
	bar.clear()
	if workers.rank() > 0 {
		return nil
	}
	rep.Settings = reports.Settings{Recipe: "w:" + string(c.Scheme.Weights) + " i:" + c.InputScaling(), AmaxCompute: "max", Weights: "float8",
		Emit: opt.Layout.Name(), PerChannel: c.Scheme.Weights == layout.PerChannel, Include: append([]string{}, o.include...),
		Exclude: append([]string{}, o.exclude...), MultipleOf: o.multipleOf, MinDim: o.minDim}
	if opt.Layout.Name() == "float8-linear" {
		rep.Settings.HistoryLen = layout.HistoryLen
	}
	rep.State, rep.Layers, rep.Changes, rep.Warnings = c.State(), c.Rows(), []reports.Change{}, c.Warnings()
	fillVolatile(rep, start)
	rep.Finish()
	if err := writeReport(stdout, rep, o.report, o.json, o.quiet, render.Options{All: o.all}); err != nil {
		return o.afterwards(err)
	}
	if o.dryRun && !o.quiet {
		tellMemory(stderr, src, o.ckpt.workers)
	}
	return nil
}

// tellMemory says what a run would take.
func tellMemory(w io.Writer, src *checkpoint.Source, workers int) {
	n := checkpoint.Workers(workers)
	fmt.Fprintf(w, "dry run: nothing was written; planned peak: %d MiB of memory with %s, beside mapped files\n", (src.Peak(n)+1<<20-1)>>20, counted(n, "worker"))
}

// options are those of a run.
func (o *checkpointRun) options(w workers, bar *bar) checkpoint.RunOptions {
	opt := checkpoint.RunOptions{Workers: o.workers, Resume: o.resume, Force: o.force, Version: buildVersion(), Progress: bar.stage("writing checkpoint")}
	if w.mpi != nil {
		opt.Group = w.mpi
	}
	return opt
}

// probe finds outputs that cannot be written before the slow work.
func (o *checkpointRun) probe(src *checkpoint.Source, out, report string, dryRun bool) error {
	if report != "" {
		if err := atomicfile.Probe(report); err != nil {
			return err
		}
		if rel, err := filepath.Rel(src.Path, report); err == nil && src.Folder && filepath.IsLocal(rel) {
			return hint(fmt.Errorf("report %q lies in the input %q", report, src.Path), "--report report.json")
		}
		if rel, err := filepath.Rel(out, report); err == nil && !dryRun && filepath.IsLocal(rel) {
			return hint(usagef("--report %q lies in the output %q, which is made whole at the end", report, out), "--report report.json")
		}
	}
	if dryRun {
		return nil
	}
	for dir, inner := range map[string]string{src.Path: out, out: src.Path} {
		if rel, err := filepath.Rel(absolute(dir), absolute(inner)); err == nil && rel != "." && filepath.IsLocal(rel) {
			return hint(fmt.Errorf("one of the input %q and the output %q lies in the other", src.Path, out), "-o %s", shellWord(filepath.Join("..", suggestCheckpoint(src.Path, "fp8"))))
		}
	}
	if o.resume { // what is there may be what the run that was killed had written
		return nil
	}
	return o.explain(context.Background(), checkpoint.CheckTarget(src, out, o.force), src.Path, out)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// explain adds what helps to the error of a run.
func (o *checkpointRun) explain(ctx context.Context, err error, in, out string) error {
	var exists *checkpoint.ExistsError
	var other *checkpoint.OtherJobError
	var nothing *checkpoint.NothingToResumeError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return resumable{checkpoint.Leftover(out), err}
	case errors.As(err, &exists):
		return hint(err, "--force replaces it")
	case errors.As(err, &other):
		return hint(err, "leave --resume out to begin again")
	case errors.As(err, &nothing):
		return hint(err, "leave --resume out to begin")
	}
	return err
}

// explainConversion adds what helps to the error of a plan.
func (o *convertOptions) explainConversion(in string, err error) error {
	var refused *checkpoint.RefusedError
	var quantized *checkpoint.QuantizedError
	switch {
	case errors.As(err, &quantized):
		return hint(err, "fp8rewrite restore %s -o %s", shellWord(in), shellWord(suggestCheckpoint(in, "restored")))
	case errors.As(err, &refused) && strings.Contains(refused.Why, "Conv1D"):
		return hint(err, "--layout float8-linear, or --exclude the layer")
	case errors.As(err, &refused) && strings.Contains(refused.Why, "calibration"):
		return hint(err, "--exclude layers that were not calibrated, or leave --input-scales out for scales that the engine finds while it runs")
	case strings.Contains(err.Error(), "stored scales were given"):
		return hint(err, "--scales tensor, or leave --input-scales out")
	case strings.Contains(err.Error(), "none are at hand"):
		return hint(err, "--input-scales CALIBRATED.onnx, or --scales channel")
	case strings.Contains(err.Error(), "config.json"):
		return hint(err, "--layout float8-linear, or name the folder")
	}
	return err
}

// artifactOf describes the files of a checkpoint.
func artifactOf(path string, files []checkpoint.FileInfo, folder bool) reports.Artifact {
	a := reports.Artifact{Name: filepath.Base(absolute(path)), Format: "safetensors", Opsets: []reports.Opset{}, ExternalFiles: []reports.ExternalFile{}}
	known := len(files) > 0
	for _, f := range files {
		a.Bytes += f.Bytes
		known = known && f.XXH64 != ""
		if folder {
			a.ExternalFiles = append(a.ExternalFiles, reports.ExternalFile{Name: f.Name, Bytes: f.Bytes, XXH64: f.XXH64})
		}
	}
	if known {
		if !folder { // the name stands in the report already, and a copy of the file is the same model
			files = []checkpoint.FileInfo{{Bytes: files[0].Bytes, XXH64: files[0].XXH64}}
		}
		a.SHA256 = checkpoint.Digest(files)
	}
	return a
}

// fillModels fills in the models of a report.
func fillModels(rep *reports.Report, res *checkpoint.Result, src *checkpoint.Source, out string) {
	rep.Model.Input = artifactOf(src.Path, res.Inputs, src.Folder)
	output := artifactOf(out, res.Outputs, src.Folder)
	rep.Model.Output = &output
}

// planModels fills in the models of a report of a dry run.
func planModels(c *checkpoint.Conversion, src *checkpoint.Source, rep *reports.Report, out, in string) error {
	inputs, err := src.Files()
	if err != nil {
		return err
	}
	outputs, err := c.Planned()
	if err != nil {
		return err
	}
	if out == "" {
		out = suggestCheckpoint(in, "fp8")
	}
	rep.Model.Input = artifactOf(src.Path, inputs, src.Folder)
	output := artifactOf(out, outputs, src.Folder)
	rep.Model.Output = &output
	return nil
}
