package interop

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCorpus runs corpus.py where the corpus and the Python packages are there, and leaves docs/CORPUS.md as it is: `make corpus`
// writes it.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the corpus takes minutes")
	}
	corpus := os.Getenv("FP8REWRITE_CORPUS")
	if corpus == "" {
		corpus = filepath.Join("..", "..", "shared", "corpus")
	}
	if _, err := os.Stat(filepath.Join(corpus, "README.md")); err != nil {
		t.Skipf("no corpus of third-party models (set FP8REWRITE_CORPUS): %v", err)
	}
	python := filepath.Join("..", ".venv-newest", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Skipf("no Python with onnx and onnxruntime (make venvs): %v", err)
	}
	touchSources(t, "..")
	cmd := exec.Command(python, "corpus.py", "--corpus", corpus, "--no-document")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("corpus.py: %v", err)
	}
}

// touchSources looks at every source file, so that the go tool, which remembers a passed test by the files that it saw, runs this one again
// when one of them changes: the build of the command happens in a child.
func touchSources(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if ext := filepath.Ext(name); ext == ".go" || ext == ".py" || ext == ".s" || d.Name() == "go.mod" {
			_, err = os.Stat(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
