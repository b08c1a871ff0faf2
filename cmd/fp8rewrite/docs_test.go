package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestExamples runs the examples of every command's help, of which there are three.
func TestExamples(t *testing.T) {
	t.Parallel()
	sh := shell(t)
	dir := t.TempDir()
	copyFile(t, "../../testdata/models/llama/model.onnx", filepath.Join(dir, "model.onnx"))
	// What the examples go on from: data with the names of the inputs, and with prefixes; models of every stage.
	texts := shortTexts(t, 32)
	for name, arrays := range map[string]map[string][]byte{"data.npz": texts, "batches.npz": {"input_ids": texts["calib_input_ids"]}} {
		if err := os.WriteFile(filepath.Join(dir, name), npzOf(t, arrays), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	rules := "version: 1\nmodel: model.onnx\ndata: data.npz\nbaseline: baseline.json\ncalibrate: {prefix: calib_, steps: 1}\nverify: {prefix: calib_, steps: 1}\n"
	if err := os.WriteFile(filepath.Join(dir, policyFile), []byte(rules), 0o666); err != nil {
		t.Fatal(err)
	}
	saveCheckpoints(t, dir)
	for _, line := range []string{
		"fp8rewrite convert layers.safetensors -o layers.fp8.safetensors",
		"fp8rewrite convert model.onnx -o model.fp8.onnx --report old.json",
		"fp8rewrite convert model.onnx -o model.fp8.onnx --report new.json",
		"fp8rewrite calibrate model.fp8.onnx --data data.npz --prefix calib_ -o model.calibrated.onnx --report calibrated.json",
		"fp8rewrite verify model.onnx model.calibrated.onnx --data data.npz --prefix calib_ --report verified.json",
		"fp8rewrite calibrate model.fp8.onnx --data batches.npz -o shard1.onnx --shard 1/2",
		"fp8rewrite calibrate model.fp8.onnx --data batches.npz -o shard2.onnx --shard 2/2",
	} {
		if out, err := run1(sh, dir, line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	_, noLauncher := exec.LookPath("mpirun")
	root := newRoot()
	root.InitDefaultHelpCmd() // which Execute does
	for _, cmd := range below(root) {
		if cmd.Hidden { // it is there to say that it is not there
			continue
		}
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			lines := strings.Split(cmd.Example, "\n")
			if len(lines) != 3 {
				t.Errorf("%d examples, want 3", len(lines))
			}
			if !strings.Contains(cmd.Long, "Exit status: 0 done") {
				t.Errorf("the help does not say what the exit status is")
			}
			for _, line := range lines {
				if noLauncher != nil && strings.HasPrefix(strings.TrimSpace(line), "mpirun ") {
					t.Logf("SKIPPED: %s: there is no mpirun here", strings.TrimSpace(line))
					continue
				}
				if out, err := run1(sh, dir, strings.TrimSpace(line)); err != nil {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
			}
		})
	}
}

// below are a command and the commands under it.
func below(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		list = append(list, below(c)...)
	}
	return list
}

// TestDocs runs the commands in the documents: lines that start with "$ " in blocks marked console, and lines of blocks marked sh, as
// far as they run this program. A document's commands run in order, in a folder that has testdata/models and testdata/policy. What a console block shows
// after a command is what the command prints, stdout before stderr; a line "..." stands for any lines. "# exit status 1" at the end
// of a command is what it says. Commands that cannot run belong into blocks marked text.
func TestDocs(t *testing.T) {
	t.Parallel()
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("../../README.md"); err == nil {
		docs = append(docs, "../../README.md")
	}
	for _, doc := range docs {
		t.Run(filepath.Base(doc), func(t *testing.T) {
			text, err := os.ReadFile(doc)
			if err != nil {
				t.Fatal(err)
			}
			commands, problems := commandsIn(string(text))
			for _, p := range problems {
				t.Errorf("%s: %s", doc, p)
			}
			if len(commands) == 0 {
				return
			}
			sh := shell(t)
			dir := t.TempDir()
			for _, data := range []string{"models", "policy"} {
				copyTree(t, filepath.Join("../../testdata", data), filepath.Join(dir, "testdata", data))
			}
			for _, c := range commands {
				out, err := run1(sh, dir, c.line)
				status := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					status = exit.ExitCode()
				} else if err != nil {
					t.Fatal(err)
				}
				if status != c.status {
					t.Errorf("%s:%d: %s: exit status %d, want %d\n%s", doc, c.at, c.line, status, c.status, out)
				}
				if len(c.shown) > 0 && !matches(c.shown, strings.Split(strings.TrimRight(out, "\n"), "\n")) {
					t.Errorf("%s:%d: %s: prints\n%s\nwhere the document shows\n%s", doc, c.at, c.line, out, strings.Join(c.shown, "\n"))
				}
			}
		})
	}
}

// documented is a command of a document.
type documented struct {
	at     int // line
	line   string
	status int
	shown  []string
}

var (
	fence      = regexp.MustCompile("^ *(```+|~~~+) *([a-zA-Z0-9_-]*)")
	program1   = regexp.MustCompile(`^(go run \./cmd/fp8rewrite|fp8rewrite)( |$)`)
	exitStatus = regexp.MustCompile(` +# exit status ([0-9]+)$`)
)

// commandsIn finds the commands of a document, and blocks that are not marked as what they are.
func commandsIn(text string) (commands []documented, problems []string) {
	open, kind := "", ""
	var current *documented // whose output follows
	continued := false
	for i, line := range strings.Split(text, "\n") {
		if m := fence.FindStringSubmatch(line); m != nil && (open == "" || strings.HasPrefix(m[1], open) && m[2] == "") {
			if open == "" {
				open, kind = m[1], m[2]
			} else {
				open, kind = "", ""
			}
			current, continued = nil, false
			continue
		}
		if open == "" || kind == "text" {
			continue
		}
		command, marked := strings.CutPrefix(line, "$ ")
		switch {
		case continued:
			more := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "> "))
			continued = strings.HasSuffix(more, `\`)
			commands[len(commands)-1].line += " " + strings.TrimSpace(strings.TrimSuffix(more, `\`))
			continue
		case kind == "console" && marked, kind == "sh" && program1.MatchString(line):
			current = nil
			if !program1.MatchString(command) {
				continue // another program's
			}
			c := documented{at: i + 1, line: command}
			if continued = strings.HasSuffix(c.line, `\`); continued {
				c.line = strings.TrimSpace(strings.TrimSuffix(c.line, `\`))
			}
			c.line = strings.Replace(c.line, "go run ./cmd/fp8rewrite", "fp8rewrite", 1)
			commands = append(commands, c)
			if kind == "console" {
				current = &commands[len(commands)-1]
			}
		case kind == "console" && current != nil:
			current.shown = append(current.shown, line)
		case kind != "console" && (marked || program1.MatchString(line)):
			problems = append(problems, fmt.Sprintf("line %d: %q stands in a block marked %q: mark it console if it runs, text if it does not", i+1, line, kind))
		}
	}
	for i := range commands {
		if m := exitStatus.FindStringSubmatch(commands[i].line); m != nil {
			commands[i].status, _ = strconv.Atoi(m[1])
			commands[i].line = strings.TrimSuffix(commands[i].line, m[0])
		}
	}
	if open != "" {
		problems = append(problems, "a block is not closed")
	}
	return commands, problems
}

// matches compares what a document shows with what a command printed.
func matches(shown, printed []string) bool {
	if len(shown) == 0 {
		return len(printed) == 0
	}
	if s := strings.TrimSpace(shown[0]); s == "..." || s == "…" {
		for i := range len(printed) + 1 {
			if matches(shown[1:], printed[i:]) {
				return true
			}
		}
		return false
	}
	return len(printed) > 0 && strings.TrimRight(shown[0], " ") == strings.TrimRight(printed[0], " ") && matches(shown[1:], printed[1:])
}

func TestCommandsIn(t *testing.T) {
	const f = "```"
	doc := strings.Join([]string{
		f + "console", "$ fp8rewrite inspect a.onnx", "a.onnx", "...", "$ ls", "ls prints this",
		"$ go run ./cmd/fp8rewrite convert a \\", ">   -o b  # exit status 2", f,
		f + "sh", "go test ./...", "fp8rewrite version", f,
		f + "text", "$ fp8rewrite calibrate a.onnx", f,
		f, "$ fp8rewrite version", f,
	}, "\n")
	got, problems := commandsIn(doc)
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "line 18: ") {
		t.Errorf("problems %q, want one, in line 18", problems)
	}
	var lines []string
	for _, c := range got {
		lines = append(lines, c.line)
	}
	want := "fp8rewrite inspect a.onnx|fp8rewrite convert a -o b|fp8rewrite version"
	if strings.Join(lines, "|") != want {
		t.Errorf("got %q, want %q", lines, want)
	}
	if s := got[0].shown; len(s) != 2 || s[0] != "a.onnx" {
		t.Errorf("the first command shows %q", s)
	}
	if got[1].status != 2 {
		t.Errorf("the second command's exit status is %d, want 2", got[1].status)
	}
	for _, c := range []struct {
		shown, printed string
		want           bool
	}{
		{"a|b", "a|b", true}, {"a|b", "a", false}, {"a", "a|b", false}, {"a|...", "a|b|c", true}, {"...|c", "a|b|c", true},
		{"a|...|c", "a|c", true}, {"a|...|d", "a|b|c", false}, {"...", "", true},
	} {
		if got := matches(strings.Split(c.shown, "|"), strings.Split(c.printed, "|")); got != c.want {
			t.Errorf("%q against %q: %v, want %v", c.shown, c.printed, got, c.want)
		}
	}
}

// shell is the path of a POSIX shell, in which documents' command lines run.
func shell(t *testing.T) string {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("SKIPPED: no sh here to run command lines in")
	}
	return sh
}

// run1 runs one command line; fp8rewrite in it is this test binary, which TestMain has put on the PATH.
func run1(sh, dir, line string) (string, error) {
	cmd := exec.Command(sh, "-c", line)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = launchable(os.Environ())
	err := cmd.Run()
	return stdout.String() + stderr.String(), err
}

// launchable lets mpirun start more processes than there are cores, and as root, which containers are.
func launchable(env []string) []string {
	return append(env, "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_rmaps_base_oversubscribe=1",
		"PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		copyFile(t, path, filepath.Join(to, name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
