//go:build linux || darwin

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProcess runs the built program and does to it what happens in real life: signals, full disks, files that change.
func TestProcess(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: builds the program and writes a model of 336 MB")
	}
	dir := scratch(t)
	p := program{exe: filepath.Join(dir, "fp8rewrite"), dir: dir}
	build := exec.Command("go", "build", "-o", p.exe, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	const width = 4096
	p.large = filepath.Join(dir, "large.onnx")
	if err := save(p.large, chain(5, width, ramp(width*width*4)), true); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "large.*.data"))
	if err != nil || len(found) != 1 {
		t.Fatalf("data files of the model: %q, %v", found, err)
	}
	p.largeData = found[0]
	models, err := filepath.Abs("../../testdata/models")
	if err != nil {
		t.Fatal(err)
	}
	p.llama, p.mlp = filepath.Join(models, "llama", "model.onnx"), filepath.Join(models, "digits", "digits_mlp.onnx")

	t.Run("SIGINT in the middle leaves the old output", func(t *testing.T) { p.interrupted(t, syscall.SIGINT) })
	t.Run("SIGTERM in the middle leaves the old output", func(t *testing.T) { p.interrupted(t, syscall.SIGTERM) })
	t.Run("SIGHUP in the middle leaves the old output", func(t *testing.T) { p.interrupted(t, syscall.SIGHUP) })
	t.Run("a limit on the size of files is an error", p.fileLimit)
	t.Run("a folder that becomes unwritable is an error", p.folderLocked)
	t.Run("an input that may not be read is an error", p.unreadable)
	t.Run("a closed pipe ends the program quietly", p.closedPipe)
	t.Run("a closed stdout does no harm", p.closedStdout)
	t.Run("the longest history takes memory in proportion", p.longHistory)
	t.Run("on this system", p.system)
	t.Run("calibrate", p.calibrating)
	t.Run("an input cut short in the middle is an error", p.cutShort) // last: it spoils the model
}

type program struct {
	exe, dir         string
	large, largeData string // a model of 336 MB and its data file
	llama, mlp       string
}

// result is what a run of the program left.
type result struct {
	state          *os.ProcessState
	stdout, stderr string
}

func (r result) code() int { return r.state.ExitCode() }

// start starts the program; the function that it gives waits for its end.
func (p program) start(t *testing.T, change func(*exec.Cmd), args ...string) (*exec.Cmd, func() result) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(p.exe, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if change != nil {
		change(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, func() result {
		t.Helper()
		stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Signal(syscall.SIGQUIT) }) // which shows what it waits for
		defer stuck.Stop()
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return result{cmd.ProcessState, stdout.String(), stderr.String()}
	}
}

func (p program) run(t *testing.T, change func(*exec.Cmd), args ...string) result {
	t.Helper()
	_, wait := p.start(t, change, args...)
	return wait()
}

// midway runs a conversion of the large model to out and does something while the output is being written. It tries again where the
// program was too fast.
func (p program) midway(t *testing.T, change func(*exec.Cmd), out string, do func(*os.Process)) result {
	t.Helper()
	for range 5 {
		cmd, wait := p.start(t, change, "convert", p.large, "-o", out, "--weights", "original")
		caught := false
		for until := time.Now().Add(20 * time.Second); time.Now().Before(until) && !caught; time.Sleep(time.Millisecond) {
			for _, name := range temporary(t, filepath.Dir(out)) {
				if info, err := os.Stat(name); err == nil && info.Size() > 8<<20 {
					caught = true
				}
			}
			if cmd.Process.Signal(syscall.Signal(0)) != nil {
				break
			}
		}
		if caught {
			do(cmd.Process)
		}
		if r := wait(); r.code() != exitDone {
			return r
		}
	}
	t.Fatal("five conversions were done before anything could be done to them")
	return result{}
}

// old is an output of an earlier run, which must survive.
type old struct {
	path    string
	content []byte
}

