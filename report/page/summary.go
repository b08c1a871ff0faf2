package page

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// summary writes the figures that matter most.
func (p *page) summary(r *report.Report) {
	p.f("<dl class=\"cards\">\n")
	card := func(tone, what, value, more string) {
		if tone != "" {
			tone = " class=\"" + tone + "\""
		}
		p.f("<div%s><dt>%s</dt><dd>%s</dd>", tone, escape(what), escape(value))
		if more != "" {
			p.f("<dd class=\"more\">%s</dd>", escape(more))
		}
		p.f("</div>\n")
	}
	if t := &r.Totals; t.Layers > 0 {
		card("", "Layers rewritten", fmt.Sprintf("%d of %d", t.Rewritten, t.Layers), fmt.Sprintf("%d kept as they are", t.Kept))
		if t.BytesBefore > 0 {
			card("", "Rewritten weights", render.Size(t.BytesAfter), fmt.Sprintf("from %s", render.Size(t.BytesBefore)))
		}
	}
	if out := r.Model.Output; out != nil && r.Model.Input.Bytes > 0 {
		what := "Model"
		if render.IsCheckpoint(out) {
			what = "Checkpoint"
		}
		if form := render.Output(r); r.Calibration != nil && form != render.Form(out) {
			card("", "Output", render.Size(out.Bytes), form)
		} else {
			card("", what, render.Size(out.Bytes), fmt.Sprintf("from %s", render.Size(r.Model.Input.Bytes)))
		}
	}
	switch s := r.State; {
	case s.DelayedLayers == 0:
	case s.Calibrated:
		card("good", "Calibrated", "yes", fmt.Sprintf("%d layers with a stored scale", s.DelayedLayers))
	default:
		card("bad", "Calibrated", "no", fmt.Sprintf("%d of %d layers", s.InitializedLayers, s.DelayedLayers))
	}
	if c := r.Calibration; c != nil {
		card("", "Calibration steps", strconv.FormatInt(c.Settings.Steps, 10), fmt.Sprintf("%d rows on %s", c.Settings.Rows, render.Name(c.Settings.Device, 32)))
	}
	if v := r.Verification; v != nil {
		p.verified(v, card)
	}
	if b := r.Bench; b != nil {
		more := "on " + render.Name(b.Settings.Device, 32)
		if b.Against != nil && b.Model.Median > 0 {
			more = fmt.Sprintf("%.2f times as fast as %s", float64(b.Against.Median/b.Model.Median), render.Name(b.Against.Name, 32))
		}
		card("", "Time of a run", digits(float64(b.Model.Median))+" ms", more)
	}
	if n := len(r.Warnings); n > 0 {
		card("bad", "Warnings", strconv.Itoa(n), "see below")
	}
	p.f("</dl>\n")
}

// verified has the cards of a verification of one model.
func (p *page) verified(v *report.Verification, card func(tone, what, value, more string)) {
	failed := 0
	for i := range v.Models {
		failed += min(len(v.Models[i].Failures), 1)
	}
	switch {
	case len(v.Settings.Gates) == 0:
	case failed == 0:
		card("good", "Gates", "met", strconv.Itoa(len(v.Settings.Gates))+" set")
	case len(v.Models) > 1:
		card("bad", "Gates", fmt.Sprintf("not met by %d of %d recipes", failed, len(v.Models)), "")
	default:
		card("bad", "Gates", "not met", fmt.Sprintf("%d of %d set", len(v.Models[0].Failures), len(v.Settings.Gates)))
	}
	if len(v.Models) > 1 {
		card("", "Recipes compared", strconv.Itoa(len(v.Models)), "")
		return
	}
	m := &v.Models[0]
	least := math.Inf(1)
	for _, o := range m.Outputs {
		least = min(least, float64(o.SQNRdB)) // NaN where one is
	}
	switch {
	case len(m.Outputs) == 0:
	case math.IsNaN(least):
		card("bad", "SQNR of the outputs", "NaN", "of at least one of them")
	case math.IsInf(least, 1):
		card("", "SQNR of the outputs", "exact", "")
	default:
		card("", "SQNR of the outputs", digits(least)+" dB", "the least of them")
	}
	if m.Original != nil && m.Rewritten != nil {
		card("", "Loss", fmt.Sprintf("%+.6f", float64(m.Rewritten.Loss-m.Original.Loss)), fmt.Sprintf("from %s, on %d rows", digits(float64(m.Original.Loss)), m.Rewritten.Rows))
	}
}

