package program

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
)

// source is a value that layers read, itself or by views that keep the order of its elements.
type source struct {
	name   string
	amax   *Tensor
	raised bool // a step that raises the amax was emitted
	groups []*group
	chosen *group // the one whose cast its producer may do
}

// group are layers that share a cast: they read the same source with equal scales.
type group struct {
	cast    // what the source's producer can do
	source  *source
	layers  []*layer
	mode    ops.InputMode
	codes   *Tensor // [rows, Ld]; nil where the mode is InputOff
	scale   *Tensor // that multiplies
	inverse *Tensor // that brings codes back
	counts  *Tensor // three uint64, nil: not counted
	written bool    // a step that writes the codes was emitted
	decoded *Tensor // the codes as bfloat16, where a layer multiplies them so
	spread  *Tensor // inverse as a vector, where a plan wants it
}

// sameOrder are the operators whose output has the elements of their first input in the same order.
var sameOrder = map[string]bool{"Reshape": true, "Flatten": true, "Squeeze": true, "Unsqueeze": true, "Identity": true}

// origin is the value whose elements the value called name has in the same order, name itself where no other is.
func (b *builder) origin(name string) string {
	for {
		n := b.producer[name]
		if n == nil || b.host[n] != "" || graph.CanonicalDomain(n.Domain) != "" || !sameOrder[n.OpType] {
			return name
		}
		from := b.values[n.Input(0)]
		if from == nil || from.dims == nil || count(from.dims) != count(b.values[name].dims) {
			return name
		}
		name = n.Input(0)
	}
}

// share puts the layers of the GPU into groups, and chooses for each value the cast that its producer may do.
func (b *builder) share(layers []*layer) {
	byKey := map[string]*group{}
	b.sources = map[string]*source{}
	for _, l := range layers {
		root := b.origin(l.Input)
		s := b.sources[root]
		if s == nil {
			s = &source{name: root, amax: b.marks.slot(kernels.F32)}
			b.sources[root] = s
		}
		ld := l.k
		if l.problem.X.Float8() {
			ld = int64(l.problem.K)
		}
		key := fmt.Sprintf("%q %d", root, l.Variant.Input)
		switch l.Variant.Input {
		case ops.InputDelayed:
			key += fmt.Sprintf(" %d %d %s", l.k, ld, l.sx.key)
		case ops.InputDynamic:
			key += fmt.Sprintf(" %d %d %s %x %t", l.k, ld, l.sx.key, l.QuantMax, l.Variant.PowerOfTwo)
		}
		g := byKey[key]
		if g == nil {
			g = b.group(s, l, ld)
			byKey[key] = g
			s.groups = append(s.groups, g)
		} else if first := g.layers[0].sx; l.Variant.Input != ops.InputOff && first.variable != l.sx.variable {
			b.equal(first.variable, l.sx.variable)
		}
		g.layers = append(g.layers, l)
		l.group = g
	}
	for _, s := range b.sources {
		s.choose(b.opt.Statistics)
		if s.chosen != nil && s.chosen.Codes != nil {
			s.chosen.Only = b.onlyLayers(s.chosen, s.name, true)
		}
		if s.chosen != nil && s.chosen.Only {
			b.onlyLayers(s.chosen, s.name, false)
		}
	}
}

// equal notes that two variables are taken for one.
func (b *builder) equal(x, y string) {
	for i, set := range b.prog.Equal {
		if slices.Contains(set, x) {
			if !slices.Contains(set, y) {
				b.prog.Equal[i] = append(set, y)
			}
			return
		}
	}
	b.prog.Equal = append(b.prog.Equal, []string{x, y})
}

// group makes the group of a first layer l.
func (b *builder) group(s *source, l *layer, ld int64) *group {
	g := &group{source: s, mode: l.Variant.Input}
	g.cast = cast{Amax: s.amax, Cols: l.k, Ld: l.k, group: g}
	if g.mode == ops.InputOff {
		return g
	}
	g.codes = b.new(kernels.E4M3, l.m, ld)
	g.scale, g.inverse = l.sx.quant, l.sx.dequant
	if b.opt.Statistics {
		g.counts = b.marks.slot(kernels.I64, 3)
	}
	switch g.mode {
	case ops.InputDelayed:
		g.cast.Codes, g.cast.Scale, g.cast.Ld = g.codes, g.scale, ld
	case ops.InputDynamic:
		g.scale, g.inverse = b.dynamics.slot(l.sx.quant), piece(b.dynamics.inverse, 1)
	}
	return g
}

