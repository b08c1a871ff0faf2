// Command checkpoint measures `fp8rewrite convert` and `restore` on a synthetic checkpoint of bfloat16 shards against `cp -r --reflink=never`
// followed by `sync` of the copy.
//
//	go run ./bench/checkpoint --size 4GB --shards 4 --dir /var/tmp --runs 5
//	go run ./bench/checkpoint --size 1GB --runs 1 -- --layout deepseek
//
// Copy and conversion take turns; before each the input is read once, so that the page cache is as warm as memory allows, and what is dirty is
// written out. The figures are medians of wall time and the largest anonymous memory (RssAnon in /proc/PID/status, sampled every 10 ms). Then it
// converts once more with one worker and compares the bytes, and restores. Everything is made in a folder of its own under --dir, which is removed
// at the end.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

type options struct {
	size   int64
	shards int
	dir    string
	runs   int
	binary string
	flags  []string // for fp8rewrite, after convert IN -o OUT
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "bench/checkpoint:", err)
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/checkpoint:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	f := flag.NewFlagSet("bench/checkpoint", flag.ContinueOnError)
	var o options
	var size string
	f.StringVar(&size, "size", "4GB", "bytes of weights, with MB or GB behind the number")
	f.IntVar(&o.shards, "shards", 4, "files")
	f.StringVar(&o.dir, "dir", os.TempDir(), "folder with room for four times the size")
	f.IntVar(&o.runs, "runs", 5, "runs that a median is of")
	f.StringVar(&o.binary, "binary", "", "fp8rewrite to measure (default: built from this tree)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.flags = f.Args()
	unit := int64(1)
	for suffix, u := range map[string]int64{"MB": 1e6, "GB": 1e9} {
		if rest, ok := strings.CutSuffix(size, suffix); ok {
			size, unit = rest, u
		}
	}
	n, err := strconv.ParseInt(size, 10, 32)
	if err != nil || n < 1 || o.shards < 1 || o.runs < 1 {
		return o, fmt.Errorf("--size, --shards and --runs want whole numbers above zero")
	}
	o.size = n * unit
	return o, nil
}

func run(ctx context.Context, o options, stdout, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp(o.dir, "fp8rewrite-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.binary == "" {
		o.binary = filepath.Join(dir, "fp8rewrite")
		build := exec.CommandContext(ctx, "go", "build", "-o", o.binary, "github.com/fp8rewrite/fp8rewrite/cmd/fp8rewrite")
		build.Stderr = progress
		if err := build.Run(); err != nil {
			return fmt.Errorf("go build: %w", err)
		}
	}
	in := filepath.Join(dir, "in")
	fmt.Fprintln(progress, "writing the checkpoint")
	size, err := write(in, o)
	if err != nil {
		return err
	}
	out := filepath.Join(dir, "out")
	var copies, conversions []float64
	var anonymous int64
	for i := range o.runs {
		fmt.Fprintf(progress, "run %d of %d\n", i+1, o.runs)
		seconds, err := copyAndSync(ctx, in, out)
		if err != nil {
			return err
		}
		copies = append(copies, seconds)
		seconds, peak, err := measure(ctx, in, out, o.binary, append([]string{"convert", in, "-o", out, "-q"}, o.flags...)...)
		if err != nil {
			return err
		}
		conversions, anonymous = append(conversions, seconds), max(anonymous, peak)
		if i < o.runs-1 {
			if err := os.RemoveAll(out); err != nil {
				return err
			}
		}
	}
	written, err := digests(out)
	if err != nil {
		return err
	}
	alone := filepath.Join(dir, "alone")
	one, _, err := measure(ctx, in, alone, o.binary, append([]string{"convert", in, "-o", alone, "-q", "--workers", "1"}, o.flags...)...)
	if err != nil {
		return err
	}
	same, err := digests(alone)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(alone); err != nil {
		return err
	}
	restore, restorePeak, err := measure(ctx, out, alone, o.binary, "restore", out, "-o", alone, "-q")
	if err != nil {
		return err
	}
	c, f := median(copies), median(conversions)
	fmt.Fprintf(stdout, "%d shards, %.2f GB of bfloat16, %d processors, medians of %d\n", o.shards, float64(size)/1e9, runtime.GOMAXPROCS(0), o.runs)
	fmt.Fprintf(stdout, "cp -r and sync      %6.2f s  %v\n", c, copies)
	fmt.Fprintf(stdout, "convert             %6.2f s  %v  ratio %.2f, RssAnon %d MiB\n", f, conversions, f/c, anonymous>>20)
	fmt.Fprintf(stdout, "convert, 1 worker   %6.2f s  the same bytes: %v\n", one, slices.Equal(written, same))
	fmt.Fprintf(stdout, "restore             %6.2f s  RssAnon %d MiB\n", restore, restorePeak>>20)
	if !slices.Equal(written, same) {
		return errors.New("one worker and several give different bytes")
	}
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// write makes the checkpoint: blocks of a decoder of width 2048, as many as fit.
func write(dir string, o options) (int64, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return 0, err
	}
	noise := noise()
	places, total, layer := map[string]string{}, int64(0), 0
	for i := range o.shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, o.shards)
		var list []safetensors.Tensor
		size := int64(0)
		for size < o.size/int64(o.shards) {
			for part, shape := range map[string]tensor.Shape{"self_attn.q_proj": {2048, 2048}, "self_attn.k_proj": {512, 2048}, "self_attn.v_proj": {512, 2048},
				"self_attn.o_proj": {2048, 2048}, "mlp.gate_proj": {8192, 2048}, "mlp.up_proj": {8192, 2048}, "mlp.down_proj": {2048, 8192}, "input_layernorm": {2048}} {
				n, err := shape.Elements()
				if err != nil {
					return 0, err
				}
				t := safetensors.Tensor{Name: fmt.Sprintf("model.layers.%d.%s.weight", layer, part),
					Tensor: &tensor.Tensor{DType: tensor.BFloat16, Shape: shape, Data: repeated{noise, 2 * n}}}
				list = append(list, t)
				places[t.Name] = name
				size += t.Size()
			}
			layer++
		}
		safetensors.Order(list)
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return 0, err
		}
		w := bufio.NewWriterSize(f, 1<<20)
		_, err = safetensors.Write(w, list, map[string]string{"format": "pt"})
		if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
			return 0, err
		}
		total += size
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": total}, "weight_map": places})
	if err != nil {
		return 0, err
	}
	config := `{"architectures":["LlamaForCausalLM"],"model_type":"llama","num_attention_heads":16,"tie_word_embeddings":true,"dtype":"bfloat16"}`
	return total, errors.Join(os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), index, 0o666),
		os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o666))
}

