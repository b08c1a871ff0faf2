package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

// TestWhatAGPUComputesIn holds the defaults: calibrate and verify are near the embedded engine's numbers, bench times what is deployed.
func TestWhatAGPUComputesIn(t *testing.T) {
	for _, c := range []struct {
		command, flags string
		compute, sums  string
	}{
		{"calibrate", "", "float32", "float32"},
		{"calibrate", "--compute float32", "float32", "float32"},
		{"calibrate", "--compute bfloat16", "bfloat16", "fast"},
		{"calibrate", "--compute bfloat16 --accumulate auto", "bfloat16", "fast"},
		{"calibrate", "--compute bfloat16 --accumulate float32", "bfloat16", "float32"},
		{"calibrate", "--accumulate fast", "float32", "fast"},
		{"verify", "", "float32", "float32"},
		{"verify", "--compute bfloat16", "bfloat16", "fast"},
		{"bench", "", "bfloat16", "fast"},
		{"bench", "--accumulate auto", "bfloat16", "fast"},
		{"bench", "--compute float32", "float32", "float32"},
		{"bench", "--compute float32 --accumulate fast", "float32", "fast"},
	} {
		cmd, _, err := newRoot().Find([]string{c.command})
		if err != nil {
			t.Fatal(err)
		}
		standard := "float32"
		if c.command == "bench" {
			standard = "bfloat16"
		}
		if usage := cmd.Flags().Lookup("compute").Usage; !strings.Contains(usage, "(default: "+standard+")") {
			t.Errorf("%s: --compute is %q", c.command, usage)
		}
		o := deviceOptions{}
		probe := &cobra.Command{}
		o.addFlags(probe, standard)
		if err := probe.ParseFlags(strings.Fields(c.flags)); err != nil {
			t.Fatal(err)
		}
		if compute, sums := o.computing(); compute != c.compute || sums != c.sums {
			t.Errorf("%s %s: computes in %s, sums %s; want %s and %s", c.command, c.flags, compute, sums, c.compute, c.sums)
		}
	}
}

