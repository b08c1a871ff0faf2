package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/page"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// newReport has the commands about saved reports.
func newReport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report COMMAND",
		Short: "Show saved reports, and join those of one model",
		Long: `report shows what a saved report says, as a table, as Markdown, as JSON or as a page, and joins the reports of the jobs on one model
into one. No model is read and nothing is run.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  fp8rewrite report show old.json
  fp8rewrite report show old.json --format markdown
  fp8rewrite report merge old.json calibrated.json -o whole.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			err := usagef("report: unknown command %q", args[0])
			if near := nearest(args[0], commandNames(cmd), ""); near != "" {
				return hint(err, "fp8rewrite report %s", near)
			}
			return hint(err, "fp8rewrite report --help lists the commands")
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newReportShow(), newReportMerge())
	return cmd
}

// showFormats are the forms of a report, by the name of the format.
var showFormats = []string{"table", "markdown", "json", "html"}

// showOptions are the flags of report show.
type showOptions struct {
	format string
	asJSON bool
	all    bool
	out    string
}

func newReportShow() *cobra.Command {
	o := &showOptions{}
	cmd := &cobra.Command{
		Use:   "show REPORT.json",
		Short: "Show a saved report as a table, Markdown, JSON or a page",
		Long: `show writes what a saved report says, of any version of this program: as a table, as Markdown for a comment or a wiki, as JSON in the
form of the present version, or as an HTML page with plots, which is one file that needs no network and no script.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  fp8rewrite report show old.json
  fp8rewrite report show old.json --all --format markdown
  fp8rewrite report show old.json --format html -o old.html`,
		Args:              one("the report to show"),
		ValidArgsFunction: reportFiles(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, cmd.OutOrStdout(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "table", "form of the output: "+strings.Join(showFormats, ", "))
	f.BoolVar(&o.asJSON, "json", false, "print JSON: --format json")
	f.BoolVar(&o.all, "all", false, "give each layer a row and each kept layer its reason (a page has them anyway)")
	f.StringVarP(&o.out, "output", "o", "", "file to write to; without it, or with -, stdout")
	completeWords(cmd, "format", showFormats...)
	completeFiles(cmd, "output", "html", "md", "txt", "json")
	return cmd
}

func (o *showOptions) run(cmd *cobra.Command, stdout io.Writer, in string) error {
	format := o.format
	switch {
	case !slices.Contains(showFormats, format):
		return hint(usagef("--format: got %q, want %s", format, strings.Join(showFormats, ", ")), "--format %s", nearest(format, showFormats, showFormats[0]))
	case o.asJSON && cmd.Flags().Changed("format") && format != "json":
		return hint(usagef("report show: --json with --format %s", shellWord(format)), "--format %s or --json", format)
	case o.asJSON:
		format = "json"
	}
	r, err := readReport(in)
	if err != nil {
		return err
	}
	toFile := o.out != "" && o.out != "-"
	if toFile && sameTarget(o.out, in) {
		return hint(fmt.Errorf("output %q is the same file as the report %q", o.out, in), "-o %s", shellWord(withExtension(in, ".new.json")))
	}
	var b bytes.Buffer
	opt := render.Options{All: o.all}
	if !toFile {
		opt.Width, opt.Color = terminalWidth(stdout), render.Color(isTerminal(stdout), os.Getenv)
	}
	switch format {
	case "table":
		err = render.Table(&b, r, opt)
	case "markdown":
		err = render.Markdown(&b, r, opt)
	case "html":
		err = page.Write(&b, r)
	case "json":
		if err = r.Renew(); err == nil {
			err = reports.Encode(&b, r)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", in, err)
	case toFile:
		return atomicfile.WriteFile(o.out, b.Bytes())
	}
	_, err = stdout.Write(b.Bytes())
	return err
}

// withExtension is the name with another extension.
func withExtension(name, ext string) string {
	return strings.TrimSuffix(name, filepath.Ext(name)) + ext
}

func newReportMerge() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "merge REPORT.json... [-o OUT.json]",
		Short: "Join the reports of the jobs on one model",
		Long: `merge joins the reports of convert, calibrate, verify and bench on one model into one report, in the order of the jobs. The digests in
the reports say which models they are about: reports of another model are refused, and so is a job that is there twice and said
different things.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  fp8rewrite report merge old.json calibrated.json -o whole.json
  fp8rewrite report merge old.json calibrated.json verified.json -o whole.json
  fp8rewrite report merge old.json calibrated.json | grep calibrated`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return hint(usagef("report merge: got %d reports, want two or more", len(args)), "%s", usageLine(cmd))
			}
			return nil
		},
		ValidArgsFunction: reportFiles(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runReportMerge(cmd.OutOrStdout(), args, out)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write the merged report to; without it, or with -, stdout")
	cmd.Flags().Bool("json", true, "print JSON, which a report always is")
	completeFiles(cmd, "output", "json")
	return cmd
}

func runReportMerge(stdout io.Writer, names []string, out string) error {
	start := time.Now()
	var parts []reports.Part
	for _, name := range names {
		if out != "" && out != "-" && sameTarget(out, name) {
			return hint(fmt.Errorf("output %q is the same file as the report %q", out, name), "-o %s", shellWord(withExtension(name, ".merged.json")))
		}
		r, err := readReport(name)
		if err != nil {
			return err
		}
		if err := r.Renew(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		parts = append(parts, reports.Part{Name: name, Report: r})
	}
	merged, err := reports.Merge(parts)
	if err != nil {
		return err
	}
	fillVolatile(merged, start)
	fillDevices(&merged.Volatile, parts)
	merged.Finish()
	var b bytes.Buffer
	if err := reports.Encode(&b, merged); err != nil {
		return err
	}
	if out != "" && out != "-" {
		return atomicfile.WriteFile(out, b.Bytes())
	}
	_, err = stdout.Write(b.Bytes())
	return err
}

// fillDevices says which card the jobs ran on, the last of them that had one, and why one of them did not.
func fillDevices(v *reports.Volatile, parts []reports.Part) {
	for _, part := range parts {
		if card := part.Report.Volatile.Card; card != "" {
			v.Card = card
		}
		if fallback := part.Report.Volatile.Fallback; fallback != "" {
			v.Fallback = fallback
		}
	}
}

// readReport reads a saved report.
func readReport(name string) (*reports.Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := reports.Decode(f)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// reportFiles completes arguments that are reports, up to n of them; 0 for any number.
func reportFiles(n int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if n > 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"json"}, cobra.ShellCompDirectiveFilterFileExt
	}
}
