package ort

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite/observe"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// prepared is a model in the form in which ONNX Runtime gets it, and how its inputs and outputs answer to those of the original.
type prepared struct {
	model     *graph.Model
	required  []*graph.Value // of the original: inputs without a default
	optional  []*graph.Value // of the original: inputs with one
	outputs   []string       // what Run returns
	fetch     []string       // what ONNX Runtime is asked for: outputs, each once, then amaxes
	variables []variable
	layers    []layer
	values    int // of all graphs
}

// variable is an initializer that became an input.
type variable struct {
	name  string // in the original
	input string // of the prepared model
	first *tensor.Tensor
}

// newestIR is the newest IR version that the oldest ONNX Runtime in use takes.
const newestIR = 10

// prepare makes a copy of m whose variables are inputs and whose amaxes are outputs. m stays as it is.
func prepare(m *graph.Model, opt runtime.Options) (*prepared, error) {
	c := *m
	// ONNX Runtime refuses a file of a later IR version than it knows, whether anything in it is new or not. What is, such as an element
	// type, it still reads or refuses by itself.
	c.IRVersion = min(c.IRVersion, newestIR)
	c.Opsets = slices.Clone(m.Opsets)
	c.Graph = m.Graph.Clone()
	p := &prepared{model: &c}
	p.readInputs(m)
	m.Graph.Walk(func(g *graph.Graph) {
		p.values += len(g.Inputs)
		for _, n := range g.Nodes {
			p.values += len(n.Outputs)
		}
	})
	if err := p.readLayers(m, opt); err != nil {
		return nil, err
	}
	if err := p.liftVariables(opt.Variables); err != nil {
		return nil, err
	}
	if err := p.keep(opt.Keep); err != nil {
		return nil, err
	}
	return p, p.expose()
}

// readInputs tells inputs that a run needs from those that have a default. Below IR version 4 every initializer is listed among the
// inputs, and none of them is to be overridden.
func (p *prepared) readInputs(m *graph.Model) {
	constant := map[string]bool{}
	for _, init := range m.Graph.Initializers {
		constant[init.Name] = true
	}
	for _, s := range m.Graph.Sparse {
		constant[s.Name] = true
	}
	for _, in := range m.Graph.Inputs {
		switch {
		case !constant[in.Name]:
			p.required = append(p.required, in)
		case m.IRVersion >= 4:
			p.optional = append(p.optional, in)
		}
	}
	for _, out := range m.Graph.Outputs {
		p.outputs = append(p.outputs, out.Name)
	}
}

// liftVariables makes an input of the main graph of each initializer that is named, wherever it stands.
func (p *prepared) liftVariables(want []string) error {
	if len(want) == 0 {
		return nil
	}
	wanted := map[string]bool{}
	for _, name := range want {
		wanted[name] = true
	}
	taken := graph.NewNames(p.model)
	found := map[string]bool{}
	var err error
	p.model.Graph.Walk(func(g *graph.Graph) {
		main := g == p.model.Graph
		g.Initializers = slices.DeleteFunc(g.Initializers, func(init *graph.Initializer) bool {
			if !wanted[init.Name] || err != nil {
				return false
			}
			if found[init.Name] {
				err = fmt.Errorf("ort: variable %q: more than one initializer has that name", init.Name)
				return false
			}
			found[init.Name] = true
			v := variable{name: init.Name, input: init.Name, first: init.Tensor}
			if !main && slices.ContainsFunc(g.Outputs, func(o *graph.Value) bool { return o.Name == init.Name }) {
				// A graph inside may not hand out what lies outside of it, so a copy is made there.
				v.input = taken.Fresh(init.Name + ".variable")
				g.Nodes = slices.Insert(g.Nodes, 0, &graph.Node{Name: v.input, OpType: "Identity", Inputs: []string{v.input}, Outputs: []string{init.Name}})
			}
			p.variables = append(p.variables, v)
			listed := slices.ContainsFunc(p.model.Graph.Inputs, func(in *graph.Value) bool { return in.Name == v.input })
			if !listed {
				p.model.Graph.Inputs = append(p.model.Graph.Inputs, &graph.Value{Name: v.input, Type: typeOf(init.Tensor)})
			}
			p.model.Graph.Values = slices.DeleteFunc(p.model.Graph.Values, func(o *graph.Value) bool { return o.Name == v.input })
			return true
		})
	})
	if err != nil {
		return err
	}
	for _, name := range want {
		if !found[name] {
			return fmt.Errorf("ort: variable %q: no initializer of that name", name)
		}
	}
	return nil
}

// typeOf is the type that t has as a value.
func typeOf(t *tensor.Tensor) *graph.Type {
	typ := &graph.Type{DType: t.DType, HasShape: true, Shape: []graph.Dim{}}
	for _, d := range t.Shape {
		typ.Shape = append(typ.Shape, graph.Dim{Value: d})
	}
	return typ
}

// keep makes outputs of the values that a run shall return as well.
func (p *prepared) keep(want []string) error {
	g := p.model.Graph
	scope := graph.NewScope(g, nil, nil)
	for _, name := range want {
		if scope.Find(name).Scope == nil {
			return fmt.Errorf("ort: value %q to be kept: the main graph has no such value", name)
		}
		p.outputs = append(p.outputs, name)
		if slices.ContainsFunc(g.Outputs, func(o *graph.Value) bool { return o.Name == name }) {
			continue
		}
		// ONNX Runtime infers the type where the file does not give it.
		g.Outputs = append(g.Outputs, &graph.Value{Name: name, Type: scope.Type(name)})
		g.Values = slices.DeleteFunc(g.Values, func(v *graph.Value) bool { return v.Name == name })
	}
	return nil
}

// expose makes outputs of the amaxes.
func (p *prepared) expose() error {
	taken := graph.NewNames(p.model)
	// ONNX Runtime 1.21 ends the process over a call that leaves a function's last output out.
	nameBoth := func(n *graph.Node) {
		if !ops.IsFloat8Linear(n) {
			return
		}
		for len(n.Outputs) < ops.NumOutputs {
			n.Outputs = append(n.Outputs, "")
		}
		if n.Outputs[ops.OutAmaxInput] == "" {
			n.Outputs[ops.OutAmaxInput] = taken.Fresh(n.Name + "." + ops.OutputName(ops.OutAmaxInput))
		}
	}
	graph.WalkNodes(p.model.Graph.Nodes, nameBoth)
	functions := slices.Clone(p.model.Functions)
	for i, f := range functions {
		c := *f
		c.Nodes = make([]*graph.Node, len(f.Nodes))
		for j, n := range f.Nodes {
			c.Nodes[j] = n.Clone()
		}
		graph.WalkNodes(c.Nodes, nameBoth)
		functions[i] = &c
	}
	p.model.Functions = functions
	observed, err := observe.Expose(p.model)
	if err != nil {
		return err
	}
	for i := range p.layers {
		p.layers[i].amax = observed[i].Output
	}
	for _, names := range [][]string{p.outputs, amaxes(p.layers)} {
		for _, name := range names {
			if name != "" && !slices.Contains(p.fetch, name) {
				p.fetch = append(p.fetch, name)
			}
		}
	}
	return nil
}

func amaxes(layers []layer) (names []string) {
	for _, l := range layers {
		names = append(names, l.amax)
	}
	return names
}
