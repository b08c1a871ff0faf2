package cpu

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/shape"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Plan says what a run with inputs of these shapes needs. An input that shapes leaves out has its declared shape, where named axes
// are those of the other inputs. Scratch is what the runs so far took beyond their values, 0 before the first.
func (s *session) Plan(shapes map[string]tensor.Shape) (runtime.Plan, error) {
	p, err := s.plan(shapes)
	if room := s.opt.MaxMemory - p.Activations; s.opt.MaxMemory > 0 && room >= 0 {
		p.Weights = min(p.Weights, room) // a run gives the rest up: see fits
	}
	return p, err
}

// plan is what a run needs with the weights that are packed now.
func (s *session) plan(shapes map[string]tensor.Shape) (runtime.Plan, error) {
	if s.closed {
		return runtime.Plan{}, fmt.Errorf("%s: the session is closed", name)
	}
	inputs, extents, err := runtime.InputTypes(s.model, shapes)
	if err != nil {
		return runtime.Plan{}, err
	}
	p := &planner{at: extents}
	m := &graph.Model{IRVersion: 8, Opsets: s.model.Opsets}
	m.Graph = p.mirror(s.main, nil)
	for i, v := range m.Graph.Inputs {
		v.Type = inputs[i]
	}
	p.info = shape.Infer(m)
	activations := p.peak(s.main)
	return runtime.Plan{Weights: s.budget.used, Activations: activations, Scratch: s.scratch, Unknown: p.unknown}, nil
}

// planner finds the sizes of a program's values without running it: it mirrors the program as a graph in which every slot has a
// name of its own and no function is left, and asks shape what is known of each.
type planner struct {
	at      map[string]int64 // extents of named axes
	info    *shape.Info
	graphs  map[*program]*graph.Graph
	names   map[*program][]string
	unknown int
}

// mirror is p as a graph. around are the names of the slots of the program around it.
func (pl *planner) mirror(p *program, around []string) *graph.Graph {
	if pl.graphs == nil {
		pl.graphs, pl.names = map[*program]*graph.Graph{}, map[*program][]string{}
	}
	g := &graph.Graph{}
	prefix := fmt.Sprintf("%d.", len(pl.graphs))
	pl.graphs[p] = g
	slots := make([]string, p.slots)
	for i := range slots {
		slots[i] = prefix + fmt.Sprint(i)
	}
	for _, c := range p.captures {
		slots[c.to] = around[c.from]
	}
	pl.names[p] = slots
	called := func(list []int) []string {
		out := make([]string, len(list))
		for i, s := range list {
			if s != absent {
				out[i] = slots[s]
			}
		}
		return out
	}
	for i, slot := range p.inputs {
		v := &graph.Value{Name: slots[slot]}
		if i < len(p.graph.Inputs) {
			v.Type = pl.extents(p.graph.Inputs[i].Type)
		}
		g.Inputs = append(g.Inputs, v)
	}
	for slot, t := range p.declared {
		if t = pl.extents(t); t != nil && slices.IndexFunc(p.captures, func(c capture) bool { return c.to == slot }) < 0 {
			g.Values = append(g.Values, &graph.Value{Name: slots[slot], Type: t})
		}
	}
	for _, slot := range slices.Sorted(maps.Keys(p.consts)) {
		if t, ok := p.consts[slot].value.(*kernel.Tensor); ok {
			g.Initializers = append(g.Initializers, &graph.Initializer{Name: slots[slot], Tensor: header(t)})
		}
	}
	for _, outer := range p.steps {
		for _, s := range outer.parts() {
			n := *s.node
			n.Inputs, n.Outputs = called(s.in), called(s.out)
			if s.control != nil {
				n.Attributes = nil
				for _, a := range s.node.Attributes {
					for _, q := range s.control.programs() {
						if a.Graph == q.graph {
							inner := *a
							inner.Graph = pl.mirror(q, slots)
							a = &inner
						}
					}
					n.Attributes = append(n.Attributes, a)
				}
			}
			g.Nodes = append(g.Nodes, &n)
		}
	}
	for _, o := range p.outputs {
		g.Outputs = append(g.Outputs, &graph.Value{Name: slots[o]})
	}
	return g
}

