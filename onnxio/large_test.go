package onnxio

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// hole is n zero bytes that a file system keeps without storing them.
type hole int64

func (h hole) Size() int64 { return int64(h) }

func (h hole) WriteTo(w io.Writer) (int64, error) {
	_, err := w.(io.Seeker).Seek(int64(h), io.SeekCurrent)
	return int64(h), err
}

// large writes a model of nodes nodes and weights of 16 MiB, in all at least size bytes, in the file or beside it, as holes.
func large(t testing.TB, size int64, nodes int, external bool) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("files with holes need a call of their own here")
	}
	const weight = 16 << 20
	path := filepath.Join(t.TempDir(), "large.onnx")
	pb := small()
	pb.Graph.Initializer, pb.Graph.Node = nil, nil
	var blobs []tensor.Data
	for at := int64(0); at < size; at += weight {
		i := len(pb.Graph.Initializer)
		x := &onnxpb.TensorProto{Name: proto.String(fmt.Sprint("w", i)), DataType: proto.Int32(16), Dims: []int64{2048, 4096}}
		if external {
			x.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
			for _, kv := range [][2]string{{"location", "large.data"}, {"offset", fmt.Sprint(at)}, {"length", fmt.Sprint(weight)}} {
				x.ExternalData = append(x.ExternalData, &onnxpb.StringStringEntryProto{Key: proto.String(kv[0]), Value: proto.String(kv[1])})
			}
		} else {
			x.RawData = appendRecord(nil, uint64(len(blobs)), weight)
			blobs = append(blobs, hole(weight))
		}
		pb.Graph.Initializer = append(pb.Graph.Initializer, x)
	}
	last := "x"
	for i := range nodes {
		n := &onnxpb.NodeProto{Name: proto.String(fmt.Sprint("/block/node_", i)), OpType: proto.String("Transpose"),
			Input: []string{last}, Output: []string{fmt.Sprint("y", i)},
			Attribute: []*onnxpb.AttributeProto{{Name: proto.String("perm"), Ints: []int64{1, 0}, Type: onnxpb.AttributeProto_INTS.Enum()}}}
		if i < len(pb.Graph.Initializer) {
			n = &onnxpb.NodeProto{OpType: proto.String("MatMul"), Input: []string{last, fmt.Sprint("w", i)}, Output: n.Output}
		}
		pb.Graph.Node = append(pb.Graph.Node, n)
		last = n.Output[0]
	}
	if external {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "large.data"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(filepath.Dir(path), "large.data"), int64(len(pb.Graph.Initializer))*weight); err != nil {
			t.Fatal(err)
		}
	}
	r, err := expand(marshal(t, pb), modelKind, blobs)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range r.parts {
		if _, err := p.WriteTo(f); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestLargeModelsOpenInLittleMemory: what is allocated does not grow with the weights.
func TestLargeModelsOpenInLittleMemory(t *testing.T) {
	for name, c := range map[string]struct {
		size     int64
		external bool
	}{"8 GiB beside the model": {8 << 30, true}, "3 GiB inside the model": {3 << 30, false}} {
		t.Run(name, func(t *testing.T) {
			path := large(t, c.size, 1000, c.external)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			plan, err := Plan("out.onnx", f.Model, SaveOptions{})
			if err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if plan.Data != c.size {
				t.Errorf("plan %+v, want data of %d bytes", plan, c.size)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
				t.Errorf("opening and planning allocated %d bytes, want at most 16 MiB", got)
			}
		})
	}
}

// BenchmarkOpen opens a model of 1.5 GB and 20,000 nodes and closes it; the weights are holes in the file, and nothing reads them.
func BenchmarkOpen(b *testing.B) {
	path := large(b, 1536<<20, 20000, false)
	b.ReportAllocs()
	for b.Loop() {
		f, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSave copies a model of 512 MiB with its weights in a data file and computes nothing: reading, hashing, writing, syncing.
func BenchmarkSave(b *testing.B) {
	f, err := Open(large(b, 512<<20, 1000, true))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	out := filepath.Join(b.TempDir(), "out.onnx")
	b.SetBytes(512 << 20)
	for b.Loop() {
		if _, err := Save(context.Background(), out, f.Model, SaveOptions{ExternalData: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(anonymous()), "RssAnon-MB")
}

// anonymous is this process's memory that is no page of a file, in MB, as Linux tells it; 0 elsewhere.
func anonymous() (mb int64) {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			_, _ = fmt.Sscan(rest, &mb)
		}
	}
	return mb >> 10
}
