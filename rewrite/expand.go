package rewrite

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite/inline"
	"github.com/fp8rewrite/fp8rewrite/rewrite/opset"
)

// inline expands the functions that hold a layer which could be rewritten. Where one cannot be expanded all stay as they are; why
// says what was in the way.
func (res *Result) inline(m *graph.Model, opt *Options) (why string) {
	hold := holdLayers(m, opt)
	if len(hold) == 0 {
		return ""
	}
	lift := func(nodes []*graph.Node, live []string, names *graph.Names, from, to int64) ([]*graph.Node, error) {
		return opset.LiftNodes(opset.Body{Nodes: nodes, Live: live, Names: names}, from, to)
	}
	done, err := inline.Calls(m, func(f *graph.Function) bool { return hold[f] }, lift)
	if err != nil {
		return err.Error()
	}
	seen := map[string]bool{}
	for _, call := range done {
		if !seen[call.Function] {
			seen[call.Function] = true
			res.Changes = append(res.Changes, report.NewChange(report.ChangeFunctionInlined, call.Function, call.Function))
		}
	}
	return ""
}
