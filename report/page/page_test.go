package page

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fp8rewrite/fp8rewrite/report"
)

func write(t testing.TB, r *report.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// read is one of the reports that every version leaves in the repository.
func read(t testing.TB, name string) *report.Report {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "versions", name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// large is a merged report of that many layers and steps. Its numbers describe no real model.
func large(layers, steps int) *report.Report {
	r := &report.Report{Kind: report.KindMerged, Sources: []report.Source{{Kind: report.KindConvert}, {Kind: report.KindCalibrate}, {Kind: report.KindVerify}, {Kind: report.KindBench}},
		Model: report.Model{Input: report.Artifact{Name: "large.onnx", Bytes: 14 << 30, SHA256: "00", Format: "onnx"}, Output: &report.Artifact{Name: "large.fp8.onnx", Bytes: 4 << 30, SHA256: "01", Format: "onnx"}},
		State: report.State{Calibrated: true, DelayedLayers: int64(layers), InitializedLayers: int64(layers)}}
	metric := &report.TaskMetric{Rows: 397, Loss: 1.25, Perplexity: 3.5, Correct: 380, Accuracy: 380. / 397}
	model := report.VerifiedModel{Recipe: "i:del,w:del,go:del h16 max", Original: metric, Rewritten: metric,
		Outputs: []report.VerifiedValue{{Name: "logits", Value: "logits", Elements: 1 << 20, SQNRdB: 29.5, MaxAbs: 0.25, Cosine: 0.9990234375}}}
	r.Calibration = &report.Calibration{GradOutput: report.GradInitial, Settings: report.CalibrationSettings{Device: "cpu", Steps: int64(steps), Rows: int64(8 * steps), Ranks: 1}}
	r.Verification = &report.Verification{Settings: report.VerificationSettings{Device: "cpu", Batches: 50, Rows: 397}}
	r.Bench = &report.Bench{Settings: report.BenchSettings{Device: "cuda:0", Runs: 30}, Model: report.BenchedModel{Name: "large.fp8.onnx", Median: 20, Fastest: 19, Slowest: 23},
		Against: &report.BenchedModel{Name: "large.onnx", Median: 30, Fastest: 29, Slowest: 33}}
	for s := range steps {
		r.Calibration.Losses = append(r.Calibration.Losses, report.Float64(1.2+0.1*math.Sin(float64(s)*1.7)))
	}
	for i := range layers {
		at := float64(i)
		name := fmt.Sprintf("model.layers.%d.%s", i/7, []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}[i%7])
		l := report.Layer{Name: name, Node: name + "/MatMul", Op: "MatMul", Decision: report.Rewritten, Rule: report.RuleMatMul, Weight: name + ".weight", WeightXXH64: fmt.Sprintf("%016x", i),
			Shape: []int64{4096, 4096}, DTypeBefore: "bfloat16", DTypeAfter: "float8e4m3fn", InputScaling: "delayed", QuantScale: report.NewQuantScale([]float32{896}, false),
			Elements: 1 << 24, Flushed: int64(i * 31), Saturated: int64(i % 5), BytesBefore: 2 << 24, BytesAfter: 1 << 24}
		l.SetAmax(float32(0.3 + 0.2*math.Sin(at*0.37) + 0.05*math.Sin(at*3.1)))
		l.SetWeightSQNR(31.5 + 0.4*math.Sin(at*0.9))
		if i%7 == 3 && i%2 == 0 {
			l = report.Layer{Name: name, Op: "MatMul", Decision: report.Kept, Reason: report.Because(report.ReasonExcluded, "*o_proj"), Shape: []int64{4096, 4096}, Elements: 1 << 24, BytesBefore: 2 << 24, BytesAfter: 2 << 24}
		}
		r.Layers = append(r.Layers, l)
		if l.Decision == report.Kept {
			continue
		}
		amax, scale := make([]report.Float32, steps), make([]report.Float32, steps)
		for s := range amax {
			amax[s] = report.Float32((5 + 4*math.Sin(at*0.61)) * (1 + 0.2*math.Sin(at+float64(s)*2.3)))
			if i%97 == 13 && s == steps*2/3 {
				amax[s] *= 30
			}
			scale[s] = 448 / amax[s]
		}
		c := report.CalibratedLayer{Name: name, Op: "Float8Linear", StepsRun: int64(steps), Initialized: true,
			Input: report.CalibratedOperand{Scaling: report.ScalingDelayed, Amax: amax, Scale: scale, History: amax[:min(16, steps)], QuantScale: report.NewQuantScale([]float32{88}, false)}}
		c.Input.SetCounts(1<<32, int64(i*i%7777), int64(1<<20+i<<12), 0)
		r.Calibration.Layers = append(r.Calibration.Layers, c)
		model.Layers = append(model.Layers, report.VerifiedValue{Name: name, Value: name + "_output_0", Elements: 1 << 20, SQNRdB: report.Float64(30 + 3*math.Sin(at*0.3)), MaxAbs: 0.5, Cosine: 0.999})
		r.Verification.Sensitivity = append(r.Verification.Sensitivity, report.LayerCost{Name: name, SQNRdB: report.Float64(30 + at/100), LossIncrease: new(report.Float64(0.01 / (at + 1))), Correct: new(int64(-i % 3))})
		r.Bench.Layers = append(r.Bench.Layers, report.BenchedLayer{Name: name, Tokens: 8192, OutFeatures: 4096, InFeatures: 4096, Kernel: "matmul e4m3", Time: report.Float64(0.25 + 0.05*math.Sin(at)),
			Matmul: 0.2, Rate: 1200, Memory: 400, Against: new(report.Float64(0.4)), Speedup: new(report.Float64(1.6 - 0.3*math.Sin(at)))})
	}
	r.Verification.Models = []report.VerifiedModel{model}
	r.Finish()
	return r
}

func TestALargeReportIsSmallAndQuick(t *testing.T) {
	r := large(2000, 1000)
	var text string
	took := time.Hour
	for range 3 { // the best: others may want the processor too
		start := time.Now()
		text = write(t, r)
		took = min(took, time.Since(start))
	}
	t.Logf("%d bytes in %v", len(text), took)
	if len(text) > 5<<20 {
		t.Errorf("%d bytes, want less than 5 MiB", len(text))
	}
	if took > 5*time.Second { // a second on an idle machine
		t.Errorf("it took %v", took)
	}
	if dir := os.Getenv("PAGES"); dir != "" {
		os.WriteFile(filepath.Join(dir, "large.html"), []byte(text), 0o666)
		os.WriteFile(filepath.Join(dir, "small.html"), []byte(write(t, large(15, 40))), 0o666)
		for _, n := range []string{"convert", "calibrate", "verify", "bench", "merged"} {
			os.WriteFile(filepath.Join(dir, n+".html"), []byte(write(t, read(t, "1.2-"+n+".json"))), 0o666)
		}
	}
}

// pages are reports of every kind, and of hostile names.
func pages(t testing.TB) map[string]*report.Report {
	all := map[string]*report.Report{"small": large(15, 40), "numbered": large(60, 700), "hostile": hostile(), "empty": {Kind: report.KindConvert}}
	for _, n := range []string{"1.0", "1.1-convert", "1.1-calibrate", "1.1-verify", "1.2-convert", "1.2-calibrate", "1.2-verify", "1.2-bench", "1.2-merged"} {
		all[n] = read(t, n+".json")
	}
	recipes := large(3, 2)
	m := recipes.Verification.Models[0]
	m.Recipe = "i:off"
	recipes.Verification.Models = append(recipes.Verification.Models, m)
	all["recipes"] = recipes
	odd := large(30, 12)
	for i := range odd.Calibration.Layers {
		o := &odd.Calibration.Layers[i].Input
		for s := range o.Amax {
			o.Amax[s] = []report.Float32{0, -1, report.Float32(math.NaN()), report.Float32(math.Inf(1))}[(i+s)%4]
		}
		o.SaturationRate = nil
		odd.Verification.Models[0].Layers[i].SQNRdB = report.Float64(math.Inf(1))
		odd.Bench.Layers[i].Time = 0
		odd.Bench.Layers[i].Speedup = nil
	}
	for i := range odd.Layers {
		odd.Layers[i].SetAmax(0)
		odd.Layers[i].SetWeightSQNR(math.Inf(1))
		odd.Layers[i].Elements = 0
	}
	all["numbers that have no place on an axis"] = odd
	return all
}

// names hold everything that a page, a terminal or a reader could take for something else.
var names = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</svg></style></title>", "\x1b[31mred\x1b[0m", "line\nbreak\r\ttab", "rtl \u202egnp.exe", "nul\x00",
	"\u2066isolate", "zero\u200bwidth", "&lt;b&gt;", "a|b`*_", "", " spaces ", "not utf-8 \xff\xfe", strings.Repeat("long.", 1<<18), "層.自己注意", "fill:#FE0001", "'single'", "{{.}}",
	"javascript:alert(1)", "http://example.com/", "c1 \u009b31m", "tag \U000e0041",
}

func hostile() *report.Report {
	r := large(len(names), 8)
	r.Model.Input.Name, r.Model.Input.Producer, r.Model.Output.Name = names[0], names[1], names[4]
	r.Settings.Recipe, r.Settings.Include, r.Settings.Exclude = names[5], names, names
	r.Volatile = report.Volatile{Time: names[0], Host: names[1], OS: names[2], Arch: names[3], Version: names[4], GoVersion: names[5], Card: names[6]}
	r.Calibration.Settings.Device, r.Verification.Settings.Device, r.Bench.Settings.Device = names[0], names[1], names[4]
	r.Bench.Model.Name, r.Bench.Against.Name = names[0], names[5]
	for i := range r.Layers {
		l := &r.Layers[i]
		l.Name, l.Graph, l.Node, l.Op, l.Weight, l.DTypeAfter = names[i], names[len(names)-1-i], names[i], names[i], names[i], names[i]
		if l.Reason != nil {
			l.Reason.Sentence = names[i]
		}
		r.Changes = append(r.Changes, report.Change{Code: report.ChangeCode(names[i]), Subject: names[i], Sentence: names[i]})
		r.Warnings = append(r.Warnings, report.Warning{Code: report.WarningCode(names[i]), Subject: names[i], Sentence: names[i]})
	}
	for i := range r.Calibration.Layers {
		l, v := &r.Calibration.Layers[i], &r.Verification.Models[0].Layers[i]
		l.Name, l.Graph, l.Op, v.Name, r.Verification.Sensitivity[i].Name, r.Bench.Layers[i].Name = names[i], names[i], names[i], names[i], names[i], names[i]
	}
	r.Verification.Models[0].Recipe, r.Verification.Models[0].Outputs[0].Name = names[0], names[5]
	return r
}

var (
	tag       = regexp.MustCompile(`(?s)<(/?)([a-zA-Z!][a-zA-Z0-9]*)([^>]*)>`)
	attribute = regexp.MustCompile(`^(\s+[a-zA-Z:-]+(=("[^"<>]*"|[a-z]+))?)*\s*/?$`)
	ids       = regexp.MustCompile(` id="([^"]*)"`)
	targets   = regexp.MustCompile(` (?:aria-labelledby|href)="([^"]*)"`)
)

// allowed are the elements that a page consists of: no script, nothing that loads, nothing that a name could have brought.
var allowed = " !DOCTYPE html head meta title style body header main section footer nav p h1 h2 h3 ul li a dl dt dd div i span wbr code figure figcaption " +
	"details summary table thead tbody tfoot tr th td svg desc g path text "

func TestAPageHoldsNothingButItsOwnElements(t *testing.T) {
	for name, r := range pages(t) {
		t.Run(name, func(t *testing.T) {
			text := write(t, r)
			if !utf8.ValidString(text) {
				t.Error("it is not UTF-8")
			}
			for i, c := range text {
				if c != '\n' && (report.Unsafe(c) || c < ' ') {
					t.Errorf("character %U at byte %d: %q", c, i, text[max(0, i-40):i])
				}
			}
			_, style, _ := strings.Cut(text, "<style>")
			style, body, _ := strings.Cut(style, "</style>")
			if strings.Contains(style, "url(") || strings.Contains(style, "@import") || !strings.Contains(text, `content="default-src 'none'; style-src 'unsafe-inline'"`) {
				t.Error("it loads something")
			}
			rest := tag.ReplaceAllStringFunc(body, func(s string) string {
				m := tag.FindStringSubmatch(s)
				if !strings.Contains(allowed, " "+m[2]+" ") || !attribute.MatchString(m[3]) || regexp.MustCompile(`(?i)\s(on[a-z]+|src|xlink)[=:]`).MatchString(m[3]) {
					t.Errorf("element %.200q", s)
				}
				if h := regexp.MustCompile(`href="([^"]*)"`).FindStringSubmatch(m[3]); h != nil && !strings.HasPrefix(h[1], "#") {
					t.Errorf("a link to %q", h[1])
				}
				return ""
			})
			if strings.ContainsAny(rest, "<>") {
				t.Error("text holds an angle bracket")
			}
			seen := map[string]bool{}
			for _, m := range ids.FindAllStringSubmatch(text, -1) {
				if seen[m[1]] {
					t.Errorf("the id %q stands twice", m[1])
				}
				seen[m[1]] = true
			}
			for _, m := range targets.FindAllStringSubmatch(text, -1) {
				for _, id := range strings.Fields(m[1]) {
					if !seen[strings.TrimPrefix(id, "#")] {
						t.Errorf("%q names nothing", id)
					}
				}
			}
			for _, m := range regexp.MustCompile(` (?:d|x|y|transform|viewBox)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
				if strings.Contains(m[1], "NaN") || strings.Contains(m[1], "Inf") {
					t.Errorf("a place that is none: %.80s", m[0])
				}
			}
		})
	}
}

func TestEveryPlotIsWellFormedAndHasATitleAndATable(t *testing.T) {
	plots := 0
	for name, r := range pages(t) {
		text := write(t, r)
		for _, f := range strings.Split(text, "<figure>")[1:] {
			f, _, _ = strings.Cut(f, "</figure>")
			if strings.Count(f, "<table>") != 1 || strings.Count(f, "<h3>") != 1 {
				t.Errorf("%s: a figure without its table or title: %.300s", name, f)
			}
			at := strings.Index(f, "<svg")
			if at < 0 {
				if !strings.Contains(f, `class="none"`) {
					t.Errorf("%s: a figure without a plot: %.300s", name, f)
				}
				continue
			}
			plots++
			drawn := f[at : strings.Index(f, "</svg>")+len("</svg>")]
			d := xml.NewDecoder(strings.NewReader(drawn))
			elements := map[string]int{}
			for {
				token, err := d.Token()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v in %.300s", name, err, drawn)
				}
				if s, ok := token.(xml.StartElement); ok {
					elements[s.Name.Local]++
				}
			}
			if elements["title"] != 1 || elements["desc"] != 1 || elements["path"] < 3 || elements["text"] < 2 || !strings.Contains(drawn, `role="img"`) {
				t.Errorf("%s: a plot of %v", name, elements)
			}
			if name != "hostile" && (strings.Contains(drawn, "#FE00") || strings.Contains(drawn, "Liberation")) {
				t.Errorf("%s: a placeholder is left in %.600s", name, drawn)
			}
		}
	}
	if plots < 60 {
		t.Errorf("%d plots were seen", plots)
	}
}

func TestAllFiguresAreThere(t *testing.T) {
	text := write(t, large(15, 40))
	for _, want := range []string{
		"Weights: amax of each layer", "Weights: SQNR of each layer", "Weights: saturated and flushed to zero", "Size before and after",
		"Inputs: amax of each layer", "Inputs: amax over the steps", "Inputs: amax over the steps, all layers", "Inputs: saturated and flushed to zero", "Loss over the steps",
		"Outputs of the layers: SQNR", "Sensitivity", "Time of a run", "Time of each layer", "Speedup of each layer",
	} {
		if !strings.Contains(text, "<h3>"+want+"</h3>") {
			t.Errorf("no figure %q", want)
		}
	}
	for _, want := range []string{"14 of 15", "29.5 dB", "<h2>Conversion</h2>", "<h2>Calibration</h2>", "<h2>Verification</h2>", "<h2>Benchmark</h2>", "1.50 times as fast as large.onnx"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if again := write(t, large(15, 40)); again != text {
		t.Error("two pages of one report differ")
	}
}

// TestColorsHaveContrast computes the contrast that WCAG 2.2 asks for: 4.5 to 1 for text, 3 to 1 for what a plot is drawn with.
func TestColorsHaveContrast(t *testing.T) {
	schemes := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(style, -1)
	if len(schemes) != 3 {
		t.Fatalf("%d schemes, want light, dark and print", len(schemes))
	}
	for i, s := range schemes {
		colors := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z0-9]+): #([0-9a-f]{6});`).FindAllStringSubmatch(s[1], -1) {
			rgb, err := strconv.ParseUint(m[2], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			l := 0.0
			for k, weight := range []float64{0.0722, 0.7152, 0.2126} {
				c := float64(rgb>>(8*k)&255) / 255
				if c <= 0.04045 {
					c /= 12.92
				} else {
					c = math.Pow((c+0.055)/1.055, 2.4)
				}
				l += weight * c
			}
			colors[m[1]] = l
		}
		check := func(name, on string, want float64) {
			a, okA := colors[name]
			b, okB := colors[on]
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); !okA || !okB || got < want {
				t.Errorf("scheme %d: %s on %s has a contrast of %.2f, want %v", i, name, on, got, want)
			}
		}
		for _, on := range []string{"bg", "panel"} {
			for _, name := range []string{"fg", "soft", "link"} {
				check(name, on, 4.5)
			}
			for k := range maxSeries {
				check(fmt.Sprint("s", k+1), on, 3)
			}
			check("good", on, 3)
			check("bad", on, 3)
		}
		check("s1", "band", 3)
	}
}

// TestTheLeastSQNR: a NaN is less than every number.
func TestTheLeastSQNR(t *testing.T) {
	inf, nan := report.Float64(math.Inf(1)), report.Float64(math.NaN())
	for _, c := range []struct {
		figures []report.Float64
		want    string
	}{
		{[]report.Float64{inf, inf}, "<dd>exact</dd>"}, {[]report.Float64{inf, 20, 30}, "<dd>20 dB</dd>"}, {[]report.Float64{nan}, "<dd>NaN</dd>"},
		{[]report.Float64{30, nan, 20}, "<dd>NaN</dd>"}, {[]report.Float64{inf, nan}, "<dd>NaN</dd>"}, {nil, ""},
	} {
		r := large(3, 3)
		o := r.Verification.Models[0].Outputs[0]
		r.Verification.Models[0].Outputs = nil
		for _, f := range c.figures {
			o.SQNRdB = f
			r.Verification.Models[0].Outputs = append(r.Verification.Models[0].Outputs, o)
		}
		_, card, found := strings.Cut(write(t, r), "<dt>SQNR of the outputs</dt>")
		if found != (c.want != "") || !strings.HasPrefix(card, c.want) {
			t.Errorf("%v: %.60q, want %q", c.figures, card, c.want)
		}
	}
}

// TestAFallbackIsSaid: that there was no GPU stands in the page.
func TestAFallbackIsSaid(t *testing.T) {
	r := large(2, 2)
	r.Volatile.Fallback = "no driver <here>"
	if text := write(t, r); !strings.Contains(text, "no driver &lt;here&gt;") {
		t.Error("it is not said")
	}
}

func TestTicksAreRoundAndFew(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		log       bool
		want      string
	}{
		{0, 1.05, false, "0 0.2 0.4 0.6 0.8 1"}, {31.1, 31.9, false, "31.2 31.4 31.6 31.8"}, {0.05, 0.6, true, "0.05 0.1 0.2 0.5"},
		{1e-9, 1e9, true, "1e-09 1e-06 0.001 1 1000 1e+06 1e+09"}, {-0.01, 0.02, false, "-0.01 -0.005 0 0.005 0.01 0.015 0.02"}, {0, 3e9, false, "0 5e+08 1e+09 1.5e+09 2e+09 2.5e+09 3e+09"},
	} {
		var got []string
		for _, m := range (ticks{c.log}).Ticks(c.low, c.high) {
			got = append(got, m.Label)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v to %v: %v, want %s", c.low, c.high, got, c.want)
		}
	}
}

func TestALongLineKeepsItsPeaks(t *testing.T) {
	values := make([]float64, 10000)
	values[1234], values[8765], values[5000] = 7, -7, math.NaN()
	picked := thin(values)
	if len(picked) > 2*maxBuckets || !slices.Contains(picked, 1234) || !slices.Contains(picked, 8765) || !slices.IsSorted(picked) {
		t.Errorf("%d places: %v", len(picked), picked)
	}
}

func TestWritePassesOnErrors(t *testing.T) {
	if err := Write(fullDisk{}, large(2, 2)); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("got %v", err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestABrowserShowsThePages opens the pages in Chromium: nothing is written to its console, and with JavaScript off it looks the same.
func TestABrowserShowsThePages(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a browser")
	}
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("SKIPPED: no Chromium here")
	}
	dir := t.TempDir()
	// Whether it starts at all here is the place's matter; what it does with the pages is theirs.
	blank := exec.Command(browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+filepath.Join(dir, "blank"), "--dump-dom", "about:blank")
	if out, err := blank.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: the browser does not start here: %v\n%s", err, out)
	}
	for name, r := range map[string]*report.Report{"merged": read(t, "1.2-merged.json"), "hostile": hostile()} {
		file := filepath.Join(dir, name+".html")
		if err := os.WriteFile(file, []byte(write(t, r)), 0o666); err != nil {
			t.Fatal(err)
		}
		run := func(flags ...string) (string, string) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--user-data-dir=" + filepath.Join(dir, "profile")}, flags...)
			cmd := exec.CommandContext(ctx, browser, append(args, "file://"+filepath.ToSlash(file))...)
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errOut
			if err := cmd.Run(); err != nil {
				t.Fatalf("the browser: %v\n%s", err, errOut.String())
			}
			return out.String(), errOut.String()
		}
		picture := func(flags ...string) []byte {
			png := filepath.Join(dir, "page.png")
			run(append(flags, "--window-size=800,3000", "--screenshot="+png)...)
			b, err := os.ReadFile(png)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		text, said := run("--dump-dom")
		if strings.Contains(said, "CONSOLE") {
			t.Errorf("%s: the console has %s", name, said)
		}
		if strings.Count(text, "<svg") != strings.Count(text, "</svg>") || strings.Count(text, "<svg") < 5 || strings.Contains(text, "<script") || strings.Contains(text, "<img") {
			t.Errorf("%s: the browser sees %.2000s", name, text)
		}
		if name == "merged" && !bytes.Equal(picture(), picture("--blink-settings=scriptEnabled=false")) {
			t.Errorf("%s: without JavaScript the page looks otherwise", name)
		}
	}
}
