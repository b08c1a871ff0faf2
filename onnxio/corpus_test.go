package onnxio

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// corpusDir is a collection of models by others, which is not part of this repository.
func corpusDir(t testing.TB) string {
	dir := os.Getenv("FP8REWRITE_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "corpus")
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
		t.Skipf("no corpus of models at %s: set FP8REWRITE_CORPUS to its folder", dir)
	}
	return dir
}

// refused says what is wrong with those models of the corpus that must not open.
var refused = map[string]string{
	"bad_graph_with_duplicate_node_names.onnx":                   `two nodes are called "identical"`,
	"bad_graph_with_no_import_domains.onnx":                      "imports no opset",
	"castmap-int64.onnx":                                         "no IR version",
	"corrupt-model.onnx":                                         "no protobuf message",
	"icm-31000000518082.onnx":                                    "has no name",
	"model_with_external_initializer_come_from_user.onnx":        "no file",
	"microsoft_Phi-4-mini-reasoning-custom-default-f32-cpu.onnx": "no file",
	"opset_out_of_range.onnx":                                    "opset 99, want 1 to 27",
	"test_arbitrary_external_file.onnx":                          "location leaves the model's folder",
	"weightless.matmul.fp16.onnx":                                "has no data, want 256 bytes",
	"onnx-upstream-extdata/double_slash_abs":                     "absolute path",
	"onnx-upstream-extdata/drive":                                "drive letter",
	"onnx-upstream-extdata/neg_offset":                           `offset "-1" is negative`,
	"onnx-upstream-extdata/nonnum_offset":                        `offset "abc" is not a number`,
	"onnx-upstream-extdata/offset_past_end":                      "past the file's end",
	"onnx-upstream-extdata/parent2":                              "leaves the model's folder",
	"onnx-upstream-extdata/unknown_key":                          `unknown key "malicious_attr"`,
	// Links are kept by few ways of copying a folder: then one file is missing and the other an ordinary one.
	"onnx-upstream-extdata/symlink_file": "weights.bin",
}

// TestCorpus opens every model and saves it: byte for byte as it was, or, where it had external data, with the same tensors.
func TestCorpus(t *testing.T) {
	dir := corpusDir(t)
	out := filepath.Join(t.TempDir(), "out.onnx")
	var same, gathered int
	left := maps.Clone(refused)
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".onnx") {
			return err
		}
		name, _ := filepath.Rel(dir, file)
		key := filepath.Base(file)
		if parent := path.Dir(filepath.ToSlash(name)); strings.Contains(parent, "extdata") {
			key = "onnx-upstream-extdata/" + path.Base(parent)
		}
		f, err := Open(file)
		if want, bad := refused[key]; bad {
			delete(left, key)
			if err == nil {
				f.Close()
			}
			t.Run(name, func(t *testing.T) { wantError(t, err, want) })
			return nil
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		defer f.Close()
		if _, err := Save(context.Background(), out, f.Model, SaveOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		if len(f.External) > 0 {
			sameInitializers(t, f, out)
			gathered++
			return nil
		}
		want, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(out)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want the same %d", name, len(got), len(want))
		}
		same++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(left)) {
		t.Logf("%s is not in this corpus", key)
	}
	t.Logf("%d models saved as they were, %d with their external data taken in, %d refused", same, gathered, len(refused)-len(left))
}

// sameInitializers compares the initializers of f with those of the model at path.
func sameInitializers(t *testing.T, f *File, path string) {
	t.Helper()
	g, err := Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer g.Close()
	if len(g.Model.Graph.Initializers) != len(f.Model.Graph.Initializers) {
		t.Errorf("%s: %d initializers, want %d", f.Path, len(g.Model.Graph.Initializers), len(f.Model.Graph.Initializers))
		return
	}
	for i, want := range f.Model.Graph.Initializers {
		got := g.Model.Graph.Initializers[i]
		a, errA := got.Tensor.Bytes()
		b, errB := want.Tensor.Bytes()
		if errA != nil || errB != nil || !bytes.Equal(a, b) || got.Name != want.Name || !got.Tensor.Shape.Equal(want.Tensor.Shape) {
			t.Errorf("%s: initializer %q differs (%v, %v)", f.Path, want.Name, errA, errB)
		}
	}
}
