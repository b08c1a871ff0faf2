package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write the manual pages",
		Long: `man writes a manual page for the program and for each of its commands into a folder, which it makes: fp8rewrite.1, fp8rewrite-convert.1
and so on. They say what --help says. A folder man1 below one in MANPATH makes man find them.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  fp8rewrite man man1
  fp8rewrite man share/man/man1
  fp8rewrite man man1 && ls man1`,
		Args: one("the folder"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return err
			}
			root := cmd.Root()
			root.InitDefaultHelpCmd()
			return writePages(root, args[0])
		},
	}
}

// writePages writes the pages of a command and of those under it.
func writePages(cmd *cobra.Command, dir string) error {
	if cmd.Hidden {
		return nil
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, pageName(cmd)+".1"), []byte(manPage(cmd))); err != nil {
		return err
	}
	for _, c := range cmd.Commands() {
		if err := writePages(c, dir); err != nil {
			return err
		}
	}
	return nil
}

// pageName is the name of a command's page: fp8rewrite-report-show.
func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is the page of a command, in the macros of man(7). It depends on the program alone, so that it is the same wherever it is made.
func manPage(cmd *cobra.Command) string {
	cmd.InitDefaultHelpFlag()
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %q 1 \"\" %q \"fp8rewrite\"\n", strings.ToUpper(pageName(cmd)), "fp8rewrite "+buildVersion())
	b.WriteString(".ad l\n") // long names leave nothing to adjust
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(pageName(cmd)), roff(lowerFirst(cmd.Short)))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.CommandPath()))
	if rest := strings.TrimSpace(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())); rest != "" {
		fmt.Fprintf(&b, "%s\n", roff(rest))
	}
	description, status, _ := strings.Cut(cmd.Long, "Exit status: ")
	b.WriteString(".SH DESCRIPTION\n")
	paragraphs(&b, description)
	if cmd.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range cmd.Commands() {
			if !c.Hidden {
				fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", roff(pageName(c)), roff(c.Short))
			}
		}
	}
	b.WriteString(".SH OPTIONS\n")
	options := func(flags *pflag.FlagSet) {
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			name := "--" + f.Name
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			value, usage := pflag.UnquoteUsage(f)
			fmt.Fprintf(&b, ".TP\n.B %s\n", roff(strings.TrimSpace(name+" "+value)))
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
				usage += " (default " + f.DefValue + ")"
			}
			fmt.Fprintf(&b, "%s\n", roff(usage))
		})
	}
	options(cmd.NonInheritedFlags())
	options(cmd.InheritedFlags())
	if status != "" {
		b.WriteString(".SH EXIT STATUS\n")
		paragraphs(&b, status)
	}
	if cmd.Example != "" {
		b.WriteString(".SH EXAMPLES\n.nf\n")
		for l := range strings.SplitSeq(cmd.Example, "\n") {
			b.WriteString(roff(strings.TrimSpace(l)) + "\n")
		}
		b.WriteString(".fi\n")
	}
	if cmd.HasParent() {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", roff(pageName(cmd.Parent())))
	}
	return b.String()
}

// paragraphs writes text: empty lines part paragraphs, indented lines stay as they are.
func paragraphs(b *strings.Builder, text string) {
	fixed := false
	for l := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		indented := strings.HasPrefix(l, "  ")
		switch {
		case indented && !fixed:
			b.WriteString(".nf\n")
		case !indented && fixed:
			b.WriteString(".fi\n")
		}
		if fixed = indented; l == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(l) + "\n")
	}
	if fixed {
		b.WriteString(".fi\n")
	}
}

// roff escapes a line of text, and joins lines.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") { // a request
		s = `\&` + s
	}
	return s
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
