package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot is the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "fp8rewrite",
		Short: "Rewrite a trained model into its float8 form",
		Long: `fp8rewrite swaps the linear layers of a serialized model for Float8Linear, which carries float8 weights, scales and amax
histories, and writes the rewritten model with a report that CI can compare. No Python, no framework.`,
		Example: `  fp8rewrite inspect model.onnx
  fp8rewrite convert model.onnx -o model.fp8.onnx
  fp8rewrite convert model.onnx -o model.fp8.onnx --recipe dynamic --report report.json`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSubcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hint(usageError{err}, "%s --help lists the flags", cmd.CommandPath())
	})
	root.AddCommand(newConvert(), newInspect(), newVersion())
	root.CompletionOptions.HiddenDefaultCmd = false
	return root
}

// noSubcommand refuses what is not a command, with the nearest that is.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usagef("unknown command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return hint(err, "%s", strings.Join(prefixed("fp8rewrite ", near), " or "))
	}
	return hint(err, "fp8rewrite --help lists the commands")
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = prefix + n
	}
	return out
}

// exactly wants n arguments, which what names.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return hint(usagef("%s: got %d arguments, want %d: %s", cmd.CommandPath(), len(args), n, what), "%s", usageLine(cmd))
	}
}

func usageLine(cmd *cobra.Command) string { return fmt.Sprintf("usage: %s", cmd.UseLine()) }
