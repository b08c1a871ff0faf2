package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/diff"
)

// hostileNames hold what a terminal, a reader or a parser could take for something else.
var hostileNames = []string{
	"\x1b[31mred\x1b[0m", "\x1b]0;title\a", "\x1b[2J\x1b[H", "c1 \u009b31m", "nul\x00", "bell\a", "back\b\b\bspace", "del\x7f",
	"line\nbreak", "return\rover", "tab\there", "\u2028line", "vertical\vtab",
	"rtl \u202egnp.exe", "\u2066isolate\u2069", "\u200fmark", "zero\u200bwidth", "\ufeffbom", "soft\u00adhyphen", "tag \U000e0041",
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</svg></style></title></textarea>", "<!--", "]]>", "&lt;b&gt;", "&#x1b;",
	"a|b", "`code`", "[link](http://example.com)", "![image](http://example.com/x.png)", "@everyone", "#1", "**bold**", "| a | b |\n|---|---|",
	"::error::forged", "%0A::error::forged", "\n::set-output name=x::y", "title=a,b:c",
	"{0}", "{{.}}", "$(reboot)", "'; DROP TABLE layers; --", `\u0000`, `\`, `"`, "'", "",
	" spaces ", "層.自己注意.射影", "é\u0301\u0301\u0301", "\U0001f600", strings.Repeat("very.long.", 1<<12),
}

// hostileReport is a merged report in which every name is one of them; turned says by how many they are moved on, for another report.
func hostileReport(turned int) *reports.Report {
	at := turned
	name := func() string {
		at++
		return hostileNames[at%len(hostileNames)]
	}
	out := &reports.Artifact{Name: name(), SHA256: "11", Format: name(), Producer: name(), ExternalFiles: []reports.ExternalFile{{Name: name(), XXH64: name()}}}
	r := &reports.Report{Kind: reports.KindMerged,
		Sources:  []reports.Source{{Kind: reports.KindConvert}, {Kind: reports.KindCalibrate}, {Kind: reports.KindVerify}, {Kind: reports.KindBench}},
		Model:    reports.Model{Input: reports.Artifact{Name: name(), SHA256: "22", Format: name(), Producer: name(), Opsets: []reports.Opset{{Domain: name(), Version: 1}}}, Output: out},
		Settings: reports.Settings{Recipe: name(), AmaxCompute: name(), Weights: name(), Emit: name(), Include: hostileNames, Exclude: []string{name()}},
		State:    reports.State{DelayedLayers: 3},
		Volatile: reports.Volatile{Time: name(), Host: name(), OS: name(), Arch: name(), Version: name(), GoVersion: name(), Card: name(), Fallback: name()},
	}
	c := &reports.Calibration{GradOutput: reports.GradInitial, Settings: reports.CalibrationSettings{Data: name(), Steps: 3, Device: name(), Shard: name(), Ranks: 1},
		Execution: reports.Execution{Compute: name(), Placements: []reports.Placement{{Node: name(), Op: name(), Layer: name(), Where: name(), Why: name()}}}}
	v := &reports.Verification{Settings: reports.VerificationSettings{Data: name(), Device: name(), Labels: name(), Logits: name(),
		Gates: []reports.Gate{{Name: reports.GateMinSQNR, Limit: 30}}}, Execution: reports.Execution{Placements: []reports.Placement{{Node: name(), Op: name(), Where: name(), Why: name()}}}}
	m := reports.VerifiedModel{Recipe: name(), Outputs: []reports.VerifiedValue{{Name: name(), Value: name(), SQNRdB: 20}},
		Failures: []reports.GateFailure{{Gate: reports.GateMinSQNR, Subject: name(), Value: 20}}}
	b := &reports.Bench{Settings: reports.BenchSettings{Device: name(), Data: name(), Inputs: []reports.BenchInput{{Name: name(), DType: name()}}},
		Model: reports.BenchedModel{Name: name(), Median: 1, Parts: []reports.BenchedPart{{Name: name(), Time: 1}}}, Against: &reports.BenchedModel{Name: name(), Median: 2},
		Advice: &reports.BenchAdvice{Keep: []string{name()}, Exclude: []string{name()}}}
	for i := range hostileNames {
		l := reports.Layer{Name: name(), Node: name(), Op: name(), Graph: name(), Decision: reports.Kept, Reason: &reports.Reason{Code: reports.ReasonExcluded, Sentence: name()},
			Weight: name(), DTypeBefore: name(), DTypeAfter: name()}
		if i%2 == 0 {
			l.Decision, l.Reason, l.Rule, l.WeightXXH64, l.SharedWith, l.InputScaling = reports.Rewritten, nil, reports.RuleGemm, name(), name(), name()
			l.SetAmax(1)
		}
		r.Layers = append(r.Layers, l)
		r.Changes = append(r.Changes, reports.Change{Code: reports.ChangeExternalData, Subject: name(), Sentence: name()})
		r.Warnings = append(r.Warnings, reports.Warning{Code: reports.WarnModelKept, Subject: name(), Sentence: name()})
		c.Layers = append(c.Layers, reports.CalibratedLayer{Name: name(), Node: name(), Graph: name(), Op: name(),
			Input: reports.CalibratedOperand{Scaling: reports.ScalingDynamic, Amax: []reports.Float32{1, 2, reports.Float32(i + 1)}}})
		m.Layers = append(m.Layers, reports.VerifiedValue{Name: name(), Value: name(), SQNRdB: reports.Float64(i)})
		v.Sensitivity = append(v.Sensitivity, reports.LayerCost{Name: name(), SQNRdB: reports.Float64(i)})
		b.Layers = append(b.Layers, reports.BenchedLayer{Name: name(), Kernel: name(), Time: 1})
	}
	r.Layers[0].Name = strings.Repeat("ten megabytes ", 10<<20/14)
	v.Models, v.Exclusion = []reports.VerifiedModel{m}, &reports.Exclusion{Layers: []string{name()}, Met: true}
	r.Calibration, r.Verification, r.Bench = c, v, b
	r.Finish()
	return r
}

