package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/diff"
)

// diffOptions are the flags of diff.
type diffOptions struct {
	format         string
	asJSON         bool
	failOn         []string
	relTol, absTol []string
	out            string // of diff alone
	quiet          bool   // likewise
}

func newDiff() *cobra.Command {
	o := &diffOptions{}
	cmd := &cobra.Command{
		Use:   "diff OLD.json NEW.json",
		Short: "Compare two reports, and fail where they differ",
		Long: `diff compares two reports of one job, of any version of this program. Names, decisions, digests and counts must be equal, figures equal
within a tolerance, and time, host and version are not looked at. Layers find each other by name, renamed ones by their weight.

A tolerance is a number for all figures or CLASS=NUMBER for those of a class: ` + strings.Join(classNames(), ", ") + `.
Two figures are equal where they differ by no more than the absolute tolerance, or than the relative one times the larger of them. What
applies is stated in the output. A difference in device or schema version alone is a note, which fails only where --fail-on names it.
Reports of different jobs, and a job that is missing, fail whatever --fail-on names, but for none.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 the reports differ.`,
		Example: `  fp8rewrite diff old.json new.json
  fp8rewrite diff old.json new.json --rel-tol amax=0.01,scale=0.01 --format markdown
  fp8rewrite diff old.json new.json --fail-on decision-changed,layer-removed --format github`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return hint(usagef("diff: got %d arguments, want two: the old report and the new one", len(args)), "%s", usageLine(cmd))
			}
			return nil
		},
		ValidArgsFunction: reportFiles(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.checkFormat(cmd); err != nil {
				return err
			}
			return runDiff(cmd.OutOrStdout(), args[0], args[1], o)
		},
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.out, "output", "o", "", "file to write the comparison to; without it, or with -, stdout")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors")
	completeFiles(cmd, "output", "md", "txt", "json", "sarif", "xml")
	return cmd
}

// classNames are the classes of figures.
func classNames() []string {
	var names []string
	for _, t := range diff.DefaultTolerances() {
		names = append(names, string(t.Class))
	}
	return names
}

// addFlags defines the flags, which check has too.
func (o *diffOptions) addFlags(cmd *cobra.Command) {
	formats := make([]string, 0, len(diff.Formats()))
	for _, f := range diff.Formats() {
		formats = append(formats, string(f))
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", string(diff.Table), "form of the output: "+strings.Join(formats, ", "))
	f.BoolVar(&o.asJSON, "json", false, "print JSON: --format json")
	f.StringSliceVar(&o.failOn, "fail-on", []string{"all"}, "kinds of difference that fail, or error, warning, note (all kinds of a severity), all (errors and warnings), none; with any but none, kind-mismatch and section-removed fail too")
	f.StringSliceVar(&o.relTol, "rel-tol", nil, "relative tolerance, 0 to 1: NUMBER or CLASS=NUMBER, ... (default "+stated(true)+")")
	f.StringSliceVar(&o.absTol, "abs-tol", nil, "absolute tolerance: NUMBER or CLASS=NUMBER, ... (default "+stated(false)+")")
	completeWords(cmd, "format", formats...)
	completeWords(cmd, "fail-on", failWords()...)
	completeClasses(cmd, "rel-tol", classNames()...)
	completeClasses(cmd, "abs-tol", classNames()...)
}

// checkFormat refuses two formats at once.
func (o *diffOptions) checkFormat(cmd *cobra.Command) error {
	if o.asJSON && cmd.Flags().Changed("format") && o.format != string(diff.JSON) {
		return hint(usagef("%s: --json with --format %s", cmd.Name(), shellWord(o.format)), "--format %s or --json", string(diff.JSON))
	}
	return nil
}

// stated are the default tolerances, as the flags take them.
func stated(relative bool) string {
	var parts []string
	for _, t := range diff.DefaultTolerances() {
		v := t.Absolute
		if relative {
			v = t.Relative
		}
		parts = append(parts, fmt.Sprintf("%s=%g", t.Class, v))
	}
	return strings.Join(parts, ",")
}

// failWords are the values of --fail-on.
func failWords() []string {
	words := []string{"all", "none", string(diff.Error), string(diff.Warning), string(diff.Note)}
	for _, k := range diff.Kinds() {
		words = append(words, string(k.Kind))
	}
	return words
}

// driftError says that the reports differ: exit code 3, like a gate.
type driftError struct{ failing []diff.Finding }

func (e driftError) Error() string {
	counts := map[diff.Kind]int{}
	for _, f := range e.failing {
		counts[f.Kind]++
	}
	var parts []string
	for _, k := range diff.Kinds() {
		if n := counts[k.Kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k.Kind))
		}
	}
	return "the reports differ: " + strings.Join(parts, ", ")
}

func (e driftError) Unwrap() error { return gateError{} }

// comparison is how reports are compared, from the flags.
type comparison struct {
	format     diff.Format
	failOn     []diff.Kind
	tolerances diff.Tolerances
}

