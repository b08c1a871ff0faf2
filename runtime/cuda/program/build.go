package program

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
)

// Build makes the program of a static model. It is built again and again, with what was learned about nodes that the GPU cannot run, until
// nothing new is learned: then the stretches of both sides are as long as dependencies allow.
func Build(st *specialize.Static, opt Options) (*Program, error) {
	if opt.Compute != kernels.F32 && opt.Compute != kernels.BF16 {
		return nil, fmt.Errorf("program: computing in %v, want %v or %v", opt.Compute, kernels.F32, kernels.BF16)
	}
	host := map[*graph.Node]string{}
	for {
		known := len(host)
		b, err := newBuilder(st, opt, host)
		if err != nil {
			return nil, fmt.Errorf("program: %w", err)
		}
		if err := b.run(); err != nil {
			return nil, fmt.Errorf("program: %w", err)
		}
		if len(host) > known {
			continue
		}
		if err := b.finish(); err != nil {
			return nil, fmt.Errorf("program: %w", err)
		}
		return b.prog, nil
	}
}

// newBuilder begins an attempt. host grows by the nodes that are the host's.
func newBuilder(st *specialize.Static, opt Options, host map[*graph.Node]string) (*builder, error) {
	b := &builder{
		st: st, opt: opt, prog: &Program{}, host: host, lowers: table(),
		values: map[string]*value{}, done: map[*graph.Node]bool{}, readers: map[string][]*graph.Node{}, kept: map[string]bool{},
		producer: map[string]*graph.Node{}, layers: map[*graph.Node]*layer{}, weights: map[weightKey]*Tensor{},
		sparse: map[string]*graph.Sparse{}, types: map[string]*graph.Type{}, made: map[*Segment][]*Buffer{}, segments: map[int]*Segment{},
		scales: newScales(), dynamics: newDynamics(), marks: newMarks(), weighed: newMarks(), codes: map[string]*weightCodes{},
	}
	for _, name := range opt.Layers {
		b.prog.Layers = append(b.prog.Layers, Layer{Name: name})
	}
	b.declareAll()
	if err := b.assign(); err != nil {
		return nil, err
	}
	return b, nil
}

// declareAll notes values, who makes and who reads them.
func (b *builder) declareAll() {
	g := b.st.Model.Graph
	add := func(name string, r role) *value {
		if name == "" {
			return nil
		}
		v := &value{name: name, role: r}
		if t, ok := b.st.Types[name]; ok {
			v.typ = t
			if t.Kind == graph.TensorKind && t.HasShape {
				v.dims = []int64{}
				for _, d := range t.Shape {
					v.dims = append(v.dims, d.Value)
				}
				if slices.Min(append([]int64{0}, v.dims...)) < 0 {
					v.dims = nil
				}
			}
		}
		b.values[name] = v
		return v
	}
	for _, values := range [][]*graph.Value{g.Inputs, g.Values, g.Outputs} {
		for _, v := range values {
			if v.Type != nil {
				b.types[v.Name] = v.Type
			}
		}
	}
	for _, v := range g.Inputs {
		r := fromInput
		if _, ok := b.opt.Variables[v.Name]; ok {
			r = fromVariable
		}
		add(v.Name, r)
	}
	for _, c := range g.Initializers {
		v := add(c.Name, fromContent)
		v.content = c.Tensor
		v.typ = graph.Type{DType: c.Tensor.DType, HasShape: true}
		v.dims = append([]int64{}, c.Tensor.Shape...)
		for _, d := range c.Tensor.Shape {
			v.typ.Shape = append(v.typ.Shape, graph.Dim{Value: d})
		}
	}
	for _, s := range g.Sparse {
		b.sparse[s.Name] = s
	}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			if add(out, fromNode) != nil {
				b.producer[out] = n
			}
		}
		for _, name := range n.Reads() {
			b.readers[name] = append(b.readers[name], n)
		}
	}
	for _, v := range g.Outputs {
		b.kept[v.Name] = true
	}
}

