package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// restoreOptions are the flags of restore.
type restoreOptions struct {
	outputs
	checkpointRun
	dtype string
	json  bool
	quiet bool
	all   bool

	changed func(flag string) bool
}

func newRestore() *cobra.Command {
	o := &restoreOptions{}
	cmd := &cobra.Command{
		Use:   "restore IN -o OUT",
		Short: "Turn float8 weights back to full precision",
		Long: `restore turns the float8 weights of a checkpoint, in any layout that convert writes and in that of DeepSeek-V3, back to full precision, and
takes away the scales beside them and the settings that speak of them. An ONNX model that convert has rewritten gets its MatMul and Gemm
nodes back.

A weight becomes dtype(code · scale): what float8 took away does not come back.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. No failure leaves a partial output.`,
		Example: `  fp8rewrite restore model.fp8.onnx -o restored.onnx
  fp8rewrite restore llama-fp8 -o llama-restored --dtype bfloat16
  fp8rewrite restore layers.fp8.safetensors -o layers.restored.safetensors --dtype float32`,
		Args:              one("the model or checkpoint to restore"),
		ValidArgsFunction: modelsAndCheckpoints,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRestore(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.out, "output", "o", "", "file or folder to write to")
	f.StringVar(&o.dtype, "dtype", "", "type of the restored weights: bfloat16, float16 or float32 (default: the model's own)")
	f.StringVar(&o.report, "report", "", "file to write the JSON report to")
	f.BoolVar(&o.dryRun, "dry-run", false, "find the weights and their scales, write nothing")
	f.BoolVar(&o.json, "json", false, "print the JSON report instead of the table")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors")
	o.addFlags(cmd)
	o.changed = f.Changed
	completeFiles(cmd, "output", "onnx", "safetensors")
	completeFiles(cmd, "report", "json")
	completeWords(cmd, "dtype", "bfloat16", "float16", "float32")
	return cmd
}

func (o *restoreOptions) check(in string) error {
	switch {
	case o.out == "" && !o.dryRun:
		return hint(usagef("restore: --output is missing"), "fp8rewrite restore %s -o %s", shellWord(in), shellWord(suggestCheckpoint(in, "restored")))
	case o.out == "-":
		return hint(usagef("-o -: restore writes no model to stdout"), "-o %s", shellWord(suggestCheckpoint(in, "restored")))
	case o.quiet && o.json:
		return hint(usagef("--quiet and --json contradict each other"), "leave --quiet out: --json prints nothing else")
	case o.dryRun && o.report != "":
		return hint(usagef("--dry-run writes nothing, --report wants a file"), "--dry-run --json > %s", shellWord(o.report))
	case o.dryRun && o.resume:
		return hint(usagef("--dry-run and --resume contradict each other"), "leave --resume out")
	case o.report == "-":
		return hint(usagef("--report wants a file, got %q", o.report), "--json prints the report on stdout")
	case o.workers < 0:
		return hint(usagef("--workers: got %d, want 0 or more", o.workers), "--workers 4")
	}
	return nil
}

func runRestore(ctx context.Context, stdout, stderr io.Writer, in string, o *restoreOptions) error {
	if err := o.check(in); err != nil {
		return err
	}
	dtype := tensor.Undefined
	if o.dtype != "" {
		var err error
		if dtype, err = checkpoint.ParseDType(o.dtype); err != nil {
			return hint(usageError{fmt.Errorf("--%w", err)}, "--dtype bfloat16")
		}
	}
	if checkpoint.IsCheckpoint(in) {
		return o.runCheckpoint(ctx, stdout, stderr, in, dtype)
	}
	for _, name := range checkpointFlags {
		if o.changed(name) {
			return hint(usagef("--%s is for checkpoints, and %q is none", name, in), "a checkpoint is a .safetensors file or a folder of them")
		}
	}
	return o.runModel(ctx, stdout, stderr, in, dtype)
}

// runCheckpoint restores a checkpoint.
func (o *restoreOptions) runCheckpoint(ctx context.Context, stdout, stderr io.Writer, in string, dtype tensor.DType) (err error) {
	start := time.Now()
	src, err := checkpoint.Open(in)
	if err != nil {
		return explainOpen(in, err)
	}
	defer src.Close()
	workers, err := joinWorkers()
	if err != nil {
		return err
	}
	defer func() { err = workers.leave(ctx, err) }()
	stdout, stderr = workers.speak(stdout, stderr, &o.quiet)
	if err := o.checkpointRun.probe(src, o.out, o.report, o.dryRun); err != nil {
		return err
	}
	r, err := checkpoint.NewRestoration(src, dtype)
	if errors.Is(err, checkpoint.ErrNoFloat8) {
		return hint(fmt.Errorf("%s: %w", in, err), "fp8rewrite convert %s -o %s", shellWord(in), shellWord(suggestCheckpoint(in, "fp8")))
	}
	if err != nil {
		return err
	}
	rep := &reports.Report{Kind: reports.KindConvert}
	if o.dryRun {
		inputs, err := src.Files()
		if err != nil {
			return err
		}
		rep.Model.Input = artifactOf(in, inputs, src.Folder)
	} else {
		bar := newBar(stderr, o.quiet)
		res, err := r.Run(ctx, o.out, o.options(workers, bar))
		bar.clear()
		if err != nil {
			return o.explain(ctx, err, in, o.out)
		}
		fillModels(rep, res, src, o.out)
	}
	if workers.rank() > 0 {
		return nil
	}
	rep.Settings = restoreSettings(r.DType)
	rep.State.Calibrated = true
	rep.Layers, rep.Changes, rep.Warnings = r.Rows(!o.dryRun), []reports.Change{}, r.Warnings()
	fillVolatile(rep, start)
	rep.Finish()
	if err := writeReport(stdout, rep, o.report, o.json, o.quiet, render.Options{All: o.all}); err != nil {
		return o.afterwards(err)
	}
	if o.dryRun && !o.quiet {
		tellMemory(stderr, src, o.workers)
	}
	return nil
}

// restoreSettings are the settings of a report of restore.
func restoreSettings(d tensor.DType) reports.Settings {
	return reports.Settings{Recipe: "restored to " + d.String(), Weights: "original", Emit: "restore", Include: []string{}, Exclude: []string{}}
}
