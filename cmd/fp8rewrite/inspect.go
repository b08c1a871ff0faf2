package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
)

func newInspect() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect MODEL.onnx",
		Short: "Show a model's opset, size, linear layers and float8 state",
		Long: `inspect shows what a model holds: versions, sizes, every MatMul, Gemm and Float8Linear by the name that --include and --exclude
match, the float8 state of converted layers, and for the others whether convert would rewrite them.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`,
		Example: `  fp8rewrite inspect model.onnx
  fp8rewrite inspect model.fp8.onnx --json
  fp8rewrite inspect model.onnx | grep attn`,
		Args:              one("the model to inspect"),
		ValidArgsFunction: modelFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInspect(cmd.Context(), cmd.OutOrStdout(), args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON instead of the table")
	return cmd
}

func runInspect(ctx context.Context, stdout io.Writer, in string, asJSON bool) error {
	file, err := onnxio.Open(in)
	if err != nil {
		return explainOpen(in, err)
	}
	defer file.Close()
	digests := digestInput(ctx, file)
	defer digests.stop()
	var found *reports.Inspection
	err = mapfile.Guard(func() error { found = rewrite.Inspect(file.Model); return nil })
	if err != nil {
		return explainChange(file, err)
	}
	sums, err := digests.wait(ctx)
	if err != nil {
		return err
	}
	found.Model = inputArtifact(file, sums)
	if asJSON {
		return reports.EncodeInspection(stdout, found)
	}
	return render.Inspection(stdout, found, render.Options{Width: terminalWidth(stdout), Color: render.Color(isTerminal(stdout), os.Getenv)})
}
