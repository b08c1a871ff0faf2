package specialize

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/shape"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// work is a model on its way to a static one: a copy of the original's graphs and nodes that shares its tensors.
type work struct {
	opt   Options
	m     *graph.Model
	g     *graph.Graph
	names *graph.Names

	outputs []*graph.Value          // of the original, as declared
	weights map[*tensor.Tensor]bool // tensors of the original
	consts  map[string]*tensor.Tensor
	lifted  bool
	stays   map[*graph.Node]bool // the engine could not compute them
	// compacted are constants that have been looked at for equal parts.
	compacted map[*tensor.Tensor]bool
	info      *shape.Info
}

// newWork copies m, fixes its inputs and makes inputs of the variables. Declarations of values inside the main graph go: what holds for
// these shapes is inferred.
func newWork(m *graph.Model, opt Options) (*work, error) {
	if opt.MaxFold <= 0 {
		opt.MaxFold = 1 << 30
	}
	c := *m
	c.Graph = m.Graph.Clone()
	c.Functions = slices.Clone(m.Functions)
	c.Opsets = slices.Clone(m.Opsets)
	c.Origin = nil
	w := &work{opt: opt, m: &c, g: c.Graph, weights: map[*tensor.Tensor]bool{}, stays: map[*graph.Node]bool{},
		compacted: map[*tensor.Tensor]bool{}}
	w.g.Walk(func(g *graph.Graph) {
		for _, i := range g.Initializers {
			w.weights[i.Tensor] = true
		}
	})
	if err := w.inputs(); err != nil {
		return nil, err
	}
	if err := w.variables(); err != nil {
		return nil, err
	}
	w.untangle()
	w.g.Values = nil
	w.outputs = w.g.Outputs
	w.g.Outputs = nil
	for _, o := range w.outputs {
		w.g.Outputs = append(w.g.Outputs, &graph.Value{Name: o.Name})
	}
	for _, k := range opt.Keep {
		if !slices.ContainsFunc(w.g.Outputs, func(v *graph.Value) bool { return v.Name == k }) {
			w.g.Outputs = append(w.g.Outputs, &graph.Value{Name: k})
		}
	}
	// An initializer that was a default is a constant now, in the sense of every version of the format.
	c.IRVersion = max(c.IRVersion, ops.MinIRVersion)
	w.names = graph.NewNames(w.m)
	return w, w.check()
}

// inputs gives every input its shape. A default that nobody overrides is a constant.
func (w *work) inputs() error {
	g, held := w.g, map[string]bool{}
	for _, i := range g.Initializers {
		held[i.Name] = true
	}
	for _, s := range g.Sparse {
		held[s.Name] = true
	}
	for name := range w.opt.Shapes {
		if !slices.ContainsFunc(g.Inputs, func(v *graph.Value) bool { return v.Name == name }) {
			return &runtime.InputError{Input: name, Got: "the model has no such input", Want: "one of the model's"}
		}
	}
	var in []*graph.Value
	for _, v := range g.Inputs {
		s, given := w.opt.Shapes[v.Name]
		if held[v.Name] && (!given || w.m.IRVersion < 4) {
			continue
		}
		if held[v.Name] {
			drop := func(i *graph.Initializer) bool { return i.Name == v.Name }
			g.Initializers = slices.DeleteFunc(g.Initializers, drop)
			g.Sparse = slices.DeleteFunc(g.Sparse, func(s *graph.Sparse) bool { return s.Name == v.Name })
		}
		n := &graph.Value{Name: v.Name}
		if v.Type != nil {
			t := *v.Type
			n.Type = &t
		}
		if given {
			if n.Type == nil {
				n.Type = &graph.Type{}
			}
			if err := fix(n, s); err != nil {
				return err
			}
		}
		in = append(in, n)
	}
	g.Inputs = in
	return nil
}

// fix gives an input a shape that its declaration allows.
func fix(v *graph.Value, s tensor.Shape) error {
	wrong := func(want string) error {
		return &runtime.InputError{Input: v.Name, Got: "got the shape " + s.String(), Want: want}
	}
	if v.Type.Kind != graph.TensorKind {
		return wrong("no tensor")
	}
	if _, err := s.Elements(); err != nil {
		return wrong("one that can be counted")
	}
	if v.Type.HasShape && len(v.Type.Shape) != len(s) {
		return wrong(fmt.Sprintf("%d axes", len(v.Type.Shape)))
	}
	dims := make([]graph.Dim, len(s))
	for i, n := range s {
		if v.Type.HasShape && v.Type.Shape[i].Value >= 0 && v.Type.Shape[i].Value != n {
			return wrong(fmt.Sprintf("%d in axis %d", v.Type.Shape[i].Value, i))
		}
		dims[i] = graph.Dim{Value: n}
	}
	v.Type.HasShape, v.Type.Shape = true, dims
	return nil
}