func (p program) old(t *testing.T, dir string) old {
	t.Helper()
	o := old{path: filepath.Join(dir, "out.onnx")}
	if r := p.run(t, nil, "convert", p.mlp, "-o", o.path, "--quiet"); r.code() != exitDone {
		t.Fatal(r)
	}
	var err error
	if o.content, err = os.ReadFile(o.path); err != nil {
		t.Fatal(err)
	}
	return o
}

// intact checks that the old output is there as it was, and nothing beside it.
func (o old) intact(t *testing.T) {
	t.Helper()
	if now, err := os.ReadFile(o.path); err != nil || !bytes.Equal(now, o.content) {
		t.Errorf("the old output changed: %v, %d bytes, had %d", err, len(now), len(o.content))
	}
	entries, err := os.ReadDir(filepath.Dir(o.path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(o.path) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func temporary(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, ".fp8rewrite-*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// says checks the exit status and that stderr is these lines, of which each want is a part of one, and that stdout is empty.
func (r result) says(t *testing.T, code int, want ...string) {
	t.Helper()
	if r.code() != code {
		t.Errorf("%s, want exit status %d", r.state, code)
	}
	if r.stdout != "" {
		t.Errorf("stdout has %q, want nothing", r.stdout)
	}
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("stderr has %d lines, want %d:\n%s", len(lines), len(want), r.stderr)
	}
	for i, w := range want {
		if !strings.Contains(lines[i], w) {
			t.Errorf("stderr has %q, want %q in it", lines[i], w)
		}
	}
}

func (p program) interrupted(t *testing.T, sig syscall.Signal) {
	o := p.old(t, scratch(t))
	r := p.midway(t, nil, o.path, func(proc *os.Process) { proc.Signal(sig) })
	r.says(t, exitInterrupted, "fp8rewrite: interrupted; nothing was written")
	o.intact(t)
}

// fileLimit has a write fail in the middle, as on a disk that fills up.
func (p program) fileLimit(t *testing.T) {
	o := p.old(t, t.TempDir())
	shell := exec.Command("sh", "-c", `ulimit -f 4096; exec "$0" "$@"`, p.exe, "convert", p.llama, "-o", o.path, "--weights", "original")
	var stdout, stderr bytes.Buffer
	shell.Stdout, shell.Stderr = &stdout, &stderr
	if err := shell.Run(); err == nil {
		t.Fatal("a file of 12 MB was written under a limit of 2 MB")
	}
	result{shell.ProcessState, stdout.String(), stderr.String()}.says(t, exitFailed, "fp8rewrite: write "+o.path+": file too large")
	o.intact(t)
}

// bound gives dir to a user whom permissions bind, and lets the program run as that user: not as root.
func (p program) bound(t *testing.T, dir string) func(*exec.Cmd) {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Skipf("SKIPPED: root cannot give a folder to another user: %v", err)
	}
	for _, d := range []string{dir, p.dir} {
		for ; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	change := func(c *exec.Cmd) {
		c.Dir = dir
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if r := p.run(t, change, "inspect", p.large); r.code() != exitDone {
		t.Skipf("SKIPPED: another user cannot run the program here: %s %s", r.state, r.stderr)
	}
	return change
}

func (p program) unreadable(t *testing.T) {
	dir := scratch(t)
	secret := filepath.Join(dir, "secret.onnx")
	copyFile(t, p.mlp, secret)
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	change := p.bound(t, dir)
	p.run(t, change, "inspect", secret).says(t, exitFailed, "fp8rewrite: open "+secret+": permission denied")
	p.run(t, change, "convert", secret, "-o", filepath.Join(dir, "o.onnx")).says(t, exitFailed, "fp8rewrite: open "+secret+": permission denied")
}

// folderLocked takes the right to write into the folder away. What is there can then not be removed either: the old output counts.
func (p program) folderLocked(t *testing.T) {
	dir := scratch(t)
	o := p.old(t, dir)
	change := p.bound(t, dir)
	r := p.midway(t, change, o.path, func(*os.Process) {
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.says(t, exitFailed, o.path+": permission denied")
	for _, name := range temporary(t, dir) {
		if info, err := os.Stat(name); err != nil || info.Size() != 0 {
			t.Errorf("%s, which could not be removed, still holds %d bytes", name, info.Size())
		}
		os.Remove(name)
	}
	o.intact(t)

	// From the start.
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	r = p.run(t, change, "convert", p.large, "-o", o.path)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.says(t, exitFailed, "fp8rewrite: "+o.path+": folder is not writable: permission denied")
	o.intact(t)
}

func (p program) closedPipe(t *testing.T) {
	for _, args := range [][]string{{"inspect", p.llama}, {"convert", p.llama, "--dry-run"}, {"convert", p.llama, "-o", "-", "--quiet"}, {"help"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		got := p.run(t, func(c *exec.Cmd) { c.Stdout = w }, args...)
		w.Close()
		status, ok := got.state.Sys().(syscall.WaitStatus)
		if !ok || !status.Signaled() || status.Signal() != syscall.SIGPIPE {
			t.Errorf("%s: %s, want the end by SIGPIPE that a shell expects", args[0], got.state)
		}
		if got.stderr != "" {
			t.Errorf("%s: stderr has %q, want nothing", args[0], got.stderr)
		}
	}
	out, err := exec.Command("sh", "-c", `"$0" inspect "$1" 2>&1 | head -1`, p.exe, p.llama).CombinedOutput()
	if err != nil || string(out) != "model.onnx\n" {
		t.Errorf("inspect | head -1: %q, %v", out, err)
	}
}

func (p program) closedStdout(t *testing.T) {
	o := p.old(t, t.TempDir())
	for _, redirection := range []string{">&-", ">&- 2>&-", "<&- >&- 2>&-"} {
		path := filepath.Join(t.TempDir(), "out.onnx")
		sh := exec.Command("sh", "-c", `exec "$0" convert "$1" -o "$2" `+redirection, p.exe, p.mlp, path)
		if out, err := sh.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", redirection, err, out)
		}
		// A file that the program opens must not become its stdout and take in the table.
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, o.content) {
			t.Errorf("%s: the model is not what it is otherwise: %v", redirection, err)
		}
	}
}

func (p program) longHistory(t *testing.T) {
	dir := t.TempDir()
	out, figure := filepath.Join(dir, "out.onnx"), filepath.Join(dir, "peak")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := p.run(t, func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = self, append([]string{peakCommand, figure}, cmd.Args...)
	}, "convert", p.llama, "-o", out, "--quiet", "--history-len", "65536")
	r.says(t, exitDone, "")
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(figure)
	if err != nil {
		t.Fatal(err)
	}
	peak, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || peak < 1<<20 {
		t.Fatalf("peak of memory %q: %v", text, err)
	}
	if limit := 6*info.Size() + 64<<20; peak > limit {
		t.Errorf("a model of %d bytes took %d bytes of memory, want at most %d", info.Size(), peak, limit)
	}
	r = p.run(t, nil, "convert", p.llama, "-o", out, "--quiet", "--history-len", "9223372036854775807")
	r.says(t, exitUsage, "want 1 to 65536", "hint: ")
}

func (p program) cutShort(t *testing.T) {
	o := p.old(t, scratch(t))
	r := p.midway(t, nil, o.path, func(*os.Process) {
		if err := os.Truncate(p.largeData, 1<<20); err != nil {
			t.Error(err)
		}
	})
	r.says(t, exitFailed, "fp8rewrite: "+p.largeData+" changed while it was read: it had 335544320 bytes and has 1048576", "hint: ")
	o.intact(t)
	r = p.run(t, nil, "convert", p.large, "-o", o.path)
	r.says(t, exitFailed, p.largeData[len(p.dir)+1:])
	o.intact(t)
}
