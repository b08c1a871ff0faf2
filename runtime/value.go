package runtime

import "github.com/fp8rewrite/fp8rewrite/tensor"

// Kind tells the values apart that ONNX knows.
type Kind uint8

// The kinds of a value.
const (
	TensorValue   Kind = iota // Tensor is set
	SequenceValue             // Items are the elements, all tensors
	OptionalValue             // Items is empty, or holds the one element
)

// Value is what enters and leaves a session.
type Value struct {
	Kind   Kind
	Tensor *tensor.Tensor
	Items  []Value
}

// FromTensor is t as a value.
func FromTensor(t *tensor.Tensor) Value { return Value{Tensor: t} }
