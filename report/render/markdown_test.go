package render_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// everything is a merged report that has every section.
func everything() *report.Report {
	r, c := model(), calibration()
	r.Kind = report.KindMerged
	r.Sources = []report.Source{{Kind: report.KindConvert}, {Kind: report.KindCalibrate}, {Kind: report.KindVerify}, {Kind: report.KindBench}}
	r.Calibration, r.Verification, r.Bench = c.Calibration, verification().Verification, bench("small.fp8.onnx", "classifier", "no kernel for it").Bench
	r.Finish()
	return r
}

func markdown(t testing.TB, r *report.Report, o render.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := render.Markdown(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMarkdownIsTheGoldenFile(t *testing.T) {
	for name, r := range map[string]*report.Report{"merged.md": everything(), "hostile.md": hostile(), "recipes.md": recipes()} {
		golden := filepath.Join("testdata", name)
		got := markdown(t, r, render.Options{Color: true, Width: 40}) // which are of a terminal alone
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s", golden, got)
		}
	}
}

func TestTableOfAMergedReportHasEverySection(t *testing.T) {
	text := table(t, everything(), render.Options{})
	last := 0
	for _, title := range []string{"\nConversion\n", "\nCalibration\n", "\nVerification\n", "\nBenchmark\n", "\nWarnings\n"} {
		at := bytes.Index([]byte(text), []byte(title))
		if at < last {
			t.Errorf("%q is not where it belongs in\n%s", title, text)
		}
		last = at
	}
}

func TestMarkdownPassesOnWriteErrors(t *testing.T) {
	if err := render.Markdown(fullDisk{}, model(), render.Options{}); err == nil {
		t.Error("an error is lost")
	}
}

func TestNothingOfANameIsMarkup(t *testing.T) {
	for _, name := range []string{
		"<b>bold</b>", "a|b", "[x](http://example.com)", "@someone", "#12", "owner/repo#12", "**x**", "_x_", "__x__", "`x`", "~~x~~", "&lt;", "\\|",
		"www.example.com", "x WWW.example.com", "https://example.com", "mailto:a@b.c", "a@b.c", ":smile:", "![i](j)", "- x", "1. x", "+ x", "* x", "> x",
		"# x", "$x$", "---", "===", "<!-- x -->", "\\", "x\ty", "a\nb", "\x01# heading",
	} {
		r := model()
		r.Layers = r.Layers[:1]
		r.Layers[0].Name = name
		r.Warnings = []report.Warning{{Code: report.WarnModelKept, Sentence: name}}
		r.Finish()
		text := markdown(t, r, render.Options{})
		// Text between the elements that this package writes.
		bare := strings.NewReplacer("<code>", "", "</code>", "", "<b>", "", "</b>", "").Replace(text)
		bare = regexp.MustCompile(`&#[0-9]+;`).ReplaceAllString(bare, "")
		for i, l := range strings.Split(bare, "\n") {
			content := strings.TrimLeft(l, "#- ")
			if strings.HasPrefix(l, "|") {
				if got, want := strings.Count(l, "|"), 12; got != want {
					t.Errorf("%q: line %d has %d bars, want %d: %s", name, i, got, want, l)
				}
				content = strings.ReplaceAll(strings.ReplaceAll(l, "|", ""), "--", "")
			}
			if strings.ContainsAny(content, "<>&*`~@#[]$\\!=\x01") || strings.Contains(content, "_") && !strings.Contains(content, "t_p") && !strings.Contains(content, "n_q") {
				t.Errorf("%q: line %d holds markup: %s", name, i, l)
			}
			for _, link := range []string{"www.", "WWW.", "://", "mailto:"} {
				if strings.Contains(content, link) {
					t.Errorf("%q: line %d holds a link: %s", name, i, l)
				}
			}
		}
	}
}
