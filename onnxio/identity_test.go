package onnxio

import (
	"bytes"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func reopen(t testing.TB, b []byte) (*graph.Model, []byte) {
	t.Helper()
	m, err := Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return m, out
}

func TestAnUntouchedModelIsWrittenAsItWas(t *testing.T) {
	for name, pb := range map[string]*onnxpb.ModelProto{
		"small": small(), "every field": everything(false), "every field zero": everything(true), "every dtype": typed(t),
	} {
		t.Run(name, func(t *testing.T) {
			want := marshal(t, pb)
			if _, got := reopen(t, want); !bytes.Equal(got, want) {
				again := new(onnxpb.ModelProto)
				if err := proto.Unmarshal(got, again); err != nil {
					t.Fatal(err)
				}
				t.Errorf("%d bytes, want %d; equal as messages: %v", len(got), len(want), proto.Equal(again, pb))
			}
		})
	}
}

// TestACloneIsWrittenAsTheOriginal: origins that are copied along keep what the graph does not model.
func TestACloneIsWrittenAsTheOriginal(t *testing.T) {
	want := marshal(t, everything(false))
	m, err := Unmarshal(want)
	if err != nil {
		t.Fatal(err)
	}
	m.Graph = m.Graph.Clone()
	if got, err := Marshal(m); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d, error %v", len(got), len(want), err)
	}
}

// typed is a model with an initializer of each element type in its typed field.
func typed(t testing.TB) *onnxpb.ModelProto {
	pb := small()
	for dt := tensor.Float32; dt <= tensor.Int2; dt++ {
		x := &onnxpb.TensorProto{Name: proto.String(dt.String()), DataType: proto.Int32(int32(dt)), Dims: []int64{2, 2}}
		switch dt {
		case tensor.Float32:
			x.FloatData = []float32{1, float32(math.Inf(-1)), math.Float32frombits(0x7fc00001), -0}
		case tensor.Complex64:
			x.FloatData = []float32{1, 2, 3, 4, 5, 6, 7, 8}
		case tensor.Float64:
			x.DoubleData = []float64{1, 2, 3, -4}
		case tensor.Complex128:
			x.DoubleData = []float64{1, 2, 3, 4, 5, 6, 7, 8}
		case tensor.Int64:
			x.Int64Data = []int64{1, -2, math.MinInt64, 4}
		case tensor.Uint32, tensor.Uint64:
			x.Uint64Data = []uint64{1, 2, 3, math.MaxUint32}
		case tensor.String:
			x.StringData = [][]byte{[]byte("a"), {}, []byte("ccc"), {0xff}}
		case tensor.Uint4, tensor.Int4, tensor.Float4E2M1:
			x.Int32Data = []int32{0x21, 0x43}
		case tensor.Uint2, tensor.Int2:
			x.Int32Data = []int32{0b11100100}
		default:
			x.Int32Data = []int32{1, 0, -1, 127}
		}
		pb.Graph.Initializer = append(pb.Graph.Initializer, x)
	}
	return pb
}