// TestHostileNamesAreSafeInEveryFormat shows and compares reports whose names would steer a terminal, forge lines or be markup, through the
// commands: nothing of them reaches an output as anything else than text, and no name is too long.
func TestHostileNamesAreSafeInEveryFormat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := []string{"a.json", "b.json"}
	if goruntime.GOOS != "windows" { // where a file's name may hold anything
		names = []string{"\x1b[31ma\n::error::x|<b>.json", "\u202eb`@all`.json"}
	}
	for i, n := range names {
		names[i] = filepath.Join(dir, n)
		var data bytes.Buffer
		if err := reports.Encode(&data, hostileReport(i)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(names[i], data.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	shows := map[string][]string{}
	for _, f := range showFormats {
		shows["show "+f] = []string{"report", "show", names[0], "--format", f}
	}
	shows["show all"] = []string{"report", "show", names[0], "--all"}
	shows["merge"] = []string{"report", "merge", names[0], names[0]}
	// The same with digests that connect its jobs: what comes out has all the names.
	connected := hostileReport(0)
	in, out := strings.Repeat("2", 64), strings.Repeat("1", 64)
	connected.Model.Input.SHA256, connected.Model.Output.SHA256 = in, out
	for i := range connected.Sources {
		connected.Sources[i].InputSHA256, connected.Sources[i].OutputSHA256 = in, out
	}
	whole := filepath.Join(dir, "connected.json")
	var data bytes.Buffer
	if err := reports.Encode(&data, connected); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(whole, data.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	shows["merged json"] = []string{"report", "merge", whole, whole}
	for _, f := range diff.Formats() {
		shows["diff "+string(f)] = []string{"diff", names[0], names[1], "--format", string(f)}
	}
	for what, args := range shows {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			start := time.Now()
			code := run(args, strings.NewReader(""), &stdout, &stderr)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			want := exitDone
			if args[0] == "diff" {
				want = exitGate
			}
			if what == "merge" {
				want = exitFailed // the digests in it are none
			}
			if code != want {
				t.Errorf("exit status %d, want %d: %s", code, want, stderr.String())
			}
			text := stdout.String()
			for _, s := range []string{text, stderr.String()} {
				if !utf8.ValidString(s) {
					t.Error("not UTF-8")
				}
				for i, c := range s {
					if c != '\n' && reports.Unsafe(c) {
						t.Fatalf("%U at byte %d: %q", c, i, s[max(0, i-60):i])
					}
				}
			}
			if want == exitFailed {
				return
			}
			long := 8192 // of a line in a form for people
			switch {
			case strings.HasSuffix(what, "json") || strings.HasSuffix(what, "sarif"):
				long = len(text)
				if !json.Valid(stdout.Bytes()) {
					t.Error("not JSON")
				}
				if args[1] == "merge" {
					r, err := reports.Decode(strings.NewReader(text))
					if err != nil || len(r.Layers) != len(connected.Layers) || len(r.Calibration.Layers) != len(connected.Calibration.Layers) {
						t.Fatalf("what came out is no whole report: %v", err)
					}
					for i := range r.Layers {
						if r.Layers[i].Name != connected.Layers[i].Name || r.Layers[i].Graph != connected.Layers[i].Graph {
							t.Errorf("layer %d has another name: %.80q", i, r.Layers[i].Name)
						}
					}
				}
			case strings.HasSuffix(what, "junit"):
				long = len(text)
				d := xml.NewDecoder(&stdout)
				for {
					if _, err := d.Token(); errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						t.Fatal(err)
					}
				}
			case strings.HasSuffix(what, "github"):
				for _, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
					if m := regexp.MustCompile(`^::(error|warning|notice) title=fp8rewrite diff(%3A [a-z-]+)?::`).FindString(l); m == "" && !strings.HasPrefix(l, "fp8rewrite diff: ") {
						t.Errorf("line %.200q", l)
					}
				}
			case strings.HasSuffix(what, "html"):
				long = len(text)
				for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(text, -1) {
					if low := strings.ToLower(tag); strings.Contains(low, "script") || strings.HasPrefix(low, "<img") || strings.Contains(low, "onerror") || strings.Contains(low, "textarea") {
						t.Errorf("element %.200q", tag)
					}
				}
			case strings.HasSuffix(what, "markdown"):
				bare := regexp.MustCompile(`</?(code|b)>`).ReplaceAllString(text, "")
				if i := strings.IndexAny(bare, "<>`@[]*!\\"); i >= 0 {
					t.Errorf("markup in %q", bare[max(0, i-80):i+1])
				}
				columns := 0
				for _, l := range strings.Split(text, "\n") {
					n := strings.Count(l, "|")
					if n > 0 && columns > 0 && n != columns {
						t.Errorf("%d bars in a table of %d: %.200s", n, columns, l)
					}
					columns = n
				}
			}
			for _, l := range strings.Split(text, "\n") {
				if len(l) > long {
					t.Errorf("a line of %d bytes: %.100s", len(l), l)
				}
			}
		})
	}
}
