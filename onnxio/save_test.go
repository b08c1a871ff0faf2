package onnxio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"github.com/cespare/xxhash/v2"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// pattern is computed content of n bytes; nothing of it exists before it is written.
type pattern struct {
	n    int64
	seed byte
}

func (p pattern) Size() int64 { return p.n }

func (p pattern) at(i int64) byte { return byte(i) ^ byte(i>>8) ^ p.seed }

func (p pattern) WriteTo(w io.Writer) (int64, error) {
	buf := make([]byte, 1000)
	for at := int64(0); at < p.n; {
		n := min(int64(len(buf)), p.n-at)
		for i := range n {
			buf[i] = p.at(at + i)
		}
		m, err := w.Write(buf[:n])
		at += int64(m)
		if err != nil {
			return at, err
		}
	}
	return p.n, nil
}

func (p pattern) check(t *testing.T, b []byte) {
	t.Helper()
	if int64(len(b)) != p.n {
		t.Errorf("got %d bytes, want %d", len(b), p.n)
		return
	}
	for i, x := range b {
		if x != p.at(int64(i)) {
			t.Errorf("byte %d: got %d, want %d", i, x, p.at(int64(i)))
			return
		}
	}
}

// computed is a model with one computed initializer of each size, and a constant node of the last size.
func computed(t testing.TB, sizes ...int64) *graph.Model {
	t.Helper()
	m, err := Unmarshal(marshal(t, small()))
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range sizes {
		m.Graph.Initializers = append(m.Graph.Initializers, &graph.Initializer{
			Name: "c" + strconv.Itoa(i), Tensor: &tensor.Tensor{DType: tensor.Uint8, Shape: tensor.Shape{n}, Data: pattern{n, byte(i)}},
		})
	}
	last := sizes[len(sizes)-1]
	m.Graph.Nodes = append(m.Graph.Nodes, &graph.Node{Name: "k", OpType: "Constant", Outputs: []string{"k"}, Attributes: []*graph.Attribute{
		graph.TensorAttr("value", &tensor.Tensor{DType: tensor.Uint8, Shape: tensor.Shape{last}, Data: pattern{last, 99}}),
	}})
	return m
}

var sizes = []int64{1, 1023, 1024, 0, 5 << 20, viewSize + 1, 3 << 20, 9<<20 + 7, 2000}

func checkComputed(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for i, n := range sizes {
		b, err := f.Model.Graph.Initializers[i+1].Tensor.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		pattern{n, byte(i)}.check(t, b)
	}
	b, err := f.Model.Graph.Nodes[1].Attr("value").Tensor.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	pattern{sizes[len(sizes)-1], 99}.check(t, b)
	return f
}

// checkFiles holds the result against the files, and the folder against the result.
func checkFiles(t *testing.T, r SaveResult, plan Sizes) {
	t.Helper()
	var total int64
	for _, info := range r.Files {
		b, err := os.ReadFile(info.Path)
		if err != nil {
			t.Fatal(err)
		}
		model := sha256.Sum256(b)
		sum := hex.EncodeToString(model[:])
		if strings.HasSuffix(info.Path, ".data") {
			sum = fmt.Sprintf("%016x", xxhash.Sum64(b))
		}
		if sum != info.Digest || int64(len(b)) != info.Bytes {
			t.Errorf("%s: %d bytes, digest %s; result says %+v", info.Path, len(b), sum, info)
		}
		total += info.Bytes
	}
	if total != r.Bytes || plan.Model+plan.Data != total || plan.Model != r.Files[0].Bytes {
		t.Errorf("files have %d bytes, result says %d, plan said %+v", total, r.Bytes, plan)
	}
	if names := folder(t, filepath.Dir(r.Files[0].Path)); len(names) != len(r.Files) {
		t.Errorf("folder holds %q, want %d files", names, len(r.Files))
	}
}

