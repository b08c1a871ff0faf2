package safetensors

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func u8(name string, v ...byte) Tensor {
	return Tensor{name, &tensor.Tensor{DType: tensor.Uint8, Shape: tensor.Shape{int64(len(v))}, Data: tensor.Bytes(v)}}
}

func TestWriteGivesExactlyTheseBytes(t *testing.T) {
	var b bytes.Buffer
	n, err := Write(&b, []Tensor{
		{"w", tensor.Float32s(tensor.Shape{1, 2}, 1, -2)},
		{"a\"<é\n", tensor.Bools(tensor.Shape{}, true)},
		u8("empty"),
	}, map[string]string{"z": "1", "format": "pt"})
	if err != nil {
		t.Fatal(err)
	}
	header := `{"__metadata__":{"format":"pt","z":"1"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},` +
		`"a\"<é\n":{"dtype":"BOOL","shape":[],"data_offsets":[8,9]},"empty":{"dtype":"U8","shape":[0],"data_offsets":[9,9]}}`
	for len(header)%8 != 0 {
		header += " "
	}
	want := file(header, "\x00\x00\x80\x3f\x00\x00\x00\xc0\x01")
	if !bytes.Equal(b.Bytes(), want) || int(n) != len(want) {
		t.Errorf("got %d bytes %q, want %d bytes %q", n, b.Bytes(), len(want), want)
	}
}

func TestEveryTypeSurvives(t *testing.T) {
	var in []Tensor
	for d := tensor.Float32; d <= tensor.Int2; d++ {
		name, known := TypeName(d)
		if !known {
			continue
		}
		size, err := d.ByteSize(6)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i + int(d))
		}
		in = append(in, Tensor{name, &tensor.Tensor{DType: d, Shape: tensor.Shape{2, 3}, Data: tensor.Bytes(b)}})
	}
	if len(in) != 20 {
		t.Errorf("%d types, want the 22 of the format less the two that have no counterpart", len(in))
	}
	Order(in)
	var b bytes.Buffer
	if _, err := Write(&b, in, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range f.Tensors {
		if x.Name != in[i].Name || x.DType != in[i].DType || !bytes.Equal(x.Data.(tensor.Bytes), in[i].Data.(tensor.Bytes)) {
			t.Errorf("tensor %d: %s %s, want %s", i, x.Name, x.DType, in[i].Name)
		}
	}
	if first, last := f.Tensors[0], f.Tensors[len(in)-1]; first.Name != "C64" || last.Name != "F4" {
		t.Errorf("ordered from %s to %s", first.Name, last.Name)
	}
}

func TestWriteRefuses(t *testing.T) {
	one := tensor.Float32s(tensor.Shape{1}, 1)
	for _, c := range []struct {
		name    string
		tensors []Tensor
		meta    map[string]string
		want    error
	}{
		{"two of one name", []Tensor{{"a", one}, {"a", one}}, nil, ErrDuplicate},
		{"the name of the metadata", []Tensor{{"__metadata__", one}}, nil, ErrName},
		{"a name that is no UTF-8", []Tensor{{"\xff", one}}, nil, ErrName},
		{"metadata that is no UTF-8", nil, map[string]string{"a": "\xff"}, ErrName},
		{"strings", []Tensor{{"a", &tensor.Tensor{DType: tensor.String, Shape: tensor.Shape{1}, Data: tensor.Bytes{}}}}, nil, ErrDType},
		{"int4", []Tensor{{"a", &tensor.Tensor{DType: tensor.Int4, Shape: tensor.Shape{2}, Data: tensor.Bytes{1}}}}, nil, ErrDType},
		{"data of another size", []Tensor{{"a", &tensor.Tensor{DType: tensor.Float32, Shape: tensor.Shape{2}, Data: tensor.Bytes{1}}}}, nil, ErrSize},
		{"half a byte", []Tensor{{"a", &tensor.Tensor{DType: tensor.Float4E2M1, Shape: tensor.Shape{1}, Data: tensor.Bytes{1}}}}, nil, ErrPartialByte},
		{"a negative axis", []Tensor{{"a", &tensor.Tensor{DType: tensor.Float32, Shape: tensor.Shape{-1}, Data: tensor.Bytes{}}}}, nil, ErrOverflow},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if _, err := Write(&b, c.tensors, c.meta); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if b.Len() != 0 {
				t.Errorf("%d bytes were written", b.Len())
			}
		})
	}
	if _, err := Write(io.Discard, []Tensor{{"a", nil}}, nil); err == nil {
		t.Error("a tensor without data was written")
	}
}

// short is content that writes less than it announces.
type short struct{ tensor.Bytes }

func (s short) Size() int64 { return 4 }

