package interop

import (
	"os"
	"os/exec"
	"path/filepath"
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
	cmd := exec.Command(python, "corpus.py", "--corpus", corpus, "--no-document")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("corpus.py: %v", err)
	}
}
