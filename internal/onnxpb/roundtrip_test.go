package onnxpb_test

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
)

// wire builds a message field by field, independently of the bindings.
type wire []byte

func (w wire) num(field protowire.Number, v int64) wire {
	return protowire.AppendVarint(protowire.AppendTag(w, field, protowire.VarintType), uint64(v))
}

func (w wire) bytes(field protowire.Number, v []byte) wire {
	return protowire.AppendBytes(protowire.AppendTag(w, field, protowire.BytesType), v)
}

func (w wire) str(field protowire.Number, v string) wire { return w.bytes(field, []byte(v)) }

func (w wire) f32(field protowire.Number, bits uint32) wire {
	return protowire.AppendFixed32(protowire.AppendTag(w, field, protowire.Fixed32Type), bits)
}

func (w wire) f64(field protowire.Number, bits uint64) wire {
	return protowire.AppendFixed64(protowire.AppendTag(w, field, protowire.Fixed64Type), bits)
}

func varints(v ...int64) []byte {
	var b []byte
	for _, x := range v {
		b = protowire.AppendVarint(b, uint64(x))
	}
	return b
}

// TestUnmarshalThenMarshalIsTheIdentity takes bytes as a C++ or Python producer
// writes them, checks what the bindings read from them, and wants them back.
func TestUnmarshalThenMarshalIsTheIdentity(t *testing.T) {
	const none = 0 // no unknown fields expected
	cases := []struct {
		name    string
		in      wire
		into    proto.Message
		unknown int // bytes of unknown fields at the top level
		check   func(proto.Message) bool
	}{
		{
			"fields set to their zero value stay set",
			wire{}.num(1, 0).str(2, "").num(5, 0).bytes(7, nil).bytes(8, wire{}.str(1, "").num(2, 0)),
			&onnxpb.ModelProto{}, none,
			func(m proto.Message) bool {
				p := m.(*onnxpb.ModelProto)
				return p.IrVersion != nil && p.ProducerName != nil && p.ProducerVersion == nil &&
					p.ModelVersion != nil && p.Graph != nil && p.OpsetImport[0].Domain != nil
			},
		},
		{
			"a tensor's typed data is packed and its dims are not",
			wire{}.num(1, 0).num(1, 3).num(2, 1).
				bytes(4, []byte{0, 0, 0x80, 0x3f, 1, 0, 0xc0, 0x7f}). // 1, a NaN with a payload
				bytes(5, varints(-1, 200)).str(6, "").str(6, "a").bytes(7, varints(-5)).str(8, "w").
				bytes(10, make([]byte, 8)).bytes(11, varints(-1)),
			&onnxpb.TensorProto{}, none,
			func(m proto.Message) bool {
				p := m.(*onnxpb.TensorProto)
				return len(p.Dims) == 2 && p.Dims[1] == 3 && len(p.FloatData) == 2 && p.FloatData[0] == 1 &&
					p.Int32Data[0] == -1 && p.Int32Data[1] == 200 && len(p.StringData) == 2 &&
					p.Int64Data[0] == -5 && len(p.DoubleData) == 1 && p.Uint64Data[0] == 1<<64-1
			},
		},
		{
			"an external tensor keeps empty raw data, its location and its metadata",
			wire{}.num(2, 17).bytes(3, wire{}.num(1, 0).num(2, 4)).bytes(9, nil).
				bytes(13, wire{}.str(1, "location").str(2, "w.bin")).num(14, 1).
				bytes(16, wire{}.str(1, "k").str(2, "")),
			&onnxpb.TensorProto{}, none,
			func(m proto.Message) bool {
				p := m.(*onnxpb.TensorProto)
				return onnxpb.TensorProto_DataType(p.GetDataType()) == onnxpb.TensorProto_FLOAT8E4M3FN &&
					p.RawData != nil && p.GetDataLocation() == onnxpb.TensorProto_EXTERNAL &&
					p.ExternalData[0].GetValue() == "w.bin" && p.MetadataProps[0].GetKey() == "k" &&
					p.Segment.GetEnd() == 4
			},
		},
		{
			"an attribute's lists are unpacked",
			wire{}.str(1, "axes").f32(2, 0).num(3, 0).str(4, "").f32(7, 0x3f800000).f32(7, 0).num(8, -1).num(8, 2).
				str(9, "\xff\xfe").num(20, 7).str(21, "outer"),
			&onnxpb.AttributeProto{}, none,
			func(m proto.Message) bool {
				p := m.(*onnxpb.AttributeProto)
				return p.F != nil && p.I != nil && p.S != nil && len(p.Floats) == 2 && len(p.Ints) == 2 &&
					p.Ints[0] == -1 && p.GetType() == onnxpb.AttributeProto_INTS && p.GetRefAttrName() == "outer"
			},
		},
		{
			"an attribute type that nobody knows stays in its field",
			wire{}.str(1, "a").num(20, 99),
			&onnxpb.AttributeProto{}, none,
			func(m proto.Message) bool { return m.(*onnxpb.AttributeProto).GetType() == 99 },
		},
		{
			"names that are not UTF-8 are kept",
			wire{}.str(1, "\xff").str(2, "").str(3, "caf\xe9").str(4, "MatMul").bytes(5, nil).str(7, "").str(8, "o").
				bytes(9, nil).bytes(10, wire{}.str(1, "tp").bytes(2, wire{}.num(2, 0).num(2, -1)).num(3, 0)),
			&onnxpb.NodeProto{}, none,
			func(m proto.Message) bool {
				p := m.(*onnxpb.NodeProto)
				return p.Input[0] == "\xff" && p.GetOverload() == "o" &&
					p.DeviceConfigurations[0].ShardingSpec[0].Device[1] == -1
			},
		},
		{
			"a dimension of zero, one with an empty name and an unknown one differ",
			wire{}.bytes(1, wire{}.num(1, 0)).bytes(1, wire{}.str(2, "").str(3, "DATA_BATCH")).bytes(1, nil),
			&onnxpb.TensorShapeProto{}, none,
			func(m proto.Message) bool {
				d := m.(*onnxpb.TensorShapeProto).Dim
				return d[0].DimValue != nil && d[0].DimParam == nil && d[1].DimParam != nil && d[1].DimValue == nil &&
					d[2].DimValue == nil && d[2].DimParam == nil
			},
		},
		{
			"a type's denotation comes in the order of its number",
			wire{}.bytes(1, wire{}.num(1, 1).bytes(2, nil)).str(6, "TENSOR"),
			&onnxpb.TypeProto{}, none,
			func(m proto.Message) bool {
				p := m.(*onnxpb.TypeProto)
				return p.TensorType.GetElemType() == 1 && p.TensorType.Shape != nil && p.GetDenotation() == "TENSOR"
			},
		},
		{
			"an optional type follows its denotation",
			wire{}.str(6, "d").bytes(9, wire{}.bytes(1, nil)),
			&onnxpb.TypeProto{}, none,
			func(m proto.Message) bool { return m.(*onnxpb.TypeProto).OptionalType.ElemType != nil },
		},
		{
			"fields nobody knows are kept, of every wire type",
			wire{}.num(1, 13).num(100, -1).f32(101, 7).str(102, "later").f64(103, 9),
			&onnxpb.ModelProto{}, len(wire{}.num(100, -1).f32(101, 7).str(102, "later").f64(103, 9)),
			func(m proto.Message) bool { return m.(*onnxpb.ModelProto).GetIrVersion() == 13 },
		},
		{
			"an unknown group and a known number with a foreign wire type are kept",
			func() wire {
				w := wire{}.str(2, "g")
				w = protowire.AppendTag(w, 30, protowire.StartGroupType)
				w = w.num(1, 5)
				w = protowire.AppendTag(w, 30, protowire.EndGroupType)
				return w.num(5, 5) // initializer, as a varint
			}(),
			&onnxpb.GraphProto{}, 8,
			func(m proto.Message) bool {
				p := m.(*onnxpb.GraphProto)
				return p.GetName() == "g" && p.Initializer == nil
			},
		},
		{
			"unknown fields below the top level are kept",
			wire{}.bytes(7, wire{}.bytes(1, wire{}.str(1, "x").str(200, "n")).bytes(5, wire{}.num(1, 2).str(201, "t"))).
				bytes(25, wire{}.str(1, "f").str(6, "a").bytes(11, wire{}.str(1, "b").num(3, 0)).bytes(12, nil).str(13, "").bytes(14, nil)).
				bytes(26, wire{}.str(1, "c").num(2, 0).str(3, "cuda:0")),
			&onnxpb.ModelProto{}, none,
			func(m proto.Message) bool {
				p := m.(*onnxpb.ModelProto)
				return len(p.Graph.Node[0].ProtoReflect().GetUnknown()) == 4 &&
					len(p.Graph.Initializer[0].ProtoReflect().GetUnknown()) == 4 &&
					p.Functions[0].AttributeProto[0].GetName() == "b" && p.Configuration[0].Device[0] == "cuda:0"
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := proto.Unmarshal(c.in, c.into); err != nil {
				t.Fatal(err)
			}
			if !c.check(c.into) {
				t.Errorf("read as %v", c.into)
			}
			if got := len(c.into.ProtoReflect().GetUnknown()); got != c.unknown {
				t.Errorf("unknown fields: got %d bytes, want %d", got, c.unknown)
			}
			out, err := proto.Marshal(c.into)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, c.in) {
				t.Errorf("written as\n%s\nwant\n%s", hex.Dump(out), hex.Dump(c.in))
			}
		})
	}
}