func TestContentThatIsShorterThanAnnouncedIsAnError(t *testing.T) {
	_, err := Write(io.Discard, []Tensor{{"a", &tensor.Tensor{DType: tensor.Float32, Data: short{tensor.Bytes{1, 2}}}}}, nil)
	if err == nil || !strings.Contains(err.Error(), `"a": 2 bytes written, want 4`) {
		t.Errorf("got %v", err)
	}
}

type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(b), nil
}

func TestAFailedWriteIsAnError(t *testing.T) {
	big := Tensor{"a", &tensor.Tensor{DType: tensor.Uint8, Shape: tensor.Shape{1 << 20}, Data: tensor.Bytes(make([]byte, 1<<20))}}
	for _, room := range []int{0, 100, 1 << 19} {
		if _, err := Write(&full{room}, []Tensor{big}, nil); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}

func TestShardsAndTheirIndex(t *testing.T) {
	dir := t.TempDir()
	in := []Tensor{u8("a", 1, 2), u8("b", 3), u8("c", 4, 5, 6, 7, 8), u8("d", 9)}
	shards := Split("model", in, 4)
	var names []string
	for _, s := range shards {
		names = append(names, s.Name)
		var b bytes.Buffer
		if _, err := Write(&b, s.Tensors, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, s.Name), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"}; !slices.Equal(names, want) {
		t.Errorf("shards %q, want %q", names, want)
	}
	var b bytes.Buffer
	if err := WriteIndex(&b, shards); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, "model"+IndexSuffix)
	write := func(s string) {
		if err := os.WriteFile(index, []byte(s), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(b.String())
	if !strings.Contains(b.String(), `"total_size": 9`) {
		t.Errorf("index %s", b.String())
	}
	s, err := OpenSet(index)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range s.Tensors {
		if x.Name != in[i].Name || !bytes.Equal(x.Data.(tensor.Bytes), in[i].Data.(tensor.Bytes)) || s.Tensor(x.Name) != x.Tensor {
			t.Errorf("tensor %d: %q %v", i, x.Name, x.Data)
		}
	}
	if len(s.Tensors) != 4 || len(s.Unlisted) != 0 || len(s.Shards) != 3 {
		t.Errorf("%d tensors, %q unlisted, %d shards", len(s.Tensors), s.Unlisted, len(s.Shards))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if one := Split("m", in, 100); len(one) != 1 || one[0].Name != "m.safetensors" {
		t.Errorf("one shard: %v", one)
	}
	if err := WriteIndex(io.Discard, []Shard{{"x", in}, {"y", in[:1]}}); !errors.Is(err, ErrDuplicate) {
		t.Errorf("a tensor in two shards: %v", err)
	}

	for _, c := range []struct {
		name, index string
		want        error
	}{
		{"no map", `{"metadata":{}}`, ErrIndex},
		{"no JSON", `weight_map`, ErrIndex},
		{"a number for a file", `{"weight_map":{"a":1}}`, ErrIndex},
		{"a tensor twice", `{"weight_map":{"a":"x","a":"y"}}`, ErrDuplicate},
		{"a file above the folder", `{"weight_map":{"a":"../x.safetensors"}}`, ErrIndexPath},
		{"a file in a folder", `{"weight_map":{"a":"sub/x.safetensors"}}`, ErrIndexPath},
		{"a file by its whole path", `{"weight_map":{"a":"/etc/passwd"}}`, ErrIndexPath},
		{"a file on a drive", `{"weight_map":{"a":"c:x"}}`, ErrIndexPath},
		{"a file with backslashes", `{"weight_map":{"a":"..\\x"}}`, ErrIndexPath},
		{"the folder itself", `{"weight_map":{"a":"."}}`, ErrIndexPath},
		{"no file name", `{"weight_map":{"a":""}}`, ErrIndexPath},
		{"a file that is not there", `{"weight_map":{"a":"none.safetensors"}}`, os.ErrNotExist},
		{"a tensor in another shard", `{"weight_map":{"a":"model-00002-of-00003.safetensors"}}`, ErrIndexMissing},
		{"something after the end", `{"weight_map":{}} {}`, ErrIndex},
		{"no UTF-8", "{\"weight_map\":{\"\xff\":\"x\"}}", ErrUTF8},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(c.index)
			if s, err := OpenSet(index); !errors.Is(err, c.want) {
				t.Errorf("got %v, %v, want %v", s, err, c.want)
			}
		})
	}
	write(`{"weight_map":{"a":"model-00001-of-00003.safetensors"}, "metadata": {"x": [1, {"y": null}]}}`)
	if s, err = OpenSet(index); err != nil || !slices.Equal(s.Unlisted, []string{"b"}) {
		t.Fatalf("%v, %v", s, err)
	}
	s.Close()
}
