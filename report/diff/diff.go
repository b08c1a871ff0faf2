package diff

import (
	"cmp"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// Finding is one difference.
type Finding struct {
	Kind     Kind
	Severity Severity
	// Path is the field in the report, entries of lists by name: layers["fc1"].amax. Names in it are quoted as in JSON.
	Path string
	// Old and New are the two values as JSON; null where there is none.
	Old, New string
	// Detail says what the values do not: how many of a series differ. It may be empty.
	Detail string
}

// Side is what a comparison says of one of its reports.
type Side struct {
	SchemaVersion string
	Kind          report.Kind
	InputSHA256   string
}

// Result is the comparison of two reports.
type Result struct {
	Old, New   Side
	Tolerances Tolerances
	// Findings stand by severity, then by kind in the order of Kinds, then in the order of the report.
	Findings []Finding
}

// Compare compares two reports, as Decode gives them. Exact fields must be equal, tolerant ones within the tolerance of their class,
// volatile ones are not looked at. Fields that the older of the two schema versions does not have are not compared.
func Compare(old, new *report.Report, t Tolerances) *Result {
	d := newDiffer(old, new, t)
	d.compare(old, new)
	rank := map[Kind]int{}
	severity := map[Kind]Severity{}
	for i, k := range Kinds() {
		rank[k.Kind], severity[k.Kind] = i, k.Severity
	}
	for i := range d.findings {
		d.findings[i].Severity = severity[d.findings[i].Kind]
	}
	// The list of kinds stands by severity already, which a test holds.
	slices.SortStableFunc(d.findings, func(a, b Finding) int { return cmp.Compare(rank[a.Kind], rank[b.Kind]) })
	return &Result{Old: side(old), New: side(new), Tolerances: t, Findings: d.findings}
}

func side(r *report.Report) Side {
	return Side{SchemaVersion: r.SchemaVersion, Kind: r.Kind, InputSHA256: r.Model.Input.SHA256}
}

// Failing are the findings whose kind is in the list.
func (r *Result) Failing(on []Kind) []Finding {
	var failing []Finding
	for _, f := range r.Findings {
		if slices.Contains(on, f.Kind) {
			failing = append(failing, f)
		}
	}
	return failing
}

// count is the number of findings of a severity.
func (r *Result) count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}
