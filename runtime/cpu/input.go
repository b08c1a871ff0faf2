package cpu

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// bind puts the caller's inputs in the order of the main program's, checked against what the model declares.
func (s *session) bind(inputs map[string]runtime.Value) ([]kernel.Value, error) {
	g := s.model.Graph
	var names []string
	for _, v := range g.Inputs {
		names = append(names, v.Name)
	}
	for _, given := range slices.Sorted(maps.Keys(inputs)) {
		if !slices.Contains(names, given) {
			return nil, &runtime.InputError{Input: given, Got: "the model has no such input", Want: "one of " + strings.Join(quoted(names), ", ")}
		}
	}
	bound := dims{}
	out := make([]kernel.Value, len(g.Inputs))
	for i, v := range g.Inputs {
		given, ok := inputs[v.Name]
		held := s.hasDefault(v.Name)
		switch {
		case !ok && !held:
			return nil, &runtime.InputError{Input: v.Name, Got: "it is missing", Want: typeString(v.Type)}
		case !ok:
			t, err := s.defaultOf(v.Name)
			if err != nil {
				return nil, err
			}
			out[i] = t
			continue
		case held && s.model.IRVersion < 4:
			return nil, &runtime.InputError{Input: v.Name, Got: "a value for an input that is a constant in models of IR version 3", Want: "none"}
		}
		if err := bound.check(v, given); err != nil {
			return nil, err
		}
		k, err := fromValue(given)
		if err != nil {
			return nil, &runtime.InputError{Input: v.Name, Got: err.Error(), Want: typeString(v.Type)}
		}
		out[i] = k
	}
	return out, nil
}

// defaultOf is the value that the main graph holds for an input.
func (s *session) defaultOf(input string) (*kernel.Tensor, error) {
	if init := s.model.Graph.Initializer(input); init != nil {
		return kernel.FromTensor(init.Tensor)
	}
	for _, sp := range s.model.Graph.Sparse {
		if sp.Name == input {
			return densify(sp)
		}
	}
	return nil, fmt.Errorf("input %q has no default", input)
}

// dims are the extents that named axes have in one run, and the input that gave each.
type dims map[string]struct {
	extent int64
	input  string
}

// check compares a given value with what the model declares for the input.
func (d dims) check(v *graph.Value, given runtime.Value) error {
	t := v.Type
	if t == nil {
		return nil
	}
	fail := func(got string) error { return &runtime.InputError{Input: v.Name, Got: got, Want: typeString(t)} }
	if t.Kind != graph.TensorKind {
		if given.Kind == runtime.TensorValue && given.Tensor == nil {
			return fail("got nothing")
		}
		return nil
	}
	if given.Kind != runtime.TensorValue || given.Tensor == nil {
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
		first, ok := d[want.Param]
		if ok && first.extent != have {
			return &runtime.InputError{Input: v.Name, Got: got,
				Want: fmt.Sprintf("%s, where %s is %d as in input %q", typeString(t), want.Param, first.extent, first.input)}
		}
		first.extent, first.input = have, v.Name
		d[want.Param] = first
	}
	return nil
}

// typeString spells a declared type as float32[batch,8]; an unknown extent is "?".
func typeString(t *graph.Type) string {
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

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strconv.Quote(n)
	}
	return out
}
