package report

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
)

// Source is a report that a merged one joins: its job, and the models between which that job stood.
type Source struct {
	Kind         Kind   `json:"kind" class:"exact"`
	InputSHA256  string `json:"input_sha256" class:"exact"`
	OutputSHA256 string `json:"output_sha256" class:"exact"` // "" where the job kept no model
}

// Part is a report to merge, with the name by which errors call it.
type Part struct {
	Name   string
	Report *Report
}

// Merge joins reports about one model: what its conversion, calibration, verification and measurement said, one of each, in any order. A merged
// report is such a report too. Which model a report is about the digests say: each job has to begin at, or end with, a model that
// another one knows. A section that comes twice must be the same, apart from what is volatile. The settings are those of the earliest
// job, the state is that of the calibration where there is one; the warning that a model was not calibrated goes once it is.
//
// The parts are not changed, and the result shares their layers. Its volatile part is empty, and it is not finished (see Finish).
func Merge(parts []Part) (*Report, error) {
	if len(parts) < 2 {
		return nil, fmt.Errorf("report: merge: %d reports, want two or more", len(parts))
	}
	from := map[Kind]Part{}
	sources := map[Kind]Source{}
	for _, p := range parts {
		for _, s := range p.Report.sources() {
			first, twice := from[s.Kind]
			switch {
			case !slices.Contains(jobs(), s.Kind):
				return nil, fmt.Errorf("report: merge: %q: a report of kind %q cannot be merged", p.Name, cutMiddle(string(s.Kind), 40))
			case !twice:
				from[s.Kind], sources[s.Kind] = p, s
			case sources[s.Kind] != s || !bytes.Equal(first.Report.section(s.Kind), p.Report.section(s.Kind)):
				return nil, fmt.Errorf("report: merge: %q and %q: each has a section of kind %q, and they differ", first.Name, p.Name, s.Kind)
			}
		}
	}
	if err := oneModel(from, sources); err != nil {
		return nil, fmt.Errorf("report: merge: %w", err)
	}
	m := &Report{Kind: KindMerged}
	// Which of the jobs says what, the best first.
	if r := best(from, KindConvert, KindVerify, KindCalibrate, KindBench); r != nil {
		m.Model.Input = r.Model.Input
	}
	if r := best(from, KindCalibrate, KindConvert, KindVerify, KindBench); r != nil {
		m.Model.Output = r.Model.Output
	}
	if r := best(from, KindConvert, KindCalibrate, KindVerify, KindBench); r != nil {
		m.Settings = r.Settings
	}
	if r := best(from, KindCalibrate, KindVerify, KindConvert, KindBench); r != nil {
		m.State = r.State
	}
	if p, ok := from[KindConvert]; ok {
		m.Layers = p.Report.Layers
	}
	if p, ok := from[KindCalibrate]; ok {
		m.Calibration = p.Report.Calibration
	}
	if p, ok := from[KindVerify]; ok {
		m.Verification = p.Report.Verification
	}
	if p, ok := from[KindBench]; ok {
		m.Bench = p.Report.Bench
	}
	for _, kind := range jobs() {
		p, ok := from[kind]
		if !ok {
			continue
		}
		m.Sources = append(m.Sources, sources[kind])
		for _, c := range p.Report.Changes {
			if !slices.Contains(m.Changes, c) {
				m.Changes = append(m.Changes, c)
			}
		}
		for _, w := range p.Report.Warnings {
			if w.Code == WarnUncalibrated && m.State.Calibrated || slices.Contains(m.Warnings, w) {
				continue
			}
			m.Warnings = append(m.Warnings, w)
		}
	}
	return m, nil
}

// best is the report of the first of the kinds that is there.
func best(from map[Kind]Part, kinds ...Kind) *Report {
	for _, k := range kinds {
		if p, ok := from[k]; ok {
			return p.Report
		}
	}
	return nil
}

// sources are the jobs that a report is of: its own, or those of the reports it was merged from.
func (r *Report) sources() []Source {
	if r.Kind == KindMerged {
		return r.Sources
	}
	s := Source{Kind: r.Kind, InputSHA256: r.Model.Input.SHA256}
	if out := r.Model.Output; out != nil {
		s.OutputSHA256 = out.SHA256
	}
	return []Source{s}
}

// section is what a report holds from one job, in canonical form.
func (r *Report) section(kind Kind) []byte {
	switch kind {
	case KindConvert:
		return appendValue(nil, reflect.ValueOf(r.Layers), 0)
	case KindCalibrate:
		return appendValue(nil, reflect.ValueOf(r.Calibration), 0)
	case KindVerify:
		return appendValue(nil, reflect.ValueOf(r.Verification), 0)
	case KindBench:
		return appendValue(nil, reflect.ValueOf(r.Bench), 0)
	}
	return nil
}

// oneModel refuses jobs that the digests do not connect.
func oneModel(from map[Kind]Part, sources map[Kind]Source) error {
	known := map[string]bool{}
	var before []string // names of the reports that are known
	for _, kind := range jobs() {
		s, ok := sources[kind]
		if !ok {
			continue
		}
		name := from[kind].Name
		switch {
		case s.InputSHA256 == "":
			return fmt.Errorf("%q does not say which model it is about", name)
		case kind == KindConvert && s.OutputSHA256 == "":
			return fmt.Errorf("%q is of a dry run, which made no model", name)
		}
		// A verification begins at the original, which a calibration does not know.
		begins := known[s.InputSHA256] || kind == KindVerify && known[s.OutputSHA256] && sources[KindConvert].Kind == ""
		ends := known[s.OutputSHA256] || s.OutputSHA256 == "" || kind == KindCalibrate
		if len(known) > 0 && !(begins && ends) {
			return fmt.Errorf("%q is about another model than %q: neither made or took the one with sha256 %.16s…", name, before, odd(s, known, begins))
		}
		before = append(before, name)
		known[s.InputSHA256] = true
		if s.OutputSHA256 != "" {
			known[s.OutputSHA256] = true
		}
	}
	return nil
}

// odd is the digest of a source that nothing else knows.
func odd(s Source, known map[string]bool, begins bool) string {
	if !begins || known[s.OutputSHA256] {
		return s.InputSHA256
	}
	return s.OutputSHA256
}
