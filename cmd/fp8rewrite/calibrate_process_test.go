//go:build linux || darwin

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// calibrationRun is a run of many small steps, and what it gives when nothing happens to it.
type calibrationRun struct {
	program
	args          []string // without -o and --report
	model, report []byte   // the report without its volatile object
}

// calibrating is what real life does to calibrate: signals, checkpoints of other runs, full disks.
func (p program) calibrating(t *testing.T) {
	dir := scratch(t)
	c := &calibrationRun{program: p}
	converted := filepath.Join(dir, "m.onnx")
	if r := p.run(t, nil, "convert", p.llama, "-o", converted, "--quiet"); r.code() != exitDone {
		t.Fatal(r)
	}
	data := filepath.Join(dir, "data.npz")
	if err := os.WriteFile(data, npzOf(t, shortTexts(t, 96)), 0o666); err != nil {
		t.Fatal(err)
	}
	c.args = []string{"calibrate", converted, "--data", data, "--prefix", "calib_", "--labels", "labels", "--batch-size", "1"}
	out := filepath.Join(dir, "out.onnx")
	if r := p.run(t, nil, c.to(out)...); r.code() != exitDone {
		t.Fatal(r)
	}
	c.model, c.report = c.result(t, out)

	t.Run("interrupted at several steps, then resumed, is as if nothing had happened", c.interruptedAndResumed)
	t.Run("interrupted between checkpoints loses no step", c.interruptedBetweenCheckpoints)
	t.Run("killed at any time, then resumed, is as if nothing had happened", c.killedAndResumed)
	t.Run("a checkpoint of another run is refused", c.otherCheckpoints)
	t.Run("a verification that is interrupted writes nothing", c.verificationInterrupted)
	t.Run("a limit on the size of files is an error", c.limited)
	t.Run("on this system", c.system)
	t.Run("several processes", c.processes)
}

// to is the command line that writes out, with a report beside it.
func (c *calibrationRun) to(out string, more ...string) []string {
	return append(append(append([]string{}, c.args...), "-o", out, "--report", out+".json", "--quiet"), more...)
}

// result is the model at out and its report without the volatile object.
func (c *calibrationRun) result(t *testing.T, out string) (model, report []byte) {
	t.Helper()
	model, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out + ".json")
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(text, []byte("\n  \"volatile\": {"))
	if at < 0 {
		t.Fatal("the report has no volatile object")
	}
	return model, text[:at]
}

// same checks that a run ended as the one to which nothing happened, and left nothing but its outputs.
func (c *calibrationRun) same(t *testing.T, out string) {
	t.Helper()
	model, report := c.result(t, out)
	if !bytes.Equal(model, c.model) {
		t.Error("the model is not that of an uninterrupted run")
	}
	if !bytes.Equal(report, c.report) {
		t.Errorf("the report is not that of an uninterrupted run:\n%s\nwant\n%s", cutText(report), cutText(c.report))
	}
	if got, want := files(t, filepath.Dir(out)), filepath.Base(out)+" "+filepath.Base(out)+".json"; got != want {
		t.Errorf("files %s, want %s", got, want)
	}
}

func cutText(b []byte) []byte { return b[:min(len(b), 3000)] }

// files are the names in a folder, without temporary files of programs that were killed.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".fp8rewrite-") {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

// steps is how many steps the checkpoint beside out has, 0 where there is none.
func steps(t *testing.T, out string) int {
	t.Helper()
	b, err := os.ReadFile(out + ".resume")
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(b, []byte{'\n'})
	var c struct{ Steps int }
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	return c.Steps
}

// until waits for the checkpoint beside out to have n steps and then sends the signal. It reports how the program ended.
func (c *calibrationRun) until(t *testing.T, out string, n int, sig syscall.Signal, more ...string) result {
	t.Helper()
	cmd, wait := c.start(t, nil, c.to(out, append(more, "--checkpoint-every", "1")...)...)
	for end := time.Now().Add(30 * time.Second); steps(t, out) < n && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	cmd.Process.Signal(sig)
	r := wait()
	if r.code() == exitDone {
		c.same(t, out)
		t.Skip("SKIPPED: the run was over before the signal came: this machine is busy")
	}
	return r
}

