package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// table is docs/CONFORMANCE.md.
func table(outcomes []outcome) string {
	type count struct{ pass, wrong, refused int }
	perOp := map[string]*count{}
	var sum count
	for _, o := range outcomes {
		op := "(none)"
		if len(o.ops) > 0 {
			op = o.ops[0]
		}
		if perOp[op] == nil {
			perOp[op] = &count{}
		}
		for _, c := range []*count{perOp[op], &sum} {
			switch {
			case o.err == nil:
				c.pass++
			case o.refused():
				c.refused++
			default:
				c.wrong++
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Conformance of the CPU engine

The ONNX project tests its operators with models of one node, or a few, whose outputs come from the specification's reference
implementation. This page is made from the %d node tests of ONNX 1.22.0 by a test that runs them all:

    make venvs
    go test ./runtime/cpu/conformance -update

Outputs are held against the suite's own tolerance, relative %g and absolute %g; element types, shapes, integers, booleans and strings
exactly. A test that stands in the skip list below and passes fails the run, and so does one that fails and does not stand there.

| | tests |
|---|---|
| pass | %d |
| another result | %d |
| refused with an error | %d |

`, len(outcomes), suiteTolerance.rel, suiteTolerance.abs, sum.pass, sum.wrong, sum.refused)
	if len(tolerances) > 0 {
		b.WriteString("## Tolerances of their own\n\n| test | relative | absolute | reason |\n|---|---|---|---|\n")
		for _, name := range slices.Sorted(maps.Keys(tolerances)) {
			t := tolerances[name]
			fmt.Fprintf(&b, "| %s | %g | %g | %s |\n", title(name), t.rel, t.abs, t.reason)
		}
		b.WriteString("\n")
	}
	b.WriteString("## Not passed\n\n| reason | number | tests |\n|---|---|---|\n")
	for _, s := range skips {
		names := make([]string, len(s.tests))
		for i, n := range s.tests {
			names[i] = title(n)
		}
		slices.Sort(names)
		fmt.Fprintf(&b, "| %s | %d | %s |\n", s.reason, len(names), strings.Join(names, ", "))
	}
	b.WriteString("\n## By operator\n\nThe operator is that of the model's first node: tests called \"expanded\" execute the function that defines an operator.\n\n")
	b.WriteString("| operator | pass | another result | refused |\n|---|---|---|---|\n")
	for _, op := range slices.Sorted(maps.Keys(perOp)) {
		c := perOp[op]
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", op, c.pass, c.wrong, c.refused)
	}
	return b.String()
}
