package onnxio

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// small is a model of one MatMul with weight w [4,2] float32.
func small() *onnxpb.ModelProto {
	w := make([]byte, 32)
	for i := range 8 {
		binary.LittleEndian.PutUint32(w[4*i:], math.Float32bits(float32(i)))
	}
	return &onnxpb.ModelProto{
		IrVersion:   proto.Int64(9),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(19)}},
		Graph: &onnxpb.GraphProto{
			Name: proto.String("g"),
			Node: []*onnxpb.NodeProto{{
				Name: proto.String("n"), OpType: proto.String("MatMul"), Input: []string{"x", "w"}, Output: []string{"y"},
			}},
			Input:  []*onnxpb.ValueInfoProto{{Name: proto.String("x")}},
			Output: []*onnxpb.ValueInfoProto{{Name: proto.String("y")}},
			Initializer: []*onnxpb.TensorProto{{
				Name: proto.String("w"), Dims: []int64{4, 2}, DataType: proto.Int32(1), RawData: w,
			}},
		},
	}
}

func marshal(t testing.TB, pb *onnxpb.ModelProto) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(pb)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// everything is a model in which every field of every message is set, to a zero value if zero is true, and every message carries a
// field that nobody knows. A message inside one of its own type ends there.
func everything(zero bool) *onnxpb.ModelProto {
	f := filler{zero: zero, open: map[protoreflect.FullName]int{}}
	pb := new(onnxpb.ModelProto)
	f.fill(pb.ProtoReflect())
	pb.IrVersion = proto.Int64(13)
	pb.OpsetImport[0] = &onnxpb.OperatorSetIdProto{Domain: proto.String("ai.onnx"), Version: proto.Int64(25)}
	return pb
}

type filler struct {
	zero bool
	open map[protoreflect.FullName]int
	n    int64
}

func (f *filler) fill(m protoreflect.Message) {
	f.n++
	m.SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), uint64(f.n)))
	name := m.Descriptor().FullName()
	f.open[name]++
	defer func() { f.open[name]-- }()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case fd.Message() != nil && f.open[fd.Message().FullName()] >= 2:
		case fd.IsList() && fd.Message() != nil:
			f.fill(m.Mutable(fd).List().AppendMutable().Message())
		case fd.IsList():
			l := m.Mutable(fd).List()
			l.Append(f.scalar(fd))
			l.Append(f.scalar(fd))
		case fd.Message() != nil:
			f.fill(m.Mutable(fd).Message())
		default:
			m.Set(fd, f.scalar(fd))
		}
	}
	switch pb := m.Interface().(type) { // what must be sound for the model to open
	case *onnxpb.TensorProto:
		pb.Name = proto.String(fmt.Sprint("t", f.n))
		pb.Dims = []int64{2, 1}
		pb.DataType = proto.Int32(int32(tensor.Float16))
		pb.RawData = []byte{1, 2, 3, byte(f.n)}
		pb.Segment, pb.DataLocation = nil, onnxpb.TensorProto_DEFAULT.Enum()
		pb.FloatData, pb.Int32Data, pb.Int64Data, pb.DoubleData, pb.Uint64Data, pb.StringData = nil, nil, nil, nil, nil, nil
		if f.n%2 == 0 {
			pb.DataType, pb.RawData, pb.FloatData = proto.Int32(int32(tensor.Float32)), nil, []float32{0, float32(f.n)}
		}
	case *onnxpb.NodeProto:
		pb.OpType = proto.String("Op")
	case *onnxpb.FunctionProto:
		pb.Name = proto.String("F")
	case *onnxpb.SparseTensorProto:
		pb.Dims = []int64{3, 4}
	}
}

func (f *filler) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	f.n++
	n := f.n
	if f.zero {
		n = 0
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		if f.zero {
			return protoreflect.ValueOfString("")
		}
		return protoreflect.ValueOfString(fmt.Sprint("s", n))
	case protoreflect.BytesKind:
		if f.zero {
			return protoreflect.ValueOfBytes([]byte{})
		}
		return protoreflect.ValueOfBytes([]byte{byte(n)})
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(n)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(min(n, 1)))
	}
	panic(fd.FullName())
}
