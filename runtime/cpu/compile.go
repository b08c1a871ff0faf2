package cpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// compiler turns a model into programs, once per session.
type compiler struct {
	*session
	ctx       context.Context
	functions map[callee]*graph.Function
	variables map[string]bool // Options.Variables, true where found
	steps     int
}

// callee names a function of the model.
type callee struct{ domain, name, overload string }

// maxSteps bounds what functions that call functions can grow to, maxDepth how deep graphs and calls may lie in each other: the compiler
// follows them by calling itself.
const (
	maxSteps = 1 << 18
	maxDepth = 256
)

// compile fills s.
func compile(ctx context.Context, s *session) error {
	m := s.model
	if m.Graph == nil {
		return fmt.Errorf("%s: the model has no graph", name)
	}
	c := &compiler{session: s, ctx: ctx, functions: map[callee]*graph.Function{}, variables: map[string]bool{}}
	for _, f := range m.Functions {
		c.functions[callee{graph.CanonicalDomain(f.Domain), f.Name, f.Overload}] = f
	}
	for _, v := range s.opt.Variables {
		c.variables[v] = false
	}
	prog, sc, err := c.graph(m.Graph, &scope{opsets: m.Opsets}, nil)
	if err != nil {
		return err
	}
	for _, k := range s.opt.Keep {
		i, err := sc.find(k)
		if err != nil || i == absent {
			return fmt.Errorf("%s: value %q is to be kept: the main graph has no such value", name, k)
		}
		prog.outputs = append(prog.outputs, i)
	}
	for _, v := range s.opt.Variables {
		if !c.variables[v] {
			return fmt.Errorf("%s: variable %q: the model has no such initializer", name, v)
		}
	}
	s.main = prog
	if err := c.finish(prog); err != nil {
		return err
	}
	return s.fits(ctx, nil)
}

// graph lowers g. outer is the scope around it, or for a main graph one that knows no names.
func (c *compiler) graph(g *graph.Graph, around *scope, holder *graph.Node) (*program, *scope, error) {
	if around.depth > maxDepth {
		return nil, nil, fmt.Errorf("%s: graph %q lies more than %d graphs and functions deep", name, g.Name, maxDepth)
	}
	p := &program{graph: g, consts: map[int]*constant{}}
	sc := &scope{prog: p, names: map[string]int{}, opsets: around.opsets, attrs: around.attrs,
		inFunction: around.inFunction, calls: around.calls, path: around.path, depth: around.depth + 1}
	if holder != nil {
		sc.outer = around
	}
	inputs := map[string]bool{}
	for _, v := range g.Inputs {
		i := p.slot()
		p.inputs = append(p.inputs, i)
		sc.define(v.Name, i)
		inputs[v.Name] = true
	}
	for _, init := range g.Initializers {
		if inputs[init.Name] && holder == nil && c.model.IRVersion >= 4 {
			continue // a default, which the caller may replace
		}
		if inputs[init.Name] && holder != nil {
			continue // a graph inside a node is given all its inputs
		}
		k, err := c.initializer(init)
		if err != nil {
			return nil, nil, err
		}
		sc.define(init.Name, p.constant(k))
	}
	for _, sp := range g.Sparse {
		if inputs[sp.Name] && (holder != nil || c.model.IRVersion >= 4) {
			continue
		}
		t, err := densify(sp)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: initializer %q: %w", name, sp.Name, err)
		}
		sc.define(sp.Name, p.constant(&constant{value: t}))
	}
	if err := c.nodes(sc, g.Nodes); err != nil {
		return nil, nil, err
	}
	for _, o := range g.Outputs {
		i, err := sc.find(o.Name)
		if err == nil && i == absent {
			err = fmt.Errorf("it is left out")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: output %q of graph %q: %w", name, o.Name, g.Name, err)
		}
		p.outputs = append(p.outputs, i)
	}
	p.declared = map[int]*graph.Type{}
	for _, vs := range [][]*graph.Value{g.Values, g.Outputs} {
		for _, v := range vs {
			if i, ok := sc.names[v.Name]; ok && i != absent && v.Type != nil {
				p.declared[i] = v.Type
			}
		}
	}
	return p, sc, nil
}

// initializer is the constant of an initializer, the same one for every reader.
func (c *compiler) initializer(init *graph.Initializer) (*constant, error) {
	t, err := kernel.FromTensor(init.Tensor)
	if err != nil {
		return nil, fmt.Errorf("%s: initializer %q: %w", name, init.Name, err)
	}
	k := &constant{value: t}
	if _, variable := c.variables[init.Name]; variable {
		k.variable = true
		c.variables[init.Name] = true
		c.cells[init.Name] = append(c.cells[init.Name], k)
	}
	return k, nil
}

