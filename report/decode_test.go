package report_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
)

func TestEveryVersionEverWrittenIsReadable(t *testing.T) {
	files, _ := filepath.Glob("testdata/versions/*.json")
	if len(files) == 0 {
		t.Fatal("no reports under testdata/versions")
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := report.Decode(bytes.NewReader(data))
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		want, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f), ".json"), "-") // 1.1-calibrate.json
		if r.SchemaVersion != want {
			t.Errorf("%s: schema version %q", f, r.SchemaVersion)
		}
		if r.SchemaVersion == report.SchemaVersion && !bytes.Equal(encode(t, r), data) {
			t.Errorf("%s: reading and writing changes it", f)
		}
	}
}

func TestOlderVersionsAreRenewed(t *testing.T) {
	files, _ := filepath.Glob("testdata/versions/*.json")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := report.Decode(bytes.NewReader(data))
		if err == nil {
			err = r.Renew()
		}
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		again, err := report.Decode(bytes.NewReader(encode(t, r)))
		if err != nil || again.SchemaVersion != report.SchemaVersion || len(again.Layers) != len(r.Layers) {
			t.Errorf("%s: renewed it is %+v, %v", f, again, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := string(encode(t, sample()))
	for name, c := range map[string]struct{ from, to, want string }{
		"another major version":         {`"schema_version": "1.2"`, `"schema_version": "2.0"`, `schema version 2.0, want 1.x`},
		"a version that is none":        {`"schema_version": "1.2"`, `"schema_version": "1.00"`, `schema version "1.00", want major.minor`},
		"a version that is a number":    {`"schema_version": "1.2"`, `"schema_version": 1.0`, "schema_version: not a string"},
		"a report without a version":    {`"schema_version": "1.2",`, ``, "no schema_version"},
		"a key that is not known":       {`"kind":`, `"king": 1, "kind":`, `unknown key "king"`},
		"a key in another case":         {`"kind":`, `"Kind":`, `unknown key "Kind"`},
		"a key that stands twice":       {`"kind":`, `"kind": "convert", "kind":`, `key "kind" stands twice`},
		"a key that is missing":         {`"node": "/fc1/Gemm",`, ``, `layers[0]: no key "node"`},
		"null for a string":             {`"node": "/fc1/Gemm"`, `"node": null`, "layers[0].node: got null, want a string"},
		"null for an array":             {`"include": []`, `"include": null`, "settings.include: got null, want an array"},
		"a number for a string":         {`"node": "/fc1/Gemm"`, `"node": 7`, "layers[0].node: got a number, want a string"},
		"a string for an array":         {`"shape": [32, 16]`, `"shape": "32"`, "layers[0].shape: got a string, want an array"},
		"a fraction for an integer":     {`"shape": [32, 16]`, `"shape": [32, 1.5]`, `layers[0].shape[1]: "1.5" is not a 64-bit integer`},
		"an integer beyond 64 bits":     {`"flushed": 3`, `"flushed": 9223372036854775808`, `"9223372036854775808" is not a 64-bit integer`},
		"a float beyond 32 bits":        {`"amax": 0.5`, `"amax": 1e39`, `layers[0].amax: "1e39" is not a float32`},
		"a word for a float":            {`"amax": 0.5`, `"amax": "lots"`, `layers[0].amax: "lots" is not a float32`},
		"a boolean for a float":         {`"amax": 0.5`, `"amax": true`, `layers[0].amax: got a boolean, want a number`},
		"a string for a boolean":        {`"calibrated": false`, `"calibrated": "no"`, "state.calibrated: got a string, want a boolean"},
		"an array for an object":        {`"volatile": {`, `"volatile": [], "x": {`, "volatile: got an array, want an object"},
		"totals that do not add up":     {`"elements": 576`, `"elements": 577`, "the totals are not the sums"},
		"a reason outside the list":     {`"code": "left-constant-batched",` + "\n        ", `"code": "mood",`, `layers[1]: reason "mood" is not in the list`},
		"text after the report":         {"\n}\n", "\n}\n{}", "not JSON"},
		"half a report":                 {`"volatile": {`, ``, "not JSON"},
		"a token that JSON has not got": {`"amax": 0.5`, `"amax": NaN`, "not JSON"},
		"bytes that are not UTF-8":      {`/fc1/Gemm`, "\xff", "not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.from, c.to, 1)
			if text == good {
				t.Fatalf("the sample does not hold %q", c.from)
			}
			_, err := report.Decode(strings.NewReader(text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	for _, text := range []string{"", " ", "[]", "7", `"1.0"`, "null", strings.Repeat("[", 1e6)} {
		if _, err := report.Decode(strings.NewReader(text)); err == nil {
			t.Errorf("%.20q is read as a report", text)
		}
	}
}

func TestANewerMinorVersionIsReadAndNotWritten(t *testing.T) {
	text := strings.Replace(string(encode(t, sample())), `"schema_version": "1.2"`, `"schema_version": "1.7"`, 1)
	text = strings.Replace(text, `"kind": "convert"`, `"kind": "bless", "mood": {"a": [1, {"b": "]}"}, null]}`, 1)
	text = strings.Replace(text, `"code": "left-constant-batched"`, `"code": "left-constant-shy"`, 1)
	r, err := report.Decode(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != "bless" || len(r.Layers) != 6 || r.Volatile.Host != "ci" {
		t.Errorf("the known part reads as %+v", r)
	}
	if err := report.Encode(&bytes.Buffer{}, r); err == nil {
		t.Error("a report with unknown parts is written as if it were whole")
	}
	if err := r.Renew(); err == nil || !strings.Contains(err.Error(), "schema version 1.7, want "+report.SchemaVersion) {
		t.Errorf("it is renewed: %v", err)
	}
}

func TestKeysMayStandInAnyOrder(t *testing.T) {
	good := string(encode(t, sample()))
	const head = "  \"schema_version\": \"1.2\",\n"
	moved := strings.Replace(strings.Replace(good, head, "", 1), "\n  }\n}\n", "\n  },\n  \"schema_version\": \"1.2\"\n}\n", 1)
	r, err := report.Decode(strings.NewReader(moved))
	if err != nil {
		t.Fatal(err)
	}
	if string(encode(t, r)) != good {
		t.Error("the order of the keys changed the report")
	}
}

func TestAReportBeyondTheLimitIsRefusedBeforeItIsRead(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: reads 256 MiB")
	}
	if _, err := report.Decode(endless{}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v, want a size error", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// What Decode accepts, Encode writes, and the result reads back to the same bytes.
func FuzzDecode(f *testing.F) {
	f.Add(encode(f, sample()))
	f.Add([]byte(`{"schema_version":"1.9"}`))
	f.Add([]byte(`{"schema_version":"1.0","layers":[{"amax":"NaN","reason":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := report.Decode(bytes.NewReader(data))
		if err != nil || r.SchemaVersion != report.SchemaVersion {
			return
		}
		first := encode(t, r)
		again, err := report.Decode(bytes.NewReader(first))
		if err != nil {
			t.Fatalf("what Encode wrote is refused: %v", err)
		}
		if second := encode(t, again); !bytes.Equal(first, second) {
			t.Fatalf("not stable:\n%s\n%s", first, second)
		}
	})
}

func BenchmarkDecodeTwoThousandLayers(b *testing.B) {
	r := sample()
	layer := r.Layers[0]
	r.Layers = nil
	for range 2000 {
		r.Layers = append(r.Layers, layer)
	}
	r.Finish()
	data := encode(b, r)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := report.Decode(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
