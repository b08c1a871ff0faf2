package diff

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Format is a form in which a comparison is written.
type Format string

// The formats.
const (
	Table    Format = "table"    // lines for people
	Markdown Format = "markdown" // a comment on a pull request
	JSON     Format = "json"
	JUnit    Format = "junit"  // a test per kind
	SARIF    Format = "sarif"  // version 2.1.0
	GitHub   Format = "github" // workflow commands, which GitHub shows as annotations
)

// Formats lists the formats.
func Formats() []Format { return []Format{Table, Markdown, JSON, JUnit, SARIF, GitHub} }

// Options are what a form says beside the comparison.
type Options struct {
	OldName, NewName string // of the files
	FailOn           []Kind // kinds that fail
	Version          string // of the program
	// UnmetGates says which gates the new report's model does not keep, whatever the old one did: they fail.
	UnmetGates []string
	// Artifact is the file that SARIF points at; NewName where it is empty.
	Artifact string
}

// Write writes the comparison. Names of the reports and of their files may hold anything: every form escapes what would steer a
// terminal, hide or reorder text, or end a field of the form.
func Write(w io.Writer, r *Result, f Format, o Options) error {
	var out []byte
	var err error
	switch f {
	case Table:
		out = []byte(o.table(r))
	case Markdown:
		out = []byte(o.markdown(r))
	case JSON:
		out, err = o.json(r)
	case JUnit:
		out, err = o.junit(r)
	case SARIF:
		out, err = o.sarif(r)
	case GitHub:
		out = []byte(o.github(r))
	default:
		err = fmt.Errorf("format %q is not in the list", string(f))
	}
	if err != nil {
		return fmt.Errorf("report/diff: %w", err)
	}
	_, err = w.Write(out)
	return err
}

// The lengths, in bytes, to which the forms for people cut paths and values. JSON has them whole.
const (
	maxPath  = 300
	maxValue = 160
)

// plain is a file's name in which nothing hides or steers, at most maxPath long.
func plain(name string) string {
	q := quote(cut(name, maxPath))
	return q[1 : len(q)-1]
}

// cut shortens s to about limit bytes, an ellipsis in its middle, without breaking a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	head, tail := limit/2, len(s)-limit/2
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	for tail < len(s) && !utf8.RuneStart(s[tail]) {
		tail++
	}
	return s[:head] + "…" + s[tail:]
}

// values is how a finding shows its two values: old → new.
func (f *Finding) values() string {
	s := cut(f.Old, maxValue) + " → " + cut(f.New, maxValue)
	if f.Detail != "" {
		s += " (" + f.Detail + ")"
	}
	return s
}

// headline is what is to be said before everything else; it may be empty.
func (r *Result) headline() []string {
	var lines []string
	if r.Old.Kind != r.New.Kind {
		lines = append(lines, "The reports are of different jobs, "+quote(cut(string(r.Old.Kind), 40))+" and "+quote(cut(string(r.New.Kind), 40))+
			": only their models and settings are compared.")
	}
	if r.Old.InputSHA256 != r.New.InputSHA256 {
		lines = append(lines, "The reports are of different input models.")
	}
	return lines
}

// summary counts the findings.
func (r *Result) summary() string {
	if len(r.Findings) == 0 {
		return "no differences beyond the tolerances"
	}
	return fmt.Sprintf("%s: %s, %s, %s", plural(len(r.Findings), "difference"), plural(r.count(Error), "error"),
		plural(r.count(Warning), "warning"), plural(r.count(Note), "note"))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// stated says what the tolerances are.
func (t Tolerances) stated() string {
	parts := make([]string, len(t))
	for i, x := range t {
		parts[i] = fmt.Sprintf("%s rel %g abs %g", x.Class, x.Relative, x.Absolute)
	}
	return strings.Join(parts, "; ")
}

func sentences() map[Kind]string {
	m := map[Kind]string{}
	for _, k := range Kinds() {
		m[k.Kind] = k.Sentence
	}
	return m
}

// table is the form for a terminal: a line per finding.
func (o Options) table(r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s → %s\n", plain(o.OldName), plain(o.NewName))
	fmt.Fprintf(&b, "tolerances: %s\n", r.Tolerances.stated())
	for _, l := range r.headline() {
		b.WriteString(l + "\n")
	}
	for _, g := range o.UnmetGates {
		b.WriteString("gate not met: " + plain(g) + "\n")
	}
	b.WriteString(r.summary() + "\n")
	width := 0
	for i := range r.Findings {
		width = max(width, len(r.Findings[i].Kind))
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		fmt.Fprintf(&b, "%-7s  %-*s  %s: %s\n", f.Severity, width, f.Kind, cut(f.Path, maxPath), f.values())
	}
	return b.String()
}

// maxComment keeps the comment below the 65,536 characters that GitHub takes.
const maxComment = 60_000

// markdown is the form for a comment.
func (o Options) markdown(r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### fp8rewrite diff: %s\n\n", r.summary())
	fmt.Fprintf(&b, "%s → %s\n\n", code(plain(o.OldName)), code(plain(o.NewName)))
	for _, l := range r.headline() {
		fmt.Fprintf(&b, "**%s**\n\n", entities(l))
	}
	for _, g := range o.UnmetGates {
		fmt.Fprintf(&b, "**Gate not met: %s**\n\n", entities(plain(g)))
	}
	if len(r.Findings) > 0 {
		b.WriteString("| severity | kind | where | old | new |\n|---|---|---|---|---|\n")
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		row := fmt.Sprintf("| %s | %s | %s | %s | %s", f.Severity, f.Kind, code(cut(f.Path, maxPath)), code(cut(f.Old, maxValue)), code(cut(f.New, maxValue)))
		if f.Detail != "" {
			row += " (" + entities(f.Detail) + ")"
		}
		if b.Len()+len(row) > maxComment {
			fmt.Fprintf(&b, "\n… and %d more.\n", len(r.Findings)-i)
			break
		}
		b.WriteString(row + " |\n")
	}
	fmt.Fprintf(&b, "\nTolerances: %s.\n", entities(r.Tolerances.stated()))
	return b.String()
}

// code is text in the type of code. It is an HTML element with entities, since a code span cannot hold a pipe in a table, and since
// mentions and links are left alone in one.
func code(s string) string { return "<code>" + entities(s) + "</code>" }

// entities writes each ASCII character that Markdown or HTML may take for its own as an entity.
func entities(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c < 0x80 && c != ' ' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != ',' || hidden(c) {
			fmt.Fprintf(&b, "&#%d;", c)
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}

// github is the form of workflow commands.
func (o Options) github(r *Result) string {
	var b strings.Builder
	say := sentences()
	command := map[Severity]string{Error: "error", Warning: "warning", Note: "notice"}
	for _, l := range r.headline() {
		fmt.Fprintf(&b, "::error title=fp8rewrite diff::%s\n", data(l))
	}
	for _, g := range o.UnmetGates {
		fmt.Fprintf(&b, "::error title=%s::%s\n", property("fp8rewrite check: gate not met"), data(plain(g)))
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		fmt.Fprintf(&b, "::%s title=%s::%s\n", command[f.Severity], property("fp8rewrite diff: "+string(f.Kind)),
			data(cut(f.Path, maxPath)+": "+say[f.Kind]+": "+f.values()))
	}
	fmt.Fprintf(&b, "fp8rewrite diff: %s (tolerances: %s)\n", r.summary(), r.Tolerances.stated())
	return b.String()
}

// data escapes the message of a workflow command.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// property escapes a value before the message, where colons and commas separate.
func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(s))
}
