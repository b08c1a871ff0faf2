package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// convertOptions are the flags of convert.
type convertOptions struct {
	outputs
	recipe         string
	historyLen     int
	margin         int
	amaxCompute    string
	powerOfTwo     bool
	perChannel     bool
	include        []string
	exclude        []string
	multipleOf     int64
	minDim         int64
	assumeConstant bool
	observe        bool
	emit           string
	weights        string
	json           bool
	quiet          bool
	all            bool
	ckpt           checkpointOptions
}

// The forms of a rewritten layer that --emit chooses.
const (
	emitFloat8Linear = "float8linear"
	emitQDQ          = "qdq"
)

func newConvert() *cobra.Command {
	o := &convertOptions{}
	cmd := &cobra.Command{
		Use:   "convert MODEL.onnx|CHECKPOINT -o OUT",
		Short: "Swap the linear layers of a model for Float8Linear",
		Long: `convert swaps every MatMul and Gemm that has a constant matrix for Float8Linear, quantizes the matrix to float8e4m3fn, and
writes the model with a table of what was done to which layer and why. The output carries the operator's definition as a
model-local function, so a standard runtime executes it without a plug-in.

With delayed scaling, the default, the activation's scale comes from amaxes that calibration observes: a freshly converted model is
not calibrated yet. With --recipe dynamic each run finds its own scale and the model can be used as it is.

A CHECKPOINT is a .safetensors file or a folder of them. Its linear layers become float8 in the layout that an engine loads; embeddings,
norms, routers and output heads stay unless --include names them. Under mpirun or srun the files are divided among the processes.

Exit status: 0 done (also when no layer was rewritten: the table says why), 1 failed, 2 wrong usage, 130 interrupted. No failure
leaves a partial output, and an older file at OUT stays as it was.`,
		Example: `  fp8rewrite convert model.onnx -o model.fp8.onnx
  fp8rewrite convert model.onnx -o model.fp8.onnx --recipe dynamic --exclude '*lm_head*' --report report.json
  fp8rewrite convert llama -o llama-fp8 --layout compressed-tensors`,
		Args:              one("the model to convert"),
		ValidArgsFunction: modelsAndCheckpoints,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runConvert(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.out, "output", "o", "", "file to write the rewritten model to; - for stdout")
	f.StringVar(&o.recipe, "recipe", "delayed", "scaling: delayed, dynamic, or per operand i (input), w (weight), go (gradient of the output): i:del,w:del,go:del; i:off is weight-only")
	f.IntVar(&o.historyLen, "history-len", scaling.DefaultHistoryLen, "amaxes kept per operand")
	f.IntVar(&o.margin, "margin", 0, "divide scales by 2^margin")
	f.StringVar(&o.amaxCompute, "amax-compute", "max", "amax from a history: max or most_recent")
	f.BoolVar(&o.powerOfTwo, "power-of-two", false, "floor scales to a power of two")
	f.BoolVar(&o.perChannel, "per-channel", false, "one weight scale per output channel")
	f.StringArrayVar(&o.include, "include", nil, "rewrite only layers whose name matches this glob, or regular expression after re: (repeatable)")
	f.StringArrayVar(&o.exclude, "exclude", nil, "keep layers whose name matches this glob, or regular expression after re: (repeatable)")
	f.Int64Var(&o.multipleOf, "multiple-of", 0, "keep layers with a dimension that is no multiple of this")
	f.Int64Var(&o.minDim, "min-dim", 0, "keep layers with a dimension below this")
	f.BoolVar(&o.assumeConstant, "assume-constant", false, "take initializers that are also graph inputs for constants")
	f.BoolVar(&o.observe, "observe", false, "make the amax of every layer a graph output, so that any runtime can observe it")
	f.StringVar(&o.emit, "emit", emitFloat8Linear, "form of a rewritten layer: float8linear, or qdq for TensorRT (needs a calibrated model)")
	f.StringVar(&o.weights, "weights", "float8", "stored weights: float8, or original for models that will be trained on")
	f.StringVar(&o.report, "report", "", "file to write the JSON report to")
	f.BoolVar(&o.externalData, "external-data", false, "write weights to a data file beside the model (done anyway above 2 GB)")
	f.BoolVar(&o.dryRun, "dry-run", false, "decide and measure, write nothing")
	f.BoolVar(&o.json, "json", false, "print the JSON report instead of the table")
	f.BoolVar(&o.all, "all", false, "list every kept layer in the table, instead of a line per reason")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors")
	o.ckpt.addFlags(cmd)
	completeFiles(cmd, "output", "onnx", "safetensors")
	completeFiles(cmd, "report", "json")
	completeWords(cmd, "recipe", "delayed", "dynamic", "i:off", "i:del,w:del,go:del")
	completeWords(cmd, "amax-compute", "max", "most_recent")
	completeWords(cmd, "emit", emitFloat8Linear, emitQDQ)
	completeWords(cmd, "weights", "float8", "original")
	return cmd
}

// rewriteOptions checks the flags and turns them into the rewriter's options.
func (o *convertOptions) rewriteOptions() (rewrite.Options, error) {
	var opt rewrite.Options
	recipe, err := scaling.Recipe{HistoryLen: o.historyLen, Margin: o.margin, PowerOfTwo: o.powerOfTwo, PerChannel: o.perChannel}.ParseModes(o.recipe)
	if err != nil {
		return opt, hint(usageError{err}, "--recipe delayed, --recipe dynamic, or --recipe i:del,w:del,go:del")
	}
	if recipe.Compute, err = scaling.ParseAmaxCompute(o.amaxCompute); err != nil {
		return opt, hint(usageError{err}, "--amax-compute max")
	}
	if err := recipe.Check(); err != nil {
		return opt, hint(usageError{err}, "the defaults are --history-len %d --margin 0", scaling.DefaultHistoryLen)
	}
	opt.Recipe = recipe
	if opt.Weights, err = rewrite.ParseWeights(o.weights); err != nil {
		return opt, hint(usageError{err}, "--weights float8")
	}
	for _, list := range []struct {
		texts []string
		to    *[]rewrite.Pattern
	}{{o.include, &opt.Include}, {o.exclude, &opt.Exclude}} {
		for _, text := range list.texts {
			p, err := rewrite.ParsePattern(text)
			if err != nil {
				return opt, hint(usageError{err}, "globs match whole layer names, as in '*.lm_head'; fp8rewrite inspect MODEL lists the names")
			}
			*list.to = append(*list.to, p)
		}
	}
	if o.multipleOf < 0 {
		return opt, hint(usagef("--multiple-of: got %d, want 0 or more", o.multipleOf), "--multiple-of 16")
	}
	if o.minDim < 0 {
		return opt, hint(usagef("--min-dim: got %d, want 0 or more", o.minDim), "--min-dim 128")
	}
	opt.MultipleOf, opt.MinDim, opt.AssumeConstant = o.multipleOf, o.minDim, o.assumeConstant
	opt.Observe = o.observe
	return opt, nil
}

// check finds conflicts between flags before any work.
func (o *convertOptions) check(in string, stdout io.Writer) error {
	toFile := "-o " + shellWord(suggestOutput(in))
	switch {
	case o.out == "" && !o.dryRun:
		return hint(usagef("convert: --output is missing"), "fp8rewrite convert %s %s", shellWord(in), toFile)
	case o.emit != emitFloat8Linear && o.emit != emitQDQ:
		return hint(usagef("--emit: got %q, want %s or %s", o.emit, emitFloat8Linear, emitQDQ), "--emit %s", emitFloat8Linear)
	case o.emit == emitQDQ && o.weights == "original":
		return hint(usagef("--emit qdq stores float8 weights, --weights original does not"), "leave --weights out")
	case o.emit == emitQDQ && o.observe:
		return hint(usagef("--observe needs Float8Linear nodes, --emit qdq replaces them"), "leave --observe out")
	case o.quiet && o.json:
		return hint(usagef("--quiet and --json contradict each other"), "leave --quiet out: --json prints nothing else")
	case o.all && o.json:
		return hint(usagef("--all and --json contradict each other: the JSON report has every layer anyway"), "leave --all out")
	case o.all && o.quiet:
		return hint(usagef("--all and --quiet contradict each other: there is no table to list layers in"), "leave --all out")
	case o.dryRun && o.report != "":
		return hint(usagef("--dry-run writes nothing, --report wants a file"), "--dry-run --json > %s", shellWord(o.report))
	case o.report == "-":
		return hint(usagef("--report wants a file, got %q", o.report), "--json prints the report on stdout")
	case o.out == "-" && o.externalData:
		return hint(usagef("--external-data needs a folder to write to, -o - has none"), "%s", toFile)
	case o.out == "-" && o.json && !o.dryRun:
		return hint(usagef("-o - and --json both want stdout"), "--report report.json")
	case o.out == "-" && !o.dryRun && isTerminal(stdout):
		return hint(usagef("-o - would write the model to a terminal"), "%s", toFile)
	}
	return nil
}

func suggestOutput(in string) string {
	base := filepath.Base(in)
	return base[:len(base)-len(filepath.Ext(base))] + ".fp8.onnx"
}

// runConvert checks everything that can be checked before the slow work, and opens the model.
func runConvert(ctx context.Context, stdout, stderr io.Writer, in string, o *convertOptions) error {
	start := time.Now()
	isCheckpoint := checkpoint.IsCheckpoint(in)
	if err := o.ckpt.checkKind(in, isCheckpoint); err != nil {
		return err
	}
	if isCheckpoint {
		return o.runCheckpoint(ctx, stdout, stderr, in)
	}
	if err := o.check(in, stdout); err != nil {
		return err
	}
	opt, err := o.rewriteOptions()
	if err != nil {
		return err
	}
	if err := o.probe(in, suggestOutput(in)); err != nil {
		return err
	}
	file, err := onnxio.Open(in)
	if err != nil {
		return explainOpen(in, err)
	}
	defer file.Close()
	if err := o.refuseData(file, suggestOutput(in)); err != nil {
		return err
	}
	err = mapfile.Guard(func() error { return o.run(ctx, stdout, stderr, file, opt, start) })
	return explainChange(file, err)
}

// run rewrites, saves and reports.
func (o *convertOptions) run(ctx context.Context, stdout, stderr io.Writer, file *onnxio.File, opt rewrite.Options, start time.Time) error {
	digests := digestInput(ctx, file)
	defer digests.stop()
	bar := newBar(stderr, o.quiet)
	defer bar.clear()
	opt.Progress = bar.stage("reading weights")
	res, err := o.rewrite(ctx, file, opt)
	if err != nil {
		return o.explainRewrite(file, err)
	}
	saveOpt := onnxio.SaveOptions{ExternalData: o.externalData, Progress: bar.stage("writing model")}
	rep := &reports.Report{Kind: reports.KindConvert}
	switch {
	case o.dryRun:
		err = o.plan(ctx, rep, file, res, saveOpt)
	case o.out == "-":
		err = writeStdout(ctx, stdout, rep, res, saveOpt)
	default:
		var saved onnxio.SaveResult
		if saved, err = onnxio.Save(ctx, o.out, res.Model, saveOpt); err == nil {
			out := artifact(res.Model, o.out, saved)
			rep.Model.Output = &out
		}
	}
	bar.clear()
	if err != nil {
		return err
	}
	if err := o.tell(ctx, stdout, stderr, rep, digests, file, res, opt, start); err != nil {
		return o.afterwards(err)
	}
	return nil
}

// tell completes the report, puts it where the flags ask for it, and says what to do next.
func (o *convertOptions) tell(ctx context.Context, stdout, stderr io.Writer, rep *reports.Report, digests *digests, file *onnxio.File,
	res *rewrite.Result, opt rewrite.Options, start time.Time) error {
	sums, err := digests.wait(ctx)
	if err != nil {
		return err
	}
	rep.Model.Input = inputArtifact(file, sums)
	o.fill(rep, res, opt, start)
	if err := o.write(stdout, stderr, rep); err != nil {
		return err
	}
	o.advise(stderr, rep)
	return nil
}

// rewrite runs the stages that --emit asks for.
func (o *convertOptions) rewrite(ctx context.Context, file *onnxio.File, opt rewrite.Options) (*rewrite.Result, error) {
	if o.emit == emitQDQ {
		return rewrite.ConvertQDQ(ctx, file.Model, opt)
	}
	return rewrite.Convert(ctx, file.Model, opt)
}

// plan fills in what a save would write.
func (o *convertOptions) plan(ctx context.Context, rep *reports.Report, file *onnxio.File, res *rewrite.Result, opt onnxio.SaveOptions) error {
	if err := res.Measured(ctx); err != nil {
		return err
	}
	out := o.out
	if out == "" || out == "-" {
		out = suggestOutput(file.Path)
	}
	sizes, err := onnxio.Plan(out, res.Model, opt)
	if err != nil {
		return err
	}
	planned := artifact(res.Model, out, onnxio.SaveResult{Bytes: sizes.Model + sizes.Data})
	rep.Model.Output = &planned
	return nil
}

func writeStdout(ctx context.Context, stdout io.Writer, rep *reports.Report, res *rewrite.Result, opt onnxio.SaveOptions) error {
	sizes, err := onnxio.Plan("stdout", res.Model, onnxio.SaveOptions{})
	if err != nil {
		return err
	}
	if sizes.Data > 0 {
		return hint(fmt.Errorf("the model needs %d bytes of external data, which stdout cannot carry", sizes.Data), "-o FILE.onnx")
	}
	info, err := onnxio.Write(ctx, stdout, res.Model, opt.Progress)
	if err != nil {
		return err
	}
	out := artifact(res.Model, "-", onnxio.SaveResult{Bytes: info.Bytes, Files: []onnxio.FileInfo{info}})
	rep.Model.Output = &out
	return nil
}

// write puts the report where the flags ask for it.
func (o *convertOptions) write(stdout, stderr io.Writer, rep *reports.Report) error {
	to := stdout
	if o.out == "-" && !o.dryRun {
		to = stderr // stdout carries the model
	}
	return writeReport(to, rep, o.report, o.json, o.quiet, render.Options{All: o.all})
}

// advise says what to do next.
func (o *convertOptions) advise(stderr io.Writer, rep *reports.Report) {
	if o.quiet {
		return
	}
	if o.dryRun {
		fmt.Fprintln(stderr, "dry run: nothing was written")
		return
	}
	if rep.State.DelayedLayers > rep.State.InitializedLayers && o.out != "-" {
		wait := "1 layer waits"
		if n := rep.State.DelayedLayers - rep.State.InitializedLayers; n != 1 {
			wait = fmt.Sprintf("%d layers wait", n)
		}
		fmt.Fprintf(stderr, "not calibrated: %s for data; next: fp8rewrite calibrate %s --data BATCHES.npz -o %s\n", wait, shellWord(o.out), shellWord(suggestCalibrated(o.out)))
	}
}

func suggestCalibrated(out string) string {
	if isFolder(out) {
		return suggestCheckpoint(out, "scales") + ".safetensors"
	}
	ext := filepath.Ext(out)
	return out[:len(out)-len(ext)] + ".calibrated" + ext
}

// explainOpen adds a hint to what Open says.
func explainOpen(in string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if dir, e := os.Getwd(); e == nil && !filepath.IsAbs(in) {
			return hint(err, "the path is taken from the current folder, %s", dir)
		}
	}
	return err
}

