package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newRoot is the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "fp8rewrite",
		Short: "Rewrite a trained model into its float8 form",
		Long: `fp8rewrite swaps the linear layers of a serialized model for Float8Linear, which carries float8 weights, scales and amax
histories, and writes the rewritten model with a report that CI can compare. No Python, no framework.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 a gate is not met, 130 interrupted.`,
		Example: `  fp8rewrite convert model.onnx -o model.fp8.onnx
  fp8rewrite calibrate model.fp8.onnx --data batches.npz -o model.calibrated.onnx
  fp8rewrite verify model.onnx model.calibrated.onnx --data batches.npz`,
		Version:       buildVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(wrongFlag)
	root.PersistentFlags().Bool(jsonErrors, false, "write an error as a line of JSON: error, hint, exit_status")
	root.AddCommand(newConvert(), newRestore(), newCalibrate(), newVerify(), newMerge(), newDiff(), newCheck(), newReport(), newInspect(), newBench(), newDevices(), newMan(), newVersion(), newCompletion())
	root.SetHelpCommand(newHelp())
	completeNothingElse(root)
	return root
}

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does",
		Long: `help shows what a command does: its flags, three examples and its exit status.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  fp8rewrite help
  fp8rewrite help convert
  fp8rewrite convert --help`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return commandNames(cmd.Root()), cobra.ShellCompDirectiveNoFileComp
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return hint(usagef("help: got %d arguments, want at most one: the command", len(args)), "%s", usageLine(cmd))
			}
			if len(args) == 1 && command(cmd.Root(), args[0]) == nil {
				return unknownCommand(cmd.Root(), args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about := cmd.Root()
			if len(args) == 1 {
				about = command(about, args[0])
			}
			about.InitDefaultHelpFlag() // which Execute has done for this command alone
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// command is the subcommand of root with the name, nil if there is none.
func command(root *cobra.Command, name string) *cobra.Command {
	for _, c := range root.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

func commandNames(root *cobra.Command) []string {
	var names []string
	for _, c := range root.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return names
}

// unknownCommand refuses what is not a command, with the nearest that is.
func unknownCommand(root *cobra.Command, name string) error {
	err := usagef("unknown command %q", name)
	if near := nearest(name, commandNames(root), ""); near != "" {
		return hint(err, "fp8rewrite %s", near)
	}
	return hint(err, "fp8rewrite --help lists the commands")
}

// one wants one argument, which what names.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 1:
			return nil
		case 0:
			return hint(usagef("%s: %s is missing", cmd.Name(), what), "%s", usageLine(cmd))
		}
		return hint(usagef("%s: got %d arguments, want one: %s", cmd.Name(), len(args), what), "%s", usageLine(cmd))
	}
}

// none wants no arguments.
func none(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return hint(usagef("%s: got the argument %q, want none", cmd.Name(), args[0]), "%s", usageLine(cmd))
}

func usageLine(cmd *cobra.Command) string { return fmt.Sprintf("usage: %s", cmd.UseLine()) }
