package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
)

// tested are the packages whose tests run on the GPU.
var tested = []string{"runtime/cuda/driver", "runtime/cuda/lt", "runtime/cuda/kernels", "runtime/cuda"}

// testBinary is the name of a package's tests.
func testBinary(pkg string) string { return strings.ReplaceAll(pkg, "/", "_") + ".test" }

// runBuild builds this program, fp8rewrite and the tests for Linux on amd64, and packs them.
func runBuild(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("gpu build", flag.ContinueOnError)
	out := fs.String("o", filepath.Join("bin", "gpu.tar.gz"), "archive to write")
	arch := fs.String("arch", "amd64", "processor of the GPU machine: amd64 or arm64")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fp8rewrite-gpu")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const strip = "-ldflags=-s -w"
	names := []string{"gpu", "fp8rewrite"}
	builds := [][]string{{"build", "-trimpath", strip, "-o", filepath.Join(dir, "gpu"), "./bench/gpu"},
		{"build", "-trimpath", strip, "-o", filepath.Join(dir, "fp8rewrite"), "./cmd/fp8rewrite"}}
	for _, p := range tested {
		names = append(names, testBinary(p))
		builds = append(builds, []string{"test", "-c", "-trimpath", strip, "-o", filepath.Join(dir, testBinary(p)), "./" + p})
	}
	for _, b := range builds {
		cmd := exec.CommandContext(ctx, "go", b...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+*arch)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go %s: %w", strings.Join(b, " "), err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(*out), 0o777); err != nil {
		return err
	}
	var packed strings.Builder
	if err := pack(&packed, dir, names); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(*out, []byte(packed.String())); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d programs, %.1f MB\n", *out, len(names), float64(packed.Len())/1e6)
	return nil
}

// pack writes the files of dir with these names as a compressed archive.
func pack(w io.Writer, dir string, names []string) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			err = archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: info.Size(), Typeflag: tar.TypeReg})
		}
		if err == nil {
			_, err = io.Copy(archive, f)
		}
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zip.Close()
}