// TestOrderAndPackingOfAProducerAreNotKept states the limits of the identity:
// the bytes change, the message does not.
func TestOrderAndPackingOfAProducerAreNotKept(t *testing.T) {
	cases := []struct {
		name     string
		in, want wire
		into     proto.Message
	}{
		{"packed ints are written unpacked", wire{}.bytes(8, varints(1, 2)), wire{}.num(8, 1).num(8, 2), &onnxpb.AttributeProto{}},
		{"unpacked int64_data is written packed", wire{}.num(7, 1).num(7, 2), wire{}.bytes(7, varints(1, 2)), &onnxpb.TensorProto{}},
		{"falling numbers are written rising", wire{}.str(3, "n").str(1, "x"), wire{}.str(1, "x").str(3, "n"), &onnxpb.NodeProto{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := proto.Unmarshal(c.in, c.into); err != nil {
				t.Fatal(err)
			}
			out, err := proto.Marshal(c.into)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, c.want) {
				t.Errorf("written as %x, want %x", out, []byte(c.want))
			}
			again := c.into.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(out, again); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(again, c.into) {
				t.Errorf("reads back as %v, want %v", again, c.into)
			}
		})
	}
}

// TestCorpusFilesComeBackByteForByte walks the third-party models of a corpus,
// which is too large and too variously licensed to be part of this repository.
func TestCorpusFilesComeBackByteForByte(t *testing.T) {
	root := os.Getenv("FP8REWRITE_CORPUS")
	if root == "" {
		t.Skip("FP8REWRITE_CORPUS names no folder of models written by others")
	}
	total := 0
	for _, kind := range []string{"trained", "transformer", "trait", "quant"} {
		count := 0
		err := filepath.WalkDir(filepath.Join(root, kind), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() || !strings.HasSuffix(path, ".onnx") {
				return nil
			}
			in, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			count++
			var m onnxpb.ModelProto
			if err := proto.Unmarshal(in, &m); err != nil {
				t.Errorf("%s: %v", path, err)
				return nil
			}
			out, err := proto.Marshal(&m)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			} else if !bytes.Equal(out, in) {
				t.Errorf("%s: %d bytes come back as %d, first difference at %d", path, len(in), len(out), firstDifference(in, out))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s: %d files", kind, count)
		total += count
	}
	if total == 0 {
		t.Errorf("%s holds no .onnx file", root)
	}
	t.Logf("%d files read and written", total)
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