// TestTheCommandsFindAGPU runs the program on libraries that stand in for CUDA's: they have a card, and do not compute.
func TestTheCommandsFindAGPU(t *testing.T) {
	t.Parallel()
	sh := shell(t)
	cuda, lt := drivertest.CUDA(t), drivertest.CUBLASLt(t, "130102")
	with := "FP8REWRITE_CUDA_LIB=" + shellWord(cuda.Path) + " FP8REWRITE_CUBLASLT_LIB=" + shellWord(lt.Path) + " "
	dir := t.TempDir()
	out, err := run1(sh, dir, with+"fp8rewrite devices")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"\ncuda    NVIDIA", "\n  libcuda for CUDA 13.0: " + cuda.Path + "\n", "\n  libcublasLt 13.1.2: " + lt.Path + "\n", "\n  cuda:0  ", "compute capability 9.0"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out, err = run1(sh, dir, with+"fp8rewrite devices --json"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var d devices
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	if !d.CUDA.Usable || d.CUDA.Error != "" || len(d.CUDA.Cards) != 1 || !d.CUDA.Cards[0].Usable || d.CUDA.Cards[0].Device != "cuda:0" || d.CUDA.Cards[0].Free <= 0 {
		t.Errorf("%+v", d.CUDA)
	}

	// A card without a product library cannot be used, and that is said beside it.
	if out, err = run1(sh, dir, "FP8REWRITE_CUDA_LIB="+shellWord(cuda.Path)+" FP8REWRITE_CUBLASLT_LIB=none fp8rewrite devices"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "\ncuda    cannot be used: libcublasLt: ") || !strings.Contains(out, "\n  cuda:0  ") {
		t.Errorf("without a product library:\n%s", out)
	}

	// auto takes the card; what does not fit it is an error with the numbers, and no output.
	models, err := filepath.Abs("../../testdata/models/digits")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run1(sh, dir, "fp8rewrite convert "+shellWord(filepath.Join(models, "digits_mlp.onnx"))+" -o m.onnx --quiet"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, device := range []string{"auto", "cuda"} {
		out, err := run1(sh, dir, with+"fp8rewrite calibrate m.onnx --data "+shellWord(filepath.Join(models, "data.npz"))+" --prefix calib_ -o out.onnx --report r.json --device "+device)
		if err != nil || strings.Contains(out, "running on the cpu") {
			t.Fatalf("%s: %v\n%s", device, err, out)
		}
		f, err := os.Open(filepath.Join(dir, "r.json"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := reports.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		c := r.Calibration
		if c.Settings.Device != "cuda" || c.Execution.Compute != "float32" || c.Execution.Accumulate != "float32" || r.Volatile.Fallback != "" ||
			!strings.Contains(r.Volatile.Card, ", driver for CUDA 13.0, cuBLASLt 13.1.2") {
			t.Errorf("%s: device %q, execution %+v, volatile %+v", device, c.Settings.Device, c.Execution, r.Volatile)
		}
		out, err = run1(sh, dir, with+"fp8rewrite bench m.onnx --shape image=5x64 --report never.json --max-memory 20000 --device "+device)
		if err == nil || !strings.Contains(out, " bytes") || !strings.Contains(out, "20000 are allowed") || !strings.Contains(out, "\nhint: ") {
			t.Errorf("%s: %v\n%s", device, err, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "never.json")); err == nil {
			t.Errorf("%s: wrote a report", device)
		}
	}
	// A card that is not there.
	if out, err := run1(sh, dir, with+"fp8rewrite verify m.onnx m.onnx --data "+shellWord(filepath.Join(models, "data.npz"))+" --prefix eval_ --device cuda:7"); err == nil ||
		!strings.Contains(out, `fp8rewrite: device "cuda:7" is not available: `) {
		t.Errorf("cuda:7: %v\n%s", err, out)
	}
}

// TestAGPUThatFailsLeavesNoOutput calibrates on a card that is too old, too small, or lost on the way.
func TestAGPUThatFailsLeavesNoOutput(t *testing.T) {
	t.Parallel()
	sh := shell(t)
	cuda, lt := drivertest.CUDA(t), drivertest.CUBLASLt(t, "130102")
	models, err := filepath.Abs("../../testdata/models/digits")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := run1(sh, dir, "fp8rewrite convert "+shellWord(filepath.Join(models, "digits_mlp.onnx"))+" -o m.onnx --quiet"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct{ what, env, says string }{
		{"a card of before float8", "FAKE_CUDA_CAPABILITY='7 5'", "compute capability 7.5"},
		{"a card without room", "FAKE_CUDA_MEMORY=40000", "bytes"},
		{"an illegal address", "FAKE_CUDA_FAIL='cuStreamSynchronize 700 2'", "an illegal memory access"},
		{"a lost card in a later step", "FAKE_CUDA_FAIL='cuGraphLaunch 719 9'", "context is lost"},
	} {
		out, err := run1(sh, dir, c.env+" FP8REWRITE_CUDA_LIB="+shellWord(cuda.Path)+" FP8REWRITE_CUBLASLT_LIB="+shellWord(lt.Path)+
			" fp8rewrite calibrate m.onnx --data "+shellWord(filepath.Join(models, "data.npz"))+" --prefix calib_ -o out.onnx --report r.json --device cuda; echo \"exit $?\"")
		if err != nil || !strings.Contains(out, "fp8rewrite: ") || !strings.Contains(out, c.says) || !strings.Contains(out, "exit 1\n") {
			t.Errorf("%s: %v\n%s\nwant exit 1 and %q", c.what, err, out, c.says)
		}
		t.Logf("%s: %s", c.what, out)
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range left {
			if f.Name() != "m.onnx" {
				t.Errorf("%s: left %s", c.what, f.Name())
			}
		}
	}
}
