package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// system runs what only Linux lets a test make.
func (p program) system(t *testing.T) {
	t.Run("a full disk is an error", p.fullDisk)
	t.Run("a disk that fills up is an error", p.diskFillsUp)
	t.Run("a disk too full for the report is an error after the model", p.fullForReport)
	t.Run("a read-only file system is an error", p.readOnly)
	t.Run("a full stdout is an error", p.fullStdout)
	t.Run("colors, NO_COLOR and progress on a terminal", p.terminal)
}

// scratch is a folder for large files: in memory where that is possible, since real disks are slow to sync.
func scratch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=2g"); err == nil {
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	}
	return dir
}

// disk is a small file system of its own.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("SKIPPED: no small file system can be mounted here (%v): nothing fills up a disk in this test", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func (p program) fullDisk(t *testing.T) {
	o := p.old(t, disk(t, "8m"))
	r := p.run(t, nil, "convert", p.llama, "-o", o.path, "--weights", "original")
	r.says(t, exitFailed, "fp8rewrite: write "+o.path+": no space left on device: need 1")
	o.intact(t)
}

// diskFillsUp has space run out in the middle, which nothing could know at the start.
func (p program) diskFillsUp(t *testing.T) {
	o := p.old(t, disk(t, "400m"))
	filler := filepath.Join(filepath.Dir(o.path), "filler")
	r := p.midway(t, nil, o.path, func(*os.Process) {
		f, err := os.Create(filler)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, 390<<20); err == nil {
			t.Log("the disk had more room than expected")
		}
		b := make([]byte, 1<<20)
		for {
			if _, err := f.Write(b); err != nil {
				return
			}
		}
	})
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.says(t, exitFailed, "fp8rewrite: write "+o.path+": no space left on device")
	o.intact(t)
}

func (p program) fullForReport(t *testing.T) {
	full := disk(t, "1m")
	if err := os.WriteFile(filepath.Join(full, "filler"), make([]byte, 2<<20), 0o666); err == nil {
		t.Fatal("2 MB fit on a disk of 1 MB")
	}
	out := filepath.Join(t.TempDir(), "out.onnx")
	r := p.run(t, nil, "convert", p.mlp, "-o", out, "--report", filepath.Join(full, "r.json"))
	r.says(t, exitFailed, "fp8rewrite: "+out+" is written, its report is not: write "+filepath.Join(full, "r.json")+": no space left on device")
	if left := temporary(t, full); len(left) > 0 {
		t.Errorf("%q were left behind", left)
	}
	if r := p.run(t, nil, "inspect", out); r.code() != exitDone {
		t.Error(r)
	}
}

func (p program) readOnly(t *testing.T) {
	o := p.old(t, disk(t, "8m"))
	dir := filepath.Dir(o.path)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("SKIPPED: a file system cannot be made read-only here: %v", err)
	}
	r := p.run(t, nil, "convert", p.llama, "-o", o.path)
	r.says(t, exitFailed, "fp8rewrite: "+o.path+": folder is not writable: read-only file system")
	o.intact(t)
}

func (p program) fullStdout(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("SKIPPED: no /dev/full here, whose writes fail as on a full disk: %v", err)
	}
	defer full.Close()
	to := func(c *exec.Cmd) { c.Stdout = full }
	p.run(t, to, "inspect", p.mlp).says(t, exitFailed, "no space left on device")
	p.run(t, to, "convert", p.mlp, "-o", "-").says(t, exitFailed, "no space left on device")
	p.run(t, to, "version").says(t, exitFailed, "no space left on device")
	p.run(t, to, "help").says(t, exitFailed, "no space left on device")
	out := filepath.Join(t.TempDir(), "out.onnx")
	p.run(t, to, "convert", p.mlp, "-o", out).says(t, exitFailed, out+" is written, its report is not")
}