func folder(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestSaveInline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.onnx")
	m := computed(t, sizes...)
	plan, err := Plan(path, m, SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var last, want int64
	r, err := Save(context.Background(), path, m, SaveOptions{Progress: func(done, total int64) {
		if done < last {
			t.Errorf("progress went from %d to %d", last, done)
		}
		last, want = done, total
	}})
	if err != nil {
		t.Fatal(err)
	}
	if last != want || want != r.Bytes {
		t.Errorf("progress ended at %d of %d, file has %d", last, want, r.Bytes)
	}
	checkFiles(t, r, plan)
	if f := checkComputed(t, path); len(f.External) > 0 {
		t.Errorf("external files %v, want none", f.External)
	}
	b, err := Marshal(m)
	onDisk, _ := os.ReadFile(path)
	if err != nil || !bytes.Equal(b, onDisk) {
		t.Errorf("Marshal differs from Save: %v", err)
	}
}

func TestSaveExternal(t *testing.T) {
	for name, c := range map[string]struct {
		opt       SaveOptions
		attribute bool // the constant node's tensor leaves the file too
	}{
		"asked for":         {SaveOptions{ExternalData: true}, false},
		"over the limit":    {SaveOptions{InlineLimit: 10000}, false},
		"attributes too":    {SaveOptions{InlineLimit: 3500}, true},
		"another threshold": {SaveOptions{ExternalData: true, Threshold: 1 << 20}, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out.onnx")
			m := computed(t, sizes...)
			plan, err := Plan(path, m, c.opt)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Save(context.Background(), path, m, c.opt)
			if err != nil {
				t.Fatal(err)
			}
			checkFiles(t, r, plan)
			if len(r.Files) != 2 {
				t.Fatalf("files %+v, want a model and its data", r.Files)
			}
			if want := "out.onnx." + r.Files[1].Digest + ".data"; filepath.Base(r.Files[1].Path) != want {
				t.Errorf("data file is called %q, want %q", filepath.Base(r.Files[1].Path), want)
			}
			checkComputed(t, path)
			pb := new(onnxpb.ModelProto)
			b, _ := os.ReadFile(path)
			if err := proto.Unmarshal(b, pb); err != nil {
				t.Fatal(err)
			}
			threshold := c.opt.Threshold
			if threshold == 0 {
				threshold = DefaultThreshold
			}
			for i, n := range sizes {
				x := pb.Graph.Initializer[i+1]
				out := x.GetDataLocation() == onnxpb.TensorProto_EXTERNAL
				if out != (n >= threshold) || out == (x.RawData != nil) {
					t.Errorf("tensor of %d bytes: external %v", n, out)
				}
				if out {
					off, err := strconv.ParseInt(x.ExternalData[1].GetValue(), 10, 64)
					if err != nil || off%smallAlignment != 0 || n >= largeTensor && off%largeAlignment != 0 {
						t.Errorf("tensor of %d bytes: offset %d", n, off)
					}
				}
			}
			if out := pb.Graph.Node[1].Attribute[0].T.GetDataLocation() == onnxpb.TensorProto_EXTERNAL; out != c.attribute {
				t.Errorf("attribute tensor external: %v, want %v", out, c.attribute)
			}
		})
	}
	_, err := Plan("out.onnx", computed(t, sizes...), SaveOptions{InlineLimit: 100})
	wantError(t, err, "out.onnx: model file would have")
}

func TestASharedTensorLeavesOnce(t *testing.T) {
	m := computed(t, 1<<20)
	x := *m.Graph.Initializers[1]
	x.Name = "again"
	m.Graph.Initializers = append(m.Graph.Initializers, &x)
	plan, err := Plan("out.onnx", m, SaveOptions{ExternalData: true})
	if err != nil || plan.Data != 1<<20 {
		t.Errorf("data file of %d bytes, want %d, error %v", plan.Data, 1<<20, err)
	}
}

