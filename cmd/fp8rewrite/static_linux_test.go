package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStaticBinary runs the program built without the means of foreign libraries where nothing else is: no C library, no /tmp, no /proc.
func TestStaticBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds the program")
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-tags", "nodl", "-o", filepath.Join(dir, "fp8rewrite"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range []string{"digits_mlp.onnx", "data.npz"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "models", "digits", f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	// Who is not root becomes it in a namespace of its own.
	jail := &syscall.SysProcAttr{Chroot: dir}
	if os.Getuid() != 0 {
		jail.Cloneflags = syscall.CLONE_NEWUSER
		jail.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	run := func(args ...string) (stdout, stderr string, code int) {
		t.Helper()
		cmd := exec.Command("/fp8rewrite", args...)
		cmd.Dir, cmd.SysProcAttr, cmd.Env = "/", jail, []string{"FP8REWRITE_CUDA_LIB=/libcuda.so.1"}
		var o, e bytes.Buffer
		cmd.Stdout, cmd.Stderr = &o, &e
		err := cmd.Run()
		if cmd.ProcessState == nil {
			t.Skipf("no process can be started in a chroot here: %v", err)
		}
		return o.String(), e.String(), cmd.ProcessState.ExitCode()
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"convert digits_mlp.onnx -o converted.onnx", 0, "3 of 3 layers"},
		{"calibrate converted.onnx --data data.npz --prefix calib_ -o calibrated.onnx", 0, ""},
		{"verify digits_mlp.onnx calibrated.onnx --data data.npz --prefix eval_", 0, ""},
		{"calibrate converted.onnx --data data.npz --prefix calib_ --device cuda -o no.onnx", 1, "without the means"},
		{"calibrate converted.onnx --data data.npz --prefix calib_ --device ort -o no.onnx", 1, "without the means"},
		{"devices", 0, "without the means"},
	} {
		stdout, stderr, code := run(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.says) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", c.args, code, c.code, c.says, stdout, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "no.onnx")); err == nil {
		t.Error("a calibration that failed wrote a model")
	}
}
