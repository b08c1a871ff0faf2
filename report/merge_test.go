package report_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
)

func TestMergeJoinsTheSectionsOfOneModel(t *testing.T) {
	all := parts()
	r, err := report.Merge(all)
	if err != nil {
		t.Fatal(err)
	}
	made, after, judged := all[1].Report, all[2].Report, all[0].Report
	if r.Model.Input.SHA256 != made.Model.Input.SHA256 || r.Model.Output.SHA256 != after.Model.Output.SHA256 {
		t.Errorf("the models are %v and %v", r.Model.Input, r.Model.Output)
	}
	if len(r.Layers) != len(made.Layers) || r.Calibration != after.Calibration || r.Verification != judged.Verification {
		t.Error("a section is missing")
	}
	if got := fmt.Sprint(r.Sources[0].Kind, " ", r.Sources[1].Kind, " ", r.Sources[2].Kind); len(r.Sources) != 3 || got != "convert calibrate verify" {
		t.Errorf("sources %v", r.Sources)
	}
	if r.State != after.State || r.Settings.Weights != made.Settings.Weights {
		t.Errorf("state %v, settings %v", r.State, r.Settings)
	}
	codes := ""
	for _, w := range r.Warnings {
		codes += string(w.Code) + " "
	}
	if codes != "uncalibrated pattern-unmatched amax-rejected " { // the calibration left a layer without an observation
		t.Errorf("warnings %s", codes)
	}
	after.State.Calibrated = true
	if r, err = report.Merge(all); err != nil || r.Warnings[0].Code == report.WarnUncalibrated {
		t.Errorf("error %v, warnings %v; want none of a model that is calibrated", err, r.Warnings)
	}
}

func TestMergeTakesAMeasurementOfAnyOfTheModels(t *testing.T) {
	all := parts()
	for name, of := range map[string]report.Artifact{"the original": all[1].Report.Model.Input, "the converted model": *all[1].Report.Model.Output,
		"the calibrated model": *all[2].Report.Model.Output} {
		b := benched()
		b.Model = report.Model{Input: of}
		r, err := report.Merge(append(slices.Clone(all), report.Part{Name: "bench.json", Report: b}))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r.Finish()
		if r.Bench != b.Bench || len(r.Sources) != 4 || r.Model.Output.SHA256 != all[2].Report.Model.Output.SHA256 {
			t.Errorf("%s: %v", name, r.Sources)
		}
		encode(t, r)
	}
	b := benched()
	b.Model = report.Model{Input: report.Artifact{SHA256: "ab"}}
	if _, err := report.Merge(append(all, report.Part{Name: "bench.json", Report: b})); err == nil || !strings.Contains(err.Error(), `"bench.json" is about another model`) {
		t.Errorf("another model: %v", err)
	}
}

func TestMergeInSteps(t *testing.T) {
	all := parts()
	whole := encode(t, merged())
	for _, order := range [][]int{{0, 1, 2}, {1, 2, 0}, {2, 1, 0}, {2, 0, 1}} {
		first, err := report.Merge([]report.Part{all[order[0]], all[order[1]]})
		if err != nil {
			if order[0] == 0 && order[1] == 1 && strings.Contains(err.Error(), `"verify.json" is about another model than ["convert.json"]`) {
				continue // what it judged is a model that the calibration made
			}
			t.Errorf("%v: %v", order, err)
			continue
		}
		first.Finish()
		both, err := report.Merge([]report.Part{all[order[2]], {Name: "merged.json", Report: first}, all[order[2]]})
		if err != nil {
			t.Errorf("%v: %v", order, err)
			continue
		}
		both.Volatile = sample().Volatile
		both.Finish()
		if got := encode(t, both); !bytes.Equal(got, whole) {
			t.Errorf("%v: merged in steps it is\n%s\nwant\n%s", order, got, whole)
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p []report.Part) []report.Part
		want   string
	}{
		"one report":       {func(p []report.Part) []report.Part { return p[:1] }, "1 reports, want two or more"},
		"another original": {func(p []report.Part) []report.Part { p[0].Report.Model.Input.SHA256 = "ab"; return p }, `"verify.json" is about another model than ["convert.json" "calibrate.json"]: neither made or took the one with sha256 ab…`},
		"another rewritten model": {func(p []report.Part) []report.Part {
			other := *p[0].Report.Model.Output
			other.SHA256 = "cd"
			p[0].Report.Model.Output = &other
			return p
		}, `sha256 cd…`},
		"a calibration of another model": {func(p []report.Part) []report.Part { p[2].Report.Model.Input.SHA256 = "ef"; return p },
			`"calibrate.json" is about another model than ["convert.json"]: neither made or took the one with sha256 ef…`},
		"a section twice": {func(p []report.Part) []report.Part {
			other := calibrated()
			other.Model = p[2].Report.Model
			other.Calibration.Losses[0]++
			return append(p, report.Part{Name: "again.json", Report: other})
		}, `"calibrate.json" and "again.json": each has a section of kind "calibrate", and they differ`},
		"a section twice, of other models": {func(p []report.Part) []report.Part {
			return append(p, report.Part{Name: "again.json", Report: sample()}, report.Part{Name: "c.json", Report: calibrated()})
		}, `"calibrate.json" and "c.json": each has`},
		"a dry run": {func(p []report.Part) []report.Part { p[1].Report.Model.Output.SHA256 = ""; return p }, `"convert.json" is of a dry run`},
		"a report without a digest": {func(p []report.Part) []report.Part { p[1].Report.Model.Input.SHA256 = ""; return p },
			`"convert.json" does not say which model it is about`},
		"a kind of a later version": {func(p []report.Part) []report.Part { p[1].Report.Kind = "bless"; return p }, `"convert.json": a report of kind "bless" cannot be merged`},
		"recipes and nothing they came from": {func(p []report.Part) []report.Part {
			p[0].Report.Model.Output = nil
			return slices.Delete(p, 1, 2)
		}, `"verify.json" is about another model than ["calibrate.json"]`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := report.Merge(c.change(parts()))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestEncodeHoldsAMergedReportAgainstItsSources(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *report.Report)
		want   string
	}{
		"a section without a source": {func(r *report.Report) { r.Sources = r.Sources[:2] }, `has the section of "verify" where`},
		"a source without a section": {func(r *report.Report) { r.Calibration = nil }, `has the section of "calibrate" where`},
		"a source twice":             {func(r *report.Report) { r.Sources = append(r.Sources, r.Sources[2]) }, `sources[3]: a report of kind "verify", and the jobs stand in order and once`},
		"a source of no job":         {func(r *report.Report) { r.Sources[0].Kind = "merged" }, `sources[0]: kind is "merged"`},
		"sources of a single job":    {func(r *report.Report) { r.Kind = report.KindVerify }, "has sources where"},
	} {
		t.Run(name, func(t *testing.T) {
			r := merged()
			c.change(r)
			err := report.Encode(&bytes.Buffer{}, r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
