package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
)

var update = flag.Bool("update", false, "rewrite golden files and the tables of docs/REPORT.md")

var (
	infinite   = math.Inf(1)
	notANumber = float32(math.NaN())
)

func encode(t testing.TB, r *report.Report) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := report.Encode(&buf, r); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// The golden files are the form of the present schema, one for each kind. They are rewritten only while that version has not been
// released; a later version gets files of its own and these stay, for TestEveryVersionEverWrittenIsReadable.
func TestTheCanonicalFormIsTheGoldenFile(t *testing.T) {
	for _, make := range []func() *report.Report{sample, calibrated, verified, merged, benched} {
		r := make()
		golden := filepath.Join("testdata", "versions", fmt.Sprintf("%s-%s.json", report.SchemaVersion, r.Kind))
		got := encode(t, r)
		if *update {
			if err := os.WriteFile(golden, got, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("canonical form differs from %s; got:\n%s", golden, got)
		}
		if again := encode(t, make()); !bytes.Equal(got, again) {
			t.Error("two encodings of equal reports differ")
		}
	}
}

func TestTheStandardDecoderReadsTheCanonicalForm(t *testing.T) {
	// A NaN in the sample would make equal reports unequal.
	r := sample()
	r.Layers[4].SetAmax(1)
	data := encode(t, r)
	var std report.Report
	if err := json.Unmarshal(data, &std); err != nil {
		t.Fatal(err)
	}
	own, err := report.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&std, own) {
		t.Errorf("encoding/json reads\n%+v\nDecode reads\n%+v", &std, own)
	}
}

func TestNumbersAreTheShortestThatReadBack(t *testing.T) {
	for _, c := range []struct {
		f32  float32
		want string
	}{
		{0, "0"}, {float32(math.Copysign(0, -1)), "-0"}, {0.1, "0.1"}, {448, "448"}, {1e-12, "1e-12"}, {1e-6, "0.000001"},
		{9.9e-7, "9.9e-7"}, {1e20, "100000000000000000000"}, {1e21, "1e+21"}, {math.MaxFloat32, "3.4028235e+38"},
		{math.SmallestNonzeroFloat32, "1e-45"}, {1.0 / 3, "0.33333334"}, {notANumber, `"NaN"`}, {float32(math.Inf(1)), `"Infinity"`},
		{float32(math.Inf(-1)), `"-Infinity"`},
	} {
		r := sample()
		r.Layers[0].SetAmax(c.f32)
		data := encode(t, r)
		if !bytes.Contains(data, []byte("\n      \"amax\": "+c.want+",\n")) {
			t.Errorf("amax %g: no line with %s", c.f32, c.want)
		}
		back, err := report.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if got := float32(*back.Layers[0].Amax); math.Float32bits(got) != math.Float32bits(c.f32) && got == got {
			t.Errorf("amax %g reads back as %g", c.f32, got)
		}
		if std, _ := json.Marshal(report.Float32(c.f32)); string(std) != c.want {
			t.Errorf("json.Marshal(%g) = %s, want %s", c.f32, std, c.want)
		}
	}
}

func TestStringsAreSafeOnATerminalAndReadBack(t *testing.T) {
	for _, c := range []struct{ in, json, back string }{
		{"plain <b> & 'x'", `"plain <b> & 'x'"`, "plain <b> & 'x'"},
		{"q\"b\\ \n\r\t\x00", `"q\"b\\ \n\r\t\u0000"`, "q\"b\\ \n\r\t\x00"},
		{"\x1b[31mred", `"\u001b[31mred"`, "\x1b[31mred"},
		{"c1 \u009b", `"c1 \u009b"`, "c1 \u009b"},
		{"rtl \u202egnp.exe", `"rtl \u202egnp.exe"`, "rtl \u202egnp.exe"},
		{"tag \U000e0041", `"tag \udb40\udc41"`, "tag \U000e0041"},
		{"wide 層 \U0001f600 é", "\"wide 層 \U0001f600 é\"", "wide 層 \U0001f600 é"},
		{"bad \xff\xc3", "\"bad \uFFFD\uFFFD\"", "bad \uFFFD\uFFFD"},
	} {
		r := sample()
		r.Layers[0].Weight = c.in
		data := encode(t, r)
		if !bytes.Contains(data, []byte(`"weight": `+c.json+",")) {
			t.Errorf("%q: no %s", c.in, c.json)
		}
		back, err := report.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if got := back.Layers[0].Weight; got != c.back {
			t.Errorf("%q reads back as %q, want %q", c.in, got, c.back)
		}
	}
}

