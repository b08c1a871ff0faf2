package graph

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// OpsetVersion is the version under which the model imports domain, 0 if it does not. "ai.onnx" is the same domain as "".
func (m *Model) OpsetVersion(domain string) int64 { return opsetVersion(m.Opsets, domain) }

// SetOpset imports domain at version, in place of an earlier import of the same domain.
func (m *Model) SetOpset(domain string, version int64) {
	m.Opsets = setOpset(m.Opsets, domain, version)
}

// OpsetVersion is the version under which the function imports domain, 0 if it does not.
func (f *Function) OpsetVersion(domain string) int64 { return opsetVersion(f.Opsets, domain) }

// SetOpset imports domain at version, in place of an earlier import of the same domain.
func (f *Function) SetOpset(domain string, version int64) {
	f.Opsets = setOpset(f.Opsets, domain, version)
}

// CanonicalDomain is domain with ONNX's two spellings of its own made one: "ai.onnx" becomes "".
func CanonicalDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// opsetVersion takes the last entry of a domain, as ONNX Runtime does where a file imports ONNX's own under both its names.
func opsetVersion(sets []Opset, domain string) int64 {
	version := int64(0)
	for _, o := range sets {
		if CanonicalDomain(o.Domain) == CanonicalDomain(domain) {
			version = o.Version
		}
	}
	return version
}

// setOpset leaves one entry of the domain.
func setOpset(sets []Opset, domain string, version int64) []Opset {
	var out []Opset
	found := false
	for _, o := range sets {
		if CanonicalDomain(o.Domain) == CanonicalDomain(domain) {
			if found {
				continue
			}
			found = true
			o.Version = version
		}
		out = append(out, o)
	}
	if !found {
		out = append(out, Opset{Domain: domain, Version: version})
	}
	return out
}

// Is reports whether the node is ONNX's own operator op.
func (n *Node) Is(op string) bool { return n.OpType == op && CanonicalDomain(n.Domain) == "" }

// Input is the i-th input's name, "" when there is none.
func (n *Node) Input(i int) string {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return ""
}

// Output is the i-th output's name, "" when there is none.
func (n *Node) Output(i int) string {
	if i < len(n.Outputs) {
		return n.Outputs[i]
	}
	return ""
}