// parts are the steps that a fused one stands for, or s itself.
func (s *step) parts() []*step {
	if s.held == nil {
		return []*step{s}
	}
	var all []*step
	for _, h := range s.held {
		all = append(all, h.parts()...)
	}
	return all
}

// header is a constant for shape, which looks into small ones of integers only.
func header(t *kernel.Tensor) *tensor.Tensor {
	out := &tensor.Tensor{DType: t.DType, Data: tensor.Bytes(t.Bytes)}
	for _, d := range t.Shape {
		out.Shape = append(out.Shape, int64(d))
	}
	return out
}

// extents is a declared type with this run's extents in place of names.
func (pl *planner) extents(t *graph.Type) *graph.Type {
	if t == nil {
		return nil
	}
	out := *t
	out.Shape = slices.Clone(t.Shape)
	for i, d := range out.Shape {
		if n, ok := pl.at[d.Param]; ok && d.Value < 0 && d.Param != "" {
			out.Shape[i] = graph.Dim{Value: n}
		}
	}
	return &out
}

// bytes is what the arena takes for the value of a slot; false where its size is not known before the run.
func (pl *planner) bytes(p *program, slot int) (int64, bool) {
	t, ok := pl.info.Of(pl.graphs[p], pl.names[p][slot])
	if !ok || t.Kind != graph.TensorKind || !t.HasShape || t.DType == tensor.Undefined {
		return 0, false
	}
	extents := make(tensor.Shape, len(t.Shape))
	for i, d := range t.Shape {
		if d.Value < 0 {
			return 0, false
		}
		extents[i] = d.Value
	}
	n, err := extents.Elements()
	if err != nil || n > 1<<44 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return kernel.Footprint(n * int64(max(1, kernel.ElemSize(t.DType)))), true
}

// views are the operators whose first output is the memory of their first input; inPlace those that may write over an input.
var (
	views = words("Identity Reshape Flatten Squeeze Unsqueeze Dropout")
	// Whatever else Reuse is called for only makes the plan larger than need be.
	inPlace = words("Abs Add Cast Ceil Clip Cos Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Max Min Mul Neg Not Pow " +
		"Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum Tanh Where And Or")
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// planned is a piece of memory and how many slots look at it.
type planned struct {
	bytes int64
	refs  int
}

// peak is the largest sum of values of p alive at one time, together with that of the graphs inside its steps.
func (pl *planner) peak(p *program) int64 {
	memory := make([]*planned, p.slots)
	used, most := int64(0), int64(0)
	release := func(slots []int) {
		for _, i := range slots {
			if m := memory[i]; m != nil {
				memory[i] = nil
				if m.refs--; m.refs == 0 {
					used -= m.bytes
				}
			}
		}
	}
	for _, s := range p.steps {
		inside := int64(0)
		if s.control != nil {
			for _, q := range s.control.programs() {
				inside = max(inside, pl.peak(q))
			}
		}
		most = max(most, used+inside)
		for i, o := range s.out {
			if o == absent {
				continue
			}
			n, ok := pl.bytes(p, o)
			if !ok {
				pl.unknown++
			}
			var m *planned
			if i == 0 && len(s.in) > 0 && s.in[0] != absent && views[s.op()] {
				m = memory[s.in[0]]
				if m == nil { // of a constant or the caller
					continue
				}
			}
			if i == 0 && m == nil && (inPlace[s.op()] || s.inPlace) {
				for j, in := range s.in {
					if s.call.Dies[j] && memory[in] != nil && memory[in].refs == 1 && memory[in].bytes == n {
						m = memory[in]
						break
					}
				}
			}
			if m == nil {
				m = &planned{bytes: n}
				used += n
			}
			m.refs++
			memory[o] = m
		}
		most = max(most, used)
		release(s.free)
	}
	return most
}
