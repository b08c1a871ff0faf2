package specialize

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

const models = "../../../testdata/models"

func load(t testing.TB, path string) *graph.Model {
	t.Helper()
	f, err := onnxio.Open(filepath.Join(models, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Model
}

// npz reads one array of a test file; it knows the two forms that those have.
func npz(t testing.TB, path, array string) *tensor.Tensor {
	t.Helper()
	z, err := zip.OpenReader(filepath.Join(models, path))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open(array + ".npy")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	head := 10 + int(binary.LittleEndian.Uint16(b[8:]))
	var rows, columns int64
	if i := bytes.Index(b[:head], []byte("'shape': (")); i >= 0 {
		_, _ = fmt.Sscanf(string(b[i+10:head]), "%d, %d)", &rows, &columns)
	}
	d := tensor.Int64
	if bytes.Contains(b[:head], []byte("'<f4'")) {
		d = tensor.Float32
	}
	k, err := tensor.New(d, tensor.Shape{rows, columns}, tensor.Bytes(b[head:]))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// block is the first rows and columns of a matrix.
func block(t testing.TB, m *tensor.Tensor, rows, columns int64) *tensor.Tensor {
	t.Helper()
	b, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	n := int64(m.DType.Bits() / 8)
	var out []byte
	for i := range rows {
		out = append(out, b[i*m.Shape[1]*n:][:columns*n]...)
	}
	return &tensor.Tensor{DType: m.DType, Shape: tensor.Shape{rows, columns}, Data: tensor.Bytes(out)}
}

// specialized is m for inputs, folded by the embedded engine.
func specialized(t testing.TB, m *graph.Model, inputs map[string]*tensor.Tensor, more ...Options) *Static {
	t.Helper()
	opt := Options{Shapes: map[string]tensor.Shape{}, Engine: cpu.New()}
	for _, o := range more {
		opt.Variables, opt.Keep, opt.MaxFold, opt.MaxHead = o.Variables, o.Keep, o.MaxFold, o.MaxHead
	}
	for name, x := range inputs {
		opt.Shapes[name] = x.Shape
	}
	s, err := Specialize(context.Background(), m, opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t testing.TB, m *graph.Model, opt runtime.Options, inputs map[string]*tensor.Tensor) *runtime.Result {
	t.Helper()
	s, err := cpu.New().Open(context.Background(), m, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	values := map[string]runtime.Value{}
	for name, x := range inputs {
		values[name] = runtime.FromTensor(x)
	}
	res, err := s.Run(context.Background(), values)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// counts is how often the main graph has each operator, such as "Add 3, MatMul 2".
func counts(m *graph.Model) string {
	n := map[string]int{}
	for _, node := range m.Graph.Nodes {
		n[node.OpType]++
	}
	var out []string
	for _, op := range slices.Sorted(maps.Keys(n)) {
		out = append(out, fmt.Sprint(op, " ", n[op]))
	}
	return strings.Join(out, ", ")
}

// distance is the largest difference of two tensors, relative to the largest element of the first.
func distance(t testing.TB, a, b *tensor.Tensor) float64 {
	t.Helper()
	if a.DType != b.DType || !a.Shape.Equal(b.Shape) {
		t.Fatalf("got %s%s, want %s%s", b.DType, b.Shape, a.DType, a.Shape)
	}
	x, err := a.AsFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.AsFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	top, far := 1e-30, 0.0
	for i := range x {
		if math.IsNaN(float64(x[i])) != math.IsNaN(float64(y[i])) {
			return math.Inf(1)
		}
		if !math.IsNaN(float64(x[i])) && x[i] != y[i] {
			top = max(top, math.Abs(float64(x[i])))
			far = max(far, math.Abs(float64(x[i])-float64(y[i])))
		}
	}
	for _, v := range x {
		if !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) {
			top = max(top, math.Abs(float64(v)))
		}
	}
	return far / top
}