func TestAnInspectionHasTheSameCanonicalForm(t *testing.T) {
	in := &report.Inspection{SchemaVersion: report.SchemaVersion, Layers: []report.InspectedLayer{{Name: "<fc1>\u009b",
		Float8: &report.Float8State{ScaleInput: 0.1, AmaxInput: []report.Float32{report.Float32(notANumber), 2}}}}}
	var buf bytes.Buffer
	if err := report.EncodeInspection(&buf, in); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"name": "<fc1>\u009b"`, `"shape": [],`, `"scale_input": 0.1,`, `"amax_input": ["NaN", 2],`, `"reason": null,`,
		`"opsets": [],`, "\n}\n"} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("no %s in\n%s", want, buf.String())
		}
	}
	if err := report.EncodeInspection(fullDisk{}, in); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*report.Report)
		want string
	}{
		"a report that was not finished": {func(r *report.Report) { r.SchemaVersion = "" }, "was not finished"},
		"layers added after the totals":  {func(r *report.Report) { r.Layers = r.Layers[1:] }, "totals"},
		"a rule outside the list":        {func(r *report.Report) { r.Layers[0].Rule = "conv" }, `layers[0]: rule "conv"`},
		"a reason outside the list":      {func(r *report.Report) { r.Layers[1].Reason.Code = "mood" }, `layers[1]: reason "mood"`},
		"a kept layer without a reason":  {func(r *report.Report) { r.Layers[1].Reason = nil }, "want a reason"},
		"a rewritten layer with one":     {func(r *report.Report) { r.Layers[0].Reason = r.Layers[1].Reason }, "has a reason"},
		"an unknown decision":            {func(r *report.Report) { r.Layers[0].Decision = "maybe" }, `decision "maybe"`},
		"a change outside the list":      {func(r *report.Report) { r.Changes[1].Code = "x" }, `changes[1]: code "x"`},
		"a warning outside the list":     {func(r *report.Report) { r.Warnings[0].Code = "x" }, `warnings[0]: code "x"`},
		"an unknown kind":                {func(r *report.Report) { r.Kind = "x" }, `kind is "x"`},
		"a calibration without one":      {func(r *report.Report) { r.Kind = report.KindCalibrate }, `has the section of "calibrate" where`},
		"another kind with one":          {func(r *report.Report) { r.Calibration = new(report.Calibration) }, `has the section of "calibrate" where`},
		"an unknown state of gradients": {func(r *report.Report) {
			r.Kind, r.Calibration = report.KindCalibrate, &report.Calibration{GradOutput: "lost"}
		}, `calibration: grad_output is "lost"`},
		"an unknown scaling": {func(r *report.Report) {
			*r = *calibrated()
			r.Calibration.Layers[0].Weight.Scaling = "fast"
		}, `calibration: layers[0]: scaling "fast"`},
		"amaxes of other steps": {func(r *report.Report) {
			*r = *calibrated()
			r.Calibration.Layers[1].Input.Amax = r.Calibration.Layers[1].Input.Amax[1:]
		}, `calibration: layers[1]: 2 amaxes in 3 steps`},
		"scales of other steps": {func(r *report.Report) {
			*r = *calibrated()
			r.Calibration.Layers[0].Input.Scale = nil
		}, `calibration: layers[0]: 0 scales, want 3`},
	} {
		t.Run(name, func(t *testing.T) {
			r := sample()
			c.edit(r)
			var buf bytes.Buffer
			if err := report.Encode(&buf, r); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if buf.Len() > 0 {
				t.Error("something was written")
			}
		})
	}
}

type fullDisk struct{}

var errFull = errors.New("no space left on device")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestEncodePassesOnWriteErrors(t *testing.T) {
	if err := report.Encode(fullDisk{}, sample()); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}
