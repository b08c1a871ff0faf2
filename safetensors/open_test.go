package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// file is a file with this header and data.
func file(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

const four = "\x01\x02\x03\x04"

func TestEachLieHasItsError(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		want error
		word string
	}{
		{"no bytes", nil, ErrTruncated, "0 bytes"},
		{"seven bytes", make([]byte, 7), ErrTruncated, "7 bytes"},
		{"a header longer than the file", append(binary.LittleEndian.AppendUint64(nil, 1000), "{}"...), ErrTruncated, "1000 bytes and 2"},
		{"a header of more than 100 MB", append(binary.LittleEndian.AppendUint64(nil, 100_000_001), "{}"...), ErrHeaderSize, "100000001"},
		{"a header length that is negative as a signed number", append(binary.LittleEndian.AppendUint64(nil, 1<<63), "{}"...), ErrHeaderSize, ""},
		{"no header", file("", ""), ErrHeaderStart, ""},
		{"white space before the header", file(" {}", ""), ErrHeaderStart, ""},
		{"a list for a header", file("[]", ""), ErrHeaderStart, ""},
		{"a header that is no UTF-8", file("{\"\xff\":1}", ""), ErrUTF8, ""},
		{"a header that ends early", file(`{"a":{"dtype":"U8"`, ""), ErrJSON, ""},
		{"a header with a comma too many", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},}`, four), ErrJSON, ""},
		{"something after the header", file(`{} x`, ""), ErrJSON, ""},
		{"two headers", file(`{}{}`, ""), ErrJSON, "want the end"},
		{"an entry that is no object", file(`{"a":1}`, ""), ErrJSON, "got 1"},
		{"an entry without a type", file(`{"a":{"shape":[4],"data_offsets":[0,4]}}`, four), ErrJSON, "no dtype"},
		{"an entry without a shape", file(`{"a":{"dtype":"U8","data_offsets":[0,4]}}`, four), ErrJSON, "no shape"},
		{"an entry without offsets", file(`{"a":{"dtype":"U8","shape":[4]}}`, four), ErrJSON, "no data_offsets"},
		{"an entry with more", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":[]}}`, four), ErrJSON, `unknown key "x"`},
		{"one offset", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[4]}}`, four), ErrJSON, "1 numbers"},
		{"three offsets", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}}`, four), ErrShape, "more than 2"},
		{"an offset that is no whole number", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4.0]}}`, four), ErrJSON, "4.0"},
		{"an offset in powers of ten", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4e0]}}`, four), ErrJSON, "4e0"},
		{"a negative offset", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[-4,0]}}`, four), ErrJSON, "-4"},
		{"an offset beyond 64 bits", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,18446744073709551620]}}`, four), ErrOverflow, ""},
		{"a shape that is no list", file(`{"a":{"dtype":"U8","shape":4,"data_offsets":[0,4]}}`, four), ErrJSON, "got 4"},
		{"a shape with a text", file(`{"a":{"dtype":"U8","shape":["4"],"data_offsets":[0,4]}}`, four), ErrJSON, `"4"`},
		{"a negative axis", file(`{"a":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}}`, four), ErrJSON, "-4"},
		{"65 axes", file(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 64)+`1],"data_offsets":[0,1]}}`, "x"), ErrShape, "64"},
		{"a key twice", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, four),
			ErrDuplicate, `"a"`},
		{"a key twice in two spellings", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"\u0061":{"dtype":"U8","shape":[2],`+
			`"data_offsets":[2,4]}}`, four), ErrDuplicate, `"a"`},
		{"a type twice", file(`{"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}}`, four), ErrDuplicate, `"dtype"`},
		{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`, ""), ErrDuplicate, "__metadata__"},
		{"metadata that is a list", file(`{"__metadata__":[]}`, ""), ErrMetadata, ""},
		{"metadata with a number", file(`{"__metadata__":{"a":1}}`, ""), ErrMetadata, "got 1"},
		{"metadata with an object", file(`{"__metadata__":{"a":{}}}`, ""), ErrMetadata, ""},
		{"metadata with null", file(`{"__metadata__":{"a":null}}`, ""), ErrMetadata, ""},
		{"a type that nobody knows", file(`{"a":{"dtype":"F7","shape":[4],"data_offsets":[0,4]}}`, four), ErrDType, `"F7"`},
		{"a type without a counterpart", file(`{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}`, "abc"), ErrDType, `"F6_E2M3"`},
		{"a type that is a number", file(`{"a":{"dtype":1,"shape":[4],"data_offsets":[0,4]}}`, four), ErrJSON, "got 1"},
		{"a shape that overflows", file(`{"a":{"dtype":"I32","shape":[2,4611686018427387904],"data_offsets":[0,4]}}`, four), ErrOverflow, ""},
		{"an axis beyond 62 bits", file(`{"a":{"dtype":"I32","shape":[2,18446744073709551614],"data_offsets":[0,4]}}`, four), ErrOverflow, "axis 1"},
		{"a size that overflows", file(`{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,4]}}`, four), ErrOverflow, ""},
		{"half a byte", file(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, "ab"), ErrPartialByte, "3 elements"},
		{"fewer bytes than the shape", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, four), ErrSize, "takes 8 bytes"},
		{"more bytes than the shape", file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,4]}}`, four), ErrSize, "hold 4"},
		{"an end before the begin", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[4,2]}}`, four), ErrOffsets, "[4,2]"},
		{"a tensor past the end", file(`{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}`, four), ErrOutOfBounds, "[0,8] of 4"},
		{"tensors on the same bytes", file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`,
			four), ErrOverlap, `"a" ends at 4`},
		{"tensors that overlap", file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`,
			four), ErrOverlap, `"b"`},
		{"a hole at the start", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, four), ErrGap, "2 bytes from 0"},
		{"a hole", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}`, four), ErrGap,
			"2 bytes from 1"},
		{"bytes after the last tensor", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, four), ErrTrailing, "2 of 4"},
		{"bytes and no tensor", file(`{}`, four), ErrTrailing, "0 of 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.file)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.word)
			}
		})
	}
}

