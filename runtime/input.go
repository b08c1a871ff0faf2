package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// HasDefault reports whether a graph holds a value for one of its inputs, which a run may then leave out.
func HasDefault(g *graph.Graph, input string) bool {
	return g.Initializer(input) != nil || slices.ContainsFunc(g.Sparse, func(sp *graph.Sparse) bool { return sp.Name == input })
}

// Required are the inputs of m's main graph without a default, in the order of the model.
func Required(m *graph.Model) []*graph.Value {
	var in []*graph.Value
	for _, v := range m.Graph.Inputs {
		if !HasDefault(m.Graph, v.Name) {
			in = append(in, v)
		}
	}
	return in
}

// CheckInputs compares what a run is given with what m declares: names, types, fixed extents, and that axes of one name have one extent.
// The error is an [InputError] for the first that does not fit.
func CheckInputs(m *graph.Model, inputs map[string]Value) error {
	g := m.Graph
	if err := known(g, slices.Sorted(maps.Keys(inputs)), "one of "+strings.Join(quoted(g.Inputs), ", ")); err != nil {
		return err
	}
	axes := axes{}
	for _, v := range g.Inputs {
		given, ok := inputs[v.Name]
		held := HasDefault(g, v.Name)
		switch {
		case !ok && !held:
			return &InputError{Input: v.Name, Got: "it is missing", Want: TypeString(v.Type)}
		case !ok:
			continue
		case held && m.IRVersion < 4:
			return &InputError{Input: v.Name, Got: "a value for an input that is a constant in models of IR version 3", Want: "none"}
		}
		if err := axes.check(v, given); err != nil {
			return err
		}
	}
	return nil
}

// InputTypes are the types of m's inputs in a run with inputs of these shapes, in the order of the model, and the extents that follow for
// named axes. An input that shapes leaves out has the shape of its default, or its declared one with the extents of the others. The error
// is an [InputError].
func InputTypes(m *graph.Model, shapes map[string]tensor.Shape) (types []*graph.Type, extents map[string]int64, err error) {
	g := m.Graph
	if err := known(g, slices.Sorted(maps.Keys(shapes)), "a shape for one of its own"); err != nil {
		return nil, nil, err
	}
	types = make([]*graph.Type, len(g.Inputs))
	axes := axes{}
	for i, v := range g.Inputs {
		given, ok := shapes[v.Name]
		if !ok {
			given, ok = defaultShape(g, v.Name)
		}
		t := &graph.Type{}
		if v.Type != nil {
			*t = *v.Type
		}
		types[i] = t
		if !ok || t.Kind != graph.TensorKind {
			continue
		}
		if err := axes.check(v, FromTensor(&tensor.Tensor{DType: t.DType, Shape: given})); err != nil {
			return nil, nil, err
		}
		t.HasShape, t.Shape = true, nil
		for _, d := range given {
			t.Shape = append(t.Shape, graph.Dim{Value: d})
		}
	}
	extents = map[string]int64{}
	for name, a := range axes {
		extents[name] = a.extent
	}
	for _, t := range types {
		t.Shape = slices.Clone(t.Shape)
		for j, d := range t.Shape {
			if n, ok := extents[d.Param]; ok && d.Value < 0 {
				t.Shape[j] = graph.Dim{Value: n}
			}
		}
	}
	return types, extents, nil
}

// known refuses a name that no input of g has.
func known(g *graph.Graph, names []string, want string) error {
	for _, name := range names {
		if !slices.ContainsFunc(g.Inputs, func(v *graph.Value) bool { return v.Name == name }) {
			return &InputError{Input: name, Got: "the model has no such input", Want: want}
		}
	}
	return nil
}

// defaultShape is the shape of the value that g holds for an input.
func defaultShape(g *graph.Graph, input string) (tensor.Shape, bool) {
	if init := g.Initializer(input); init != nil {
		return init.Tensor.Shape, true
	}
	for _, sp := range g.Sparse {
		if sp.Name == input {
			return sp.Shape, true
		}
	}
	return nil, false
}

// axes are the extents that named axes have in one run, and the input that gave each.
type axes map[string]struct {
	extent int64
	input  string
}

// check compares a given value with what the model declares for the input.
func (a axes) check(v *graph.Value, given Value) error {
	t := v.Type
	if t == nil {
		return nil
	}
	fail := func(got string) error { return &InputError{Input: v.Name, Got: got, Want: TypeString(t)} }
	if t.Kind != graph.TensorKind {
		if given.Kind == TensorValue && given.Tensor == nil {
			return fail("got nothing")
		}
		return nil
	}
	if given.Kind != TensorValue || given.Tensor == nil {
		return fail("got no tensor")
	}
	got := fmt.Sprintf("got %s%s", given.Tensor.DType, given.Tensor.Shape)
	if t.DType != tensor.Undefined && given.Tensor.DType != t.DType {
		return fail(got)
	}
	if !t.HasShape {
		return nil
	}
	if len(given.Tensor.Shape) != len(t.Shape) {
		return fail(got)
	}
	for i, want := range t.Shape {
		have := given.Tensor.Shape[i]
		if want.Value >= 0 && have != want.Value {
			return fail(got)
		}
		if want.Value >= 0 || want.Param == "" {
			continue
		}
		first, ok := a[want.Param]
		if ok && first.extent != have {
			return &InputError{Input: v.Name, Got: got,
				Want: fmt.Sprintf("%s, where %s is %d as in input %q", TypeString(t), want.Param, first.extent, first.input)}
		}
		first.extent, first.input = have, v.Name
		a[want.Param] = first
	}
	return nil
}

// TypeString spells a declared type as float32[batch,8]; an unknown extent is "?".
func TypeString(t *graph.Type) string {
	switch {
	case t == nil:
		return "a value"
	case t.Kind != graph.TensorKind:
		return "a sequence or optional"
	}
	s := "a tensor"
	if t.DType != tensor.Undefined {
		s = t.DType.String()
	}
	if !t.HasShape {
		return s + " of any shape"
	}
	var axes []string
	for _, d := range t.Shape {
		switch {
		case d.Value >= 0:
			axes = append(axes, strconv.FormatInt(d.Value, 10))
		case d.Param != "":
			axes = append(axes, d.Param)
		default:
			axes = append(axes, "?")
		}
	}
	return s + "[" + strings.Join(axes, ",") + "]"
}

func quoted(values []*graph.Value) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strconv.Quote(v.Name)
	}
	return out
}
