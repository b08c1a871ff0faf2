// Package onnxpb is the ONNX file format as generated protobuf bindings: every
// message, field and enum value up to IR version 13 and opset 25, and the two
// float6 data types of IR 14. Fields that the schema does not have are kept as
// unknown fields and written again.
//
// It knows the wire format and nothing of what it means: no operator, no
// shape, no graph. Before it come bytes, after it onnxio, which is its only
// user and turns messages into graph.Model and back.
//
// The bindings are generated from onnx_ir13.proto; the proto package is
// fp8rewrite.onnx, so that they can be linked beside another package's ONNX
// bindings. To regenerate them, protoc and protoc-gen-go v1.36.12 must be on
// the PATH:
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	go generate ./internal/onnxpb
//
// Marshal writes a message's fields by rising number, as protobuf's C++ and
// Python libraries do, then its unknown fields. So a file from those libraries
// comes back byte for byte, while one with another order or packing comes back
// as different bytes that mean the same.
//
// What ONNX declares as a oneof (in TypeProto, TensorShapeProto.Dimension and
// SimpleShardedDimProto) is plain optional fields here, because Go writes a
// oneof out of that order. Nothing stops two of them from being set at once,
// in a file or by a caller: whoever reads them has to refuse that.
package onnxpb

//go:generate protoc --proto_path=../.. --go_out=../.. --go_opt=paths=source_relative internal/onnxpb/onnx_ir13.proto
