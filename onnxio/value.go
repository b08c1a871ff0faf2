package onnxio

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Value is the content of a file of test data, such as input_0.pb: a tensor, or what a sequence or an optional holds.
type Value struct {
	Name   string
	Tensor *tensor.Tensor // of a tensor
	Items  []Value        // of a sequence, or of an optional: none or one
}

// UnmarshalTensor decodes a file that holds one TensorProto. The tensor is a view of b. External data is refused.
func UnmarshalTensor(b []byte) (name string, t *tensor.Tensor, err error) {
	v, err := UnmarshalValue(b, nil)
	return v.Name, v.Tensor, err
}

// UnmarshalValue decodes a file that holds a value of type typ: a TensorProto (also where typ is nil), a SequenceProto or an OptionalProto.
// The file alone does not tell them apart.
func UnmarshalValue(b []byte, typ *graph.Type) (Value, error) {
	switch {
	case typ == nil || typ.Kind == graph.TensorKind:
		return unmarshalTensor(b)
	case typ.Kind == graph.SequenceKind || typ.Kind == graph.OptionalKind:
		return unmarshalItems(b, typ)
	}
	return Value{}, errors.New("neither a tensor, nor a sequence, nor an optional")
}

func unmarshalTensor(b []byte) (Value, error) {
	pb := new(onnxpb.TensorProto)
	if err := proto.Unmarshal(b, pb); err != nil {
		return Value{}, fmt.Errorf("no TensorProto: %w", err)
	}
	var s source
	if pb.RawData != nil {
		s.data = pb.RawData
		pb.RawData = appendRecord(nil, 0, uint64(len(s.data)))
	}
	t, err := s.tensor(pb)
	if err != nil {
		return Value{}, fmt.Errorf("tensor %q: %w", pb.GetName(), err)
	}
	return Value{Name: pb.GetName(), Tensor: t}, nil
}

// Field numbers of SequenceProto and OptionalProto (onnx-data.proto), which agree.
const (
	fieldValueName     = 1
	fieldTensorValue   = 3
	fieldSequenceValue = 5
	fieldOptionalValue = 7
)

// unmarshalItems decodes the elements of a sequence or an optional. The nesting is that of typ, which came from a model and is finite.
func unmarshalItems(b []byte, typ *graph.Type) (Value, error) {
	var v Value
	for len(b) > 0 {
		field, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return v, protowire.ParseError(n)
		}
		b = b[n:]
		if wire != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, wire, b); n < 0 {
				return v, protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		content, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return v, protowire.ParseError(n)
		}
		b = b[n:]
		switch field {
		case fieldValueName:
			v.Name = string(content)
		case fieldTensorValue, fieldSequenceValue, fieldOptionalValue:
			if want := itemField(typ.Elem); int(field) != want {
				return v, fmt.Errorf("element in field %d, want %d", field, want)
			}
			item, err := UnmarshalValue(content, typ.Elem)
			if err != nil {
				return v, fmt.Errorf("element %d: %w", len(v.Items), err)
			}
			v.Items = append(v.Items, item)
		}
	}
	if typ.Kind == graph.OptionalKind && len(v.Items) > 1 {
		return v, fmt.Errorf("an optional of %d elements", len(v.Items))
	}
	return v, nil
}

// itemField is the field that holds elements of type t.
func itemField(t *graph.Type) int {
	switch {
	case t == nil || t.Kind == graph.TensorKind:
		return fieldTensorValue
	case t.Kind == graph.SequenceKind:
		return fieldSequenceValue
	case t.Kind == graph.OptionalKind:
		return fieldOptionalValue
	}
	return 0
}
