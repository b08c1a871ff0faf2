//go:build !cu

package cu_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

// envInclude names the folder of CUDA's headers.
const envInclude = "FP8REWRITE_CUDA_INCLUDE"

// include is a folder of headers that the build tag takes. Without one the test is skipped, saying what is missing.
func include(t *testing.T) string {
	t.Helper()
	var lacks []string
	for _, dir := range []string{os.Getenv(envInclude), "/usr/local/cuda/include", "/opt/cuda/include"} {
		if dir == "" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "cuda.h"))
		if err != nil {
			lacks = append(lacks, err.Error())
			continue
		}
		m := regexp.MustCompile(`(?m)^#define CUDA_VERSION (\d+)`).FindSubmatch(b)
		if m == nil {
			t.Fatalf("%s/cuda.h defines no CUDA_VERSION", dir)
		}
		if v, _ := strconv.Atoi(string(m[1])); v < 12040 || v >= 13000 {
			lacks = append(lacks, dir+" is of CUDA "+string(m[1]))
			continue
		}
		return dir
	}
	t.Skipf("the build tag cu is not built: no cuda.h of CUDA 12.4 to 12.9 (set %s to its folder): %s", envInclude, strings.Join(lacks, "; "))
	return ""
}

func TestTheTagBuildsAndPasses(t *testing.T) {
	if testing.Short() {
		t.Skip("compiling gorgonia.org/cu takes half a minute")
	}
	headers := include(t)
	libraries := drivertest.Link(t, headers)
	run := func(args ...string) string {
		t.Helper()
		start := time.Now()
		cmd := exec.Command("go", args...)
		cmd.Dir = filepath.Join("..", "..", "..", "..")
		// The folder of the library goes where the linker and the loader look and not into CGO_LDFLAGS, which would be compiled anew
		// for each such folder.
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "CGO_CFLAGS=-I"+headers, "LIBRARY_PATH="+libraries, "LD_LIBRARY_PATH="+libraries)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("go %s: %.1f s", strings.Join(args, " "), time.Since(start).Seconds())
		return string(out)
	}
	run("vet", "-tags", "cu", "./runtime/cuda/driver/...")
	run("build", "-tags", "cu", "-o", filepath.Join(t.TempDir(), "fp8rewrite"), "./cmd/fp8rewrite")
	out := run("test", "-tags", "cu", "-count", "1", "-v", "./runtime/cuda/driver", "./runtime/cuda/driver/cu")
	for _, passes := range []string{"TestArgumentsArriveAsTheyAre", "TestMemoryIsCopiedBothWays", "TestAModuleThatCannotBeLoadedSaysWhy", "TestWhatItCannotDoItSays"} {
		if !strings.Contains(out, "--- PASS: "+passes+" ") {
			t.Errorf("%s did not run\n%s", passes, out)
		}
	}
}

func TestTheDefaultBuildHasNothingOfIt(t *testing.T) {
	for _, cgo := range []string{"0", "1"} {
		cmd := exec.Command("go", "list", "-deps", "-test", "./...")
		cmd.Dir = filepath.Join("..", "..", "..", "..")
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if strings.Contains(string(out), "gorgonia") {
			t.Errorf("with CGO_ENABLED=%s a package or test needs gorgonia.org/cu", cgo)
		}
	}
}
