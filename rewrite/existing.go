package rewrite

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
)

// opFloat8Linear is what the report calls every variant.
const opFloat8Linear = "Float8Linear"

func isOwnDomain(domain string) bool { return domain == ops.Domain }

func isFloat8Linear(n *graph.Node) bool { return ops.IsFloat8Linear(n) }

// existing describes a layer that is a Float8Linear already.
func (d *decider) existing(s *graph.Scope, n *graph.Node, path string) *layer {
	l := &layer{node: n, scope: s}
	l.row = report.Layer{Name: n.Name, Node: n.Name, Op: opFloat8Linear, Graph: path, Shape: []int64{}}
	if f, err := ops.ReadLayer(n); err != nil {
		l.keep(report.Because(report.ReasonModelInvalid, report.Text(err.Error())))
	} else {
		l.row.Name = ops.LayerName(n)
		if c := resolve(s, f.Weight, d.model.IRVersion, true); c != nil {
			l.describe(c)
		}
		l.delayed, l.initialized = delayed(f.Variant), initialized(s, f.Initialized)
		l.keep(report.Because(report.ReasonAlreadyFloat8))
	}
	l.row.Name = d.unique(l.row.Name)
	return l
}
