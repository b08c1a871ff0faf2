package report

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// version is a parsed schema version.
type version struct{ major, minor int }

// parseVersion reads "major.minor": decimal, without signs, padding or further parts.
func parseVersion(s string) (version, error) {
	var v version
	major, minor, ok := strings.Cut(s, ".")
	for _, p := range []struct {
		text string
		to   *int
	}{{major, &v.major}, {minor, &v.minor}} {
		n, err := strconv.Atoi(p.text)
		if !ok || err != nil || n < 0 || n > 9999 || strconv.Itoa(n) != p.text {
			return version{}, fmt.Errorf("schema version %q, want major.minor such as %q", cutMiddle(s, 40), SchemaVersion)
		}
		*p.to = n
	}
	return v, nil
}

// ownVersion is SchemaVersion, which a test holds to be well formed.
func ownVersion() version {
	v, _ := parseVersion(SchemaVersion)
	return v
}

// field is one field of a struct of the schema, as its tags declare it.
type field struct {
	index int
	name  string
	class string // "" for a struct, a pointer to one or a slice of them
	since int    // the minor version that added it
}

// schemaFields reads the tags of a struct of the schema. A malformed since tag reads as 0; a test holds the tags well formed.
func schemaFields(t reflect.Type) []field {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		since, _ := parseVersion(tag.Get("since"))
		fields = append(fields, field{index: i, name: tag.Get("json"), class: tag.Get("class"), since: since.minor})
	}
	return fields
}

// check holds a report against the closed lists and its totals against its layers. Without codes, as for a minor version newer
// than this one, it looks only at what no minor version may change.
func (r *Report) check(codes bool) error {
	for i := range r.Layers {
		if err := r.Layers[i].check(codes); err != nil {
			return fmt.Errorf("layers[%d]: %w", i, err)
		}
	}
	if !codes {
		return nil
	}
	if err := r.checkSections(); err != nil {
		return err
	}
	for i, c := range r.Changes {
		if !listed(Changes(), c.Code) {
			return fmt.Errorf("changes[%d]: code %q is not in the list", i, cutMiddle(string(c.Code), 40))
		}
	}
	for i, w := range r.Warnings {
		if !listed(Warnings(), w.Code) {
			return fmt.Errorf("warnings[%d]: code %q is not in the list", i, cutMiddle(string(w.Code), 40))
		}
	}
	if !reflect.DeepEqual(totals(r.Layers), r.Totals) {
		return fmt.Errorf("the totals are not the sums of the layers")
	}
	return nil
}

// jobs are the kinds of report that a job makes, in the order in which the jobs follow one another.
func jobs() []Kind { return []Kind{KindConvert, KindCalibrate, KindVerify, KindBench} }

// checkSections holds the kind of a report against the sections it has.
func (r *Report) checkSections() error {
	has := map[Kind]bool{r.Kind: true}
	switch {
	case r.Kind == KindMerged:
		last := -1
		for i, s := range r.Sources {
			at := slices.Index(jobs(), s.Kind)
			if at < 0 {
				return fmt.Errorf("sources[%d]: kind is %q, want one of %q", i, cutMiddle(string(s.Kind), 40), jobs())
			}
			if at <= last {
				return fmt.Errorf("sources[%d]: a report of kind %q, and the jobs stand in order and once", i, s.Kind)
			}
			last, has[s.Kind] = at, true
		}
	case !slices.Contains(jobs(), r.Kind):
		return fmt.Errorf("kind is %q, want one of %q", cutMiddle(string(r.Kind), 40), append(jobs(), KindMerged))
	case len(r.Sources) > 0:
		return fmt.Errorf("kind is %q, and a report has sources where its kind is %q alone", r.Kind, KindMerged)
	}
	for _, section := range []struct {
		kind  Kind
		there bool
	}{{KindCalibrate, r.Calibration != nil}, {KindVerify, r.Verification != nil}, {KindBench, r.Bench != nil}} {
		if has[section.kind] != section.there {
			return fmt.Errorf("kind is %q, and a report has the section of %q where its kind, or that of a source, is that", r.Kind, section.kind)
		}
	}
	if c := r.Calibration; c != nil {
		if err := c.check(); err != nil {
			return fmt.Errorf("calibration: %w", err)
		}
	}
	if v := r.Verification; v != nil {
		if err := v.check(); err != nil {
			return fmt.Errorf("verification: %w", err)
		}
	}
	if b := r.Bench; b != nil {
		if err := b.check(); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	return nil
}

func (l *Layer) check(codes bool) error {
	switch {
	case l.Decision == Rewritten && l.Reason != nil:
		return fmt.Errorf("layer %q is rewritten and has a reason for being kept", cutMiddle(l.Name, maxNameInSentence))
	case l.Decision == Kept && (l.Reason == nil || l.Rule != ""):
		return fmt.Errorf("layer %q is kept, want a reason and no rule", cutMiddle(l.Name, maxNameInSentence))
	case l.Decision != Rewritten && l.Decision != Kept:
		return fmt.Errorf("decision %q, want %q or %q", cutMiddle(string(l.Decision), 40), Rewritten, Kept)
	case codes && l.Decision == Rewritten && !listed(Rules(), l.Rule):
		return fmt.Errorf("rule %q is not in the list", cutMiddle(string(l.Rule), 40))
	case codes && l.Decision == Kept && !listed(Reasons(), l.Reason.Code):
		return fmt.Errorf("reason %q is not in the list", cutMiddle(string(l.Reason.Code), 40))
	}
	return nil
}

func listed[C ~string](list []CodeInfo[C], code C) bool {
	for _, c := range list {
		if c.Code == code {
			return true
		}
	}
	return false
}