// Attr is the attribute called name, nil when there is none.
func (n *Node) Attr(name string) *Attribute {
	for _, a := range n.Attributes {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// AttrInt is the integer attribute called name, or def.
func (n *Node) AttrInt(name string, def int64) int64 {
	if a := n.Attr(name); a != nil && a.Kind == AttrInt {
		return a.Int
	}
	return def
}

// AttrFloat is the float attribute called name, or def.
func (n *Node) AttrFloat(name string, def float32) float32 {
	if a := n.Attr(name); a != nil && a.Kind == AttrFloat {
		return a.Float
	}
	return def
}

// AttrString is the string attribute called name, or def.
func (n *Node) AttrString(name, def string) string {
	if a := n.Attr(name); a != nil && a.Kind == AttrString {
		return string(a.String)
	}
	return def
}

// AttrInts is the integer-list attribute called name and whether it is there.
func (n *Node) AttrInts(name string) ([]int64, bool) {
	if a := n.Attr(name); a != nil && a.Kind == AttrInts {
		return a.Ints, true
	}
	return nil, false
}

// SetAttr puts a in place of the attribute of the same name, or adds it.
func (n *Node) SetAttr(a *Attribute) {
	for i, old := range n.Attributes {
		if old.Name == a.Name {
			n.Attributes[i] = a
			return
		}
	}
	n.Attributes = append(n.Attributes, a)
}

// DropAttr takes the attribute called name away and returns it, nil when there was none.
func (n *Node) DropAttr(name string) *Attribute {
	for i, a := range n.Attributes {
		if a.Name == name {
			n.Attributes = append(n.Attributes[:i:i], n.Attributes[i+1:]...)
			return a
		}
	}
	return nil
}

// Int makes an integer attribute.
func Int(name string, v int64) *Attribute { return &Attribute{Name: name, Kind: AttrInt, Int: v} }

// Ints makes an attribute that is a list of integers.
func Ints(name string, v ...int64) *Attribute { return &Attribute{Name: name, Kind: AttrInts, Ints: v} }

// Float makes a float attribute.
func Float(name string, v float32) *Attribute {
	return &Attribute{Name: name, Kind: AttrFloat, Float: v}
}

// Floats makes an attribute that is a list of floats.
func Floats(name string, v ...float32) *Attribute {
	return &Attribute{Name: name, Kind: AttrFloats, Floats: v}
}

// Str makes a string attribute.
func Str(name, v string) *Attribute {
	return &Attribute{Name: name, Kind: AttrString, String: []byte(v)}
}

// TensorAttr makes a tensor attribute.
func TensorAttr(name string, t *tensor.Tensor) *Attribute {
	return &Attribute{Name: name, Kind: AttrTensor, Tensor: t}
}

// Ref makes an attribute of kind whose value is the attribute called from of the call of the function around it.
func Ref(name, from string, kind AttributeKind) *Attribute {
	return &Attribute{Name: name, Kind: kind, Ref: from}
}

// Property is the value of the first metadata entry called key and whether there is one.
func (n *Node) Property(key string) (string, bool) { return property(n.Metadata, key) }

// Property is the value of the first metadata entry called key and whether there is one.
func (m *Model) Property(key string) (string, bool) { return property(m.Metadata, key) }

func property(ps []Property, key string) (string, bool) {
	for _, p := range ps {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// Subgraphs are the graphs inside the node's attributes, in order.
func (n *Node) Subgraphs() []*Graph {
	var out []*Graph
	for _, a := range n.Attributes {
		if a.Graph != nil {
			out = append(out, a.Graph)
		}
		out = append(out, a.Graphs...)
	}
	return out
}

// Initializer is the constant called name in this graph alone, nil when there is none.
func (g *Graph) Initializer(name string) *Initializer {
	for _, i := range g.Initializers {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// Walk calls f for g and every graph inside it, outer before inner, in node order.
func (g *Graph) Walk(f func(*Graph)) {
	f(g)
	for _, n := range g.Nodes {
		for _, s := range n.Subgraphs() {
			s.Walk(f)
		}
	}
}

// WalkNodes calls f for every node of nodes and of the graphs inside them, a node before what is inside it.
func WalkNodes(nodes []*Node, f func(*Node)) {
	for _, n := range nodes {
		f(n)
		for _, s := range n.Subgraphs() {
			WalkNodes(s.Nodes, f)
		}
	}
}

// Reads are the names that the node takes from the graph that it stands in: its inputs that are not left out, in order, and after them what
// graphs inside it read and do not define themselves, once for each such graph. The result must not be changed.
func (n *Node) Reads() []string {
	sub := n.Subgraphs()
	if len(sub) == 0 && !slices.Contains(n.Inputs, "") {
		return n.Inputs
	}
	var names []string
	for _, in := range n.Inputs {
		if in != "" {
			names = append(names, in)
		}
	}
	for _, g := range sub {
		names = append(names, g.free()...)
	}
	return names
}

// free are the names that g reads and does not define, each once.
func (g *Graph) free() []string {
	own := map[string]bool{"": true}
	for _, v := range g.Inputs {
		own[v.Name] = true
	}
	for _, i := range g.Initializers {
		own[i.Name] = true
	}
	for _, s := range g.Sparse {
		own[s.Name] = true
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			own[o] = true
		}
	}
	var names []string
	note := func(name string) {
		if !own[name] {
			own[name] = true
			names = append(names, name)
		}
	}
	for _, n := range g.Nodes {
		for _, r := range n.Reads() {
			note(r)
		}
	}
	for _, o := range g.Outputs {
		note(o.Name)
	}
	return names
}
