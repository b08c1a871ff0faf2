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
	"strconv"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

var engine = cpu.New()

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
	opt := Options{Shapes: map[string]tensor.Shape{}, Engine: engine}
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
	s, err := engine.Open(context.Background(), m, opt)
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

// sorted is a list of counts in order.
func sorted(s string) string {
	list := strings.Split(s, ", ")
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// text makes a model of lines: "in x float32 2 3" is an input, "out y" an output, "c float32 2 3 = 1 2 …" a constant (one number fills it,
// none gives numbers of all kinds), "Mul a b -> c axis=1 perm=0,2,1" a node. The version is 23.
func text(t testing.TB, lines string) *graph.Model {
	t.Helper()
	m := &graph.Model{IRVersion: 10, Opsets: []graph.Opset{{Version: 23}}, Graph: &graph.Graph{Name: "g"}}
	for _, line := range strings.Split(lines, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "in":
			typ := &graph.Type{DType: dtype(t, f[2]), HasShape: true}
			for _, d := range f[3:] {
				n, err := strconv.ParseInt(d, 10, 64)
				if err != nil {
					typ.Shape = append(typ.Shape, graph.Dim{Value: -1, Param: d})
				} else {
					typ.Shape = append(typ.Shape, graph.Dim{Value: n})
				}
			}
			m.Graph.Inputs = append(m.Graph.Inputs, &graph.Value{Name: f[1], Type: typ})
		case f[0] == "out":
			m.Graph.Outputs = append(m.Graph.Outputs, &graph.Value{Name: f[1]})
		case !strings.Contains(line, "->"):
			m.Graph.Initializers = append(m.Graph.Initializers, &graph.Initializer{Name: f[0], Tensor: constant(t, f[1:])})
		default:
			m.Graph.Nodes = append(m.Graph.Nodes, node(t, f))
		}
	}
	return m
}

func node(t testing.TB, f []string) *graph.Node {
	n := &graph.Node{OpType: f[0]}
	at := slices.Index(f, "->")
	for _, in := range f[1:at] {
		n.Inputs = append(n.Inputs, strings.Trim(in, "_"))
	}
	for _, o := range f[at+1:] {
		name, value, ok := strings.Cut(o, "=")
		if !ok {
			n.Outputs = append(n.Outputs, o)
			continue
		}
		if x, err := strconv.ParseInt(value, 10, 64); err == nil {
			n.SetAttr(graph.Int(name, x))
			continue
		}
		var list []int64
		for _, p := range strings.Split(value, ",") {
			if p == "" {
				continue
			}
			x, err := strconv.ParseInt(p, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, x)
		}
		n.SetAttr(graph.Ints(name, list...))
	}
	n.Name = n.Outputs[0]
	return n
}

func dtype(t testing.TB, s string) tensor.DType {
	t.Helper()
	for d := tensor.Float32; d <= tensor.Int2; d++ {
		if d.String() == s {
			return d
		}
	}
	t.Fatal(s)
	return 0
}

// constant reads "float32 2 3 = 1 2 3 4 5 6".
func constant(t testing.TB, f []string) *tensor.Tensor {
	t.Helper()
	d, shape, i := dtype(t, f[0]), tensor.Shape{}, 1
	for ; i < len(f) && f[i] != "="; i++ {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		shape = append(shape, n)
	}
	var numbers []float64
	for _, s := range f[min(i+1, len(f)):] {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, x)
	}
	return numbered(t, d, shape, numbers)
}

// numbered is a tensor of numbers: the one given, those given, or of all kinds.
func numbered(t testing.TB, d tensor.DType, shape tensor.Shape, numbers []float64) *tensor.Tensor {
	t.Helper()
	n, err := shape.Elements()
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for i := range n {
		x := math.Sin(float64(3*i+1)) + 0.3*math.Cos(float64(i*i))
		switch {
		case len(numbers) == 1:
			x = numbers[0]
		case len(numbers) > 0:
			x = numbers[i]
		}
		switch d {
		case tensor.Float32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
		case tensor.Int64:
			b = binary.LittleEndian.AppendUint64(b, uint64(int64(x)))
		case tensor.Int32:
			b = binary.LittleEndian.AppendUint32(b, uint32(int32(x)))
		case tensor.Bool:
			if x > 0 {
				x = 1
			}
			b = append(b, byte(max(0, x)))
		case tensor.BFloat16:
			b = binary.LittleEndian.AppendUint16(b, uint16((math.Float32bits(float32(x))+0x8000)>>16))
		default:
			t.Fatal(d)
		}
	}
	return &tensor.Tensor{DType: d, Shape: shape, Data: tensor.Bytes(b)}
}

// inputsOf are values for the inputs of a model of fixed shapes.
func inputsOf(t testing.TB, m *graph.Model) map[string]*tensor.Tensor {
	t.Helper()
	in := map[string]*tensor.Tensor{}
	for _, v := range m.Graph.Inputs {
		var s tensor.Shape
		for _, d := range v.Type.Shape {
			s = append(s, d.Value)
		}
		in[v.Name] = numbered(t, v.Type.DType, s, nil)
	}
	return in
}

// becomes specializes a model of text, checks that both give the same and returns the static one.
func becomes(t testing.TB, m *graph.Model, want string, more ...Options) *Static {
	t.Helper()
	st := specialized(t, m, inputsOf(t, m), more...)
	whole(t, st)
	if got := counts(st.Model); got != want {
		t.Errorf("operators %s, want %s", got, want)
	}
	for _, o := range m.Graph.Outputs {
		if _, ok := st.Types[o.Name]; !ok {
			t.Errorf("output %q has no type", o.Name)
		}
	}
	same(t, m, st)
	return st
}

// same checks that a model of fixed shapes and its static one give the same, of the types that are said.
func same(t testing.TB, m *graph.Model, st *Static) {
	t.Helper()
	in := inputsOf(t, m)
	a, b := run(t, m, runtime.Options{}, in), run(t, st.Model, runtime.Options{}, in)
	for _, o := range m.Graph.Outputs {
		x, y := a.Values[o.Name].Tensor, b.Values[o.Name].Tensor
		if typ, ok := st.Types[o.Name]; ok && (typ.DType != x.DType || !extents(typ).Equal(x.Shape)) {
			t.Errorf("output %q is said to be %s%s, and is %s%s", o.Name, typ.DType, extents(typ), x.DType, x.Shape)
		}
		tolerance := 2e-6
		if x.DType == tensor.BFloat16 {
			x, y, tolerance = widened(t, x), widened(t, y), 0.01
		}
		if x.DType == tensor.Float32 {
			if d := distance(t, x, y); !(d < tolerance) {
				t.Errorf("output %q differs by %g", o.Name, d)
			}
			continue
		}
		p, _ := x.Bytes()
		q, _ := y.Bytes()
		if !bytes.Equal(p, q) || !x.Shape.Equal(y.Shape) {
			t.Errorf("output %q is %v, want %v", o.Name, q, p)
		}
	}
}

func widened(t testing.TB, x *tensor.Tensor) *tensor.Tensor {
	t.Helper()
	b, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i := 0; i < len(b); i += 2 {
		out = append(out, 0, 0, b[i], b[i+1])
	}
	return &tensor.Tensor{DType: tensor.Float32, Shape: x.Shape, Data: tensor.Bytes(out)}
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