const resumeHint = "hint: the same command with --resume goes on from there"

func (c *calibrationRun) interruptedAndResumed(t *testing.T) {
	out := filepath.Join(scratch(t), "out.onnx")
	var more []string
	for i, at := range []int{1, 9, 25, 40} {
		sig := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
		r := c.until(t, out, at, sig, more...)
		r.says(t, exitInterrupted, "fp8rewrite: interrupted; "+out+".resume holds what was done so far", resumeHint)
		if done := steps(t, out); done < at || done >= 64 {
			t.Errorf("the checkpoint has %d steps, want at least %d of 64", done, at)
		}
		if got := files(t, filepath.Dir(out)); got != "out.onnx.resume" {
			t.Errorf("files %s, want the checkpoint alone", got)
		}
		more = []string{"--resume"}
	}
	if left := temporary(t, filepath.Dir(out)); len(left) > 0 {
		t.Errorf("%q were left behind", left)
	}
	// Threads are no part of what a checkpoint is of: the numbers do not depend on them.
	if r := c.run(t, nil, c.to(out, "--resume", "--threads", "1")...); r.code() != exitDone {
		t.Fatal(r)
	}
	c.same(t, out)
}

func (c *calibrationRun) interruptedBetweenCheckpoints(t *testing.T) {
	out := filepath.Join(scratch(t), "out.onnx")
	for try := range 12 {
		cmd, wait := c.start(t, nil, c.to(out, "--checkpoint-every", "0")...)
		time.Sleep(time.Duration(300+200*(try%4)-20*try) * time.Millisecond)
		cmd.Process.Signal(syscall.SIGINT)
		r := wait()
		if done := steps(t, out); r.code() == exitInterrupted && done > 0 {
			r.says(t, exitInterrupted, "holds what was done so far", resumeHint)
			if r := c.run(t, nil, c.to(out, "--resume")...); r.code() != exitDone {
				t.Fatal(r)
			}
			c.same(t, out)
			return
		} else if r.code() == exitInterrupted { // before the first step was done
			r.says(t, exitInterrupted, "fp8rewrite: interrupted; nothing was written")
			if got := files(t, filepath.Dir(out)); got != "" {
				t.Errorf("%s were written", got)
			}
		}
		for _, name := range []string{out, out + ".json"} {
			os.Remove(name)
		}
	}
	t.Skip("SKIPPED: the run never was between two steps when the signal came")
}

func (c *calibrationRun) killedAndResumed(t *testing.T) {
	out := filepath.Join(scratch(t), "out.onnx")
	random := rand.New(rand.NewPCG(8, 3))
	var more []string
	for range 5 {
		from := steps(t, out)
		if r := c.until(t, out, from+1+random.IntN(8), syscall.SIGKILL, more...); r.code() != -1 {
			t.Fatalf("%s, want the end by SIGKILL: %s", r.state, r.stderr)
		}
		if steps(t, out) == 0 {
			t.Fatal("there is no checkpoint")
		}
		more = []string{"--resume"}
	}
	if r := c.run(t, nil, c.to(out, "--resume", "--checkpoint-every", "3")...); r.code() != exitDone {
		t.Fatal(r)
	}
	c.same(t, out)
}

