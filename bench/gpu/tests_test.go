package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
)

// ran is what a test program prints with -test.v.
const ran = "=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\n    --- PASS: TestB/sub (0.00s)\n--- PASS: TestB (0.01s)\n" +
	"=== RUN   TestC\n    ptx_test.go:59: no NVRTC here: no library\n--- SKIP: TestC (0.00s)\nPASS\n"

func TestTestsThatDidNotRunDoNotPass(t *testing.T) {
	exit := errors.New("x.test: exit status 1: ")
	for name, c := range map[string]struct {
		out  string
		err  error
		want row
	}{
		"passed": {ran, nil, row{Got: "3 passed, 0 failed, 1 skipped", Met: true}},
		"no GPU": {"--- PASS: TestA (0.00s)\n    gpu_test.go:73: NO GPU, NOTHING TESTED: libcuda: not found\n--- SKIP: TestB (0.00s)\nPASS\n", nil,
			row{Got: "1 passed, 0 failed, 1 skipped: NO GPU, NOTHING TESTED: libcuda: not found"}},
		"no GPU, in small": {"    gpu_test.go:22: no GPU: nothing found\n--- SKIP: TestB (0.00s)\n--- PASS: TestA (0.00s)\nPASS\n", nil,
			row{Got: "1 passed, 0 failed, 1 skipped: no GPU: nothing found"}},
		"failed":       {ran + "--- FAIL: TestD (0.00s)\nFAIL\n", exit, row{Got: "3 passed, 1 failed, 1 skipped: x.test: exit status 1: "}},
		"failed aloud": {"--- PASS: TestA (0.00s)\n--- FAIL: TestD (0.00s)\n", nil, row{Got: "1 passed, 1 failed, 0 skipped"}},
		"nothing":      {"testing: warning: no tests to run\nPASS\n", nil, row{Got: "0 passed, 0 failed, 0 skipped"}},
		"timed out":    {ran + "panic: test timed out after 30s\n", errors.New("x.test: exit status 2: "), row{Got: "not finished: 3 passed, 0 failed, 1 skipped"}},
		"ended":        {ran, fmt.Errorf("x.test: %w: ", errTooLong), row{Got: "not finished: 3 passed, 0 failed, 1 skipped"}},
		"not there":    {"", errors.New("x.test: no such file"), row{Got: "0 passed, 0 failed, 0 skipped: x.test: no such file"}},
	} {
		c.want.What, c.want.Bar = name, "passes"
		if got := testRow(name, c.out, c.err); got != c.want {
			t.Errorf("got  %+v\nwant %+v", got, c.want)
		}
	}
}

func TestACheckPassesWithASummaryOfNone(t *testing.T) {
	const head = "========= COMPUTE-SANITIZER\n"
	for name, c := range map[string]struct {
		out string
		err error
		met bool
		got string
	}{
		"memcheck":         {head + ran + "========= ERROR SUMMARY: 0 errors\n", nil, true, "ERROR SUMMARY: 0 errors; 3 passed"},
		"racecheck":        {head + ran + "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n", nil, true, "RACECHECK SUMMARY: 0 hazards displayed"},
		"ten errors":       {head + ran + "========= ERROR SUMMARY: 10 errors\n", errors.New("exit status 99"), false, "ERROR SUMMARY: 10 errors"},
		"errors, status 0": {head + ran + "========= ERROR SUMMARY: 1 error\n", nil, false, "ERROR SUMMARY: 1 error"},
		"a hazard":         {head + ran + "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)\n", nil, false, "RACECHECK SUMMARY: 1 hazard"},
		"no summary":       {head + ran, nil, false, "no summary: 3 passed"},
		"no GPU":           {head + "    gpu_test.go:73: NO GPU, NOTHING TESTED: x\n--- SKIP: TestA (0.00s)\n========= ERROR SUMMARY: 0 errors\n", nil, false, "NO GPU"},
		"nothing ran":      {head + "========= ERROR SUMMARY: 0 errors\n", nil, false, "0 passed"},
		"timed out":        {head + ran + "panic: test timed out after 40s\n========= ERROR SUMMARY: 0 errors\n", errors.New("exit status 2"), false, "not finished: 3 passed"},
	} {
		r := checkRow(name, c.out, c.err)
		if r.Met != c.met || !strings.Contains(r.Got, c.got) || r.Bar == "" {
			t.Errorf("%s: %+v, want met %t with %q", name, r, c.met, c.got)
		}
	}
}

