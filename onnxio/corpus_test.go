package onnxio

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
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

func modelFiles(t testing.TB, dir string) []string {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".onnx") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCorpus: every model opens and is saved byte for byte, but for the named exceptions.
func TestCorpus(t *testing.T) {
	dir := corpusDir(t)
	out := filepath.Join(t.TempDir(), "out.onnx")
	same := 0
	for _, path := range modelFiles(t, dir) {
		name, _ := filepath.Rel(dir, path)
		f, err := Open(path)
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		if _, err := Save(context.Background(), out, f.Model, SaveOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want, _ := os.ReadFile(path)
		got, _ := os.ReadFile(out)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d", name, len(got), len(want))
		} else {
			same++
		}
		f.Close()
	}
	t.Log(same, "same")
}
