package onnxio

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
)

// TestEachLieHasItsError: a file that lies is refused with one line that says how.
func TestEachLieHasItsError(t *testing.T) {
	w := func(pb *onnxpb.ModelProto) *onnxpb.TensorProto { return pb.Graph.Initializer[0] }
	for name, c := range map[string]struct {
		lie  func(*onnxpb.ModelProto)
		want string
	}{
		"no IR version":                {func(pb *onnxpb.ModelProto) { pb.IrVersion = nil }, "no IR version"},
		"IR version 0":                 {func(pb *onnxpb.ModelProto) { pb.IrVersion = proto.Int64(0) }, "IR version 0, want 3 to 13"},
		"IR version 14":                {func(pb *onnxpb.ModelProto) { pb.IrVersion = proto.Int64(14) }, "IR version 14, want 3 to 13"},
		"no graph":                     {func(pb *onnxpb.ModelProto) { pb.Graph = nil }, "model has no graph"},
		"no opset":                     {func(pb *onnxpb.ModelProto) { pb.OpsetImport = nil }, "model imports no opset"},
		"opset 99":                     {func(pb *onnxpb.ModelProto) { pb.OpsetImport[0].Version = proto.Int64(99) }, "opset 99, want 1 to 27"},
		"opset 0":                      {func(pb *onnxpb.ModelProto) { pb.OpsetImport[0].Version = nil }, "opset 0, want 1 to 27"},
		"only another domain":          {func(pb *onnxpb.ModelProto) { pb.OpsetImport[0].Domain = proto.String("d") }, `node "n" (MatMul): the model does not import ONNX's own opset`},
		"node without operator":        {func(pb *onnxpb.ModelProto) { pb.Graph.Node[0].OpType = nil }, `node "n" has no operator`},
		"two nodes of one name":        {func(pb *onnxpb.ModelProto) { pb.Graph.Node = append(pb.Graph.Node, pb.Graph.Node[0]) }, `two nodes are called "n"`},
		"initializer without name":     {func(pb *onnxpb.ModelProto) { w(pb).Name = nil }, `initializer 0 of graph "g" has no name`},
		"two initializers of one name": {func(pb *onnxpb.ModelProto) { pb.Graph.Initializer = append(pb.Graph.Initializer, w(pb)) }, `two initializers of graph "g" are called "w"`},
		"unknown element type":         {func(pb *onnxpb.ModelProto) { w(pb).DataType = proto.Int32(-100) }, `initializer "w": unknown element type -100`},
		"no element type":              {func(pb *onnxpb.ModelProto) { w(pb).DataType = nil }, `initializer "w": unknown element type 0`},
		"negative dimension":           {func(pb *onnxpb.ModelProto) { w(pb).Dims = []int64{4, -2} }, `initializer "w": shape [4,-2]: axis 1 is negative`},
		"elements overflow":            {func(pb *onnxpb.ModelProto) { w(pb).Dims = []int64{1 << 62, 1 << 62} }, `number of elements overflows`},
		"size overflows":               {func(pb *onnxpb.ModelProto) { w(pb).Dims = []int64{1 << 61} }, `size overflows`},
		"raw_data too short":           {func(pb *onnxpb.ModelProto) { w(pb).RawData = w(pb).RawData[:31] }, `initializer "w": float32[4,2]: raw_data has 31 bytes, want 32`},
		"raw_data too long":            {func(pb *onnxpb.ModelProto) { w(pb).RawData = append(w(pb).RawData, 0) }, `raw_data has 33 bytes, want 32`},
		"no data":                      {func(pb *onnxpb.ModelProto) { w(pb).RawData = nil }, `initializer "w": float32[4,2]: has no data, want 32 bytes`},
		"raw and typed":                {func(pb *onnxpb.ModelProto) { w(pb).FloatData = make([]float32, 8) }, `data in both raw_data and float_data`},
		"two typed": {func(pb *onnxpb.ModelProto) {
			w(pb).RawData, w(pb).FloatData, w(pb).Int32Data = nil, make([]float32, 8), make([]int32, 8)
		}, `data in both float_data and int32_data`},
		"wrong typed field":   {func(pb *onnxpb.ModelProto) { w(pb).RawData, w(pb).DoubleData = nil, make([]float64, 8) }, `data in double_data, want float_data`},
		"typed too short":     {func(pb *onnxpb.ModelProto) { w(pb).RawData, w(pb).FloatData = nil, make([]float32, 7) }, `float_data has 7 numbers, want 8`},
		"segment":             {func(pb *onnxpb.ModelProto) { w(pb).Segment = &onnxpb.TensorProto_Segment{} }, `segment of a larger tensor`},
		"strings in raw_data": {func(pb *onnxpb.ModelProto) { w(pb).DataType = proto.Int32(8) }, `strings outside string_data`},
		"too few strings": {func(pb *onnxpb.ModelProto) {
			w(pb).DataType, w(pb).RawData, w(pb).StringData = proto.Int32(8), nil, [][]byte{{}}
		}, `got 1 strings, want 8`},
		"attribute tensor": {func(pb *onnxpb.ModelProto) {
			pb.Graph.Node[0].Attribute = []*onnxpb.AttributeProto{{Name: proto.String("a"), T: &onnxpb.TensorProto{Name: proto.String("t"), DataType: proto.Int32(1)}}}
		}, `node "n" (MatMul): attribute "a": tensor "t": float32[]: has no data, want 4 bytes`},
		"sparse initializer": {func(pb *onnxpb.ModelProto) {
			pb.Graph.SparseInitializer = []*onnxpb.SparseTensorProto{{Dims: []int64{2}}}
		}, `sparse initializer "": has no values`},
		"function without name": {func(pb *onnxpb.ModelProto) { pb.Functions = []*onnxpb.FunctionProto{{}} }, `function of domain "" has no name`},
		"two functions": {func(pb *onnxpb.ModelProto) {
			f := &onnxpb.FunctionProto{Name: proto.String("f")}
			pb.Functions = []*onnxpb.FunctionProto{f, f}
		}, `two functions are called "f"`},
		"external data in memory": {func(pb *onnxpb.ModelProto) {
			w(pb).RawData, w(pb).DataLocation = nil, onnxpb.TensorProto_EXTERNAL.Enum()
		}, `lies in another file, and this model has no folder`},
		"graphs too deep": {func(pb *onnxpb.ModelProto) {
			for range 40 {
				n := &onnxpb.NodeProto{OpType: proto.String("If"), Attribute: []*onnxpb.AttributeProto{{Name: proto.String("a"), G: pb.Graph}}}
				pb.Graph = &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{n}}
			}
		}, `messages nest deeper than 100`},
		"types too deep": {func(pb *onnxpb.ModelProto) {
			ty := &onnxpb.TypeProto{}
			for range 60 {
				ty = &onnxpb.TypeProto{OptionalType: &onnxpb.TypeProto_Optional{ElemType: ty}}
			}
			pb.Graph.Input[0].Type = ty
		}, `nests deeper than 100 messages`},
	} {
		t.Run(name, func(t *testing.T) {
			pb := small()
			c.lie(pb)
			_, err := Unmarshal(marshal(t, pb))
			wantError(t, err, c.want)
		})
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %q in it", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("error has more than one line: %q", err)
	}
}

