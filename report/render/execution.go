package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// elsewhere writes which nodes did not run where, or as, one would expect of the device: a line for each reason.
func (o Options) elsewhere(b *strings.Builder, r *report.Report) {
	var all []report.Placement
	if r.Calibration != nil {
		all = append(all, r.Calibration.Execution.Placements...)
	}
	if r.Verification != nil {
		all = append(all, r.Verification.Execution.Placements...)
	}
	if r.Bench != nil {
		all = append(all, r.Bench.Execution.Placements...)
	}
	type reason struct{ model, where, why string }
	var order []reason
	who := map[reason][]string{}
	for _, p := range all {
		k := reason{p.Model, p.Where, p.Why}
		if who[k] == nil {
			order = append(order, k)
		}
		name := p.Layer
		if name == "" {
			name = p.Op
		}
		if !slices.Contains(who[k], name) {
			who[k] = append(who[k], name)
		}
	}
	fallback := r.Volatile.Fallback
	if len(order) == 0 && fallback == "" {
		return
	}
	fmt.Fprintf(b, "\n%s\n", o.paint(bold, "Elsewhere"))
	if fallback != "" {
		o.item(b, "cpu", yellow, "everything, without a GPU: "+line(fallback))
	}
	for _, k := range order {
		names := who[k]
		more := ""
		if n := len(names) - fewLayers; n > 0 && !o.All {
			names, more = names[:fewLayers], fmt.Sprintf(" and %s more", count(int64(n)))
		}
		shown := make([]string, len(names))
		for i, n := range names {
			shown[i] = safe(n, maxName)
		}
		whose := ""
		if k.model == report.ModelOriginal {
			whose = " of the original"
		}
		o.item(b, k.where, yellow, strings.Join(shown, ", ")+more+whose+": "+k.why)
	}
}
