package main

import "github.com/spf13/cobra"

// newCalibrate answers the command that convert names as the next step. This version cannot calibrate, and says so.
func newCalibrate() *cobra.Command {
	return &cobra.Command{
		Use:    "calibrate",
		Short:  "Say that this version cannot calibrate",
		Hidden: true,
		Example: `  fp8rewrite convert model.onnx -o model.fp8.onnx --recipe dynamic
  fp8rewrite convert model.onnx -o model.fp8.onnx --recipe i:off
  fp8rewrite inspect model.fp8.onnx`,
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return hint(usagef("calibrate is not in this version"), "fp8rewrite convert MODEL.onnx -o OUT.onnx --recipe dynamic needs no calibration")
		},
	}
}