// nodes lowers nodes in an order in which they can run.
func (c *compiler) nodes(sc *scope, nodes []*graph.Node) error {
	nodes, err := sorted(nodes)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, n := range nodes {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.node(sc, n); err != nil {
			return err
		}
	}
	return nil
}

// node lowers one node: a constant, a call of one of the model's functions, or a step.
func (c *compiler) node(sc *scope, n *graph.Node) error {
	n, err := sc.resolve(n)
	if err != nil {
		return err
	}
	s := &step{node: n, name: sc.path + nodeName(n), opset: sc.opset(c.model, n.Domain)}
	for _, in := range n.Inputs {
		i, err := sc.find(in)
		if err != nil {
			return fmt.Errorf("%s: node %q: %s: %w", name, s.name, s.op(), err)
		}
		s.in = append(s.in, i)
	}
	if c.steps++; c.steps > maxSteps {
		return fmt.Errorf("%s: functions that call functions make more than %d nodes", name, maxSteps)
	}
	layer := ops.IsFloat8Linear(n)
	f := c.functions[callee{graph.CanonicalDomain(n.Domain), n.OpType, n.Overload}]
	switch {
	case layer:
		c.layer(s)
	case f != nil:
		return c.call(sc, s, f)
	case isModified(n):
		return c.flexAttention(sc, s)
	case n.Is("Constant"):
		k, err := constantNode(n)
		if err != nil {
			return c.unsupported(s, err.Error())
		}
		sc.define(n.Output(0), sc.prog.constant(&constant{value: k}))
		return nil
	case controlOf(n) != nil:
		if s.control, err = controlOf(n)(c, sc, s); err != nil {
			return err
		}
		for _, p := range s.control.programs() {
			for _, q := range p.steps {
				s.layers = s.layers || q.layers
			}
		}
	default:
		if s.maker = c.backend.table[key(n)]; s.maker == nil {
			return c.unsupported(s, "")
		}
	}
	if out, ok := c.fold(sc.prog, s); ok {
		for i, o := range n.Outputs {
			sc.define(o, out[i])
		}
		return nil
	}
	for _, o := range n.Outputs {
		i := absent
		if o != "" {
			i = sc.prog.slot()
			sc.define(o, i)
		}
		s.out = append(s.out, i)
	}
	sc.prog.steps = append(sc.prog.steps, s)
	return nil
}

// inner lowers the graph that attribute attr of s holds.
func (c *compiler) inner(sc *scope, s *step, attr string) (*program, error) {
	a := s.node.Attr(attr)
	if a == nil || a.Graph == nil {
		return nil, c.unsupported(s, fmt.Sprintf("attribute %q holds no graph", attr))
	}
	p, _, err := c.graph(a.Graph, sc, s.node)
	return p, err
}

// unsupported is the error for a node that the engine cannot execute; why is "" where it lacks the operator.
func (c *compiler) unsupported(s *step, why string) error {
	return &runtime.UnsupportedError{Backend: name, Node: s.name, Op: s.op(), Opset: s.opset, Why: why}
}

// finish leaves out what nobody reads, gives each step its function and finds the end of every value's life.
func (c *compiler) finish(p *program) error {
	p.prune()
	if !c.backend.plain {
		if err := c.fuse(p); err != nil {
			return err
		}
	}
	return c.make(p)
}

func (c *compiler) make(p *program) error {
	for _, s := range p.steps {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if s.control != nil {
			for _, q := range s.control.programs() {
				if err := c.make(q); err != nil {
					return err
				}
			}
		}
		for _, part := range s.parts() {
			mayPack := c.budget.take
			if s.held != nil { // runs only where the fused step cannot
				mayPack = func(int64) bool { return false }
			}
			if part.control != nil || part.fn != nil {
				continue
			}
			if part.layer != nil {
				if err := c.product(p, part); err != nil {
					return err
				}
				continue
			}
			if err := c.function(p, part, mayPack); err != nil {
				return err
			}
		}
	}
	p.lives()
	return nil
}

// function gives a step its kernel.Func.
func (c *compiler) function(p *program, s *step, mayPack func(int64) bool) (err error) {
	if s.fn, err = s.maker(c.site(p, s, mayPack)); err == nil {
		return nil
	}
	var known *runtime.UnsupportedError
	if errors.As(err, &known) || c.ctx.Err() != nil {
		return err
	}
	return c.unsupported(s, err.Error())
}

// contains reports whether a slot is among those.
func contains(slots []int, i int) bool { return slices.Contains(slots, i) }