// assign decides where each node runs, as far as can be told before any is lowered, and in which order.
func (b *builder) assign() error {
	nodes := b.st.Model.Graph.Nodes
	var layers []*layer
	for _, n := range nodes {
		if b.host[n] != "" {
			continue
		}
		if ops.IsFloat8Linear(n) {
			l, why, err := b.layer(n)
			if err != nil {
				return err
			}
			if why != "" {
				b.host[n] = why
				continue
			}
			b.layers[n] = l
			layers = append(layers, l)
			continue
		}
		if why := b.refusal(n); why != "" {
			b.host[n] = why
		}
	}
	b.pull()
	layers = slices.DeleteFunc(layers, func(l *layer) bool { return b.host[b.producer[l.Output]] != "" })
	b.share(layers)
	b.order = schedule(nodes, func(n *graph.Node) bool { return b.host[n] != "" })
	for _, r := range b.order {
		for _, n := range r.nodes {
			if l := b.layers[n]; l != nil && !r.host {
				if l.place = b.place(l.name); l.place >= 0 {
					at := &b.prog.Layers[l.place]
					at.AmaxInput, at.CountInput, at.Input = l.group.source.amax, l.group.counts, l.m*l.k
					if l.Variant.Input == ops.InputOff {
						at.Input = 0
					}
				}
			}
		}
	}
	return nil
}

// refusal says why a node cannot be lowered whatever its inputs are.
func (b *builder) refusal(n *graph.Node) string {
	if b.lowers[operator(n)] == nil {
		return "no kernel for " + operator(n)
	}
	if len(n.Subgraphs()) > 0 {
		return "control flow"
	}
	for _, out := range n.Outputs {
		if out == "" {
			continue
		}
		v := b.values[out]
		switch {
		case v.typ.Kind != graph.TensorKind:
			return fmt.Sprintf("%q is no tensor", out)
		case v.dims == nil:
			return fmt.Sprintf("the shape of %q depends on data", out)
		case b.held(v.typ.DType) == kernels.None:
			return fmt.Sprintf("%q is of %v", out, v.typ.DType)
		case count(v.dims) == 0:
			return fmt.Sprintf("%q has no elements", out)
		}
	}
	return ""
}

// pull gives the host nodes between its own: those whose inputs it has and whose results nobody else needs. Copying values to the GPU and
// back costs more than they do. Products stay where they are fast.
func (b *builder) pull() {
	nodes := b.st.Model.Graph.Nodes
	available := map[*graph.Node]bool{}
	for _, n := range nodes {
		if b.host[n] != "" {
			continue
		}
		ok := b.layers[n] == nil && !n.Is("MatMul") && !n.Is("Gemm") && !n.Is("Attention")
		some := false
		for _, name := range n.Inputs {
			if name == "" || b.values[name] == nil || b.values[name].role == fromContent {
				continue
			}
			some = true
			p := b.producer[name]
			ok = ok && (p == nil || b.host[p] != "" || available[p])
		}
		available[n] = ok && some
	}
	for _, n := range slices.Backward(nodes) {
		if !available[n] {
			continue
		}
		readers, hosts := 0, true
		for _, out := range n.Outputs {
			for _, r := range b.readers[out] {
				readers++
				hosts = hosts && b.host[r] != ""
			}
			hosts = hosts && !b.kept[out]
		}
		if readers > 0 && hosts {
			b.host[n] = "only the processor reads what it makes"
		}
	}
}

// place is the next place in Program.Layers of a layer of this name, -1 where there is none.
func (b *builder) place(name string) int {
	for i := range b.prog.Layers {
		if b.prog.Layers[i].Name == name && !b.placed[i] {
			if b.placed == nil {
				b.placed = map[int]bool{}
			}
			b.placed[i] = true
			return i
		}
	}
	return -1
}