func TestTheGPUIsABarOfItsOwn(t *testing.T) {
	for out, want := range map[string]row{
		`{"cuda": {"usable": true, "cards": [{"device": "cuda:0", "name": "H", "usable": true, "compute_capability": "9.0"}]}}`: {Got: "H, compute capability 9.0", Bar: "can be used", Met: true},
		`{"cuda": {"error": "no libcuda", "cards": []}}`:                                                                        {Got: "none: no libcuda", Bar: "runs"},
		`{"cuda": {"error": "no libcublasLt", "cards": [{"name": "H", "usable": true}]}}`:                                       {Got: "H cannot be used: no libcublasLt", Bar: "runs"},
		`{"cuda": {"usable": true, "cards": [{"name": "V", "error": "too old"}, {"name": "H", "usable": true}]}}`:               {Got: "V cannot be used: too old", Bar: "runs"},
	} {
		want.What = "GPU"
		if got := gpuRow([]byte(out)); got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", out, got, want)
		}
	}
	if r := gpuRow([]byte("cuda    cannot be used")); r.Met || r.Bar == "" {
		t.Errorf("no JSON: %+v", r)
	}
}

// TestWithoutAGPUNothingIsCertified runs the whole program where every program that it starts fails, or is not there.
func TestWithoutAGPUNothingIsCertified(t *testing.T) {
	if goruntime.GOOS == "windows" {
		t.Skip("the programs that it starts are for Linux")
	}
	bin := t.TempDir()
	for _, name := range []string{"fp8rewrite", "gpu", "python"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho 'no GPU' >&2\nexit 1\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range tested {
		script := "#!/bin/sh\necho '--- PASS: TestA (0.00s)'\necho '    gpu_test.go:73: NO GPU, NOTHING TESTED: none'\necho '--- SKIP: TestB (0.00s)'\n"
		if err := os.WriteFile(filepath.Join(bin, testBinary(p)), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	out, table := t.TempDir(), bytes.Buffer{}
	err := command(t.Context(), []string{"run", "--bin", bin, "--root", "../..", "--out", out, "--python", filepath.Join(bin, "python"), "--parts", "-model"}, &table)
	if err == nil || !strings.Contains(err.Error(), "are missed or not measured") {
		t.Errorf("error %v", err)
	}
	for line := range strings.Lines(table.String()) {
		if strings.HasSuffix(line, "| yes |\n") {
			t.Errorf("met without a GPU: %s", line)
		}
	}
	for _, want := range []string{"| fused cast + amax, 8192² bfloat16 | not measured | ≥ 3.5 TB/s | **no** |", "\n| calibrating llama, 8 steps, ", "\n| golden ", "NO GPU, NOTHING TESTED",
		"\n| racecheck of the kernels' short tests |", "torch.compile's time by ours | not measured | ≥ 1.5× | **no** |", "\n0 of "} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
	if saved, err := os.ReadFile(filepath.Join(out, "table.md")); err != nil || string(saved) != table.String() {
		t.Errorf("table.md is another table, %v", err)
	}
}

func TestTheVerdictIsThatOfTheBars(t *testing.T) {
	seen := shown("seen", 1, "")
	if err := verdict([]row{seen, passed("a", "")}); err != nil {
		t.Error(err)
	}
	for _, rows := range [][]row{nil, {seen}, {passed("a", ""), failed("b", errors.New("no"))}} {
		if verdict(rows) == nil {
			t.Errorf("%+v: no error", rows)
		}
	}
}
