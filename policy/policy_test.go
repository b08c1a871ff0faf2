package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite docs/fp8rewrite.schema.json")

const whole = `
version: 1
model: models/llama.onnx
baseline: fp8-baseline.json
data: data.npz
output: build/llama.fp8.onnx
device: cpu
convert: # as convert has it
  recipe: i:del,w:del,go:del
  history-len: 8
  exclude: ["*lm_head*", 're:^debug']
  include: "*.mlp.*"
  per-channel: true
  power-of-two: false
calibrate:
verify:
  prefix: eval_
  labels: labels
  max-loss-increase: 1e-2
  min-sqnr: 20
  steps: 4
diff:
  fail-on: [error, warning-added]
  rel-tol: {amax: 0.01, scale: 2e-2}
  abs-tol: 0.001
`

func TestReadGivesTheSettingsAsFlagsTakeThem(t *testing.T) {
	p, err := Read(strings.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(p.Model, " ", p.Baseline, " ", p.Data, " ", p.Output, " ", p.Device)
	if got != "models/llama.onnx fp8-baseline.json data.npz build/llama.fp8.onnx cpu" {
		t.Errorf("got %s", got)
	}
	for name, want := range map[string]string{
		Convert:   "[{recipe [i:del,w:del,go:del]} {history-len [8]} {power-of-two [false]} {per-channel [true]} {include [*.mlp.*]} {exclude [*lm_head* re:^debug]}]",
		Calibrate: "[]",
		Verify:    "[{prefix [eval_]} {steps [4]} {labels [labels]} {min-sqnr [20]} {max-loss-increase [0.01]}]",
		Diff:      "[{fail-on [error warning-added]} {rel-tol [amax=0.01 scale=0.02]} {abs-tol [0.001]}]",
	} {
		s, ok := p.Section(name)
		if got := fmt.Sprint(s); !ok || got != want {
			t.Errorf("%s: %v, %s, want %s", name, ok, got, want)
		}
	}
	p, err = Read(strings.NewReader("{version: 1, model: a, baseline: b}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Section(Calibrate); ok {
		t.Error("a section is there that the file does not have")
	}
}

func TestReadRefuses(t *testing.T) {
	const head = "version: 1\nmodel: a\nbaseline: b\ndata: c\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                     {"", "the file is empty"},
		"no YAML":                     {"a: [", "not YAML"},
		"a list":                      {"- a", "line 1, column 1: the policy is a list, want keys with values"},
		"two documents":               {head + "---\n" + head, "more than one document"},
		"no version":                  {"model: a\nbaseline: b", `the key "version" is missing`},
		"another version":             {"version: 2\nmodel: a\nbaseline: b", "line 1, column 10: version is 2, want 1"},
		"no model":                    {"version: 1\nbaseline: b", `the key "model" is missing`},
		"an empty model":              {"version: 1\nmodel: ''\nbaseline: b", `the key "model" is missing`},
		"no data to calibrate with":   {"version: 1\nmodel: a\nbaseline: b\ncalibrate:\n", `the key "data" is missing, and there is a section calibrate`},
		"an unknown key":              {head + "modle: x", `line 5, column 1: unknown key "modle" in the policy`},
		"an unknown key in a section": {head + "convert:\n  recipie: x", `line 6, column 3: unknown key "recipie" in convert`},
		"a key of another section":    {head + "convert:\n  labels: x", `unknown key "labels" in convert`},
		"a key in another case":       {head + "convert:\n  Recipe: x", `unknown key "Recipe" in convert`},
		"a key twice":                 {head + "model: z", `line 5, column 1: the key "model" stands twice in the policy`},
		"a section twice":             {head + "convert:\nconvert:\n", `the key "convert" stands twice`},
		"a number for a text":         {head + "convert:\n  recipe: 7", "line 6, column 11: recipe is 7, want text"},
		"a text for a number":         {head + "convert:\n  history-len: 'x'", `history-len is "x", want whole number`},
		"a fraction":                  {head + "convert:\n  history-len: 1.5", "history-len is 1.5, want whole number"},
		"another base":                {head + "convert:\n  history-len: 0x10", "history-len is 0x10, want whole number"},
		"a text for a switch":         {head + "convert:\n  per-channel: yep", `per-channel is "yep", want true or false`},
		"a word for a switch":         {head + "convert:\n  per-channel: yes", `per-channel is "yes", want true or false`},
		"infinity":                    {head + "verify:\n  min-sqnr: .inf", "min-sqnr is .inf, want number"},
		"no number":                   {head + "verify:\n  min-sqnr: .nan", "min-sqnr is .nan, want number"},
		"another word":                {head + "convert:\n  weights: int8", `weights is "int8", want float8 or original`},
		"a mapping for a text":        {head + "convert:\n  recipe: {a: b}", "recipe is a mapping, want text"},
		"nothing for a text":          {head + "convert:\n  recipe:", "recipe is nothing, want text"},
		"a number in a list":          {head + "convert:\n  exclude: [0]", "an entry of exclude is 0, want text in quotes"},
		"a list in a list":            {head + "convert:\n  exclude: [[a]]", "an entry of exclude is a list"},
		"a tolerance that is a text":  {head + "diff:\n  rel-tol: {amax: x}", `rel-tol of "amax" is "x", want a number for a class`},
		"a tolerance of no class":     {head + "diff:\n  rel-tol: {a=b: 1}", "want a number for a class"},
		"a section that is a list":    {head + "convert: [a]", "convert is a list, want keys with values"},
		"an anchor":                   {head + "convert: &x\n  recipe: delayed", "anchors and aliases are not taken"},
		"an alias":                    {"version: 1\nmodel: &m a\nbaseline: *m", "anchors and aliases are not taken"},
		"a merge":                     {head + "convert:\n  <<: {recipe: x}", "a key of convert is"},
		"a tag":                       {head + "convert: !!map {}", `the tag "!!map" is not taken`},
		"a tag of its own":            {head + "convert:\n  recipe: !secret x", `the tag "!secret" is not taken`},
		"a key that is a list":        {head + "? [a]\n: b", "a key of the policy is a list, want text"},
		"a long key":                  {head + strings.Repeat("k", 1000) + ": 1", strings.Repeat("k", 60) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	_, err := Read(strings.NewReader(head + "convert:\n  recipie: x"))
	var e *Error
	if !errors.As(err, &e) || e.Unknown != "recipie" || !slices.Contains(e.Known, "recipe") || e.Line != 6 {
		t.Errorf("got %#v", e)
	}
	if _, err := Read(strings.NewReader(strings.Repeat("#", MaxSize+1))); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nversion: 1\n"
	if _, err := Read(strings.NewReader(bomb)); err == nil {
		t.Error("aliases are taken")
	}
}

// The published schema is the code's own.
func TestTheSchemaIsPublished(t *testing.T) {
	const file = "../docs/fp8rewrite.schema.json"
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs (%v); go test ./policy -update writes it", file, err)
	}
	var doc struct {
		Required   []string
		Properties map[string]struct {
			Type                 any
			AdditionalProperties any
			Properties           map[string]any
		}
	}
	if err := json.Unmarshal(want, &doc); err != nil {
		t.Fatal(err)
	}
	for _, f := range Fields() {
		in := doc.Properties[f.Section].Properties
		if f.Section == "" {
			_, ok := doc.Properties[f.Key]
			if !ok {
				t.Errorf("%s is not in the schema", f.Key)
			}
		} else if _, ok := in[f.Key]; !ok {
			t.Errorf("%s.%s is not in the schema", f.Section, f.Key)
		}
		if f.Says == "" {
			t.Errorf("%s.%s does not say what it is", f.Section, f.Key)
		}
	}
	for _, s := range sections {
		if doc.Properties[s.name].AdditionalProperties != false {
			t.Errorf("the schema lets any key into %s", s.name)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("version: 1\nmodel: &a b\nbaseline: *a"))
	f.Add([]byte("{version: 1, model: a, baseline: b, diff: {rel-tol: {a: 1}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Read(bytes.NewReader(data))
		if err == nil && (p.Model == "" || p.Baseline == "") {
			t.Error("a policy without a model")
		}
	})
}

// The policies in the documents are ones, and what CI takes is YAML that runs check.
func TestTheDocumentsFollow(t *testing.T) {
	text, err := os.ReadFile("../docs/POLICY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	policies := map[string]string{"docs/POLICY.md": block}
	files, _ := filepath.Glob("../testdata/policy/*.yaml")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		policies[f] = string(b)
	}
	if len(policies) < 3 {
		t.Errorf("%d policies", len(policies))
	}
	for name, p := range policies {
		if _, err := Read(strings.NewReader(p)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, f := range []string{"../docs/ci/github.yml", "../docs/ci/gitlab.yml"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := yaml.Unmarshal(b, &doc); err != nil || !strings.Contains(string(b), "fp8rewrite check --report ") {
			t.Errorf("%s: %v", f, err)
		}
	}
}