func (c *calibrationRun) otherCheckpoints(t *testing.T) {
	dir := scratch(t)
	out := filepath.Join(dir, "out.onnx")
	r := c.run(t, nil, c.to(out, "--resume")...)
	r.says(t, exitFailed, "fp8rewrite: open "+out+".resume: no such file", "hint: --resume goes on from what an interrupted run with the same -o has left")

	c.until(t, out, 2, syscall.SIGINT).says(t, exitInterrupted, "holds what was done so far", resumeHint)
	good, err := os.ReadFile(out + ".resume")
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name string, args []string, want string) {
		t.Helper()
		before, err := os.ReadFile(out + ".resume")
		if err != nil {
			t.Fatal(err)
		}
		r := c.run(t, nil, args...)
		r.says(t, exitFailed, "fp8rewrite: checkpoint: "+want, "hint: remove "+out+".resume and leave --resume out to begin again")
		after, err := os.ReadFile(out + ".resume")
		if err != nil || !bytes.Equal(before, after) || files(t, dir) != "out.onnx.resume" {
			t.Errorf("%s: the checkpoint changed, or there is more: %v, %s", name, err, files(t, dir))
		}
	}
	const other = "it belongs to another run"
	refused("fewer steps", c.to(out, "--resume", "--steps", "20"), other+": the number of steps was 64 and is 20, --labels is another")
	refused("larger batches", c.to(out, "--resume", "--batch-size", "2"), other+": the data is another, --batch-size was 1 and is 2, the number of steps was 64 and is 32, --labels is another")
	refused("no amax initialization", c.to(out, "--resume", "--no-amax-init"), other+": --no-amax-init was false and is true")
	refused("other labels", c.to(out, "--resume", "--labels", "eval_labels"), other)
	refused("other data", c.to(out, "--resume", "--prefix", "eval_", "--labels", "calib_labels"), other)
	refused("another recipe", func() []string {
		converted := filepath.Join(t.TempDir(), "m.onnx")
		if r := c.run(t, nil, "convert", c.llama, "-o", converted, "--quiet", "--history-len", "8"); r.code() != exitDone {
			t.Fatal(r)
		}
		args := c.to(out, "--resume")
		args[1] = converted
		return args
	}(), other)
	for name, b := range map[string][]byte{
		"cut short":       good[:len(good)-100],
		"a changed digit": bytes.Replace(bytes.Clone(good), []byte(`"Steps":`), []byte(`"Steps":1`), 1),
	} {
		if err := os.WriteFile(out+".resume", b, 0o666); err != nil {
			t.Fatal(err)
		}
		refused(name, c.to(out, "--resume"), "")
	}
	for name, b := range map[string][]byte{"an empty file": {}, "another file": []byte("{}\n")} {
		if err := os.WriteFile(out+".resume", b, 0o666); err != nil {
			t.Fatal(err)
		}
		c.run(t, nil, c.to(out, "--resume")...).says(t, exitFailed, "out.onnx.resume\" is there and is no checkpoint of this program", "hint: another -o, or move that file")
		if after, err := os.ReadFile(out + ".resume"); err != nil || !bytes.Equal(after, b) {
			t.Errorf("%s: it was changed: %q, %v", name, after, err)
		}
	}
	if err := os.WriteFile(out+".resume", good, 0o666); err != nil {
		t.Fatal(err)
	}
	// Without --resume an old checkpoint is in nobody's way.
	if r := c.run(t, nil, c.to(out)...); r.code() != exitDone {
		t.Fatal(r)
	}
	c.same(t, out)
}

func (c *calibrationRun) verificationInterrupted(t *testing.T) {
	dir := t.TempDir()
	cmd, wait := c.start(t, nil, "verify", c.llama, c.args[1], "--data", c.args[3], "--prefix", "eval_", "--sensitivity", "--report", filepath.Join(dir, "v.json"), "--quiet")
	time.Sleep(400 * time.Millisecond)
	cmd.Process.Signal(syscall.SIGINT)
	wait().says(t, exitInterrupted, "fp8rewrite: interrupted; nothing was written")
	if got := files(t, dir); got != "" {
		t.Errorf("%s were written", got)
	}
}

func (c *calibrationRun) limited(t *testing.T) {
	o := c.old(t, t.TempDir())
	shell := exec.Command("sh", append([]string{"-c", `ulimit -f 4096; exec "$0" "$@"`, c.exe}, c.to(o.path, "--steps", "2")...)...)
	var stdout, stderr bytes.Buffer
	shell.Stdout, shell.Stderr = &stdout, &stderr
	if err := shell.Run(); err == nil {
		t.Fatal("a file of 3.5 MB was written under a limit of 2 MB")
	}
	result{shell.ProcessState, stdout.String(), stderr.String()}.says(t, exitFailed, "fp8rewrite: write "+o.path+": file too large")
	o.intact(t)
}

