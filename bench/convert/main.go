// Command convert measures `fp8rewrite convert` on a synthetic model against `cp --reflink=never` followed by `sync` of the copy.
//
//	go run ./bench/convert --size 2GB --dtype bf16 --dir /var/tmp --runs 5
//	go run ./bench/convert --size 8GB --dtype bf16 --dir /var/tmp --runs 1 --no-cp   # memory only
//
// The model is a stack of Llama-like layers whose weights lie in one external data file. Copy and conversion take turns; before each the
// input is read once, so that the page cache is as warm as memory allows, and what is dirty is written out. The figures are medians of
// wall time and, for the conversion, the largest anonymous memory (RssAnon in /proc/PID/status, sampled every 20 ms). Everything is made
// in a folder of its own under --dir, which is removed at the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

type options struct {
	size   int64
	dtype  dtype
	dir    string
	runs   int
	noCopy bool
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
		fmt.Fprintln(os.Stderr, "bench/convert:", err)
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/convert:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	fs := flag.NewFlagSet("bench/convert", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage: go run ./bench/convert [flags] [-- flags of fp8rewrite convert]")
		fs.PrintDefaults()
	}
	size := fs.String("size", "2GB", "size of the model's weights, in MB or GB (powers of ten)")
	kind := fs.String("dtype", "bf16", "type of the weights: bf16 or f32")
	o := options{}
	fs.StringVar(&o.dir, "dir", os.TempDir(), "where to make the model; needs room for it and for one copy")
	fs.IntVar(&o.runs, "runs", 5, "runs of each; the median counts")
	fs.BoolVar(&o.noCopy, "no-cp", false, "only convert: for memory at sizes where a copy would not stay in the page cache")
	fs.StringVar(&o.binary, "binary", "", "fp8rewrite to measure; built from this tree if not given")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.flags = fs.Args()
	var err error
	if o.size, err = parseSize(*size); err != nil {
		return o, err
	}
	if o.dtype, err = parseDType(*kind); err != nil {
		return o, err
	}
	if o.runs < 1 {
		return o, fmt.Errorf("--runs is %d, want at least 1", o.runs)
	}
	return o, nil
}

// parseSize reads "2GB" or "300MB", in powers of ten.
func parseSize(s string) (int64, error) {
	for unit, scale := range map[string]float64{"MB": 1e6, "GB": 1e9} {
		digits, ok := strings.CutSuffix(strings.ToUpper(s), unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || !(n*scale >= 1e6 && n*scale <= 1e12) {
			break
		}
		return int64(n * scale), nil
	}
	return 0, fmt.Errorf("--size is %q, want a size such as 300MB or 2GB, at most 1000GB", s)
}

func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	if !o.noCopy && runtime.GOOS != "linux" {
		return fmt.Errorf("the copy is that of GNU cp and sync, and the system is %s: use --no-cp", runtime.GOOS)
	}
	plan := planModel(o.size, o.dtype)
	if err := roomFor(o.dir, 2*plan.bytes()+plan.bytes()/16); err != nil {
		return err
	}
	work, err := os.MkdirTemp(o.dir, "fp8rewrite-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if o.binary == "" {
		o.binary = filepath.Join(work, "fp8rewrite")
		build := exec.CommandContext(ctx, "go", "build", "-o", o.binary, "github.com/fp8rewrite/fp8rewrite/cmd/fp8rewrite")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build ./cmd/fp8rewrite: %w: %s", err, text)
		}
	}
	in := filepath.Join(work, "in")
	if err := os.Mkdir(in, 0o777); err != nil {
		return err
	}
	fmt.Fprintf(progress, "writing %d layers, %.2f GB of %s, to %s\n", plan.layers, float64(plan.bytes())/1e9, plan.dtype, in)
	if err := plan.write(ctx, in); err != nil {
		return err
	}
	result := results{plan: plan}
	for i := range o.runs {
		if !o.noCopy {
			m, err := timeCopy(ctx, in, filepath.Join(work, "copy"))
			if err != nil {
				return err
			}
			fmt.Fprintf(progress, "run %d: cp and sync  %6.2f s\n", i+1, m.seconds)
			result.copies = append(result.copies, m)
		}
		m, err := timeConvert(ctx, o.binary, in, filepath.Join(work, "out"), o.flags)
		if err != nil {
			return err
		}
		fmt.Fprintf(progress, "run %d: fp8rewrite   %6.2f s, %.0f MiB anonymous\n", i+1, m.seconds, mib(m.anonymous))
		result.converts = append(result.converts, m)
	}
	result.print(out)
	return nil
}

// roomFor fails unless dir has room for need bytes, where the system says.
func roomFor(dir string, need int64) error {
	free, known, err := freeBytes(dir)
	if err != nil {
		return fmt.Errorf("--dir %q: %w", dir, err)
	}
	if known && free < need {
		return fmt.Errorf("--dir %q has %.1f GB free, want %.1f GB: name another folder or a smaller --size", dir, float64(free)/1e9, float64(need)/1e9)
	}
	return nil
}
