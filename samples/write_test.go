package samples

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

var descrs = map[tensor.DType]string{tensor.Float32: "<f4", tensor.Float64: "<f8", tensor.Float16: "<f2", tensor.Int64: "<i8", tensor.Int32: "<i4",
	tensor.Int8: "|i1", tensor.Uint8: "|u1", tensor.Uint32: "<u4", tensor.Bool: "|b1"}

// npyOf is a .npy file.
func npyOf(descr string, fortran bool, shape tensor.Shape, data []byte) []byte {
	axes := ""
	for _, n := range shape {
		axes += fmt.Sprintf("%d,", n)
	}
	order := "False"
	if fortran {
		order = "True"
	}
	literal := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }\n", descr, order, axes)
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(literal)), byte(len(literal)>>8))
	return append(append(b, literal...), data...)
}

// rising is a tensor with the elements 0, 1, 2 ….
func rising(d tensor.DType, shape ...int64) *tensor.Tensor {
	n, err := tensor.Shape(shape).Elements()
	if err != nil {
		panic(err)
	}
	var b []byte
	for i := range n {
		b = appendNumber(b, d, i)
	}
	return &tensor.Tensor{DType: d, Shape: tensor.Shape(shape), Data: tensor.Bytes(b)}
}

func appendNumber(b []byte, d tensor.DType, v int64) []byte {
	switch d {
	case tensor.Float32:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
	case tensor.Float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(v)))
	case tensor.Float16, tensor.BFloat16:
		return binary.LittleEndian.AppendUint16(b, uint16(v))
	case tensor.Int64:
		return binary.LittleEndian.AppendUint64(b, uint64(v))
	case tensor.Int32, tensor.Uint32:
		return binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return append(b, byte(v))
}

func npyTensor(t *tensor.Tensor) []byte {
	return npyOf(descrs[t.DType], false, t.Shape, t.Data.(tensor.Bytes))
}

// arrays are named tensors in the order given.
type arrays []safetensors.Tensor

func (a arrays) npz(t testing.TB, method uint16) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, x := range a {
		w, err := z.CreateHeader(&zip.FileHeader{Name: x.Name + ".npy", Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(npyTensor(x.Tensor)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (a arrays) safetensors(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := safetensors.Write(&b, a, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// put writes files into a new folder and gives its path.
func put(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// putNpz writes arrays to a file.
func putNpz(t testing.TB, a arrays) string {
	t.Helper()
	return filepath.Join(put(t, map[string][]byte{"data.npz": a.npz(t, zip.Deflate)}), "data.npz")
}

func open(t testing.TB, path string, opt Options) *Set {
	t.Helper()
	s, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// wantError says that err names everything in words.
func wantError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// numbers reads a tensor of any type as integers.
func numbers(t testing.TB, x *tensor.Tensor) []int64 {
	t.Helper()
	b, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var out []int64
	size := x.DType.Bits() / 8
	for i := 0; i < len(b); i += size {
		switch x.DType {
		case tensor.Float32:
			out = append(out, int64(math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))))
		case tensor.Int64:
			out = append(out, int64(binary.LittleEndian.Uint64(b[i:])))
		case tensor.Int32:
			out = append(out, int64(int32(binary.LittleEndian.Uint32(b[i:]))))
		case tensor.Uint8, tensor.Bool:
			out = append(out, int64(b[i]))
		default:
			t.Fatalf("no numbers for %s", x.DType)
		}
	}
	return out
}
