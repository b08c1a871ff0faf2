package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// shells are those that completion knows, each with how to load what it prints.
var shells = []struct{ name, load string }{
	{"bash", "source <(fp8rewrite completion bash)"},
	{"zsh", "source <(fp8rewrite completion zsh)"},
	{"fish", "fp8rewrite completion fish | source"},
	{"powershell", "fp8rewrite completion powershell | Out-String | Invoke-Expression"},
}

func newCompletion() *cobra.Command {
	long := `completion prints a script that lets a shell complete commands, flags, their values and model files. To have it in each
session, put the line for the shell into the file that it reads at its start:

`
	names := make([]string, len(shells))
	for i, s := range shells {
		names[i] = s.name
		long += fmt.Sprintf("  %-11s %s\n", s.name, s.load)
	}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a completion script for bash, zsh, fish or powershell",
		Long:  long + "\nExit status: 0 done, 1 failed, 2 wrong usage.",
		Example: `  fp8rewrite completion bash > fp8rewrite.bash
  fp8rewrite completion zsh > _fp8rewrite
  fp8rewrite completion fish > fp8rewrite.fish`,
		ValidArgs: names,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := one("the shell")(cmd, args); err != nil {
				return err
			}
			for _, n := range names {
				if n == args[0] {
					return nil
				}
			}
			err := usagef("completion: got shell %q, want bash, zsh, fish or powershell", args[0])
			return hint(err, "fp8rewrite completion %s", nearest(args[0], names, "bash"))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			default:
				return root.GenPowerShellCompletionWithDesc(w)
			}
		},
	}
}

// modelFiles completes the one argument that is an ONNX model.
func modelFiles(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return filesUpTo(1, args, "onnx")
}

// modelsAndCheckpoints completes the one argument that is a model or a checkpoint. Shells offer folders beside the files of an extension.
func modelsAndCheckpoints(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return filesUpTo(1, args, "onnx", "safetensors")
}

// filesUpTo completes the first n arguments with files of the extensions.
func filesUpTo(n int, args []string, extensions ...string) ([]string, cobra.ShellCompDirective) {
	if len(args) >= n {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return extensions, cobra.ShellCompDirectiveFilterFileExt
}

// The values of flags that several commands have.
var (
	deviceWords    = []string{"auto", "cpu", "cuda", "ort"}
	dataExtensions = []string{"npz", "npy", "safetensors", "jsonl", "pb"}
)

// completeFiles completes the value of a flag that is a file with the extension.
func completeFiles(cmd *cobra.Command, flag string, extensions ...string) {
	complete(cmd, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return extensions, cobra.ShellCompDirectiveFilterFileExt
	})
}

// completeAnyFile completes the value of a flag that is a file of any name.
func completeAnyFile(cmd *cobra.Command, flag string) {
	complete(cmd, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault
	})
}

// completeWords completes the value of a flag that is one of a few words.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	complete(cmd, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	})
}

// completeClasses completes the value of a flag that is CLASS=NUMBER: the number is the user's.
func completeClasses(cmd *cobra.Command, flag string, classes ...string) {
	complete(cmd, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		words := make([]string, len(classes))
		for i, c := range classes {
			words[i] = c + "="
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}

func complete(cmd *cobra.Command, flag string, values cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, values); err != nil {
		panic(err) // the flag is not defined, or has its values already: a mistake in this program
	}
}

// completeNothingElse keeps shells from offering files for the values of flags that are numbers, names or patterns, which nothing completes.
func completeNothingElse(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, known := cmd.GetFlagCompletionFunc(f.Name); !known && f.NoOptDefVal == "" {
			complete(cmd, f.Name, cobra.NoFileCompletions)
		}
	})
	for _, c := range cmd.Commands() {
		completeNothingElse(c)
	}
}
