package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the scripts' cmp commands see into the scripts")

// noGPU names a library that is not there: what these tests see must not depend on whether the machine has a GPU.
const noGPU = "/nonexistent/libcuda.so.1"

// peakCommand is what this test binary is called as to be peak.
const peakCommand = "peak"

// TestMain lets this test binary be the program: scripts run it as fp8rewrite.
func TestMain(m *testing.M) {
	if _, set := os.LookupEnv("FP8REWRITE_CUDA_LIB"); !set { // one that is set and empty has the machine's own looked for
		os.Setenv("FP8REWRITE_CUDA_LIB", noGPU)
	}
	testscript.Main(m, map[string]func(){"fp8rewrite": main, peakCommand: peak})
}

// TestScript runs testdata/script: the specification of the command line.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setup,
		Condition:           condition,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lines": countLines, "steady": steady, "truncate": truncate, "hardlink": hardlink, "untouched": untouched, "overridable": writeOverridable,
			"usage": expectUsage, "fails": expectFailure, "bad": badModel, "glob": globbed, "safetensors": writeSafetensors,
			"npz": writeNpz, "bomb": writeBomb, "field": checkField, "near": near, "samefield": sameField, "gate": expectGate,
			"checkpoints": writeCheckpoints,
		},
	})
}

// setup points MODELS at the sample models.
func setup(e *testscript.Env) error {
	models, err := filepath.Abs("../../testdata/models")
	if err != nil {
		return err
	}
	e.Setenv("FP8REWRITE_CUDA_LIB", noGPU)
	e.Setenv("MODELS", models)
	e.Setenv("LLAMA", filepath.Join(models, "llama", "model.onnx"))
	e.Setenv("GPT2", filepath.Join(models, "gpt2", "model.onnx"))
	e.Setenv("MLP", filepath.Join(models, "digits", "digits_mlp.onnx"))
	e.Setenv("TEXT", filepath.Join(models, "llama", "data.npz"))
	e.Setenv("DIGITS", filepath.Join(models, "digits", "data.npz"))
	e.Setenv("CNN", filepath.Join(models, "digits", "digits_cnn.onnx"))
	return nil
}

func condition(cond string) (bool, error) {
	switch cond {
	case "permissions": // bits of a file's mode bind this user
		return goruntime.GOOS != "windows" && os.Getuid() != 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// countLines checks that a stream of the last command has n lines: lines stderr 2.
func countLines(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: lines stdout|stderr|FILE N")
	}
	got := fmt.Sprint(strings.Count(ts.ReadFile(args[0]), "\n"))
	if got != args[1] {
		ts.Fatalf("%s has %s lines, want %s", args[0], got, args[1])
	}
}

// steady writes a report without the volatile part, for comparison: steady FROM TO.
func steady(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: steady FROM TO")
	}
	text := ts.ReadFile(args[0])
	at := strings.LastIndex(text, "\n  \"volatile\": {")
	if at < 0 {
		ts.Fatalf("%s has no volatile object", args[0])
	}
	var all map[string]json.RawMessage
	ts.Check(json.Unmarshal([]byte(text), &all))
	rest := bytes.TrimSpace([]byte(text[at:]))
	if want := fmt.Sprintf("\"volatile\": %s\n}", all["volatile"]); string(rest) != want {
		ts.Fatalf("%s: the volatile object is not the last", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text[:at]), 0o666))
}

// truncate cuts a file to n bytes: truncate FILE N.
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	var n int64
	if len(args) != 2 || neg {
		ts.Fatalf("usage: truncate FILE N")
	}
	if _, err := fmt.Sscan(args[1], &n); err != nil {
		ts.Fatalf("truncate: %v", err)
	}
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// hardlink gives a file a second name: hardlink OLD NEW.
func hardlink(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: hardlink OLD NEW")
	}
	ts.Check(os.Link(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

// untouched checks that the working folder holds files of these names (globs), those whose names end in .want, and no others: so
// nothing else was written, temporary files included.
func untouched(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: untouched FILE...")
	}
	want := map[string]bool{}
	for _, a := range args {
		want[filepath.FromSlash(a)] = true
	}
	found := map[string]bool{}
	dir := ts.MkAbs(".")
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.IsDir() {
			return nil
		}
		if strings.HasSuffix(name, ".want") {
			return nil
		}
		for pattern := range want {
			if ok, _ := filepath.Match(pattern, name); ok {
				found[pattern] = true
				return nil
			}
		}
		return fmt.Errorf("unexpected file %s", name)
	}))
	for pattern := range want {
		if !found[pattern] {
			ts.Fatalf("file %s is missing", pattern)
		}
	}
}