// choose picks the group whose cast the producer may do: that of most layers. Casts that count are launches of their own, since only they
// can; then, and where no layer has a stored scale, the producer can still find the amax.
func (s *source) choose(counting bool) {
	for _, g := range s.groups {
		if g.mode == ops.InputDelayed && !counting && (s.chosen == nil || len(g.layers) > len(s.chosen.layers)) {
			s.chosen = g
		}
	}
	for _, g := range s.groups {
		if g.mode != ops.InputDelayed && s.chosen == nil {
			s.chosen = g
		}
	}
}

// onlyLayers says whether nobody but the layers of g reads the value called name, itself or by views of the same order. Where it only
// looks nothing changes; else the views need no lowering any more.
func (b *builder) onlyLayers(g *group, name string, look bool) bool {
	if b.kept[name] || b.values[name].role != fromNode {
		return false
	}
	for _, n := range b.readers[name] {
		if b.host[n] != "" {
			return false
		}
		if l := b.layers[n]; l != nil {
			if l.group != g || n.Input(ops.InInput) != name {
				return false
			}
			continue
		}
		if graph.CanonicalDomain(n.Domain) != "" || !sameOrder[n.OpType] || n.Input(0) != name || b.origin(n.Output(0)) != g.source.name ||
			!b.onlyLayers(g, n.Output(0), look) {
			return false
		}
		if !look {
			b.done[n] = true
		}
	}
	return true
}

// wanted is demand.
func (b *builder) wanted(name string, cols int64) *cast {
	s := b.sources[name]
	if s == nil || s.chosen == nil {
		return nil
	}
	g := s.chosen
	if g.Codes != nil && (g.written || g.Ld != g.Cols && g.Cols != cols) || g.Codes == nil && s.raised {
		return nil
	}
	return &g.cast
}

// fulfil notes that a step does the group's cast.
func (g *group) fulfil() {
	g.source.raised = true
	if g.Codes != nil {
		g.written = true
	}
}

// ready sees to it that the group's codes, and the amax, are there when the next step runs.
func (b *builder) ready(g *group) (why string) {
	root := b.values[g.source.name]
	if root.tensor == nil && root.lazy != nil {
		if why := b.materialize(root); why != "" {
			return why
		}
	}
	cast := g.codes != nil && !g.written
	if !cast && g.source.raised {
		return ""
	}
	v := b.values[g.layers[0].Input]
	if v.tensor == nil && v.lazy == nil {
		v = root
	}
	var x *Tensor
	if v.role == fromInput || v.role == fromSegment {
		x = b.arrived(v) // as the host has it, before it is rounded to what the GPU computes in
	} else if x, why = b.get(v.name); why != "" {
		return why
	}
	l := g.layers[0]
	if !g.source.raised && (g.mode != ops.InputDelayed || !cast) {
		x = b.contiguous(x)
		b.amax(g.source.amax, x, l.name)
		g.source.raised = true
	}
	if !cast {
		return ""
	}
	if g.mode == ops.InputDynamic {
		b.makeScale(g, l)
	}
	amax := g.source.amax
	if g.source.raised {
		amax = nil
	}
	b.castTo(g.codes, x, castOptions{layer: l.name, scale: g.scale, amax: amax, counts: g.counts, rows: l.m, cols: l.k}, b.emit)
	g.source.raised, g.written = true, true
	return ""
}

// amax emits a pass over contiguous x that raises an amax.
func (b *builder) amax(amax, x *Tensor, layer string) {
	n := x.Elements()
	b.emit(Step{
		Layer: layer, Kernel: "amax", Bytes: float64(n * x.T.Size()), Reads: buffers(x, amax), Writes: buffers(amax),
		Launch: func(l *Launcher) error { return l.Kernels.Amax(l.Addr(amax), l.Addr(x), x.T, n, l.Stream) },
	})
}