func TestBytesThatAreNoModelAreRefused(t *testing.T) {
	whole := marshal(t, small())
	huge := protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.BytesType), 1<<63)
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":           {nil, "empty file"},
		"text":            {[]byte("this is no model at all"), "not an ONNX model"},
		"a huge length":   {huge, "not an ONNX model: offset 0: field of 9223372036854775808 bytes in the 0 bytes that are left"},
		"safetensors":     {append([]byte{2, 0, 0, 0, 0, 0, 0, 0}, "{}"...), "a safetensors file, want an ONNX model"},
		"half a tag":      {[]byte{0xff}, "not an ONNX model: offset 0: the file ends inside a field"},
		"a bad wire type": {[]byte{0x0f}, "not an ONNX model: offset 0: no protobuf message"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Unmarshal(c.b)
			wantError(t, err, c.want)
		})
	}
	// A field boundary of the model may be a place to cut without a trace; every other one is found.
	for n := range len(whole) {
		m, err := Unmarshal(whole[:n])
		if err == nil {
			if b, err := Marshal(m); err != nil || !bytes.Equal(b, whole[:n]) {
				t.Errorf("cut at %d of %d: opens as something else", n, len(whole))
			}
		}
	}
}

func TestOpenNamesWhatIsNoModelFile(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.onnx")
	if err := os.WriteFile(empty, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir: "got a folder, want a regular file", empty: "empty file", filepath.Join(dir, "none.onnx"): "none.onnx",
	} {
		_, err := Open(path)
		wantError(t, err, want)
		wantError(t, err, path)
	}
}

