package cpu

import (
	"fmt"
	"maps"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/arith"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/layout"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/linear"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/nn"
)

// rooms are the tables of the operators, by the package that each comes from.
func rooms() map[string]kernel.Table {
	return map[string]kernel.Table{"arith": arith.Table(), "layout": layout.Table(), "nn": nn.Table(), "linear": linear.Table()}
}

// join puts tables together. An operator that two of them hold is an error: which one ran would be chance.
func join(tables map[string]kernel.Table) (kernel.Table, error) {
	all := kernel.Table{}
	from := map[string]string{}
	var err error
	for _, room := range slices.Sorted(maps.Keys(tables)) {
		for op, maker := range tables[room] {
			if other, twice := from[op]; twice && err == nil {
				err = fmt.Errorf("operator %q lies in %s and in %s", op, other, room)
				continue
			}
			all[op], from[op] = maker, room
		}
	}
	return all, err
}

// key is the name of a node's operator in a table.
func key(n *graph.Node) string {
	if d := graph.CanonicalDomain(n.Domain); d != "" {
		return d + "." + n.OpType
	}
	return n.OpType
}

// Operators are the names of all operators that the engine can execute, sorted: "Add" for ONNX's own domain, "com.microsoft.Gelu"
// for another.
func Operators() []string {
	all, _ := join(rooms())
	ops := slices.Collect(maps.Keys(all))
	ops = append(append(ops, controls...), "Constant")
	slices.Sort(ops)
	return slices.Compact(ops)
}