// launcher is mpirun, where it is there.
func launcher(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("mpirun")
	if err != nil {
		t.Skip("SKIPPED: no mpirun here: nothing shares a calibration among processes in this test")
	}
	return path
}

// mpirun runs the program in n processes.
func (c *calibrationRun) mpirun(t *testing.T, n int, env []string, args ...string) result {
	t.Helper()
	_, wait := c.launch(t, n, env, args...)
	return wait()
}

func (c *calibrationRun) launch(t *testing.T, n int, env []string, args ...string) (*exec.Cmd, func() result) {
	t.Helper()
	p := program{exe: launcher(t)}
	return p.start(t, func(cmd *exec.Cmd) { cmd.Env = append(launchable(os.Environ()), env...) },
		append([]string{"-np", fmt.Sprint(n), c.exe}, args...)...)
}

// processes are several that share the rows of every step: what one process gives, bit by bit.
func (c *calibrationRun) processes(t *testing.T) {
	launcher(t)
	models, err := filepath.Abs("../../testdata/models")
	if err != nil {
		t.Fatal(err)
	}
	dir := scratch(t)
	digits := []string{"--data", filepath.Join(models, "digits", "data.npz"), "--prefix", "calib_"}
	text := []string{"--data", filepath.Join(models, "llama", "data.npz"), "--prefix", "calib_"}
	for _, m := range []struct {
		name    string
		model   string
		convert []string
		run     []string
	}{
		{"llama", c.llama, nil, append(text, "--steps", "2")},
		{"llama with its own weights and scales of 1", c.llama, []string{"--weights", "original"}, append(text, "--steps", "2", "--batch-size", "3", "--no-amax-init")},
		{"digits", c.mlp, nil, digits},
		{"digits with their own weights", c.mlp, []string{"--weights", "original", "--per-channel"}, digits},
		{"digits with scales of the run's own", c.mlp, []string{"--recipe", "dynamic", "--weights", "original"}, digits},
		{"digits in batches of 3, less than there are processes", c.mlp, nil, append(digits, "--batch-size", "3", "--steps", "9")},
	} {
		t.Run(m.name, func(t *testing.T) {
			base := filepath.Join(dir, strings.ReplaceAll(m.name, " ", "-"))
			if r := c.run(t, nil, append([]string{"convert", m.model, "-o", base + ".onnx", "--quiet"}, m.convert...)...); r.code() != exitDone {
				t.Fatal(r)
			}
			alone := base + ".1.onnx"
			if r := c.run(t, nil, append([]string{"calibrate", base + ".onnx", "-o", alone, "--quiet"}, m.run...)...); r.code() != exitDone {
				t.Fatal(r)
			}
			want, err := os.ReadFile(alone)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{1, 2, 4} {
				out := fmt.Sprintf("%s.%d.onnx", base, n)
				r := c.mpirun(t, n, nil, append([]string{"calibrate", base + ".onnx", "-o", out, "--report", out + ".json", "--quiet", "--threads", "1"}, m.run...)...)
				if r.code() != exitDone {
					t.Fatalf("%d processes: %s: %s", n, r.state, r.stderr)
				}
				if r.stdout != "" || r.stderr != "" {
					t.Errorf("%d processes: --quiet prints %q and %q", n, r.stdout, r.stderr)
				}
				if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d processes: the model is not that of one process: %v", n, err)
				}
				var report struct {
					Calibration struct {
						Settings struct{ Ranks int }
					}
				}
				if b, err := os.ReadFile(out + ".json"); err != nil || json.Unmarshal(b, &report) != nil || report.Calibration.Settings.Ranks != n {
					t.Errorf("%d processes: the report says %d, %v", n, report.Calibration.Settings.Ranks, err)
				}
			}
		})
	}
	t.Run("one table, whatever the number of processes", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "out.onnx")
		r := c.mpirun(t, 2, nil, append([]string{"calibrate", filepath.Join(dir, "digits.onnx"), "-o", out}, digits...)...)
		if r.code() != exitDone || strings.Count(r.stdout, "digits.onnx → out.onnx") != 1 || strings.Count(r.stderr, "plan: ") != 1 || strings.Contains(r.stdout, "\x1b") {
			t.Errorf("%s: prints\n%s\n%s", r.state, r.stdout, r.stderr)
		}
	})
	t.Run("a process that dies ends the job", c.rankDies)
	t.Run("no MPI library is an error", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "out.onnx")
		r := c.mpirun(t, 2, []string{"FP8REWRITE_MPI_LIB=/nonexistent/libmpi.so"}, c.to(out)...)
		if r.code() == exitDone || !strings.Contains(r.stderr, "fp8rewrite: mpi: Open MPI started 2 processes, and no MPI library was found to join them") ||
			!strings.Contains(r.stderr, `FP8REWRITE_MPI_LIB="/nonexistent/libmpi.so"`) || !strings.Contains(r.stderr, "hint: set FP8REWRITE_MPI_LIB") {
			t.Errorf("%s: %s", r.state, r.stderr)
		}
		if got := files(t, filepath.Dir(out)); got != "" {
			t.Errorf("%s were written", got)
		}
	})
	t.Run("an error of all is said once", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "out.onnx")
		r := c.mpirun(t, 4, nil, append([]string{"calibrate", c.mlp, "-o", out}, digits...)...)
		if r.code() != exitFailed || strings.Count(r.stderr, "fp8rewrite: ") != 1 || strings.Count(r.stderr, "hint: fp8rewrite convert ") != 1 {
			t.Errorf("%s: %s", r.state, r.stderr)
		}
		if got := files(t, filepath.Dir(out)); got != "" {
			t.Errorf("%s were written", got)
		}
	})
}