// noise is a stretch of weights, of a length that shares no factor with a row, so that rows differ.
func noise() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, 2*1048583)
	for range 1048583 {
		v := float8.BFloat16FromFloat32(float32(r.NormFloat64() * 0.02))
		b = append(b, byte(v), byte(v>>8))
	}
	return b
}

// repeated is content of so many bytes.
type repeated struct {
	of   []byte
	size int64
}

func (r repeated) Size() int64 { return r.size }

func (r repeated) WriteTo(w io.Writer) (int64, error) {
	done := int64(0)
	for done < r.size {
		n, err := w.Write(r.of[:min(int64(len(r.of)), r.size-done)])
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// warm reads the folder once and brings what is dirty to the disk.
func warm(ctx context.Context, dir string) error {
	if _, err := digests(dir); err != nil {
		return err
	}
	return exec.CommandContext(ctx, "sync").Run()
}

// copyAndSync times a copy that is on the disk at the end, and removes it.
func copyAndSync(ctx context.Context, in, out string) (float64, error) {
	if err := warm(ctx, in); err != nil {
		return 0, err
	}
	start := time.Now()
	if text, err := exec.CommandContext(ctx, "cp", "-r", "--reflink=never", in, out).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("cp: %w: %s", err, text)
	}
	args := []string{out}
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			args = append(args, path)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := exec.CommandContext(ctx, "sync", args...).Run(); err != nil {
		return 0, fmt.Errorf("sync: %w", err)
	}
	return time.Since(start).Seconds(), os.RemoveAll(out)
}

// measure times a command and samples its anonymous memory; 0 where the system has no /proc.
func measure(ctx context.Context, in, out, binary string, args ...string) (seconds float64, anonymous int64, err error) {
	if err := warm(ctx, in); err != nil {
		return 0, 0, err
	}
	if err := os.RemoveAll(out); err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
			}
			return time.Since(start).Seconds(), anonymous, err
		case <-ticker.C:
			anonymous = max(anonymous, rssAnon(cmd.Process.Pid))
		}
	}
}

func rssAnon(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return 0
}

// digests are the sums of all files of a folder, with their names.
func digests(dir string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		list = append(list, fmt.Sprintf("%s %x", d.Name(), h.Sum(nil)))
		return nil
	})
	return list, err
}
