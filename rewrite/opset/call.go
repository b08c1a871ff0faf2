package opset

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// conversion gives c.node the form of version c.at, adds the nodes it needs around it, or blocks.
type conversion func(c *call)

// call is one conversion of one node.
type call struct {
	*lifter
	site *site
	node *graph.Node
	at   int64
	op   string // before the conversion
	what string

	before, after []*graph.Node
}

// refuse records why the node cannot be converted.
func (c *call) refuse(format string, args ...any) {
	c.block(c.site.where(), c.node, fmt.Sprintf(format, args...))
}

// done records that the conversion changed the node.
func (c *call) done() {
	c.changes = append(c.changes, Change{Where: c.site.where(), Node: nameOf(c.node), OpType: c.op, At: c.at, What: c.what})
}

// plain gives the attribute called name, nil when there is none. It refuses, with ok false, one of another kind, and one that is
// bound to an attribute of the function around the node: its value is not known here.
func (c *call) plain(name string, kind graph.AttributeKind) (a *graph.Attribute, ok bool) {
	a = c.node.Attr(name)
	switch {
	case a == nil:
		return nil, true
	case a.Ref != "":
		c.refuse("attribute %q is bound to the function's attribute %q, and its value decides the conversion", name, a.Ref)
		return nil, false
	}
	return a, c.kindIs(a, kind)
}

func (c *call) kindIs(a *graph.Attribute, kind graph.AttributeKind) bool {
	if a.Kind != kind {
		c.refuse("attribute %q has type %d, want %d", a.Name, a.Kind, kind)
	}
	return a.Kind == kind
}

// plainInt is the value of an integer attribute, def when there is none; it refuses what plain does.
func (c *call) plainInt(name string, def int64) (v int64, ok bool) {
	_, ok = c.plain(name, graph.AttrInt)
	return c.node.AttrInt(name, def), ok
}

// plainInts is the value of an attribute that lists integers, nil when there is none; it refuses what plain does.
func (c *call) plainInts(name string) (v []int64, ok bool) {
	_, ok = c.plain(name, graph.AttrInts)
	v, _ = c.node.AttrInts(name)
	return v, ok
}

// plainString is the value of a string attribute, def when there is none; it refuses what plain does.
func (c *call) plainString(name, def string) (v string, ok bool) {
	_, ok = c.plain(name, graph.AttrString)
	return c.node.AttrString(name, def), ok
}

// setInput makes name the i-th input, with empty names between where the node had fewer.
func (c *call) setInput(i int, name string) {
	for len(c.node.Inputs) <= i {
		c.node.Inputs = append(c.node.Inputs, "")
	}
	c.node.Inputs[i] = name
}

// newNode makes a node with one output, named after the call's node; values and nodes of one name do not disturb each other.
func (c *call) newNode(op, hint string, inputs []string, attrs ...*graph.Attribute) *graph.Node {
	name := c.names.Fresh(nameOf(c.node) + "_" + hint)
	return &graph.Node{Name: name, OpType: op, Inputs: inputs, Outputs: []string{name}, Attributes: attrs}
}

// ahead puts a new node before the call's node and gives its output.
func (c *call) ahead(op, hint string, inputs []string, attrs ...*graph.Attribute) string {
	n := c.newNode(op, hint, inputs, attrs...)
	c.before = append(c.before, n)
	return n.Outputs[0]
}

// behind gives the i-th output of the call's node a new name and lets a new node compute the old one from it; inputs is called
// with the new name.
func (c *call) behind(i int, op, hint string, inputs func(inner string) []string, attrs ...*graph.Attribute) {
	inner := c.names.Fresh(nameOf(c.node) + "_" + hint + "_in")
	n := c.newNode(op, hint, inputs(inner), attrs...)
	n.Outputs[0], c.node.Outputs[i] = c.node.Outputs[i], inner
	c.after = append(c.after, n)
}

// constant gives the name of a Constant node's output before the call's node; equal constants of one version's pass are one node.
// Constant nodes serve in graphs of any IR version, in subgraphs and in functions alike, which initializers do not.
func (c *call) constant(hint string, t *tensor.Tensor) string {
	raw, err := t.Bytes()
	if err != nil { // conversions make constants in memory only
		c.refuse("constant %q: %v", hint, err)
		return ""
	}
	key := fmt.Sprintf("%s%s%x", t.DType, t.Shape, raw)
	if name := c.site.shared[key]; name != "" {
		return name
	}
	name := c.ahead("Constant", hint, nil, graph.TensorAttr("value", t))
	c.site.shared[key], c.site.made[name] = name, t
	return name
}

func (c *call) ints(hint string, v ...int64) string {
	return c.constant(hint, tensor.Int64s(tensor.Shape{int64(len(v))}, v...))
}

// intsAttr moves the attribute called name, a list of integers, into a constant of one axis and gives its name; "" when the node
// has no such attribute or an empty one, which is dropped.
func (c *call) intsAttr(name string) (input string, ok bool) {
	a := c.node.Attr(name)
	switch {
	case a == nil:
		return "", true
	case !c.kindIs(a, graph.AttrInts):
		return "", false
	case a.Ref != "":
		input, ok = c.bound(a, "value_ints", graph.AttrInts)
	case len(a.Ints) == 0:
		input, ok = "", true
	default:
		input, ok = c.ints(name, a.Ints...), true
	}
	if ok {
		c.node.DropAttr(name)
	}
	return input, ok
}

