package onnxio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

var outside = SaveOptions{ExternalData: true}

func mustSave(t *testing.T, path string, m *graph.Model) SaveResult {
	t.Helper()
	r, err := Save(context.Background(), path, m, outside)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func opens(t *testing.T, path string) {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	f.Close()
}

// needLock skips where nothing is removed.
func needLock(t *testing.T) {
	t.Helper()
	unlock, err := atomicfile.Lock(context.Background(), t.TempDir())
	if err != nil {
		t.Skip("no locks here: ", err)
	}
	unlock()
}

// TestSavesAtOnceEndAsOneAfterTheOther: whatever the order of their renames, the model that is there has its data, and nothing else
// is there.
func TestSavesAtOnceEndAsOneAfterTheOther(t *testing.T) {
	needLock(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "out.onnx")
	models := []*graph.Model{computed(t, 5000), computed(t, 6000), computed(t, 5000), computed(t, 7000)}
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		var all sync.WaitGroup
		for _, m := range models {
			all.Go(func() {
				if _, err := Save(context.Background(), path, m, outside); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		opens(t, path)
		if got := folder(t, dir); len(got) != 2 {
			t.Errorf("folder holds %q, want a model and its data", got)
		}
		if t.Failed() {
			return
		}
	}
}

// meanwhile is content that calls f while it is written.
type meanwhile struct {
	pattern
	f func()
}

func (m meanwhile) WriteTo(w io.Writer) (int64, error) {
	m.f()
	return m.pattern.WriteTo(w)
}

// inTheMiddle is a model of which f is called while it is being written.
func inTheMiddle(t *testing.T, n int64, f func()) *graph.Model {
	m := computed(t, n)
	m.Graph.Initializers[1].Tensor = &tensor.Tensor{DType: tensor.Uint8, Shape: tensor.Shape{n}, Data: meanwhile{pattern{n, 7}, f}}
	return m
}

// TestWhatIsStaleIsSeenAtTheEnd: another save that comes and goes in the middle of a slow one leaves no data file that nobody uses.
func TestWhatIsStaleIsSeenAtTheEnd(t *testing.T) {
	needLock(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "out.onnx")
	mustSave(t, path, computed(t, 5000))
	mustSave(t, path, inTheMiddle(t, 9000, sync.OnceFunc(func() { mustSave(t, path, computed(t, 6000)) })))
	opens(t, path)
	if got := folder(t, dir); len(got) != 2 {
		t.Errorf("folder holds %q, want a model and its data", got)
	}
}

// TestAFailedRenameTakesItsOwnDataFileBack, and none that was there before.
func TestAFailedRenameTakesItsOwnDataFileBack(t *testing.T) {
	needLock(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "out.onnx")
	blocked := func() *graph.Model {
		return inTheMiddle(t, 9000, sync.OnceFunc(func() {
			if err := os.MkdirAll(filepath.Join(path, "sub"), 0o777); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if _, err := Save(context.Background(), path, blocked(), outside); err == nil {
		t.Fatal("replaced a folder")
	}
	if got := folder(t, dir); !slices.Equal(got, []string{"out.onnx"}) {
		t.Errorf("folder holds %q", got)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	mustSave(t, path, inTheMiddle(t, 9000, func() {}))
	backup := filepath.Join(dir, "backup.onnx")
	if err := os.Rename(path, backup); err != nil {
		t.Fatal(err)
	}
	if _, err := Save(context.Background(), path, blocked(), outside); err == nil {
		t.Fatal("replaced a folder")
	}
	opens(t, backup)
}

func TestNoTwoModelsShareADataFileName(t *testing.T) {
	needLock(t)
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "a.onnx"), filepath.Join(dir, "a.onnx.onnx"), filepath.Join(dir, "a.")}
	if filepath.Separator != '/' {
		paths = paths[:3] // a final dot is lost there
	}
	for _, p := range paths {
		mustSave(t, p, computed(t, 5000))
	}
	if got := folder(t, dir); len(got) != 2*len(paths) {
		t.Errorf("folder holds %q, want a data file for each model", got)
	}
	for i, p := range paths {
		mustSave(t, p, computed(t, int64(6000+i)))
		for _, q := range paths {
			opens(t, q)
		}
		if got := folder(t, dir); len(got) != 2*len(paths) {
			t.Errorf("folder holds %q, want a data file for each model", got)
		}
	}
}

// TestADataFileThatAnotherModelUsesStays, until no model uses it that is replaced under the name that the data file has.
func TestADataFileThatAnotherModelUsesStays(t *testing.T) {
	needLock(t)
	for name, make := range map[string]func(t *testing.T, path, backup string){
		"a copy": func(t *testing.T, path, backup string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(backup, b, 0o666); err != nil {
				t.Fatal(err)
			}
		},
		"a hard link": func(t *testing.T, path, backup string) {
			if err := os.Link(path, backup); err != nil {
				t.Skip("no links here: ", err)
			}
		},
		"with a dot before the name": func(t *testing.T, path, backup string) {
			pb := new(onnxpb.ModelProto)
			b, _ := os.ReadFile(path)
			if err := proto.Unmarshal(b, pb); err != nil {
				t.Fatal(err)
			}
			for _, x := range pb.Graph.Initializer {
				for _, e := range x.ExternalData {
					if e.GetKey() == "location" {
						e.Value = proto.String("./" + e.GetValue())
					}
				}
			}
			if err := os.WriteFile(backup, marshal(t, pb), 0o666); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, backup := filepath.Join(dir, "a.onnx"), filepath.Join(dir, "backup")
			first := mustSave(t, path, computed(t, 5000)).Files[1].Path
			make(t, path, backup)
			mustSave(t, path, computed(t, 6000))
			opens(t, backup)
			mustSave(t, path, computed(t, 5000))
			if err := os.Remove(backup); err != nil {
				t.Fatal(err)
			}
			mustSave(t, path, computed(t, 6000))
			if _, err := os.Lstat(first); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: got %v, want it removed", first, err)
			}
		})
	}
}

func TestWhereItCannotBeToldADataFileStays(t *testing.T) {
	needLock(t)
	t.Run("no lock", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.onnx")
		mustSave(t, path, computed(t, 5000))
		if err := os.Mkdir(filepath.Join(dir, ".fp8rewrite.lock"), 0o777); err != nil {
			t.Fatal(err)
		}
		mustSave(t, path, computed(t, 6000))
		opens(t, path)
		if got := folder(t, dir); len(got) != 4 {
			t.Errorf("folder holds %q, want the lock, a model and two data files", got)
		}
	})
	t.Run("a file that may not be read", func(t *testing.T) {
		if os.Getuid() <= 0 {
			t.Skip("this user, root most likely, may read everything: needs one who may not")
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "a.onnx")
		mustSave(t, path, computed(t, 5000))
		if err := os.WriteFile(filepath.Join(dir, "secret"), nil, 0o000); err != nil {
			t.Fatal(err)
		}
		mustSave(t, path, computed(t, 6000))
		if got := folder(t, dir); len(got) != 4 {
			t.Errorf("folder holds %q, want a model, a secret and two data files", got)
		}
	})
}

// TestTheInputsDataFileIsNotReplaced: it may have the very name that the output's would have.
func TestTheInputsDataFileIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.onnx")
	name := filepath.Base(mustSave(t, path, computed(t, 5000)).Files[1].Path)

	in := filepath.Join(dir, "in.onnx")
	pb := small()
	w := pb.Graph.Initializer[0]
	data := bytes.Repeat(w.RawData, 1000)
	w.Dims, w.RawData, w.DataLocation = []int64{4, 2000}, nil, onnxpb.TensorProto_EXTERNAL.Enum()
	w.ExternalData = []*onnxpb.StringStringEntryProto{{Key: proto.String("location"), Value: &name}}
	if err := os.WriteFile(in, marshal(t, pb), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := computed(t, 5000)
	m.Origin = f.Model.Origin
	before := contents(t, dir)
	_, err = Save(context.Background(), path, m, outside)
	wantError(t, err, fmt.Sprintf("out.onnx: data file %q is the same file as the input", name))
	if contents(t, dir) != before {
		t.Error("the folder has changed")
	}
	f.Close()

	// With the same content there is nothing to replace.
	for _, p := range []string{path, filepath.Join(dir, name)} {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	mustSave(t, path, computed(t, 5000))
	if err := os.Rename(path, in); err != nil {
		t.Fatal(err)
	}
	if f, err = Open(in); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inode, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	r := mustSave(t, path, f.Model)
	if got := filepath.Base(r.Files[1].Path); got != name {
		t.Fatalf("data file %q, want %q: the test is out of date", got, name)
	}
	if now, err := os.Stat(filepath.Join(dir, name)); err != nil || !os.SameFile(inode, now) {
		t.Errorf("the input's data file was replaced, error %v", err)
	}
	opens(t, path)
	if got := folder(t, dir); len(got) != 3 {
		t.Errorf("folder holds %q, want two models and a data file", got)
	}
}

func TestASaveRemovesWhatWasAbandoned(t *testing.T) {
	needLock(t)
	dir := t.TempDir()
	left := filepath.Join(dir, ".fp8rewrite-0123456789abcdef.tmp")
	if err := os.WriteFile(left, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a.onnx")
	mustSave(t, path, computed(t, 5000))
	if _, err := os.Lstat(left); err != nil {
		t.Errorf("a temporary file of today: %v", err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	mustSave(t, path, computed(t, 5000))
	if got := folder(t, dir); len(got) != 2 {
		t.Errorf("folder holds %q, want a model and its data", got)
	}
}

// TestLocationsAreFoundWhereverTensorsAre, and nothing else is taken for one.
func TestLocationsAreFoundWhereverTensorsAre(t *testing.T) {
	n := 0
	at := func() *onnxpb.TensorProto {
		n++
		return &onnxpb.TensorProto{DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(), ExternalData: []*onnxpb.StringStringEntryProto{
			{Key: proto.String("offset"), Value: proto.String("7")},
			{Key: proto.String("location"), Value: proto.String(fmt.Sprint("f", n))},
		}, DocString: proto.String("location"), RawData: []byte("location")}
	}
	g := func() *onnxpb.GraphProto {
		return &onnxpb.GraphProto{
			Initializer:       []*onnxpb.TensorProto{at(), at()},
			SparseInitializer: []*onnxpb.SparseTensorProto{{Values: at(), Indices: at()}},
			Node: []*onnxpb.NodeProto{{Attribute: []*onnxpb.AttributeProto{
				{T: at(), Tensors: []*onnxpb.TensorProto{at()}, SparseTensor: &onnxpb.SparseTensorProto{Values: at()}},
			}}},
		}
	}
	nested := g()
	nested.Node = append(nested.Node, &onnxpb.NodeProto{Attribute: []*onnxpb.AttributeProto{{G: g(), Graphs: []*onnxpb.GraphProto{g()}}}})
	pb := &onnxpb.ModelProto{
		Graph: nested, TrainingInfo: []*onnxpb.TrainingInfoProto{{Initialization: g(), Algorithm: g()}},
		Functions: []*onnxpb.FunctionProto{{Node: g().Node}},
	}
	b := marshal(t, pb)
	found := map[string]bool{}
	if err := locations(b, modelKind, func(l string) { found[l] = true }); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if want := fmt.Sprint("f", i+1); strings.Contains(string(b), want) && !found[want] {
			t.Errorf("%s not found", want)
		}
		delete(found, fmt.Sprint("f", i+1))
	}
	if len(found) > 0 {
		t.Errorf("found %v", found)
	}
	for cut := range len(b) {
		_ = locations(b[:cut], modelKind, func(string) {}) // must not panic
	}
	deep := &onnxpb.GraphProto{Initializer: []*onnxpb.TensorProto{at()}}
	for range maxDepth {
		deep = &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{{Attribute: []*onnxpb.AttributeProto{{G: deep}}}}}
	}
	if err := locations(marshal(t, &onnxpb.ModelProto{Graph: deep}), modelKind, func(string) {}); err == nil {
		t.Error("nested deeper than any model")
	}
}