// external writes a model whose weight [4,2] float32 lies at entries, with a file "w.bin" of 100 bytes beside it.
func external(t *testing.T, entries ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 100)
	for i := range data {
		data[i] = byte(i)
	}
	for _, p := range []string{filepath.Join(dir, "w.bin"), filepath.Join(dir, "sub", "w.bin"), filepath.Join(dir, "..", "outside.bin")} {
		if err := os.WriteFile(p, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	pb := small()
	w := pb.Graph.Initializer[0]
	w.RawData, w.DataLocation = nil, onnxpb.TensorProto_EXTERNAL.Enum()
	for i := 0; i < len(entries); i += 2 {
		w.ExternalData = append(w.ExternalData, &onnxpb.StringStringEntryProto{Key: &entries[i], Value: &entries[i+1]})
	}
	path := filepath.Join(dir, "m.onnx")
	if err := os.WriteFile(path, marshal(t, pb), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExternalDataIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		entries []string
		first   byte
	}{
		"location alone":          {[]string{"location", "w.bin"}, 0},
		"offset":                  {[]string{"location", "w.bin", "offset", "68"}, 68},
		"offset and length":       {[]string{"offset", "5", "length", "32", "location", "w.bin"}, 5},
		"length 0 as if left out": {[]string{"location", "w.bin", "length", "0", "offset", "1"}, 1},
		"checksum and basepath":   {[]string{"location", "w.bin", "checksum", "x", "basepath", "/"}, 0},
		"prepacked weights":       {[]string{"location", "w.bin", "prepacked_0", "k|1;2"}, 0},
		"a folder below":          {[]string{"location", "sub/w.bin"}, 0},
		"a dot":                   {[]string{"location", "./w.bin"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Open(external(t, c.entries...))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			b, err := f.Model.Graph.Initializers[0].Tensor.Bytes()
			if err != nil || len(b) != 32 || b[0] != c.first || b[31] != c.first+31 {
				t.Errorf("got % x, error %v, want 32 bytes from %d", b, err, c.first)
			}
			if len(f.External) != 1 || f.External[0].Bytes != 100 {
				t.Errorf("external files: %+v", f.External)
			}
		})
	}
}

func TestEachLieAboutExternalDataHasItsError(t *testing.T) {
	for name, c := range map[string]struct {
		entries []string
		want    string
	}{
		"no location":           {nil, "names no location"},
		"empty location":        {[]string{"location", ""}, "location is empty"},
		"two locations":         {[]string{"location", "w.bin", "location", "sub/w.bin"}, `two locations, "w.bin" and "sub/w.bin"`},
		"absolute":              {[]string{"location", "/etc/passwd"}, "absolute path"},
		"two slashes":           {[]string{"location", "//file.bin"}, "absolute path"},
		"slashes inside":        {[]string{"location", "sub//w.bin"}, "empty path element"},
		"drive letter":          {[]string{"location", "C:/w.bin"}, "drive letter"},
		"drive, relative":       {[]string{"location", "c:w.bin"}, "drive letter"},
		"parent":                {[]string{"location", "../outside.bin"}, "leaves the model's folder"},
		"parent inside":         {[]string{"location", "sub/../../outside.bin"}, "leaves the model's folder"},
		"backslash":             {[]string{"location", `..\outside.bin`}, "backslash"},
		"backslash inside":      {[]string{"location", `sub\w.bin`}, "backslash"},
		"zero byte":             {[]string{"location", "w.bin\x00.txt"}, "zero byte"},
		"missing":               {[]string{"location", "none.bin"}, "no file "},
		"folder":                {[]string{"location", "sub"}, "not a regular file"},
		"the folder itself":     {[]string{"location", "."}, "not a regular file"},
		"negative offset":       {[]string{"location", "w.bin", "offset", "-1"}, `offset "-1" is negative`},
		"offset no number":      {[]string{"location", "w.bin", "offset", "abc"}, `offset "abc" is not a number`},
		"offset empty":          {[]string{"location", "w.bin", "offset", ""}, `offset "" is not a number`},
		"offset overflows":      {[]string{"location", "w.bin", "offset", "9223372036854775808"}, `is too large`},
		"offset overflows more": {[]string{"location", "w.bin", "offset", "99999999999999999999"}, `is too large`},
		"offset past the end":   {[]string{"location", "w.bin", "offset", "101"}, `32 bytes at offset 101 are past the file's end at 100`},
		"end past the end":      {[]string{"location", "w.bin", "offset", "69"}, `32 bytes at offset 69 are past the file's end at 100`},
		"offset near overflow":  {[]string{"location", "w.bin", "offset", "9223372036854775807"}, `past the file's end at 100`},
		"negative length":       {[]string{"location", "w.bin", "length", "-5"}, `length "-5" is negative`},
		"length no number":      {[]string{"location", "w.bin", "length", "32.0"}, `length "32.0" is not a number`},
		"length too short":      {[]string{"location", "w.bin", "length", "31"}, `length 31, want 32`},
		"length too long":       {[]string{"location", "w.bin", "length", "33"}, `length 33, want 32`},
		"unknown key":           {[]string{"location", "w.bin", "malicious_attr", "evil"}, `unknown key "malicious_attr"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(external(t, c.entries...))
			wantError(t, err, c.want)
			wantError(t, err, `initializer "w": external data`)
		})
	}
}

func TestDataInTwoPlacesIsRefused(t *testing.T) {
	path := external(t, "location", "w.bin")
	pb := new(onnxpb.ModelProto)
	b, _ := os.ReadFile(path)
	if err := proto.Unmarshal(b, pb); err != nil {
		t.Fatal(err)
	}
	for field, set := range map[string]func(*onnxpb.TensorProto){
		"raw_data":   func(x *onnxpb.TensorProto) { x.RawData, x.FloatData = make([]byte, 32), nil },
		"float_data": func(x *onnxpb.TensorProto) { x.RawData, x.FloatData = nil, make([]float32, 8) },
	} {
		set(pb.Graph.Initializer[0])
		if err := os.WriteFile(path, marshal(t, pb), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		wantError(t, err, "data in both another file and "+field)
	}
}

func TestLinksAreRefused(t *testing.T) {
	link := func(name string, f func(old, new string) error, old, new, location, want string) {
		t.Run(name, func(t *testing.T) {
			path := external(t, "location", location)
			dir := filepath.Dir(path)
			if err := f(filepath.Join(dir, old), filepath.Join(dir, new)); err != nil {
				t.Skip("this system makes no such link: ", err)
			}
			_, err := Open(path)
			wantError(t, err, want)
			wantError(t, err, fmt.Sprintf("external data %q", location))
		})
	}
	if runtime.GOOS == "windows" {
		t.Log("links may need a privilege here")
	}
	link("symbolic link", os.Symlink, "w.bin", "l.bin", "l.bin", "is a symbolic link")
	link("symbolic link to the outside", os.Symlink, "../outside.bin", "l.bin", "l.bin", "is a symbolic link")
	link("folder that is a link", os.Symlink, "sub", "l", "l/w.bin", "is a symbolic link")
	link("hard link", os.Link, "w.bin", "l.bin", "l.bin", "has 2 hard links")
	link("hard link to the outside", os.Link, "../outside.bin", "l.bin", "l.bin", "has 2 hard links")
}
