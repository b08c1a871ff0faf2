// Ptxgen compiles the kernels' sources to the PTX that is committed beside them. It is run in the folder of package kernels, by go
// generate, with NVRTC of the pinned version in the folder that FP8REWRITE_NVRTC names; make generate-ptx does both.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels/internal/nvrtc"
)

func main() {
	if err := generate("source", "ptx"); err != nil {
		fmt.Fprintln(os.Stderr, "ptxgen:", err)
		os.Exit(1)
	}
}

func generate(from, to string) error {
	lib, err := nvrtc.Open()
	if err != nil {
		return err
	}
	version, err := lib.Version()
	if err != nil {
		return err
	}
	if version != nvrtc.Pinned {
		return fmt.Errorf("NVRTC %s, want %s: another one writes other text", version, nvrtc.Pinned)
	}
	names, err := filepath.Glob(filepath.Join(from, "*.cu"))
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("no sources in %q", from)
	}
	for _, path := range names {
		name := filepath.Base(path)
		text, err := nvrtc.Expand(os.DirFS(from), name)
		if err != nil {
			return err
		}
		ptx, err := lib.Compile(name, text)
		if err != nil {
			return err
		}
		out := filepath.Join(to, strings.TrimSuffix(name, ".cu")+".ptx")
		if err := os.WriteFile(out, []byte(nvrtc.Header(name, text, ptx)+ptx), 0o644); err != nil {
			return err
		}
	}
	return nil
}