// variables makes inputs of initializers that change. One in a graph inside a node moves out: its name means the same thing there.
func (w *work) variables() error {
	for _, name := range w.opt.Variables {
		var found *tensor.Tensor
		w.g.Walk(func(g *graph.Graph) {
			for i, init := range g.Initializers {
				if init.Name == name {
					found = init.Tensor
					g.Initializers = slices.Delete(g.Initializers, i, i+1)
					break
				}
			}
		})
		if found == nil {
			return fmt.Errorf("specialize: variable %q: the model has no such initializer", name)
		}
		t := &graph.Type{DType: found.DType, HasShape: true}
		for _, n := range found.Shape {
			t.Shape = append(t.Shape, graph.Dim{Value: n})
		}
		w.g.Inputs = append(w.g.Inputs, &graph.Value{Name: name, Type: t})
	}
	return nil
}

// check refuses a main graph in which a name has two meanings, and outputs that nothing gives.
func (w *work) check() error {
	defined := map[string]bool{}
	define := func(name string) error {
		if defined[name] {
			return fmt.Errorf("specialize: value %q is defined twice", name)
		}
		defined[name] = true
		return nil
	}
	for _, v := range w.g.Inputs {
		if err := define(v.Name); err != nil {
			return err
		}
	}
	for _, i := range w.g.Initializers {
		if err := define(i.Name); err != nil {
			return err
		}
	}
	for _, s := range w.g.Sparse {
		if err := define(s.Name); err != nil {
			return err
		}
	}
	for _, n := range w.g.Nodes {
		for _, o := range n.Outputs {
			if o == "" {
				continue
			}
			if err := define(o); err != nil {
				return err
			}
		}
	}
	for _, o := range w.g.Outputs {
		if !defined[o.Name] {
			return fmt.Errorf("specialize: output %q: the main graph has no such value", o.Name)
		}
	}
	return nil
}

// constant adds an initializer that was computed.
func (w *work) constant(name string, t *tensor.Tensor) {
	w.g.Initializers = append(w.g.Initializers, &graph.Initializer{Name: name, Tensor: t})
	w.consts[name] = t
}

// refresh infers anew.
func (w *work) refresh() { w.info = shape.Infer(w.m) }

// fixedType is the type of a value whose element type and extents are all known.
func (w *work) fixedType(name string) (graph.Type, bool) {
	t, ok := w.info.Of(w.g, name)
	if !ok || t.Kind != graph.TensorKind || t.DType == tensor.Undefined || !t.HasShape {
		return t, false
	}
	for _, d := range t.Shape {
		if d.Value < 0 {
			return t, false
		}
	}
	return t, true
}

// extents are a type's fixed dimensions.
func extents(t graph.Type) tensor.Shape {
	s := make(tensor.Shape, len(t.Shape))
	for i, d := range t.Shape {
		s[i] = d.Value
	}
	return s
}

// static is the finished model with its types.
func (w *work) static() (*Static, error) {
	w.prune()
	if err := w.sort(); err != nil {
		return nil, err
	}
	w.info = shape.Infer(w.m)
	s := &Static{Model: w.m, Types: map[string]graph.Type{}}
	note := func(name string) {
		if t, ok := w.fixedType(name); ok && name != "" {
			s.Types[name] = t
		}
	}
	for _, v := range w.g.Inputs {
		note(v.Name)
	}
	for _, i := range w.g.Initializers {
		note(i.Name)
	}
	outputs := map[string]bool{}
	for _, o := range w.g.Outputs {
		outputs[o.Name] = true
	}
	for _, n := range w.g.Nodes {
		for _, o := range n.Outputs {
			note(o)
			if t, ok := s.Types[o]; ok && !outputs[o] {
				w.g.Values = append(w.g.Values, &graph.Value{Name: o, Type: &t})
			}
		}
	}
	for i, o := range w.g.Outputs {
		if t, ok := s.Types[o.Name]; ok {
			o.Type = &t
		} else if i < len(w.outputs) {
			o.Type = unfixed(w.outputs[i].Type)
		}
	}
	return s, nil
}

// unfixed is a declared type without the names of its extents, which may be those of inputs that are fixed now.
func unfixed(t *graph.Type) *graph.Type {
	if t == nil || t.Kind != graph.TensorKind || !t.HasShape {
		return t
	}
	c := *t
	c.Shape = slices.Clone(t.Shape)
	for i := range c.Shape {
		c.Shape[i].Param = ""
	}
	return &c
}
