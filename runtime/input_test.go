package runtime_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// twoInputs reads x float32[rows,3], y float32[rows,?] and d float32[2], which has a default.
func twoInputs(ir int64) *graph.Model {
	typ := func(dims ...graph.Dim) *graph.Type {
		return &graph.Type{DType: tensor.Float32, HasShape: true, Shape: dims}
	}
	rows := graph.Dim{Value: -1, Param: "rows"}
	return &graph.Model{IRVersion: ir, Graph: &graph.Graph{
		Inputs: []*graph.Value{{Name: "x", Type: typ(rows, graph.Dim{Value: 3})}, {Name: "y", Type: typ(rows, graph.Dim{Value: -1})},
			{Name: "d", Type: typ(graph.Dim{Value: 2})}},
		Initializers: []*graph.Initializer{{Name: "d", Tensor: tensor.Float32s(tensor.Shape{2}, 1, 2)}},
	}}
}

func zeros(shape ...int64) runtime.Value {
	n, _ := tensor.Shape(shape).Elements()
	return runtime.FromTensor(tensor.Float32s(shape, make([]float32, n)...))
}

func TestInputsAreHeldAgainstWhatTheModelDeclares(t *testing.T) {
	for name, c := range map[string]struct {
		ir     int64
		inputs map[string]runtime.Value
		want   string // "" for none
	}{
		"all that it needs":     {8, map[string]runtime.Value{"x": zeros(2, 3), "y": zeros(2, 9)}, ""},
		"a default overridden":  {8, map[string]runtime.Value{"x": zeros(0, 3), "y": zeros(0, 0), "d": zeros(2)}, ""},
		"a constant overridden": {3, map[string]runtime.Value{"x": zeros(2, 3), "y": zeros(2, 1), "d": zeros(2)}, `input "d": a value for an input that is a constant`},
		"a stranger":            {8, map[string]runtime.Value{"x": zeros(2, 3), "y": zeros(2, 1), "z": zeros(1)}, `input "z": the model has no such input, want one of "x", "y", "d"`},
		"one missing":           {8, map[string]runtime.Value{"x": zeros(2, 3)}, `input "y": it is missing, want float32[rows,?]`},
		"another extent":        {8, map[string]runtime.Value{"x": zeros(2, 4), "y": zeros(2, 1)}, `input "x": got float32[2,4], want float32[rows,3]`},
		"two numbers of rows":   {8, map[string]runtime.Value{"x": zeros(2, 3), "y": zeros(5, 1)}, `where rows is 2 as in input "x"`},
		"no tensor":             {8, map[string]runtime.Value{"x": {Kind: runtime.SequenceValue}, "y": zeros(5, 1)}, `input "x": got no tensor`},
	} {
		err := runtime.CheckInputs(twoInputs(c.ir), c.inputs)
		if c.want == "" && err == nil {
			continue
		}
		if said, ok := errors.AsType[*runtime.InputError](err); !ok || c.want == "" || !strings.Contains(said.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestTheTypesOfInputsFollowFromShapes(t *testing.T) {
	m := twoInputs(8)
	types, extents, err := runtime.InputTypes(m, map[string]tensor.Shape{"x": {4, 3}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, typ := range types {
		got = append(got, runtime.TypeString(typ))
	}
	if want := "float32[4,3] float32[4,?] float32[2]"; strings.Join(got, " ") != want || len(extents) != 1 || extents["rows"] != 4 {
		t.Errorf("%v with %v, want %s", got, extents, want)
	}
	if declared := runtime.TypeString(m.Graph.Inputs[1].Type); declared != "float32[rows,?]" {
		t.Errorf("the model's own type became %s", declared)
	}
	for _, bad := range []map[string]tensor.Shape{{"z": {1}}, {"x": {4}}, {"x": {4, 3}, "y": {5, 1}}} {
		if _, _, err := runtime.InputTypes(m, bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	if in := runtime.Required(m); len(in) != 2 || in[0].Name != "x" || in[1].Name != "y" {
		t.Errorf("a run needs %d inputs, want x and y", len(in))
	}
}