// comparison reads the flags.
func (o *diffOptions) comparison() (*comparison, error) {
	c := &comparison{format: diff.Format(o.format), tolerances: diff.DefaultTolerances()}
	if o.asJSON {
		c.format = diff.JSON
	}
	var formats []string
	for _, f := range diff.Formats() {
		formats = append(formats, string(f))
	}
	if !slices.Contains(diff.Formats(), c.format) {
		return nil, hint(usagef("--format: got %q, want %s", o.format, strings.Join(formats, ", ")), "--format %s", nearest(o.format, formats, formats[0]))
	}
	var err error
	if c.failOn, err = failKinds(o.failOn); err != nil {
		return nil, err
	}
	if err := setTolerances("rel-tol", o.relTol, c.tolerances, c.tolerances.SetRelative); err != nil {
		return nil, err
	}
	if err := setTolerances("abs-tol", o.absTol, c.tolerances, c.tolerances.SetAbsolute); err != nil {
		return nil, err
	}
	return c, nil
}

// write compares two reports and writes what differs; its error says that something does. Of o the names, the artifact and the gates
// are heeded.
func (c *comparison) write(stdout io.Writer, was, is *reports.Report, options diff.Options) error {
	found := diff.Compare(was, is, c.tolerances)
	options.FailOn, options.Version = c.failOn, buildVersion()
	if err := diff.Write(stdout, found, c.format, options); err != nil {
		return err
	}
	if failing := found.Failing(c.failOn); len(failing) > 0 {
		return driftError{failing}
	}
	return nil
}

func runDiff(stdout io.Writer, oldName, newName string, o *diffOptions) error {
	c, err := o.comparison()
	if err != nil {
		return err
	}
	toFile := o.out != "" && o.out != "-"
	if toFile {
		for _, in := range []string{oldName, newName} {
			if sameTarget(o.out, in) {
				return hint(fmt.Errorf("output %q is the same file as the report %q", o.out, in), "-o %s", shellWord(withExtension(in, ".diff"+filepath.Ext(in))))
			}
		}
		if err := atomicfile.Probe(o.out); err != nil {
			return err
		}
	}
	type read struct {
		report *reports.Report
		err    error
	}
	old := make(chan read, 1) // long ones take most of the time: one beside the other
	go func() {
		r, err := readReport(oldName)
		old <- read{r, err}
	}()
	is, err := readReport(newName)
	was := <-old
	if was.err != nil {
		return was.err
	}
	if err != nil {
		return err
	}
	var b bytes.Buffer
	drift := c.write(&b, was.report, is, diff.Options{OldName: oldName, NewName: newName})
	if drift != nil && !errors.As(drift, new(driftError)) {
		return drift
	}
	switch {
	case toFile:
		err = atomicfile.WriteFile(o.out, b.Bytes())
	case !o.quiet:
		_, err = stdout.Write(b.Bytes())
	}
	if err != nil {
		return err
	}
	return drift
}

// failKinds are the kinds that --fail-on names. What keeps the others from being found fails with any of them.
func failKinds(words []string) ([]diff.Kind, error) {
	if len(words) == 0 {
		return nil, hint(usagef("--fail-on: no kind of difference is named"), "--fail-on none lets everything pass")
	}
	wanted := map[string]bool{}
	some := false
	for _, w := range words {
		wanted[w] = true
		some = some || w != "none"
	}
	var kinds []diff.Kind
	for _, k := range diff.Kinds() {
		if some && diff.Incomparable(k.Kind) || wanted[string(k.Kind)] || wanted[string(k.Severity)] || wanted["all"] && k.Severity != diff.Note {
			kinds = append(kinds, k.Kind)
		}
	}
	for _, w := range failWords() {
		delete(wanted, w)
	}
	for _, w := range words {
		if wanted[w] {
			return nil, hint(usagef("--fail-on: %q is not a kind of difference", w), "--fail-on %s", nearest(w, failWords(), "all"))
		}
	}
	return kinds, nil
}

// setTolerances applies the values of a flag in order: NUMBER or CLASS=NUMBER.
func setTolerances(flag string, values []string, all diff.Tolerances, set func(diff.FieldClass, float64) error) error {
	for _, v := range values {
		class, text, ok := strings.Cut(v, "=")
		if !ok {
			class, text = "", v
		}
		if ok { // an empty class would be all of them
			var names []string
			known := false
			for _, t := range all {
				names = append(names, string(t.Class))
				known = known || string(t.Class) == class
			}
			if !known {
				return hint(usagef("--%s: %q is not a class of figures, want %s", flag, class, strings.Join(names, ", ")),
					"--%s %s=0.01", flag, nearest(class, names, names[0]))
			}
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return hint(usagef("--%s: got %q, want a number", flag, text), "--%s 0.01", flag)
		}
		if err := set(diff.FieldClass(class), n); err != nil {
			return hint(usagef("--%s: %w", flag, err), "--%s 0.01", flag)
		}
	}
	return nil
}
