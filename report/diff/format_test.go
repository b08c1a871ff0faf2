package diff_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/diff"
)

func allKinds() []diff.Kind {
	var kinds []diff.Kind
	for _, k := range diff.Kinds() {
		kinds = append(kinds, k.Kind)
	}
	return kinds
}

func write(t *testing.T, r *diff.Result, f diff.Format, o diff.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := diff.Write(&b, r, f, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// hostile names a layer in ways that end fields, lines or elements, steer terminals, hide, reorder, mention or link.
func hostile() []string {
	return []string{
		"a\nb\r\n::error::x", "\x1b[31mred\x07", "<script>alert(1)</script>", "a|b|c", "`code` *x* _y_ [l](http://e.example) ![i](//e.example) @team #1",
		"right\u202eleft\u200b\u2066", "]]> & </failure> --> \x00\x0b\ufffe", "%0A,title=x::y", `quote" back\slash`, "{0} {1}", "\U000e0041tag", "\xff\xfe bad",
		"https://e.example www.e.example", strings.Repeat("ten megabytes ", 10<<20/14), "",
	}
}

func TestHostileNamesAreSafeInEveryFormat(t *testing.T) {
	for _, name := range hostile() {
		old, new := read(t, convert), read(t, convert)
		old.Layers[0].Name, new.Layers[0].Name = name, name
		new.Layers[0].SetAmax(7)
		new.Layers[0].Node = name + "x"
		new.Settings.Recipe = name + "y"
		result := diff.Compare(old, new, diff.DefaultTolerances())
		if len(result.Findings) != 3 {
			t.Fatalf("%.40q: %d findings, want 3", name, len(result.Findings))
		}
		o := diff.Options{OldName: name, NewName: name, FailOn: allKinds(), Version: "1"}
		for _, f := range diff.Formats() {
			out := write(t, result, f, o)
			for i, c := range strings.ReplaceAll(out, "\n", "") {
				if report.Unsafe(c) || c == '\ufffe' {
					t.Errorf("%s of %.40q: %q at %d", f, name, c, i)
					break
				}
			}
			if f != diff.JSON && len(out) > 40_000 {
				t.Errorf("%s of %.40q: %d bytes", f, name, len(out))
			}
			switch f {
			case diff.Table:
				if n := strings.Count(out, "\n"); n != 6 {
					t.Errorf("table of %.40q: %d lines, want 6:\n%s", name, n, out)
				}
			case diff.GitHub:
				command := regexp.MustCompile(`^::(error|warning|notice) title=fp8rewrite diff%3A [a-z-]+::[^\n]+$`)
				got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
				if len(got) != 4 {
					t.Errorf("github of %.40q: %d lines, want 4", name, len(got))
				}
				for _, l := range got[:3] {
					if !command.MatchString(l) || strings.Contains(regexp.MustCompile(`%(25|3A|2C|0A|0D)`).ReplaceAllString(l, ""), "%") {
						t.Errorf("github of %.40q: %s", name, l)
					}
				}
			case diff.Markdown:
				for _, l := range strings.Split(out, "\n") {
					if strings.HasPrefix(l, "|") && strings.Count(l, "|") != 6 {
						t.Errorf("markdown of %.40q: a row of another number of cells: %s", name, l)
					}
				}
				rest := regexp.MustCompile(`</?code>|&#\d+;|→|…`).ReplaceAllString(out, "")
				if i := strings.IndexAny(rest, "<>&`*_[]@\\\"'!{}()%="); i >= 0 {
					t.Errorf("markdown of %.40q: %q is not escaped in %s", name, rest[i], rest)
				}
			case diff.JSON, diff.SARIF:
				if !json.Valid([]byte(out)) {
					t.Errorf("%s of %.40q is not JSON", f, name)
				}
			case diff.JUnit:
				if err := wellFormed(out); err != nil {
					t.Errorf("junit of %.40q: %v", name, err)
				}
			}
		}
	}
}

func wellFormed(text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// changed is a comparison with findings of each severity.
func changed(t *testing.T) *diff.Result {
	old, new := read(t, calibrate), read(t, calibrate)
	new.Calibration.Settings.Device = "cuda"
	new.Calibration.Layers[0].Input.Amax[1] = 7
	new.Calibration.Layers[0].StepsRun = 2
	return diff.Compare(old, new, diff.DefaultTolerances())
}

func TestJSONSaysEverything(t *testing.T) {
	out := write(t, changed(t), diff.JSON, diff.Options{OldName: "a", NewName: "b", FailOn: []diff.Kind{diff.CountChanged}})
	var got struct {
		Failed                  bool
		Errors, Warnings, Notes int
		Tolerances              diff.Tolerances
		Findings                []struct {
			Kind, Severity, Path string
			Fails                bool
			Old, New             any
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if !got.Failed || got.Errors != 1 || got.Warnings != 1 || got.Notes != 1 || len(got.Findings) != 3 {
		t.Fatalf("got %+v", got)
	}
	if f := got.Findings[0]; f.Old != 1.75 || f.New != 7. || f.Fails || f.Path != `calibration.layers["fc1"].input.amax[1]` {
		t.Errorf("got %+v", f)
	}
	if !got.Findings[1].Fails {
		t.Errorf("the kind that fails does not: %+v", got.Findings[1])
	}
	if !reflect.DeepEqual(got.Tolerances, diff.DefaultTolerances()) {
		t.Errorf("tolerances %v", got.Tolerances)
	}
}

func TestJUnitCountsItsFailures(t *testing.T) {
	out := write(t, changed(t), diff.JUnit, diff.Options{FailOn: []diff.Kind{diff.FigureChanged, diff.DataChanged}})
	var got struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Suites   []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Cases    []struct {
				Name    string  `xml:"name,attr"`
				Class   string  `xml:"classname,attr"`
				Failure *string `xml:"failure"`
				Out     string  `xml:"system-out"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Suites) != 1 || got.Failures != 1 || got.Suites[0].Failures != 1 || got.Tests != len(diff.Kinds()) || len(got.Suites[0].Cases) != got.Tests {
		t.Fatalf("got %+v", got)
	}
	for _, c := range got.Suites[0].Cases {
		if failed := c.Failure != nil; failed != (c.Name == string(diff.FigureChanged)) || c.Class == "" {
			t.Errorf("case %+v", c)
		}
		if c.Name == string(diff.CountChanged) && !strings.Contains(c.Out, "steps_run") {
			t.Errorf("what does not fail is not said: %+v", c)
		}
	}
}

func TestSARIFHoldsWhatItsSchemaRequires(t *testing.T) {
	out := write(t, changed(t), diff.SARIF, diff.Options{NewName: "a b/c:d#?.json"})
	var got struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct{ ID string }
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "2.1.0" || len(got.Runs) != 1 || got.Runs[0].Tool.Driver.Name == "" || len(got.Runs[0].Results) != 3 {
		t.Fatalf("got %+v", got)
	}
	rules := map[string]bool{}
	for _, r := range got.Runs[0].Tool.Driver.Rules {
		if rules[r.ID] {
			t.Errorf("the rule %s is there twice", r.ID)
		}
		rules[r.ID] = true
	}
	for i, r := range got.Runs[0].Results {
		if got.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.Level != []string{"error", "warning", "note"}[i] || r.Message.Text == "" {
			t.Errorf("result %+v", r)
		}
		at := r.Locations[0].PhysicalLocation
		u, err := url.Parse(at.ArtifactLocation.URI)
		if err != nil || u.IsAbs() || u.Path != "a b/c:d#?.json" || at.Region.StartLine < 1 {
			t.Errorf("location %+v: %v", at, err)
		}
	}
}

func TestTheCommentStaysBelowItsLimit(t *testing.T) {
	old, new := large(1), large(2)
	out := write(t, diff.Compare(old, new, diff.DefaultTolerances()), diff.Markdown, diff.Options{})
	if len(out) > 65_536 || !strings.Contains(out, " more.\n") {
		t.Errorf("%d bytes, ends in %s", len(out), out[len(out)-300:])
	}
}

func TestOtherJobsAndModelsAreSaidFirst(t *testing.T) {
	new := read(t, calibrate)
	new.Model.Input.SHA256 = "00"
	r := diff.Compare(read(t, convert), new, diff.DefaultTolerances())
	if len(r.Findings) < 2 || r.Findings[0].Kind != diff.KindMismatch || r.Findings[1].Kind != diff.ModelChanged {
		t.Errorf("got %s", lines(r))
	}
	for _, f := range diff.Formats()[:2] {
		out := write(t, r, f, diff.Options{})
		jobs, models, first := strings.Index(out, "different jobs"), strings.Index(out, "different input models"), strings.Index(out, "kind-mismatch")
		if jobs < 0 || models < jobs || first < models {
			t.Errorf("%s: %s", f, out)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if diff.Write(io.Discard, changed(t), "yaml", diff.Options{}) == nil {
		t.Error("an unknown format is taken")
	}
}