func TestWhatTheFormatAllowsIsRead(t *testing.T) {
	f, err := Parse(file("{\"b\":{\"data_offsets\":[2,4],\"shape\":[2],\"dtype\":\"U8\"},\n\"e\":{\"dtype\":\"F32\",\"shape\":[7,0],\"data_offsets\":[2,2]},"+
		"\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]}} \n\t ", four))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range f.Tensors {
		b, err := x.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, x.Name+" "+x.DType.String()+x.Shape.String()+" "+string(b))
	}
	want := "a float16[] \x01\x02|e float32[7,0] |b uint8[2] \x03\x04"
	if strings.Join(got, "|") != want || f.Metadata["format"] != "pt" || len(f.Metadata) != 1 {
		t.Errorf("got %q and %v, want %q", got, f.Metadata, want)
	}
	if f.Tensor("b") != f.Tensors[2].Tensor || f.Tensor("c") != nil {
		t.Error("a tensor is not found by its name")
	}
	if f, err := Parse(file("{}", "")); err != nil || len(f.Tensors) != 0 || f.Metadata != nil {
		t.Errorf("no tensors: %v, %v", f, err)
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := os.WriteFile(path, file(`{}`, "x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrTrailing) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if _, err := Open(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, four), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := f.Tensor("a").Bytes(); err != nil || string(b) != four {
		t.Errorf("%q, %v", b, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzParse holds that whatever is read can be written and read again as the same.
func FuzzParse(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, four))
	f.Add(file(`{"__metadata__":{"a":"b"},"a":{"dtype":"F4","shape":[2,4],"data_offsets":[0,4]}}`, four))
	f.Add(file(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}}`, four))
	f.Add(file(`{"\u00e9\ud800":{"dtype":"BOOL","shape":[4],"data_offsets":[0,4]}}`, four))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := Parse(b)
		if err != nil {
			return
		}
		var out bytes.Buffer
		n, err := Write(&out, in.Tensors, in.Metadata)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if size, err := Size(in.Tensors, in.Metadata); err != nil || size != n || int(n) != out.Len() {
			t.Fatalf("%d bytes, %d counted, %d announced, %v", out.Len(), n, size, err)
		}
		again, err := Parse(out.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if err := same(in, again); err != nil {
			t.Fatal(err)
		}
	})
}

// same compares the tensors and metadata of two files.
func same(a, b *File) error {
	if len(a.Tensors) != len(b.Tensors) || len(a.Metadata) != len(b.Metadata) || (a.Metadata == nil) != (b.Metadata == nil) {
		return errors.New("another number of tensors or metadata")
	}
	for k, v := range a.Metadata {
		if b.Metadata[k] != v {
			return errors.New("other metadata")
		}
	}
	for _, x := range a.Tensors {
		y := b.Tensor(x.Name)
		if y == nil || y.DType != x.DType || !y.Shape.Equal(x.Shape) || !bytes.Equal(y.Data.(tensor.Bytes), x.Data.(tensor.Bytes)) {
			return errors.New("tensor " + x.Name + " is another one")
		}
	}
	return nil
}
