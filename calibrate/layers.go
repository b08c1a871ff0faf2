package calibrate

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// nan32 is a NaN.
var nan32 = float32(math.NaN())

// subject is a model with its layers in the order of execution: what every job of this package reads first.
type subject struct {
	model    *graph.Model // a copy of the caller's; its state is written at the end
	recipe   scaling.Recipe
	layers   []*layer
	operands []*operand // each once, also where layers share a weight
}

// layer is one Float8Linear.
type layer struct {
	name, graph string // graph is the path of the subgraph that the node is in
	node        *graph.Node
	op          ops.Layer
	inside      string // operator type of the innermost node around it, "" in the main graph

	input       *operand
	weight      *operand // nil for a weight stored as float8
	initialized *graph.Initializer
	flag        bool // what initialized holds
	gradInitial bool // the state of the output's gradient is as conversion left it

	ran                       int64 // steps in which the layer ran
	inputCounts, weightCounts runtime.Counts
	counted                   bool
}

// operand is what one amax per step is observed of.
type operand struct {
	mode  scaling.Mode
	state *scaling.State // of a delayed operand, else nil

	// What state makes scales by: an amax is scaled to top, the node's quant_max, which holds the margin already, so that the recipe
	// here has none.
	recipe scaling.Recipe
	top    float32

	scale, history *graph.Initializer // where the state lies; nil unless delayed
	scales         []float32          // what scale holds: one, or one per output channel
	channels       []float32          // the amax of each output channel, where scales has one for each
	perChannel     int                // elements of the scale, for a dynamic weight too

	window   []int // for every element of the history, the step that it is from; below 0 from before this run
	amaxes   []float32
	course   []float32 // of a delayed operand: the scale after each step
	rejected scaling.Rejected
}

// uninitialized reports whether the operand's first scale is still to come.
func (o *operand) uninitialized() bool { return o != nil && o.state != nil && !o.state.Initialized() }