// decisions counts the layers by rule and reason.
func (p *page) decisions(r *report.Report) {
	t := &r.Totals
	if len(t.Rules)+len(t.Reasons) == 0 {
		return
	}
	sentence := map[string]string{}
	for _, c := range report.Rules() {
		sentence[string(c.Code)] = c.Template
	}
	for _, c := range report.Reasons() {
		sentence[string(c.Code)] = c.Template
	}
	s := render.Sheet{Titles: []string{"rule or reason", "decision", "layers", "what it says"}, Right: []bool{false, false, true, false}}
	add := func(code, decision string, n int64) {
		s.Rows = append(s.Rows, []string{render.Name(code, 40), decision, strconv.FormatInt(n, 10), blanks.ReplaceAllString(sentence[code], "…")})
	}
	for _, c := range t.Rules {
		add(string(c.Code), "rewritten", c.Layers)
	}
	for _, c := range t.Reasons {
		add(string(c.Code), "kept", c.Layers)
	}
	p.table(&s, "Decisions", true)
}

// blanks are the places of a sentence that a layer fills in.
var blanks = regexp.MustCompile(`\{[a-z]+\}`)

// made writes what identifies the models, and when and where the report was made.
func (p *page) made(r *report.Report) {
	p.f("<footer id=\"made\">\n<h2>How it was made</h2>\n<dl class=\"facts\">\n")
	fact := func(what, value string) {
		if value != "" {
			p.f("<div><dt>%s</dt><dd>%s</dd></div>\n", escape(what), escape(value))
		}
	}
	model := func(what string, a *report.Artifact, form string) {
		fact(what, fmt.Sprintf("%s, %s, %s", render.Name(a.Name, maxName), render.Size(a.Bytes), form))
		sum := ", SHA-256"
		if render.IsCheckpoint(a) {
			sum += " over its tensors' files"
		}
		fact(what+sum, render.Line(a.SHA256))
		fact(what+", producer", render.Line(a.Producer))
	}
	called := func(a *report.Artifact) string {
		if render.IsCheckpoint(a) {
			return "Checkpoint"
		}
		return "Model"
	}
	model(called(&r.Model.Input)+" that went in", &r.Model.Input, render.Form(&r.Model.Input))
	if out := r.Model.Output; out != nil {
		what := called(out) + " that came out"
		if render.Output(r) != render.Form(out) {
			what = "File that came out"
		}
		model(what, out, render.Output(r))
	}
	fact("Layout", render.Layout(r))
	if scales := render.Scales(r); scales != "" {
		fact("Scales", scales)
	} else if r.Settings.Recipe != "" {
		fact("Recipe", render.Line(r.Settings.Recipe))
	}
	list := func(what string, names []string) {
		short := slices.Clone(names[:min(len(names), 20)])
		for i := range short {
			short[i] = render.Name(short[i], maxName)
		}
		if more := len(names) - len(short); more > 0 {
			short = append(short, fmt.Sprintf("and %d more", more))
		}
		fact(what, strings.Join(short, ", "))
	}
	list("Include", r.Settings.Include)
	list("Exclude", r.Settings.Exclude)
	v := &r.Volatile
	fact("Time", render.Line(v.Time))
	fact("Took", fmt.Sprintf("%.3g s", float64(v.DurationSeconds)))
	fact("Machine", render.Line(strings.Join([]string{v.Host, v.OS, v.Arch}, " "))+fmt.Sprintf(", %d threads", v.Threads))
	fact("Card", render.Line(v.Card))
	fact("No GPU, because", render.Line(v.Fallback))
	fact("Program", render.Line("fp8rewrite "+v.Version+" "+v.GoVersion))
	fact("Schema of the report", render.Line(r.SchemaVersion))
	p.f("</dl>\n</footer>\n")
}
