package onnxio

import (
	"errors"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
)

// What Open takes. A file outside these limits means something that this program does not know.
const (
	minIR    = 3 // before it, operators have no versions
	maxIR    = 13
	maxOpset = 27 // of ONNX's own domain; the newest with IR 13
)

func checkHeader(pb *onnxpb.ModelProto) error {
	switch ir := pb.GetIrVersion(); {
	case pb.IrVersion == nil:
		return errors.New("not an ONNX model: no IR version")
	case ir < minIR || ir > maxIR:
		return fmt.Errorf("IR version %d, want %d to %d", ir, minIR, maxIR)
	}
	if pb.Graph == nil {
		return errors.New("model has no graph")
	}
	for _, o := range pb.OpsetImport {
		if v := o.GetVersion(); graph.CanonicalDomain(o.GetDomain()) == "" && (v < 1 || v > maxOpset) {
			return fmt.Errorf("opset %d, want 1 to %d", v, maxOpset)
		}
	}
	if len(pb.OpsetImport) == 0 {
		return errors.New("model imports no opset")
	}
	return nil
}

// checkModel refuses what makes names ambiguous or the meaning of a node unknown. Whether nodes are sorted, whether their inputs
// exist and whether types agree is not looked at.
func checkModel(m *graph.Model) error {
	if err := checkGraph(m.Graph, m.OpsetVersion("") != 0); err != nil {
		return err
	}
	seen := map[[3]string]bool{}
	for _, f := range m.Functions {
		if f.Name == "" {
			return fmt.Errorf("a function of domain %q has no name", f.Domain)
		}
		id := [3]string{graph.CanonicalDomain(f.Domain), f.Name, f.Overload}
		if seen[id] {
			return fmt.Errorf("two functions are called %q in domain %q", f.Name, f.Domain)
		}
		seen[id] = true
		// A function that imports nothing takes its meaning from the model.
		if err := checkNodes(f.Nodes, f.OpsetVersion("") != 0 || m.OpsetVersion("") != 0); err != nil {
			return fmt.Errorf("function %q: %w", f.Name, err)
		}
	}
	return nil
}

func checkGraph(g *graph.Graph, hasOpset bool) error {
	if g.Sparse != nil || len(g.Initializers) > 1 {
		names := make(map[string]bool, len(g.Initializers)+len(g.Sparse))
		for _, i := range g.Initializers {
			if names[i.Name] {
				return fmt.Errorf("two initializers of graph %q are called %q", g.Name, i.Name)
			}
			names[i.Name] = true
		}
		for _, s := range g.Sparse {
			if names[s.Name] {
				return fmt.Errorf("two initializers of graph %q are called %q", g.Name, s.Name)
			}
			names[s.Name] = true
		}
	}
	// Runtimes refuse it in graphs. In functions they do not look, since inlining renames.
	names := make(map[string]bool, len(g.Nodes))
	for _, n := range g.Nodes {
		if n.Name != "" && names[n.Name] {
			return fmt.Errorf("two nodes are called %q", n.Name)
		}
		names[n.Name] = true
	}
	return checkNodes(g.Nodes, hasOpset)
}

func checkNodes(nodes []*graph.Node, hasOpset bool) error {
	for _, n := range nodes {
		if !hasOpset && graph.CanonicalDomain(n.Domain) == "" {
			return fmt.Errorf("node %s: the model does not import ONNX's own opset", nodeLabel(n))
		}
		for _, s := range n.Subgraphs() {
			if err := checkGraph(s, hasOpset); err != nil {
				return err
			}
		}
	}
	return nil
}
