package safetensors

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// corpusDir is a collection of files by others, which is not part of this repository.
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

// TestCorpus reads every file that others wrote, writes it, and reads it again.
func TestCorpus(t *testing.T) {
	dir := corpusDir(t)
	files, tensors := 0, 0
	for _, part := range []string{"safetensors", "safetensors-sharded"} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".safetensors") {
				return err
			}
			f, err := Open(path)
			if err != nil {
				t.Error(err)
				return nil
			}
			defer f.Close()
			var b bytes.Buffer
			if _, err := Write(&b, f.Tensors, f.Metadata); err != nil {
				t.Errorf("%s: %v", path, err)
				return nil
			}
			again, err := Parse(b.Bytes())
			if err != nil {
				t.Errorf("%s: %v", path, err)
			} else if err := same(f, again); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			files++
			tensors += len(f.Tensors)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 20 {
		t.Errorf("%d files, want the collection", files)
	}
	t.Logf("%d files with %d tensors", files, tensors)
}

// TestCorpusMalformed does what the authors of broken files expect; the corpus's table says what that is.
func TestCorpusMalformed(t *testing.T) {
	dir := corpusDir(t)
	table, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (safetensors-malformed/\S+) \|[^|]*\| (accept|reject) \|`).FindAllSubmatch(table, -1)
	if len(rows) < 14 {
		t.Fatalf("%d rows in the table, want 14", len(rows))
	}
	for _, row := range rows {
		name, want := string(row[1]), string(row[2])
		got := "accept"
		f, err := Open(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			got = "reject"
		} else {
			f.Close()
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, want)
		}
	}
}

// TestCorpusSharded writes the index that the corpus's shards came without, and opens the set.
func TestCorpusSharded(t *testing.T) {
	from := filepath.Join(corpusDir(t), "safetensors-sharded", "flux_sharded")
	paths, err := filepath.Glob(filepath.Join(from, "*.safetensors"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	dir := t.TempDir()
	var shards []Shard
	want := 0
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o666); err != nil {
			t.Fatal(err)
		}
		f, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		shards = append(shards, Shard{filepath.Base(path), f.Tensors})
		want += len(f.Tensors)
	}
	var index bytes.Buffer
	if err := WriteIndex(&index, shards); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model"+IndexSuffix)
	if err := os.WriteFile(path, index.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSet(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Tensors) != want || len(s.Shards) != len(paths) {
		t.Errorf("%d tensors in %d shards, want %d in %d", len(s.Tensors), len(s.Shards), want, len(paths))
	}
}