// rankDies kills one of three processes in the middle of the work.
func (c *calibrationRun) rankDies(t *testing.T) {
	out := filepath.Join(scratch(t), "out.onnx")
	args := []string{}
	for i := 0; i < len(c.args); i++ {
		if c.args[i] == "--labels" || c.args[i] == "--batch-size" {
			i++ // labels judge whole batches, and one row is for one process alone
			continue
		}
		args = append(args, c.args[i])
	}
	args = append(args, "-o", out, "--quiet", "--threads", "1", "--batch-size", "4")
	alone := filepath.Join(t.TempDir(), "alone.onnx")
	if r := c.run(t, nil, append(append([]string{}, args...), "-o", alone)...); r.code() != exitDone {
		t.Fatal(r)
	}
	cmd, wait := c.launch(t, 3, nil, append(args, "--checkpoint-every", "1")...)
	for end := time.Now().Add(30 * time.Second); steps(t, out) < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	killed := 0
	for _, pid := range children(t, cmd.Process.Pid) {
		if rankOf(pid) == "1" {
			killed = pid
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if killed == 0 {
		cmd.Process.Kill()
		wait()
		t.Skip("SKIPPED: the processes of the job cannot be told apart here")
	}
	r := wait()
	if r.code() == exitDone || r.stderr == "" {
		t.Errorf("%s, and stderr has %q: want an error", r.state, r.stderr)
	}
	if got := files(t, filepath.Dir(out)); got != "out.onnx.resume" {
		t.Fatalf("files %s, want the checkpoint alone", got)
	}
	// What was done is not lost, and another number of processes may go on with it.
	if r := c.mpirun(t, 2, nil, append(args, "--resume")...); r.code() != exitDone {
		t.Fatalf("%s: %s", r.state, r.stderr)
	}
	want, err := os.ReadFile(alone)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the model is not that of one process: %v", err)
	}
	if got := files(t, filepath.Dir(out)); got != "out.onnx" {
		t.Errorf("files %s, want the model alone", got)
	}
}