// terminal is a pseudo-terminal: the program's side, and all that was written to it so far.
func terminal(t *testing.T, columns uint16) (tty *os.File, shown func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED: no pseudo-terminals here: %v", err)
	}
	control := func(f *os.File, request uintptr, arg unsafe.Pointer) {
		t.Helper()
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
			t.Skipf("SKIPPED: no pseudo-terminals here: %v", errno)
		}
	}
	const setLock, getNumber, setSize = 0x40045431, 0x80045430, 0x5414 // TIOCSPTLCK, TIOCGPTN, TIOCSWINSZ
	var lock, number int32
	control(master, setLock, unsafe.Pointer(&lock))
	control(master, getNumber, unsafe.Pointer(&number))
	if tty, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Skipf("SKIPPED: no pseudo-terminals here: %v", err)
	}
	control(tty, setSize, unsafe.Pointer(&[4]uint16{40, columns, 0, 0}))
	var b bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(&b, master) // ends with an error once nobody has the other side open
	}()
	return tty, func() string {
		tty.Close()
		<-done
		master.Close()
		return strings.ReplaceAll(b.String(), "\r\n", "\n")
	}
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

func (p program) terminal(t *testing.T) {
	plain := p.run(t, nil, "convert", p.mlp, "--dry-run")
	show := func(env ...string) string {
		tty, shown := terminal(t, 200)
		r := p.run(t, func(c *exec.Cmd) {
			c.Stdout, c.Env = tty, append(append(os.Environ(), "NO_COLOR=", "TERM=xterm"), env...)
		}, "convert", p.mlp, "--dry-run")
		if r.code() != exitDone {
			t.Fatal(r)
		}
		return shown()
	}
	colored := show()
	if !strings.Contains(colored, "\x1b[32mgemm\x1b[0m") {
		t.Errorf("no color on a terminal:\n%s", colored)
	}
	if got := escape.ReplaceAllString(colored, ""); got != plain.stdout {
		t.Errorf("without colors a terminal shows\n%s\nwant\n%s", got, plain.stdout)
	}
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		if got := show(env); got != plain.stdout {
			t.Errorf("%s: a terminal shows\n%q\nwant\n%q", env, got, plain.stdout)
		}
	}

	// A narrow terminal gets a narrow table.
	tty, shown := terminal(t, 60)
	p.run(t, func(c *exec.Cmd) { c.Stdout = tty }, "convert", p.llama, "--dry-run")
	for line := range strings.Lines(escape.ReplaceAllString(shown(), "")) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 60 {
			t.Errorf("a line of %d columns on a terminal of 60: %q", n, line)
		}
	}

	// The bar is on stderr, and gone at the end.
	tty, shown = terminal(t, 100)
	r := p.run(t, func(c *exec.Cmd) { c.Stderr = tty }, "convert", p.large, "-o", filepath.Join(scratch(t), "o.onnx"), "--weights", "original")
	got := shown()
	if r.code() != exitDone || !strings.Contains(got, "writing model") || !strings.Contains(got, "B/s") {
		t.Errorf("no progress in %q", got)
	}
	if left := screen(got); !strings.HasPrefix(left, "not calibrated: ") || strings.Count(left, "\n") != 1 {
		t.Errorf("the terminal is left with %q", left)
	}
	if strings.Contains(r.stdout, "\r") {
		t.Errorf("progress on stdout: %q", r.stdout)
	}

	// After an interrupt as well.
	tty, shown = terminal(t, 100)
	dir := scratch(t)
	r = p.midway(t, func(c *exec.Cmd) { c.Stderr = tty }, filepath.Join(dir, "o.onnx"), func(proc *os.Process) { proc.Signal(os.Interrupt) })
	got = screen(shown())
	if i := strings.LastIndex(got, "fp8rewrite: interrupted"); r.code() != exitInterrupted || i < 0 || i > 0 && got[i-1] != '\n' {
		t.Errorf("%s: the terminal is left with %q", r.state, got)
	}

	// And where it is off it is off.
	tty, shown = terminal(t, 100)
	r = p.run(t, func(c *exec.Cmd) { c.Stderr = tty }, "convert", p.large, "-o", filepath.Join(dir, "o.onnx"), "--quiet")
	if got := shown(); r.code() != exitDone || got != "" {
		t.Errorf("--quiet: the terminal shows %q", got)
	}

	// A model is not for a terminal.
	tty, shown = terminal(t, 100)
	r = p.run(t, func(c *exec.Cmd) { c.Stdout = tty }, "convert", p.mlp, "-o", "-")
	r.says(t, exitUsage, "fp8rewrite: -o - would write the model to a terminal", "hint: -o digits_mlp.fp8.onnx")
	if got := shown(); got != "" {
		t.Errorf("the terminal shows %q", got)
	}
}

