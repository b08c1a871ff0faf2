package specialize

import (
	"fmt"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// share takes away nodes that compute what another one has computed: exporters write a difference from the mean twice, and shapes many times.
func (w *work) share() bool {
	outputs := map[string]bool{}
	for _, o := range w.g.Outputs {
		outputs[o.Name] = true
	}
	first, from, changed := map[string]*graph.Node{}, map[string]string{}, false
	nodes := w.g.Nodes[:0:0]
	for _, n := range w.g.Nodes {
		rename(n, from)
		key := w.key(n)
		same := first[key]
		if key == "" || same == nil {
			if key != "" {
				first[key] = n
			}
			nodes = append(nodes, n)
			continue
		}
		kept := false
		for i, o := range n.Outputs {
			kept = kept || outputs[o] || o != "" && same.Outputs[i] == ""
		}
		if kept {
			nodes = append(nodes, n)
			continue
		}
		for i, o := range n.Outputs {
			if o != "" {
				from[o] = same.Outputs[i]
			}
		}
		changed = true
	}
	w.g.Nodes = nodes
	return changed
}

// smallConstant is the number of bytes up to which constants are compared by content.
const smallConstant = 64

// key spells what a node computes, "" where it is not compared.
func (w *work) key(n *graph.Node) string {
	if !pure(n) || len(n.Subgraphs()) > 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n%d\n", graph.CanonicalDomain(n.Domain), n.OpType, n.Overload, len(n.Outputs))
	for _, in := range n.Inputs {
		if t := w.consts[in]; t != nil && t.DType != tensor.String && t.Size() <= smallConstant {
			if c, err := t.Bytes(); err == nil {
				fmt.Fprintf(&b, "%s%s %x\n", t.DType, t.Shape, c)
				continue
			}
		}
		fmt.Fprintf(&b, "%q\n", in)
	}
	for _, a := range n.Attributes {
		switch a.Kind {
		case graph.AttrFloat, graph.AttrInt, graph.AttrString, graph.AttrFloats, graph.AttrInts, graph.AttrStrings:
			fmt.Fprintf(&b, "%q %d %x %d %q %x %d %q %q\n", a.Name, a.Kind, a.Float, a.Int, a.String, a.Floats, a.Ints, a.Strings, a.Ref)
		default:
			return ""
		}
	}
	return b.String()
}