// read makes the subject of a copy of m. The weights are looked at only where a channel has a scale of its own.
func read(ctx context.Context, m *graph.Model) (*subject, error) {
	s := &subject{model: clone(m)}
	for _, f := range s.model.Functions {
		if f.Domain == ops.Domain {
			continue
		}
		var inner *graph.Node
		graph.WalkNodes(f.Nodes, func(n *graph.Node) {
			if ops.IsFloat8Linear(n) {
				inner = n
			}
		})
		if inner != nil {
			return nil, &StateError{Layer: ops.LayerName(inner), State: "state",
				Why: fmt.Sprintf("the layer is in function %q, where it cannot have one", f.Domain+"::"+f.Name)}
		}
	}
	found := s.walk(graph.NewScope(s.model.Graph, nil, nil), "", "")
	if len(found) == 0 {
		return nil, ErrNotConverted
	}
	text, ok := m.Property(ops.MetadataRecipe)
	if !ok {
		return nil, fmt.Errorf("the model's metadata has no %q: it does not say how its layers are scaled", ops.MetadataRecipe)
	}
	var err error
	if s.recipe, err = scaling.Parse(text); err != nil {
		return nil, fmt.Errorf("metadata %q: %w", ops.MetadataRecipe, err)
	}
	r := reader{subject: s, ctx: ctx, owner: map[*graph.Initializer]string{}, weights: map[*graph.Initializer]*operand{}}
	for _, f := range found {
		if err := r.layer(f); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// clone copies what is changed here: the graphs, the function list and the metadata; tensors and Origins are shared.
func clone(m *graph.Model) *graph.Model {
	c := *m
	c.Opsets = append([]graph.Opset(nil), m.Opsets...)
	c.Metadata = append([]graph.Property(nil), m.Metadata...)
	c.Graph = m.Graph.Clone()
	c.Functions = append([]*graph.Function(nil), m.Functions...)
	return &c
}

// place is a Float8Linear where it stands.
type place struct {
	node         *graph.Node
	scope        *graph.Scope
	path, inside string
}

// walk finds the layers in the order of runtime.Session.Layers. Paths are spelled as in a conversion's report.
func (s *subject) walk(sc *graph.Scope, path, inside string) (found []place) {
	for i, n := range sc.Graph.Nodes {
		if ops.IsFloat8Linear(n) {
			found = append(found, place{n, sc, path, inside})
		}
		for _, a := range n.Attributes {
			at := n.Name
			if at == "" {
				at = fmt.Sprintf("%s_%d", n.OpType, i)
			}
			at += "/" + a.Name
			if path != "" {
				at = path + "/" + at
			}
			if a.Graph != nil {
				found = append(found, s.walk(sc.Inner(a.Graph, n), at, n.OpType)...)
			}
			for j, g := range a.Graphs {
				found = append(found, s.walk(sc.Inner(g, n), fmt.Sprintf("%s[%d]", at, j), n.OpType)...)
			}
		}
	}
	return found
}

// reader turns places into layers.
type reader struct {
	*subject
	ctx     context.Context
	owner   map[*graph.Initializer]string   // whose state an initializer is
	weights map[*graph.Initializer]*operand // the operand of a weight's scale
}

func (r *reader) layer(p place) error {
	l := &layer{name: ops.LayerName(p.node), graph: p.path, node: p.node, inside: p.inside}
	var err error
	if l.op, err = ops.ReadLayer(p.node); err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	if l.op.Variant.Input == ops.InputDelayed || l.op.Variant.Weight == ops.WeightDelayed {
		if err := r.flag(l, p); err != nil {
			return err
		}
	}
	l.input = &operand{perChannel: 1}
	switch l.op.Variant.Input {
	case ops.InputDelayed:
		err = r.delayedInput(l, p)
	case ops.InputDynamic:
		l.input.mode = scaling.Dynamic
	case ops.InputOff:
		l.input.mode = scaling.Off
	}
	if err != nil {
		return err
	}
	r.operands = append(r.operands, l.input)
	switch l.op.Variant.Weight {
	case ops.WeightDelayed:
		err = r.delayedWeight(l, p)
	case ops.WeightDynamic:
		l.weight = &operand{mode: scaling.Dynamic}
		if _, l.weight.scales, err = r.floats(l, p, ops.InScaleWeight, l.op.ScaleWeight); err == nil {
			l.weight.perChannel = len(l.weight.scales)
			r.operands = append(r.operands, l.weight)
		}
	}
	if err != nil {
		return err
	}
	l.gradInitial = r.gradInitial(p, l.op)
	r.layers = append(r.layers, l)
	return nil
}

func (r *reader) delayedInput(l *layer, p place) error {
	o := l.input
	o.mode = scaling.Delayed
	var err error
	if o.scale, o.scales, err = r.owned(l, p, ops.InScaleInput, l.op.ScaleInput); err != nil {
		return err
	}
	if len(o.scales) != 1 {
		return stateError(l, ops.InScaleInput, l.op.ScaleInput, "%d elements, want one", len(o.scales))
	}
	history, values, err := r.owned(l, p, ops.InAmaxHistoryInput, l.op.AmaxHistoryInput)
	if err != nil {
		return err
	}
	o.history = history
	o.state, err = restore(r.recipe, l, o, ops.InAmaxHistoryInput, values, l.flag)
	return err
}

// delayedWeight reads the state of a weight that is cast at every step. Layers that share the weight share the state; a weight has
// no flag of its own, so its history says whether it was observed: an amax in it is above zero.
func (r *reader) delayedWeight(l *layer, p place) error {
	scale, scales, err := r.floats(l, p, ops.InScaleWeight, l.op.ScaleWeight)
	if err != nil {
		return err
	}
	history, values, err := r.floats(l, p, ops.InAmaxHistoryWeight, l.op.AmaxHistoryWeight)
	if err != nil {
		return err
	}
	weight := p.scope.Find(l.op.Weight)
	if weight.Constant == nil {
		return stateError(l, ops.InWeight, l.op.Weight, "not an initializer")
	}
	if o := r.weights[scale]; o != nil {
		if o.history != history || r.owner[scale] != r.owner[weight.Constant] {
			return stateError(l, ops.InScaleWeight, l.op.ScaleWeight, "layer %q has the same one for another weight or history", r.owner[scale])
		}
		l.weight = o
		return nil
	}
	for _, i := range []*graph.Initializer{scale, history} {
		if other, taken := r.owner[i]; taken {
			return stateError(l, ops.InScaleWeight, i.Name, "layer %q has it too, for something else", other)
		}
		r.owner[i] = l.name
	}
	if _, taken := r.owner[weight.Constant]; !taken {
		r.owner[weight.Constant] = l.name
	}
	o := &operand{mode: scaling.Delayed, scale: scale, history: history, scales: scales, perChannel: len(scales)}
	initialized := false
	for _, a := range values {
		initialized = initialized || a > 0
	}
	if o.state, err = restore(r.recipe, l, o, ops.InAmaxHistoryWeight, values, initialized); err != nil {
		return err
	}
	if len(scale.Tensor.Shape) > 0 {
		if o.channels, err = channelAmaxes(r.ctx, weight.Constant.Tensor); err != nil {
			return stateError(l, ops.InWeight, l.op.Weight, "%v", err)
		}
		if len(o.channels) != len(scales) {
			return stateError(l, ops.InScaleWeight, l.op.ScaleWeight, "%d elements, want one for each of %d output channels", len(scales), len(o.channels))
		}
	}
	l.weight, r.weights[scale] = o, o
	r.operands = append(r.operands, o)
	return nil
}

// restore makes the operand's state from what is stored.
func restore(recipe scaling.Recipe, l *layer, o *operand, historyInput int, history []float32, initialized bool) (*scaling.State, error) {
	recipe.Margin = 0
	o.recipe, o.top = recipe, l.op.QuantMax
	least := o.scales[0]
	for i, s := range o.scales {
		if !scaling.Usable(s) {
			return nil, &StateError{l.name, stateWord(historyInput - 2), o.scale.Name, fmt.Sprintf("element %d is %v, want a finite number above 0", i, s)}
		}
		least = min(least, s)
	}
	st, err := scaling.RestoreState(o.recipe, o.top, history, scaling.QuantScale(least), initialized)
	if err != nil {
		return nil, &StateError{l.name, stateWord(historyInput), o.history.Name, err.Error()}
	}
	o.window = make([]int, len(history))
	for i := range o.window {
		o.window[i] = -1 - i
	}
	return st, nil
}

// flag reads the flag that tells whether the layer's histories hold an observation.
func (r *reader) flag(l *layer, p place) error {
	src, err := r.constant(l, p, ops.InInitialized, l.op.Initialized)
	if err != nil {
		return err
	}
	if other, taken := r.owner[src]; taken {
		return stateError(l, ops.InInitialized, l.op.Initialized, "layer %q has the same one", other)
	}
	r.owner[src] = l.name
	l.initialized = src
	if l.flag, err = src.Tensor.AsBool(); err != nil {
		return stateError(l, ops.InInitialized, l.op.Initialized, "%v", err)
	}
	return nil
}

// owned reads state that no other layer may have.
func (r *reader) owned(l *layer, p place, input int, name string) (*graph.Initializer, []float32, error) {
	c, v, err := r.floats(l, p, input, name)
	if err != nil {
		return nil, nil, err
	}
	if other, taken := r.owner[c]; taken {
		return nil, nil, stateError(l, input, name, "layer %q has the same one", other)
	}
	r.owner[c] = l.name
	return c, v, nil
}

func (r *reader) floats(l *layer, p place, input int, name string) (*graph.Initializer, []float32, error) {
	c, err := r.constant(l, p, input, name)
	if err != nil {
		return nil, nil, err
	}
	v, err := c.Tensor.AsFloat32s()
	if err != nil {
		return nil, nil, stateError(l, input, name, "%v", err)
	}
	if len(c.Tensor.Shape) > 1 || len(v) == 0 {
		return nil, nil, stateError(l, input, name, "shape %s, want a scalar or one axis", c.Tensor.Shape)
	}
	return c, v, nil
}

func (r *reader) constant(l *layer, p place, input int, name string) (*graph.Initializer, error) {
	if name == "" {
		return nil, stateError(l, input, "", "left out")
	}
	src := p.scope.Find(name)
	switch {
	case src.Scope == nil:
		return nil, stateError(l, input, name, "nothing of that name in the model")
	case src.Constant == nil || src.Repeated:
		return nil, stateError(l, input, name, "not an initializer")
	case src.Input != nil:
		return nil, stateError(l, input, name, "also an input of the graph, which a caller can override")
	}
	return src.Constant, nil
}

// gradInitial reports whether the state of the output's gradient is empty: a history of zeros and scale 1, or none at all.
func (r *reader) gradInitial(p place, op ops.Layer) bool {
	is := func(name string, want float32) bool {
		src := p.scope.Find(name)
		if src.Constant == nil {
			return src.Scope == nil
		}
		v, err := src.Constant.Tensor.AsFloat32s()
		for _, x := range v {
			if x != want {
				return false
			}
		}
		return err == nil
	}
	return is(op.ScaleGradOutput, 1) && is(op.AmaxHistoryGradOutput, 0)
}

func stateError(l *layer, input int, value, format string, args ...any) error {
	return &StateError{l.name, stateWord(input), value, fmt.Sprintf(format, args...)}
}

// stateWord is the operator's name for an input.
func stateWord(input int) string {
	return strings.TrimPrefix(ops.StateName("", input), ".fp8_")
}

// put writes what the operands hold into the initializers of the subject's model.
func (s *subject) put() {
	for _, o := range s.operands {
		if o.state != nil {
			o.scale.Tensor = o.scaleTensor()
			h := o.state.History()
			o.history.Tensor = tensor.Float32s(tensor.Shape{int64(len(h))}, h...)
		}
	}
	for _, l := range s.layers {
		if l.initialized != nil {
			l.initialized.Tensor = tensor.Bools(l.initialized.Tensor.Shape, l.observed())
		}
	}
}

// observed is the layer's flag: that of its input where it has a history, else that of its weight.
func (l *layer) observed() bool {
	if l.input.state != nil {
		return l.input.state.Initialized()
	}
	return l.weight != nil && l.weight.state != nil && l.weight.state.Initialized()
}

func (o *operand) scaleTensor() *tensor.Tensor {
	return tensor.Float32s(o.scale.Tensor.Shape, o.scales...)
}