// screen is what a terminal shows in the end of what was written to it: a carriage return goes back to the start of the line.
func screen(written string) string {
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(written, "\x1b[2K", "\r"+strings.Repeat(" ", 200)+"\r")) {
		var cells []rune
		for part := range strings.SplitSeq(strings.TrimSuffix(line, "\n"), "\r") {
			r := []rune(part)
			if len(r) > len(cells) {
				cells = append(cells, make([]rune, len(r)-len(cells))...)
			}
			copy(cells, r)
		}
		lines = append(lines, strings.TrimRight(string(cells), " "))
	}
	return strings.Join(lines, "\n") + "\n"
}

// system runs what only Linux lets a test make.
func (c *calibrationRun) system(t *testing.T) {
	t.Run("a full disk is an error", func(t *testing.T) {
		o := c.old(t, disk(t, "2m"))
		r := c.run(t, nil, c.to(o.path, "--steps", "2")...)
		r.says(t, exitFailed, "fp8rewrite: write "+o.path+": no space left on device: need 3")
		o.intact(t)
	})
	t.Run("a disk too full for the model leaves what was done", func(t *testing.T) {
		o := c.old(t, disk(t, "2m"))
		r := c.run(t, nil, c.to(o.path, "--steps", "20")...)
		r.says(t, exitFailed, "fp8rewrite: write "+o.path+": no space left on device: need 3",
			"hint: "+o.path+".resume holds what was done so far; the same command with --resume goes on from there")
		if done := steps(t, o.path); done != 16 {
			t.Errorf("the checkpoint has %d steps, want 16", done)
		}
		os.Remove(o.path + ".resume")
		o.intact(t)
	})
	t.Run("a disk too full for a checkpoint is an error", func(t *testing.T) {
		o := c.old(t, disk(t, "64k"))
		r := c.run(t, nil, c.to(o.path, "--steps", "40", "--checkpoint-every", "1")...)
		r.says(t, exitFailed, o.path+".resume: no space left on device", "hint: "+o.path+".resume holds what was done so far; the same command with --resume goes on")
		os.Remove(o.path + ".resume") // of an earlier step
		o.intact(t)
	})
	t.Run("a read-only file system is an error", func(t *testing.T) {
		o := c.old(t, disk(t, "8m"))
		if err := syscall.Mount("", filepath.Dir(o.path), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skipf("SKIPPED: a file system cannot be made read-only here: %v", err)
		}
		r := c.run(t, nil, c.to(o.path)...)
		r.says(t, exitFailed, "fp8rewrite: "+o.path+".json: folder is not writable: read-only file system")
		o.intact(t)
	})
	t.Run("progress on a terminal", func(t *testing.T) {
		tty, shown := terminal(t, 100)
		out := filepath.Join(t.TempDir(), "out.onnx")
		models := filepath.Dir(c.llama)
		args := []string{"calibrate", c.args[1], "--data", filepath.Join(models, "data.npz"), "--prefix", "calib_", "--batch-size", "1", "--threads", "1", "--device", "cpu", "-o", out}
		r := c.run(t, func(cmd *exec.Cmd) { cmd.Stderr = tty }, args...)
		got := shown()
		if r.code() != exitDone || !strings.Contains(got, "calibrating") || !strings.Contains(got, "step/s") {
			t.Errorf("%s: no progress in %q", r.state, got)
		}
		if left := strings.TrimSpace(screen(got)); !strings.HasPrefix(left, "plan: ") || strings.Contains(left, "\n") {
			t.Errorf("the terminal is left with %q", left)
		}
	})
}

// children are the processes below one.
func children(t *testing.T, pid int) []int {
	t.Helper()
	var all []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(append(all, child), children(t, child)...)
			}
		}
	}
	return all
}

// rankOf is the number that the launcher gave a process.
func rankOf(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	for entry := range strings.SplitSeq(string(b), "\x00") {
		if rank, ok := strings.CutPrefix(entry, "OMPI_COMM_WORLD_RANK="); ok {
			return rank
		}
	}
	return ""
}
