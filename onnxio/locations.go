package onnxio

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
)

// locations calls f with the location of every tensor in m that lies in another file.
func locations(m protoreflect.Message, f func(string)) {
	if pb, ok := m.Interface().(*onnxpb.TensorProto); ok {
		for _, e := range pb.ExternalData {
			if pb.GetDataLocation() == onnxpb.TensorProto_EXTERNAL && e.GetKey() == "location" {
				f(e.GetValue())
			}
		}
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				locations(v.List().Get(i).Message(), f)
			}
		default:
			locations(v.Message(), f)
		}
		return true
	})
}