// bound gives the name of a Constant whose value is the function's attribute that a is bound to. A call that leaves the attribute
// out would leave the Constant without a value, so every call must pass it, or the function have a default.
func (c *call) bound(a *graph.Attribute, field string, kind graph.AttributeKind) (string, bool) {
	f := c.site.fn
	if f == nil || c.to < 12 || !c.alwaysGiven(f, a.Ref) {
		c.refuse("attribute %q is bound to the function's attribute %q, which a call may leave out", a.Name, a.Ref)
		return "", false
	}
	return c.ahead("Constant", a.Name, nil, graph.Ref(field, a.Ref, kind)), true
}

func (c *call) alwaysGiven(f *graph.Function, attr string) bool {
	for _, d := range f.Defaults {
		if d.Name == attr {
			return true
		}
	}
	return c.given[functionKey{graph.CanonicalDomain(f.Domain), f.Name, f.Overload}][attr]
}

// scalarLike gives the name of a scalar v of like's element type. Where that type is not known, the graph finds it out.
func (c *call) scalarLike(hint string, v float32, like string) (string, bool) {
	bits := binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(v)))
	f32 := func() string { return c.constant(hint, tensor.Float32s(tensor.Shape{}, v)) }
	switch d, ok := c.dtype(like); {
	case ok && d == tensor.Float32:
		return f32(), true
	case ok && d == tensor.Float64:
		return c.constant(hint, &tensor.Tensor{DType: d, Shape: tensor.Shape{}, Data: tensor.Bytes(bits)}), true
	case ok:
		return c.ahead("Cast", hint, []string{f32()}, graph.Int("to", int64(d))), true
	case c.to >= 15:
		out := c.ahead("CastLike", hint, []string{f32(), like})
		c.own[c.before[len(c.before)-1]] = true
		return out, true
	}
	c.refuse("the element type of %q is not known, and version %d has no CastLike", like, c.to)
	return "", false
}

// typeOf is what is known of the type of a value that the node reads or writes.
func (c *call) typeOf(name string) (graph.Type, bool) {
	if name == "" {
		return graph.Type{}, false
	}
	if t, ok := c.site.constant(name, c.overridable); ok {
		return graph.Type{DType: t.DType, HasShape: true, Shape: fixedDims(t.Shape)}, true
	}
	for s := c.site; s != nil; s = s.outer {
		if t, ok := c.types.Of(s.graph, name); ok && t.Kind == graph.TensorKind {
			return t, true
		}
	}
	if t := c.site.scope.Type(name); t != nil && t.Kind == graph.TensorKind {
		return *t, true
	}
	return graph.Type{}, false
}

func fixedDims(s tensor.Shape) []graph.Dim {
	out := make([]graph.Dim, len(s))
	for i, d := range s {
		out[i] = graph.Dim{Value: d}
	}
	return out
}

func (c *call) dtype(name string) (tensor.DType, bool) {
	t, ok := c.typeOf(name)
	return t.DType, ok && t.DType != tensor.Undefined
}

// dims are the axes of a value; ok is false when its rank is not known.
func (c *call) dims(name string) (dims []graph.Dim, ok bool) {
	t, ok := c.typeOf(name)
	return t.Shape, ok && t.HasShape
}

// value is the content of a constant.
func (c *call) value(name string) (*tensor.Tensor, bool) { return c.site.constant(name, c.overridable) }

// constant finds the tensor behind name: a constant made here, a Constant node, or an initializer that nobody can override.
func (s *site) constant(name string, overridable bool) (*tensor.Tensor, bool) {
	for o := s; o != nil; o = o.outer {
		if t := o.made[name]; t != nil {
			return t, true
		}
	}
	src := s.scope.Find(name)
	switch {
	case src.Repeated:
		return nil, false
	case src.Constant != nil && (src.Input == nil || !overridable):
		return src.Constant.Tensor, src.Constant.Tensor != nil
	case src.Node != nil && src.Node.Is("Constant"):
		return constantOf(src.Node)
	}
	return nil, false
}

// constantOf is the value of a Constant node that has it as a tensor or as numbers.
func constantOf(n *graph.Node) (*tensor.Tensor, bool) {
	for _, a := range n.Attributes {
		if a.Ref != "" {
			return nil, false
		}
		switch {
		case a.Name == "value" && a.Tensor != nil:
			return a.Tensor, true
		case a.Name == "value_int":
			return tensor.Int64s(tensor.Shape{}, a.Int), true
		case a.Name == "value_ints":
			return tensor.Int64s(tensor.Shape{int64(len(a.Ints))}, a.Ints...), true
		case a.Name == "value_float":
			return tensor.Float32s(tensor.Shape{}, a.Float), true
		case a.Name == "value_floats":
			return tensor.Float32s(tensor.Shape{int64(len(a.Floats))}, a.Floats...), true
		}
	}
	return nil, false
}
