package cpu

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// constantNode is the value of a Constant: exactly one attribute gives it.
func constantNode(n *graph.Node) (*kernel.Tensor, error) {
	if len(n.Attributes) != 1 {
		return nil, fmt.Errorf("%d attributes, want 1", len(n.Attributes))
	}
	switch a := n.Attributes[0]; a.Name {
	case "value":
		return kernel.FromTensor(a.Tensor)
	case "value_float":
		return kernel.FromSlice(tensor.Float32, []int{}, []float32{a.Float}), nil
	case "value_floats":
		return kernel.FromSlice(tensor.Float32, []int{len(a.Floats)}, a.Floats), nil
	case "value_int":
		return kernel.FromSlice(tensor.Int64, []int{}, []int64{a.Int}), nil
	case "value_ints":
		return kernel.FromSlice(tensor.Int64, []int{len(a.Ints)}, a.Ints), nil
	case "value_string":
		return &kernel.Tensor{DType: tensor.String, Shape: []int{}, Strings: []string{string(a.String)}}, nil
	case "value_strings":
		t := &kernel.Tensor{DType: tensor.String, Shape: []int{len(a.Strings)}, Strings: []string{}}
		for _, s := range a.Strings {
			t.Strings = append(t.Strings, string(s))
		}
		return t, nil
	case "sparse_value":
		return densify(a.Sparse)
	default:
		return nil, fmt.Errorf("attribute %q gives no value", a.Name)
	}
}