// run makes the steps of all nodes. A node that turns out to be the host's is noted in host, with which the next attempt begins; this one
// goes on, to learn about others, as if the node's results had come from a segment.
func (b *builder) run() error {
	for _, r := range b.order {
		if r.host {
			if err := b.segment(r.nodes); err != nil {
				return err
			}
			continue
		}
		for _, n := range r.nodes {
			if b.done[n] {
				continue
			}
			b.node = n
			var why string
			var err error
			if l := b.layers[n]; l != nil {
				why, err = b.linear(n, l)
			} else {
				why, err = b.lowers[operator(n)](b, n)
			}
			if err != nil {
				return fmt.Errorf("node %q (%s): %w", n.Name, n.OpType, err)
			}
			if why != "" {
				b.host[n] = why
				for _, out := range n.Outputs {
					if v := b.values[out]; v != nil {
						v.tensor, v.lazy, v.role, v.segment = nil, nil, fromSegment, &Segment{}
					}
				}
			}
		}
		b.node = nil
	}
	return nil
}

// finish completes a program whose nodes all have their steps.
func (b *builder) finish() error {
	p := b.prog
	for _, v := range b.st.Model.Graph.Outputs {
		out := Transfer{Name: v.Name}
		if from := b.values[v.Name]; from != nil && from.role == fromNode {
			b.node = b.producer[v.Name]
			t, why := b.get(v.Name)
			if why != "" {
				return fmt.Errorf("output %q: %s", v.Name, why)
			}
			out.Tensor = b.contiguous(b.convert(t, own(from.typ.DType)))
			if out.Tensor.Buffer.Home == Arena {
				out.Tensor.Buffer.Home = State
			}
		}
		p.Outputs = append(p.Outputs, out)
	}
	b.finishScales()
	for i, seg := range b.segments {
		p.Steps[i].Writes = append(p.Steps[i].Writes, b.made[seg]...)
	}
	b.finishDynamics()
	for _, m := range []struct {
		marks
		cleared *[]*Buffer
	}{{b.marks, &p.Cleared}, {b.weighed, &p.SetupCleared}} {
		if m.buffer.Bytes > 0 {
			*m.cleared = append(*m.cleared, m.buffer)
		}
	}
	return b.finishMemory()
}

// finishMemory gives every buffer its home and those of the arena their offsets.
func (b *builder) finishMemory() error {
	p := b.prog
	inSetup := map[*Buffer]bool{}
	for _, s := range p.Setup {
		for _, buf := range slices.Concat(s.Reads, s.Writes) {
			inSetup[buf] = true
		}
	}
	seen := map[*Buffer]bool{}
	note := func(buf *Buffer) {
		if buf == nil || seen[buf] {
			return
		}
		seen[buf] = true
		switch buf.Home {
		case Weight:
			p.Weights = append(p.Weights, buf)
		case State:
			p.State = append(p.State, buf)
		}
	}
	for _, s := range p.Steps {
		for _, buf := range slices.Concat(s.Reads, s.Writes) {
			if buf.Home == Arena && inSetup[buf] {
				buf.Home = State // Setup makes it, every run reads it
			}
		}
	}
	for _, steps := range [][]Step{p.Setup, p.Steps} {
		for _, s := range steps {
			for _, buf := range slices.Concat(s.Reads, s.Writes) {
				note(buf)
			}
		}
		bytes, err := plan(steps)
		if err != nil {
			return err
		}
		p.Arena = max(p.Arena, bytes)
	}
	for _, transfers := range [][]Transfer{p.Inputs, p.Variables, p.Outputs} {
		for _, t := range transfers {
			if t.Tensor != nil {
				note(t.Tensor.Buffer)
			}
		}
	}
	for _, cleared := range [][]*Buffer{p.Cleared, p.SetupCleared} {
		for _, buf := range cleared {
			note(buf)
		}
	}
	return nil
}
