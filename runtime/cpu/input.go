package cpu

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// bind puts the caller's inputs in the order of the main program's, checked against what the model declares.
func (s *session) bind(inputs map[string]runtime.Value) ([]kernel.Value, error) {
	if err := runtime.CheckInputs(s.model, inputs); err != nil {
		return nil, err
	}
	g := s.model.Graph
	out := make([]kernel.Value, len(g.Inputs))
	for i, v := range g.Inputs {
		given, ok := inputs[v.Name]
		if !ok {
			t, err := s.defaultOf(v.Name)
			if err != nil {
				return nil, err
			}
			out[i] = t
			continue
		}
		k, err := fromValue(given)
		if err != nil {
			return nil, &runtime.InputError{Input: v.Name, Got: err.Error(), Want: runtime.TypeString(v.Type)}
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
