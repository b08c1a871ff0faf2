package report

import "fmt"

// Totals sums the layers. A weight that several layers share counts once in elements, counts and bytes.
type Totals struct {
	Layers    int64 `json:"layers" class:"exact"`
	Rewritten int64 `json:"rewritten" class:"exact"`
	Kept      int64 `json:"kept" class:"exact"`
	// The rest is over the weights of rewritten layers.
	Elements    int64 `json:"elements" class:"exact"`
	Saturated   int64 `json:"saturated" class:"exact"`
	Flushed     int64 `json:"flushed" class:"exact"`
	BytesBefore int64 `json:"bytes_before" class:"exact"`
	BytesAfter  int64 `json:"bytes_after" class:"exact"`
	// Rules and Reasons count layers by code, in the order of the closed lists; codes that no layer has are left out.
	Rules   []RuleCount   `json:"rules"`
	Reasons []ReasonCount `json:"reasons"`
}

// RuleCount is the number of layers that one rule rewrote.
type RuleCount struct {
	Code   RuleCode `json:"code" class:"exact"`
	Layers int64    `json:"layers" class:"exact"`
}

// ReasonCount is the number of layers that were kept for one reason.
type ReasonCount struct {
	Code   ReasonCode `json:"code" class:"exact"`
	Layers int64      `json:"layers" class:"exact"`
}

// Finish sets the schema version and computes the totals. It is called once, when the layers stand.
func (r *Report) Finish() {
	r.SchemaVersion = SchemaVersion
	r.Totals = totals(r.Layers)
}

// Renew makes a report of an older version, as Decode gives it, one of the present version. It refuses one of a newer version: of that
// Decode has passed over what it does not know.
func (r *Report) Renew() error {
	v, err := parseVersion(r.SchemaVersion)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if own := ownVersion(); v.major != own.major || v.minor > own.minor {
		return fmt.Errorf("report: schema version %s, want %s or an older one: what this program does not know would be lost", r.SchemaVersion, SchemaVersion)
	}
	r.Finish()
	return nil
}

func totals(layers []Layer) Totals {
	t := Totals{Rules: []RuleCount{}, Reasons: []ReasonCount{}}
	rules, reasons := map[RuleCode]int64{}, map[ReasonCode]int64{}
	for i := range layers {
		l := &layers[i]
		t.Layers++
		if l.Decision != Rewritten {
			t.Kept++
			if l.Reason != nil {
				reasons[l.Reason.Code]++
			}
			continue
		}
		t.Rewritten++
		rules[l.Rule]++
		if l.SharedWith != "" {
			continue
		}
		t.Elements += l.Elements
		t.Saturated += l.Saturated
		t.Flushed += l.Flushed
		t.BytesBefore += l.BytesBefore
		t.BytesAfter += l.BytesAfter
	}
	for _, c := range Rules() {
		if n := rules[c.Code]; n > 0 {
			t.Rules = append(t.Rules, RuleCount{c.Code, n})
		}
	}
	for _, c := range Reasons() {
		if n := reasons[c.Code]; n > 0 {
			t.Reasons = append(t.Reasons, ReasonCount{c.Code, n})
		}
	}
	return t
}
