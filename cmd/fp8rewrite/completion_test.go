package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ownWords are the flags whose values are numbers, names or patterns that the user brings: nothing completes them, and shells offer no files.
func ownWords() []string {
	return []string{"history-len", "margin", "include", "exclude", "multiple-of", "min-dim", "tp", "workers", "prefix", "input", "whole", "batch-size",
		"steps", "labels", "logits", "threads", "max-memory", "shard", "checkpoint-every", "min-sqnr", "max-loss-increase", "max-accuracy-drop",
		"calibration-prefix", "shape", "runs"}
}

// TestFlagsComplete: a flag of any command whose value is one of a few words or a file of some kind completes it, and one that takes neither offers
// nothing. Each argument that is a file completes, or says that any name will do.
func TestFlagsComplete(t *testing.T) {
	t.Parallel()
	own := ownWords()
	seen := map[string]bool{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.NoOptDefVal != "" { // a switch
				return
			}
			seen[f.Name] = true
			values, ok := cmd.GetFlagCompletionFunc(f.Name)
			if !ok {
				t.Errorf("%s --%s: any file is offered", cmd.CommandPath(), f.Name)
				return
			}
			words, directive := values(cmd, nil, "")
			nothing := len(words) == 0 && directive == cobra.ShellCompDirectiveNoFileComp
			if isOwn := slices.Contains(own, f.Name); isOwn != nothing {
				t.Errorf("%s --%s: offers %q, directive %d; is it the user's own word: %v", cmd.CommandPath(), f.Name, words, directive, isOwn)
			}
		})
		for _, c := range cmd.Commands() {
			walk(c)
		}
		takes := strings.Contains(cmd.Use, " ") && cmd.Name() != "report"
		if takes && cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 {
			t.Errorf("%s: nothing completes %q", cmd.CommandPath(), cmd.Use)
		}
	}
	walk(newRoot())
	for _, name := range own {
		if !seen[name] {
			t.Errorf("--%s is no flag", name)
		}
	}
}