// makeScale emits the scale of a group that has one from its own amax.
func (b *builder) makeScale(g *group, l *layer) {
	b.emit(b.scaleStep(l.name, g.scale, g.inverse, g.source.amax, l))
}

// scaleStep makes scales from amaxes by the rule of l, as many as amax has elements.
func (b *builder) scaleStep(layer string, scale, inverse, amax *Tensor, l *layer) Step {
	rule := kernels.ScaleRule{FormatMax: l.QuantMax, Epsilon: epsilon, PowerOfTwo: l.Variant.PowerOfTwo}
	n := amax.Elements()
	return Step{
		Layer: layer, Kernel: "scale from amax", Reads: buffers(amax, scale), Writes: buffers(scale, inverse),
		Launch: func(l *Launcher) error {
			return l.Kernels.Scales(l.Addr(scale), l.Addr(inverse), l.Addr(amax), n, rule, l.Stream)
		},
	}
}

// castOptions are what castTo casts with; scale, amax and counts may be nil.
type castOptions struct {
	layer               string
	scale, amax, counts *Tensor
	rows, cols          int64
}

// castTo casts the rows of x to rows of codes, which are at least as long.
func (b *builder) castTo(codes, x *Tensor, o castOptions, emit func(Step)) {
	ld := codes.Dims[1]
	const rank = 5 // of what a chain reads
	if !x.Contiguous() && ld == o.cols && o.counts == nil && len(x.Dims) <= rank {
		b.castStrided(codes, x, o, emit)
		return
	}
	x = b.contiguous(x)
	n := o.rows * o.cols
	into := func(l *Launcher, to *Tensor) kernels.Codes {
		return kernels.Codes{To: l.Addr(to), Format: kernels.E4M3, Scale: l.Addr(o.scale), Amax: l.Addr(o.amax), Ld: ld}
	}
	if ld == o.cols || o.counts != nil {
		to := codes
		if ld != o.cols {
			to = b.new(kernels.E4M3, o.rows, o.cols) // only this kernel counts; its codes are not used
		}
		emit(Step{
			Layer: o.layer, Kernel: "cast e4m3", Bytes: float64(n * (x.T.Size() + 1)),
			Reads: buffers(x, o.scale, o.amax, o.counts), Writes: buffers(to, o.amax, o.counts),
			Launch: func(l *Launcher) error {
				return l.Kernels.Cast(into(l, to), l.Addr(x), x.T, n, l.Addr(o.counts), l.Stream)
			},
		})
	}
	if ld != o.cols {
		emit(Step{
			Layer: o.layer, Kernel: fmt.Sprintf("cast e4m3, rows of %d in %d", o.cols, ld), Bytes: float64(n*x.T.Size() + o.rows*ld),
			Reads: buffers(x, o.scale, o.amax), Writes: buffers(codes, o.amax),
			Launch: func(l *Launcher) error {
				return l.Kernels.CastPadded(into(l, codes), l.Addr(x), x.T, o.rows, o.cols, l.Stream)
			},
		})
	}
}

// castStrided casts what is not contiguous without copying it first.
func (b *builder) castStrided(codes, x *Tensor, o castOptions, emit func(Step)) {
	emit(Step{
		Layer: o.layer, Kernel: "cast e4m3, strided", Bytes: float64(x.Elements() * (x.T.Size() + 1)),
		Reads: buffers(x, o.scale, o.amax), Writes: buffers(codes, o.amax),
		Launch: func(l *Launcher) error {
			return l.Kernels.Chain(kernels.Chain{
				Dims: x.Dims, Inputs: []kernels.ChainInput{{P: l.Addr(x), T: x.T, Strides: x.Strides}}, T: x.T,
				Codes: kernels.Codes{To: l.Addr(codes), Format: kernels.E4M3, Scale: l.Addr(o.scale), Amax: l.Addr(o.amax)},
			}, l.Stream)
		},
	})
}