func TestTypedFieldsBecomeLittleEndianBytes(t *testing.T) {
	m, err := Unmarshal(marshal(t, typed(t)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{
		"float32":      {0, 0, 0x80, 0x3f, 0, 0, 0x80, 0xff, 1, 0, 0xc0, 0x7f, 0, 0, 0, 0},
		"uint32":       {1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 255, 255, 255, 255},
		"int32":        {1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 127, 0, 0, 0},
		"int64":        {1, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 128, 4, 0, 0, 0, 0, 0, 0, 0},
		"float16":      {1, 0, 0, 0, 255, 255, 127, 0},
		"bfloat16":     {1, 0, 0, 0, 255, 255, 127, 0},
		"int8":         {1, 0, 255, 127},
		"bool":         {1, 0, 1, 1},
		"float8e4m3fn": {1, 0, 255, 127},
		"int4":         {0x21, 0x43},
		"uint2":        {0b11100100},
	}
	for name, b := range want {
		got, err := m.Graph.Initializer(name).Tensor.Bytes()
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: got %v, want %v, error %v", name, got, b, err)
		}
	}
	if s := m.Graph.Initializer("string").Tensor.Strings; len(s) != 4 || string(s[2]) != "ccc" {
		t.Errorf("strings: got %q", s)
	}
	for _, i := range m.Graph.Initializers {
		if i.Tensor.DType == tensor.String {
			continue
		}
		if _, err := tensor.New(i.Tensor.DType, i.Tensor.Shape, i.Tensor.Data); err != nil {
			t.Errorf("%s: %v", i.Name, err)
		}
	}
}

// TestOneChangeLeavesTheRest edits one thing at a time and compares with the same edit of the message.
func TestOneChangeLeavesTheRest(t *testing.T) {
	raw := func(b ...byte) *tensor.Tensor {
		return &tensor.Tensor{DType: tensor.Uint8, Shape: tensor.Shape{int64(len(b))}, Data: tensor.Bytes(b)}
	}
	asRaw := func(pb *onnxpb.TensorProto, b ...byte) {
		pb.DataType, pb.Dims, pb.RawData = proto.Int32(int32(tensor.Uint8)), []int64{int64(len(b))}, b
		pb.FloatData, pb.DataLocation, pb.ExternalData = nil, nil, nil
	}
	for name, c := range map[string]struct {
		edit func(*graph.Model)
		same func(*onnxpb.ModelProto)
	}{
		"producer":             {func(m *graph.Model) { m.ProducerName = "p" }, func(pb *onnxpb.ModelProto) { pb.ProducerName = proto.String("p") }},
		"opset":                {func(m *graph.Model) { m.SetOpset("", 21) }, func(pb *onnxpb.ModelProto) { pb.OpsetImport[0].Version = proto.Int64(21) }},
		"node name":            {func(m *graph.Model) { m.Graph.Nodes[0].Name = "p" }, func(pb *onnxpb.ModelProto) { pb.Graph.Node[0].Name = proto.String("p") }},
		"node name taken away": {func(m *graph.Model) { m.Graph.Nodes[0].Name = "" }, func(pb *onnxpb.ModelProto) { pb.Graph.Node[0].Name = nil }},
		"node input in place":  {func(m *graph.Model) { m.Graph.Nodes[0].Inputs[1] = "p" }, func(pb *onnxpb.ModelProto) { pb.Graph.Node[0].Input[1] = "p" }},
		"attribute int":        {func(m *graph.Model) { m.Graph.Nodes[0].Attributes[0].Int = 5 }, func(pb *onnxpb.ModelProto) { pb.Graph.Node[0].Attribute[0].I = proto.Int64(5) }},
		"attribute tensor": {
			func(m *graph.Model) { m.Graph.Nodes[0].Attributes[0].Tensor = raw(7) },
			func(pb *onnxpb.ModelProto) { asRaw(pb.Graph.Node[0].Attribute[0].T, 7) },
		},
		"initializer": {
			func(m *graph.Model) { m.Graph.Initializers[0].Tensor = raw(7, 8) },
			func(pb *onnxpb.ModelProto) { asRaw(pb.Graph.Initializer[0], 7, 8) },
		},
		"node metadata": {
			func(m *graph.Model) {
				m.Graph.Nodes[0].Metadata = append(m.Graph.Nodes[0].Metadata, graph.Property{Key: "k", Value: "v"})
			},
			func(pb *onnxpb.ModelProto) {
				n := pb.Graph.Node[0]
				n.MetadataProps = append(n.MetadataProps, &onnxpb.StringStringEntryProto{Key: proto.String("k"), Value: proto.String("v")})
			},
		},
		"a node more": {
			func(m *graph.Model) {
				m.Graph.Nodes = append(m.Graph.Nodes, &graph.Node{OpType: "Cast", Inputs: []string{"a"}, Outputs: []string{"b"},
					Attributes: []*graph.Attribute{graph.Int("to", 0), graph.Float("f", 0), graph.Str("s", ""), graph.Ints("is", 1, 2), graph.Ref("r", "q", graph.AttrInt)}})
			},
			func(pb *onnxpb.ModelProto) {
				kind := func(k int32) *onnxpb.AttributeProto_AttributeType {
					return onnxpb.AttributeProto_AttributeType(k).Enum()
				}
				pb.Graph.Node = append(pb.Graph.Node, &onnxpb.NodeProto{OpType: proto.String("Cast"), Input: []string{"a"}, Output: []string{"b"},
					Attribute: []*onnxpb.AttributeProto{
						{Name: proto.String("to"), I: proto.Int64(0), Type: kind(2)},
						{Name: proto.String("f"), F: proto.Float32(0), Type: kind(1)},
						{Name: proto.String("s"), S: []byte{}, Type: kind(3)},
						{Name: proto.String("is"), Ints: []int64{1, 2}, Type: kind(7)},
						{Name: proto.String("r"), RefAttrName: proto.String("q"), Type: kind(2)},
					}})
			},
		},
		"no nodes": {func(m *graph.Model) { m.Graph.Nodes = nil }, func(pb *onnxpb.ModelProto) { pb.Graph.Node = nil }},
		"subgraph": {
			func(m *graph.Model) { m.Graph.Nodes[0].Attributes[0].Graph.Name = "p" },
			func(pb *onnxpb.ModelProto) { pb.Graph.Node[0].Attribute[0].G.Name = proto.String("p") },
		},
		"function node": {
			func(m *graph.Model) { m.Functions[0].Nodes[0].OpType = "p" },
			func(pb *onnxpb.ModelProto) { pb.Functions[0].Node[0].OpType = proto.String("p") },
		},
		"value type": {
			func(m *graph.Model) {
				m.Graph.Inputs[0].Type = &graph.Type{DType: tensor.Float32, HasShape: true, Shape: []graph.Dim{{Value: 3}, {Value: -1, Param: "n"}, {Value: -1}}}
			},
			func(pb *onnxpb.ModelProto) {
				ty := pb.Graph.Input[0].Type
				ty.SequenceType, ty.MapType, ty.OpaqueType, ty.SparseTensorType, ty.OptionalType = nil, nil, nil, nil, nil
				ty.TensorType.ElemType = proto.Int32(1)
				ty.TensorType.Shape.Dim = []*onnxpb.TensorShapeProto_Dimension{{DimValue: proto.Int64(3)}, {DimParam: proto.String("n")}, {}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pb := everything(false)
			m, err := Unmarshal(marshal(t, pb))
			if err != nil {
				t.Fatal(err)
			}
			c.edit(m)
			c.same(pb)
			got, err := Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, marshal(t, pb)) {
				t.Error("more has changed than the edit, or less")
			}
		})
	}
}

// TestNothingInAFilePassesForARecord: a raw_data that looks like a record of other bytes is content like any other.
func TestNothingInAFilePassesForARecord(t *testing.T) {
	pb := small()
	fake := appendRecord(nil, 0, 16)
	pb.Graph.Initializer[0].RawData, pb.Graph.Initializer[0].Dims = fake, []int64{4}
	m, got := reopen(t, marshal(t, pb))
	b, err := m.Graph.Initializers[0].Tensor.Bytes()
	if err != nil || !bytes.Equal(b, fake) || !bytes.Equal(got, marshal(t, pb)) {
		t.Errorf("got %x, want %x, error %v", b, fake, err)
	}
}

// TestLengthsMayBePadded: a file whose lengths are not minimal means the same and is written with minimal ones.
func TestLengthsMayBePadded(t *testing.T) {
	want := marshal(t, small())
	stripped := new(onnxpb.ModelProto)
	if err := proto.Unmarshal(want, stripped); err != nil {
		t.Fatal(err)
	}
	g, err := proto.Marshal(stripped.Graph)
	if err != nil {
		t.Fatal(err)
	}
	stripped.Graph = nil
	b := protowire.AppendTag(marshal(t, stripped), 7, protowire.BytesType)
	length := make([]byte, 6)
	padVarint(length, uint64(len(g)))
	b = append(append(b, length...), g...)
	if _, got := reopen(t, b); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}
