// Command forward measures the forward pass of a model on the embedded CPU engine against ONNX Runtime on the same file: time and peak
// memory, original and converted, with the same number of threads.
//
//	go run ./bench/forward --ort /path/to/libonnxruntime.so
//
// The models are testdata/models/llama with a batch of 8×128, and a generated transformer of 6 layers, 768 wide, with a batch of 4×128;
// each as it is, and converted with static scales that were calibrated on one batch. Every engine runs in a process of its own, in turns,
// and does --runs forwards after two to warm up; the figures are medians of the turns' medians, and the largest resident memory of the
// process (VmHWM), which counts the mapped weights on both sides.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/ort"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

type options struct {
	ort     string
	threads int
	runs    int
	turns   int
	dir     string

	engine, model string // of a child
}

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "bench/forward:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	fs := flag.NewFlagSet("bench/forward", flag.ContinueOnError)
	fs.StringVar(&o.ort, "ort", "", "libonnxruntime to compare with; searched for when empty")
	fs.IntVar(&o.threads, "threads", 2, "threads of each engine")
	fs.IntVar(&o.runs, "runs", 20, "forwards of a turn")
	fs.IntVar(&o.turns, "turns", 5, "turns of each engine")
	fs.StringVar(&o.dir, "models", "testdata/models", "folder of the models")
	fs.StringVar(&o.engine, "engine", "", "internal: run one engine")
	fs.StringVar(&o.model, "model", "", "internal: the model to run")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.engine != "" {
		return child(ctx, o, stdout)
	}
	if err := ort.New(o.ort).Check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fp8rewrite-forward")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cases, err := prepare(ctx, o, dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "| model | ONNX Runtime, ms | cpu, ms | ratio | ONNX Runtime, MB | cpu, MB | ratio |\n|---|---|---|---|---|---|---|")
	for _, path := range cases {
		var times, sizes [2][]float64
		for range o.turns {
			for i, engine := range []string{"ort", "cpu"} {
				m, err := measure(ctx, o, engine, path)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", filepath.Base(path), engine, err)
				}
				times[i] = append(times[i], m.Milliseconds)
				sizes[i] = append(sizes[i], m.Megabytes)
			}
		}
		a, b, c, d := median(times[0]), median(times[1]), slices.Max(sizes[0]), slices.Max(sizes[1])
		fmt.Fprintf(stdout, "| %s | %.1f | %.1f | %.2f | %.0f | %.0f | %.2f |\n", strings.TrimSuffix(filepath.Base(path), ".onnx"), a, b, b/a, c, d, d/c)
	}
	return nil
}

// measurement is what a child prints.
type measurement struct{ Milliseconds, Megabytes float64 }

func measure(ctx context.Context, o options, engine, path string) (m measurement, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	cmd := exec.CommandContext(ctx, self, "--engine", engine, "--model", path, "--ort", o.ort, "--threads", strconv.Itoa(o.threads), "--runs", strconv.Itoa(o.runs))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(out, &m)
}

// child runs one engine and prints its measurement.
func child(ctx context.Context, o options, stdout io.Writer) error {
	file, err := onnxio.Open(o.model)
	if err != nil {
		return err
	}
	defer file.Close()
	var b runtime.Backend = cpu.New()
	if o.engine == "ort" {
		b = ort.New(o.ort)
	}
	s, err := b.Open(ctx, file.Model, runtime.Options{Threads: o.threads})
	if err != nil {
		return err
	}
	defer s.Close()
	inputs := map[string]runtime.Value{s.Inputs()[0].Name: runtime.FromTensor(batch(file.Model.Graph.Inputs[0].Type.DType))}
	var times []float64
	for i := range o.runs + 2 {
		start := time.Now()
		if _, err := s.Run(ctx, inputs); err != nil {
			return err
		}
		if i >= 2 {
			times = append(times, float64(time.Since(start).Microseconds())/1000)
		}
	}
	return json.NewEncoder(stdout).Encode(measurement{median(times), peak()})
}

// batch is 8×128 token ids, or 4×128 vectors for the transformer.
func batch(d tensor.DType) *tensor.Tensor {
	if d == tensor.Int64 {
		ids := make([]int64, 8*128)
		for i := range ids {
			ids[i] = int64(i*7919) % 256
		}
		return tensor.Int64s(tensor.Shape{8, 128}, ids...)
	}
	b := &builder{state: 12345}
	return b.normal(1, 4, 128, width)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// peak is the largest resident memory of this process in MB, 0 where the system does not say.
func peak() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6
		}
	}
	return 0
}
