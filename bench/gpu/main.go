// Command gpu measures fp8rewrite on a machine with an NVIDIA GPU, beside torch where that is installed, and prints one table of what was
// asked for and what was reached.
//
// The GPU machine needs no Go. Where Go is, the programs are built into one archive:
//
//	go run ./bench/gpu build -o bin/gpu.tar.gz
//
// That archive and a checkout of this repository (for testdata/models) go to the GPU machine, where, in the checkout,
//
//	mkdir -p /tmp/gpu && tar xzf bin/gpu.tar.gz -C /tmp/gpu && /tmp/gpu/gpu run
//
// runs all parts. `gpu run --parts kernels,torch,model` runs some of them, `gpu run --help` lists them; `gpu model` writes the model that
// is measured, `gpu kernels` times products and casts alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench/gpu:", err)
		os.Exit(1)
	}
}

// commands are what the program does, by name.
var commands = map[string]func(ctx context.Context, args []string, stdout io.Writer) error{
	"build": runBuild, "model": runModel, "kernels": runKernels, "calibrate": runCalibrate, "run": runAll,
}

func command(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) > 0 {
		if run := commands[args[0]]; run != nil {
			return run(ctx, args[1:], stdout)
		}
	}
	names := []string{}
	for name := range commands {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Errorf("want one of %q", names)
}

// runModel writes the model.
func runModel(ctx context.Context, args []string, _ io.Writer) error {
	l := sevenB
	fs := flag.NewFlagSet("gpu model", flag.ContinueOnError)
	dir := fs.String("o", "", "folder to write model.onnx and batches.safetensors to")
	fs.Int64Var(&l.layers, "layers", l.layers, "layers")
	fs.Int64Var(&l.hidden, "hidden", l.hidden, "width of the model")
	fs.Int64Var(&l.intermediate, "intermediate", l.intermediate, "width of the MLP")
	fs.Int64Var(&l.heads, "heads", l.heads, "attention heads")
	dtype := fs.String("dtype", l.dtype.String(), "bfloat16 or float32")
	rows := fs.Int64("rows", 4, "rows of the batches")
	tokens := fs.Int64("tokens", 4096, "tokens of a row")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		return errors.New("model: -o is missing")
	}
	l.dtype = tensor.Float32
	if *dtype != l.dtype.String() {
		if l.dtype = tensor.BFloat16; *dtype != l.dtype.String() {
			return fmt.Errorf("model: --dtype is %q, want bfloat16 or float32", *dtype)
		}
	}
	return l.write(ctx, *dir, *rows, *tokens)
}
