package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
)

// mergeOptions are the flags of merge.
type mergeOptions struct {
	outputs
	freeze bool
	json   bool
	quiet  bool
}

// joined is what merge --json prints.
type joined struct {
	Output     string `json:"output"`
	Models     int    `json:"models"`
	Steps      int    `json:"steps"`
	Layers     int64  `json:"layers"`            // that have scales to find
	Calibrated int64  `json:"layers_calibrated"` // that have found them
}

func newMerge() *cobra.Command {
	o := &mergeOptions{}
	cmd := &cobra.Command{
		Use:   "merge SHARD.onnx... -o OUT.onnx",
		Short: "Join models that were calibrated on parts of every batch",
		Long: `merge joins the models that calibrate --shard 1/n to n/n made of one model: of every step the largest amax of all shards enters the
history, and the scales follow from it. Each shard casts with scales of its own on the way, so the result is near that of one run over all
rows, and not equal to it; under mpirun the processes share their amaxes and it is equal.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. No failure leaves a partial output, and an older file at OUT stays as it was.`,
		Example: `  fp8rewrite merge shard1.onnx shard2.onnx -o model.calibrated.onnx
  fp8rewrite merge shard*.onnx -o model.calibrated.onnx
  fp8rewrite merge shard*.onnx -o model.calibrated.onnx --freeze`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return hint(usagef("merge: the models to merge are missing"), "%s", usageLine(cmd))
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"onnx"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMerge(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.out, "output", "o", "", "file to write the merged model to")
	f.BoolVar(&o.freeze, "freeze", false, "store the final scales as static: weights become float8, and later runs leave the scales alone")
	f.BoolVar(&o.externalData, "external-data", false, "write weights to a data file beside the model (done anyway above 2 GB)")
	f.BoolVar(&o.json, "json", false, "print JSON instead of text")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors")
	completeFiles(cmd, "output", "onnx")
	return cmd
}

// runMerge opens all shards, joins them and saves the result.
func runMerge(ctx context.Context, stdout, stderr io.Writer, in []string, o *mergeOptions) error {
	switch o.out {
	case "":
		return hint(usagef("merge: --output is missing"), "-o model.calibrated.onnx")
	case "-":
		return hint(usagef("--output wants a file, got %q", o.out), "-o model.calibrated.onnx")
	}
	if o.quiet && o.json {
		return hint(usagef("--quiet and --json contradict each other"), "leave --quiet out: --json prints nothing else")
	}
	var files []*onnxio.File
	var models []*graph.Model
	for _, name := range in {
		if err := o.probe(name, suggestCalibrated(name)); err != nil {
			return err
		}
		file, err := onnxio.Open(name)
		if err != nil {
			return explainOpen(name, err)
		}
		defer file.Close()
		if err := o.refuseData(file, suggestCalibrated(name)); err != nil {
			return err
		}
		files, models = append(files, file), append(models, file.Model)
	}
	err := mapfile.Guard(func() error { return o.run(ctx, stdout, stderr, in, models) })
	for _, f := range files {
		err = explainChange(f, err)
	}
	return err
}

func (o *mergeOptions) run(ctx context.Context, stdout, stderr io.Writer, names []string, models []*graph.Model) error {
	merged, err := calibrate.Merge(ctx, models...)
	if err != nil {
		var merge *calibrate.MergeError
		if errors.As(err, &merge) && merge.Model >= 0 && merge.Model < len(names) {
			return fmt.Errorf("%s: %w", names[merge.Model], err)
		}
		return err
	}
	model := merged.Model
	if o.freeze {
		if model, err = freeze(ctx, model); err != nil {
			return err
		}
	}
	bar := newBar(stderr, o.quiet)
	defer bar.clear()
	if _, err := onnxio.Save(ctx, o.out, model, onnxio.SaveOptions{ExternalData: o.externalData, Progress: bar.stage("writing model")}); err != nil {
		return err
	}
	bar.clear()
	need, have := calibrate.Calibrated(model)
	switch {
	case o.json:
		err = writeJSON(stdout, joined{o.out, len(models), merged.Provenance.Steps, need, have})
	case !o.quiet:
		_, err = fmt.Fprintf(stdout, "%d models, %d steps: %d of %d layers calibrated\n", len(models), merged.Provenance.Steps, have, need)
	}
	if err != nil {
		return o.afterwards(err)
	}
	return nil
}