// explainRewrite adds the command that helps.
func (o *convertOptions) explainRewrite(file *onnxio.File, err error) error {
	var mismatch *rewrite.RecipeMismatchError
	if errors.As(err, &mismatch) {
		return hint(err, "convert the original model again, with the recipe that is wanted")
	}
	var uncalibrated *rewrite.NotCalibratedError
	if errors.As(err, &uncalibrated) {
		if _, converted := file.Model.Property(ops.MetadataRecipe); !converted {
			converted := suggestOutput(file.Path)
			return hint(err, "first fp8rewrite convert %s -o %s, then fp8rewrite calibrate %s --data BATCHES.npz -o %s", shellWord(file.Path),
				shellWord(converted), shellWord(converted), shellWord(suggestCalibrated(converted)))
		}
		return hint(err, "fp8rewrite calibrate %s --data BATCHES.npz -o %s", shellWord(file.Path), shellWord(suggestCalibrated(file.Path)))
	}
	if o.emit == emitQDQ && !errors.Is(err, context.Canceled) {
		return hint(err, "--emit qdq takes what fp8rewrite convert --recipe delayed and fp8rewrite calibrate make, one after the other")
	}
	return err
}

// explainChange says so when the input is no longer what was opened: then that is the reason of an error.
func explainChange(file *onnxio.File, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if !errors.As(err, new(changedError)) {
		change := changed(file)
		if change == nil {
			return err
		}
		err = fmt.Errorf("%w (%w)", change, err)
	}
	return hint(err, "use a copy of the file, or wait until whatever writes it is done")
}