// TestTensorsAtOnePlaceLeaveOnce: tied weights that share bytes in the source share them in the output.
func TestTensorsAtOnePlaceLeaveOnce(t *testing.T) {
	in := external(t, "location", "w.bin")
	pb := new(onnxpb.ModelProto)
	b, _ := os.ReadFile(in)
	if err := proto.Unmarshal(b, pb); err != nil {
		t.Fatal(err)
	}
	tied := proto.CloneOf(pb.Graph.Initializer[0])
	tied.Name, tied.Dims = proto.String("tied"), []int64{8}
	pb.Graph.Initializer = append(pb.Graph.Initializer, tied)
	if err := os.WriteFile(in, marshal(t, pb), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plan, err := Plan("out.onnx", f.Model, SaveOptions{ExternalData: true, Threshold: 1})
	if err != nil || plan.Data != 32 {
		t.Errorf("data file of %d bytes, want 32, error %v", plan.Data, err)
	}
}

func TestANameThatNoDataFileCanHaveIsFoundEarly(t *testing.T) {
	m := computed(t, 5000)
	for name, want := range map[string]string{
		"c:x.onnx": "drive letter", strings.Repeat("x", 250) + ".onnx": "data file",
	} {
		_, err := Plan(filepath.Join(t.TempDir(), name), m, SaveOptions{ExternalData: true})
		wantError(t, err, want)
	}
}

// TestSaveAgain: a second save to the same name removes the data file that only the first model used, and nothing else.
func TestSaveAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.onnx")
	others := []string{"out.data", "out.onnx.0123456789abcdef.data", "other.0123456789abcdef.data"}
	for _, n := range others {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	save := func(n int64, external bool) []FileInfo {
		r, err := Save(context.Background(), path, computed(t, n), SaveOptions{ExternalData: external})
		if err != nil {
			t.Fatal(err)
		}
		if got := folder(t, dir); len(got) != len(others)+len(r.Files) {
			t.Errorf("folder holds %q", got)
		}
		return r.Files
	}
	first := save(5000, true)
	if again := save(5000, true); again[1] != first[1] {
		t.Errorf("same content, other data file: %v and %v", first[1], again[1])
	}
	if second := save(6000, true); second[1].Path == first[1].Path {
		t.Error("other content, same data file")
	}
	save(6000, false)
}

// TestASourceWithExternalDataIsCopied: the output stands alone, whether one file or two.
func TestASourceWithExternalDataIsCopied(t *testing.T) {
	in := external(t, "location", "w.bin", "offset", "3")
	f, err := Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, _ := f.Model.Graph.Initializers[0].Tensor.Bytes()
	for _, opt := range []SaveOptions{{}, {ExternalData: true, Threshold: 1}} {
		dir := t.TempDir()
		r, err := Save(context.Background(), filepath.Join(dir, "out.onnx"), f.Model, opt)
		if err != nil {
			t.Fatal(err)
		}
		g, err := Open(r.Files[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := g.Model.Graph.Initializers[0].Tensor.Bytes()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("got % x, want % x, error %v", got, want, err)
		}
		g.Close()
	}
}

func TestTheOutputIsNotTheInput(t *testing.T) {
	in := external(t, "location", "w.bin")
	f, err := Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := filepath.Dir(in)
	link := filepath.Join(dir, "link.onnx")
	if err := os.Link(in, link); err != nil {
		link = in
	}
	for _, out := range []string{in, dir + "/sub/../m.onnx", link, filepath.Join(dir, "w.bin")} {
		before, _ := os.ReadFile(out)
		_, err := Save(context.Background(), out, f.Model, SaveOptions{})
		wantError(t, err, "output is the same file as the input")
		if after, _ := os.ReadFile(out); !bytes.Equal(before, after) {
			t.Errorf("%s has changed", out)
		}
	}
}

// broken is content that fails in the middle, after cancelling, where cancel is set.
type broken struct {
	pattern
	err    error
	cancel func()
}

func (b broken) WriteTo(w io.Writer) (int64, error) {
	n, err := pattern{b.n / 2, 0}.WriteTo(w)
	if b.cancel != nil {
		b.cancel()
		n, err = pattern{b.n, 0}.WriteTo(w)
	}
	if err == nil {
		err = b.err
	}
	return n, err
}

func TestAFailedSaveLeavesTheOldFiles(t *testing.T) {
	cause := errors.New("broken")
	ctx, cancel := context.WithCancelCause(context.Background())
	done, finish := context.WithCancelCause(context.Background())
	finish(errors.New("interrupted"))
	for name, c := range map[string]struct {
		data tensor.Data
		ctx  context.Context
		want string
	}{
		"an error while computing": {broken{pattern{20 << 20, 1}, cause, nil}, context.Background(), "broken"},
		"too few bytes":            {broken{pattern{20 << 20, 1}, nil, nil}, context.Background(), "tensor data wrote 10485760 bytes, want 20971520"},
		"cancelled":                {broken{pattern{40 << 20, 1}, nil, func() { cancel(errors.New("interrupted")) }}, ctx, "interrupted"},
		"cancelled before":         {pattern{1, 1}, done, "interrupted"},
	} {
		for _, external := range []bool{false, true} {
			t.Run(name+" external "+strconv.FormatBool(external), func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "out.onnx")
				if _, err := Save(context.Background(), path, computed(t, 5000), SaveOptions{ExternalData: true}); err != nil {
					t.Fatal(err)
				}
				before := contents(t, dir)
				m := computed(t, 1<<20, 1)
				n := c.data.Size()
				m.Graph.Initializers[2].Tensor = &tensor.Tensor{DType: tensor.Uint8, Shape: tensor.Shape{n}, Data: c.data}
				_, err := Save(c.ctx, path, m, SaveOptions{ExternalData: external})
				wantError(t, err, c.want)
				if after := contents(t, dir); after != before {
					t.Error("the folder has changed")
				}
			})
		}
	}
}

func contents(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, n := range folder(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(n)
		all.Write(b)
	}
	return all.String()
}

func TestAWrongShapeIsFoundBeforeWriting(t *testing.T) {
	m := computed(t, 10)
	m.Graph.Initializers[1].Tensor.Shape = tensor.Shape{11}
	path := filepath.Join(t.TempDir(), "out.onnx")
	_, err := Save(context.Background(), path, m, SaveOptions{})
	wantError(t, err, `initializer "c0": uint8[11]: got 10 bytes, want 11`)
}

// TestAModelThatShrinksUnderTheSaveIsAnError: a mapped file that is cut short must not end the program.
func TestAModelThatShrinksUnderTheSaveIsAnError(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.onnx")
	if _, err := Save(context.Background(), in, computed(t, 8<<20), SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(in, 4096); err != nil {
		t.Skip("a mapped file cannot be cut short here: ", err)
	}
	_, err = Save(context.Background(), filepath.Join(dir, "out.onnx"), f.Model, SaveOptions{})
	if err == nil {
		t.Fatal("saved from a file that is not there any more")
	}
	if got := folder(t, dir); len(got) != 1 {
		t.Errorf("folder holds %q, want the input alone", got)
	}
	t.Log(err)
}