// writeOverridable writes a model whose weight is a graph input: overridable FILE.
func writeOverridable(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: overridable FILE")
	}
	ts.Check(save(ts.MkAbs(args[0]), overridable(), false))
}

// expect runs the program and checks its exit status, that stdout is empty, and that stderr has a message and then, perhaps, a hint.
func expect(ts *testscript.TestScript, status int, hint bool, args []string) {
	err := ts.Exec("fp8rewrite", args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		ts.Fatalf("exit status 0, want %d", status)
	}
	if exit.ExitCode() != status {
		ts.Fatalf("exit status %d, want %d", exit.ExitCode(), status)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout has %q, want nothing", out)
	}
	said := strings.Split(ts.ReadFile("stderr"), "\n")
	for strings.HasPrefix(said[0], "plan") || strings.HasPrefix(said[0], "note: ") { // of the engine, and what it needs, which came before
		said = said[1:]
	}
	want := len(said) == 2 && !hint || len(said) == 3 && strings.HasPrefix(said[1], "hint: ")
	if !want || said[len(said)-1] != "" || !strings.HasPrefix(said[0], "fp8rewrite: ") {
		ts.Fatalf("stderr has %q, want a line and a hint", said)
	}
}

// expectUsage runs a command line that is wrong usage: exit status 2, a message, a hint: usage ARG...
func expectUsage(ts *testscript.TestScript, neg bool, args []string) {
	expect(ts, exitUsage, true, args)
}

// expectFailure runs a command line that fails: exit status 1, one line, a hint where there is one to give: fails ARG...
func expectFailure(ts *testscript.TestScript, neg bool, args []string) {
	expect(ts, exitFailed, false, args)
}

// expectGate runs a verification of which a gate is not met: exit status 3, the result on stdout, the gates on stderr: gate ARG...
func expectGate(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("fp8rewrite", args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitGate {
		ts.Fatalf("%v, want exit status %d", err, exitGate)
	}
	if !strings.Contains(ts.ReadFile("stderr"), "fp8rewrite: gate not met: ") {
		ts.Fatalf("stderr does not say which gate")
	}
}

// badModel checks that neither command takes a file, that both say the same in one line, and that there is no output: bad FILE.
func badModel(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: bad FILE")
	}
	line := func(args ...string) string {
		expect(ts, exitFailed, false, args)
		first, hint, _ := strings.Cut(ts.ReadFile("stderr"), "\n")
		if hint != "" {
			ts.Fatalf("stderr has %q after the first line", hint)
		}
		return first
	}
	inspected := line("inspect", args[0])
	if converted := line("convert", args[0], "-o", "never.onnx", "--report", "never.json"); converted != inspected {
		ts.Fatalf("convert says %q, inspect says %q", converted, inspected)
	}
	for _, name := range []string{"never.onnx", "never.json"} {
		if _, err := os.Lstat(ts.MkAbs(name)); err == nil {
			ts.Fatalf("%s was written", name)
		}
	}
}

// globbed puts the one file that matches into GLOB, and renames it where a new name is given: glob PATTERN [NEW].
func globbed(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 || neg {
		ts.Fatalf("usage: glob PATTERN [NEW]")
	}
	found, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(found) != 1 {
		ts.Fatalf("%d files match %s, want one", len(found), args[0])
	}
	ts.Setenv("GLOB", filepath.Base(found[0]))
	if len(args) == 2 {
		ts.Check(os.Rename(found[0], ts.MkAbs(args[1])))
	}
}

// writeSafetensors writes a small file of that format: safetensors FILE.
func writeSafetensors(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: safetensors FILE")
	}
	header := `{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}      `
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(append(b, header...), make([]byte, 16)...)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o666))
}
