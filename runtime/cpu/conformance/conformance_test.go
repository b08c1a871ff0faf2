package conformance

import (
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
)

var update = flag.Bool("update", false, "write docs/CONFORMANCE.md")

// wanted is how many of the node tests of ONNX 1.22.0 the engine passes at least.
const wanted = 1300

// document is the table that the test makes.
const document = "../../../docs/CONFORMANCE.md"

func TestConformance(t *testing.T) {
	root := folder()
	if root == "" {
		t.Skipf("no node tests of the onnx package: run `make venvs`, or set %s to onnx/backend/test/data/node", environment)
	}
	dirs, err := filepath.Glob(filepath.Join(root, "test_*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no tests in %s (%v)", root, err)
	}
	outcomes := make([]outcome, len(dirs))
	var wg sync.WaitGroup
	limit := make(chan struct{}, 4)
	for i, dir := range dirs {
		limit <- struct{}{}
		wg.Go(func() {
			outcomes[i] = run(cpu.New(), dir)
			<-limit
		})
	}
	wg.Wait()

	reasons := map[string]string{}
	for _, s := range skips {
		for _, name := range s.tests {
			if reasons[name] != "" {
				t.Errorf("%s is in the skip list twice", name)
			}
			reasons[name] = s.reason
		}
	}
	passed := 0
	for _, o := range outcomes {
		reason := reasons[o.name]
		delete(reasons, o.name)
		switch {
		case o.err == nil && reason == "":
			passed++
		case o.err == nil:
			t.Errorf("%s passes, and stands in the skip list", o.name)
		case reason == "":
			t.Errorf("%s: %v", o.name, o.err)
		}
	}
	for name := range reasons {
		t.Errorf("%s stands in the skip list, and is not in the suite", name)
	}
	t.Logf("%d of %d node tests pass", passed, len(outcomes))
	if passed < wanted {
		t.Errorf("%d node tests pass, want at least %d", passed, wanted)
	}

	text := table(outcomes)
	if *update {
		if err := os.WriteFile(document, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old, err := os.ReadFile(document); err != nil || string(old) != text {
		t.Errorf("%s is not what the test makes (%v): run `go test ./runtime/cpu/conformance -update`", document, err)
	}
}
