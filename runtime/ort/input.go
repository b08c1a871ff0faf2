package ort

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// checkInputs says which of the inputs of a run does not fit; the first in the order of the model, a stranger last.
func (p *prepared) checkInputs(inputs map[string]runtime.Value) error {
	for _, in := range p.required {
		v, ok := inputs[in.Name]
		if !ok {
			return &runtime.InputError{Input: in.Name, Got: "missing", Want: describeType(in.Type)}
		}
		if err := checkInput(in, v); err != nil {
			return err
		}
	}
	known := map[string]bool{}
	var all []string
	for _, in := range slices.Concat(p.required, p.optional) {
		known[in.Name] = true
		all = append(all, in.Name)
	}
	for _, in := range p.optional {
		if v, ok := inputs[in.Name]; ok {
			if err := checkInput(in, v); err != nil {
				return err
			}
		}
	}
	var strange []string
	for name := range inputs {
		if !known[name] {
			strange = append(strange, name)
		}
	}
	if len(strange) > 0 {
		return &runtime.InputError{Input: slices.Min(strange), Got: "the model has no such input", Want: "one of " + strings.Join(all, ", ")}
	}
	return nil
}

// checkInput holds a value against the type that the model declares for it.
func checkInput(in *graph.Value, v runtime.Value) error {
	if !fits(in.Type, v) {
		return &runtime.InputError{Input: in.Name, Got: describeValue(v), Want: describeType(in.Type)}
	}
	return nil
}

func fits(t *graph.Type, v runtime.Value) bool {
	if v.Kind == runtime.TensorValue && v.Tensor == nil {
		return false
	}
	if t == nil {
		return true
	}
	switch t.Kind {
	case graph.TensorKind:
		return v.Kind == runtime.TensorValue && fitsTensor(t, v.Tensor)
	case graph.SequenceKind, graph.OptionalKind:
		if (t.Kind == graph.SequenceKind) != (v.Kind == runtime.SequenceValue) || v.Kind == runtime.TensorValue {
			return false
		}
		return !slices.ContainsFunc(v.Items, func(item runtime.Value) bool { return !fits(t.Elem, item) })
	}
	return true
}

func fitsTensor(t *graph.Type, v *tensor.Tensor) bool {
	if v.DType != t.DType {
		return false
	}
	if !t.HasShape {
		return true
	}
	if len(v.Shape) != len(t.Shape) {
		return false
	}
	for i, d := range t.Shape {
		if d.Value >= 0 && d.Value != v.Shape[i] {
			return false
		}
	}
	return true
}

func describeType(t *graph.Type) string {
	if t == nil {
		return "a value"
	}
	switch t.Kind {
	case graph.TensorKind:
		if !t.HasShape {
			return t.DType.String()
		}
		dims := make([]string, len(t.Shape))
		for i, d := range t.Shape {
			switch {
			case d.Value >= 0:
				dims[i] = fmt.Sprint(d.Value)
			case d.Param != "":
				dims[i] = d.Param
			default:
				dims[i] = "?"
			}
		}
		return fmt.Sprintf("%s [%s]", t.DType, strings.Join(dims, ","))
	case graph.SequenceKind:
		return "a sequence of " + describeType(t.Elem)
	case graph.OptionalKind:
		return "an optional of " + describeType(t.Elem)
	}
	return "a value that is no tensor"
}

func describeValue(v runtime.Value) string {
	switch v.Kind {
	case runtime.TensorValue:
		if v.Tensor == nil {
			return "no tensor"
		}
		return fmt.Sprintf("%s %s", v.Tensor.DType, v.Tensor.Shape)
	case runtime.SequenceValue:
		if len(v.Items) == 0 {
			return "an empty sequence"
		}
		return "a sequence of " + describeValue(v.Items[0])
	case runtime.OptionalValue:
		if len(v.Items) == 0 {
			return "an empty optional"
		}
		return "an optional of " + describeValue(v.Items[0])
	}
	return fmt.Sprintf("a value of kind %d", v.Kind)
}
