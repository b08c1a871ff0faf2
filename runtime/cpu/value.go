package cpu

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// fromValue is v as the operators see it.
func fromValue(v runtime.Value) (kernel.Value, error) {
	switch v.Kind {
	case runtime.TensorValue:
		return kernel.FromTensor(v.Tensor)
	case runtime.SequenceValue:
		s := &kernel.Sequence{}
		for i, item := range v.Items {
			e, err := fromValue(item)
			if err != nil {
				return nil, fmt.Errorf("element %d: %w", i, err)
			}
			if t, ok := e.(*kernel.Tensor); ok {
				s.DType = t.DType
			}
			s.Items = append(s.Items, e)
		}
		return s, nil
	case runtime.OptionalValue:
		if len(v.Items) == 0 {
			return &kernel.Optional{}, nil
		}
		e, err := fromValue(v.Items[0])
		return &kernel.Optional{Item: e}, err
	}
	return nil, fmt.Errorf("a value of kind %d", v.Kind)
}

// toValue is v for the world outside.
func toValue(v kernel.Value) (runtime.Value, error) {
	switch v := v.(type) {
	case *kernel.Tensor:
		return runtime.FromTensor(kernel.ToTensor(v)), nil
	case *kernel.Sequence:
		out := runtime.Value{Kind: runtime.SequenceValue}
		for _, item := range v.Items {
			e, err := toValue(item)
			if err != nil {
				return out, err
			}
			out.Items = append(out.Items, e)
		}
		return out, nil
	case *kernel.Optional:
		out := runtime.Value{Kind: runtime.OptionalValue}
		if v.Item != nil {
			e, err := toValue(v.Item)
			if err != nil {
				return out, err
			}
			out.Items = []runtime.Value{e}
		}
		return out, nil
	}
	return runtime.Value{}, fmt.Errorf("there is no value")
}
