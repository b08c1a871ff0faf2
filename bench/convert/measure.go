package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// measurement is one run of one program.
type measurement struct {
	seconds   float64
	anonymous int64 // largest RssAnon seen, in bytes; 0 where the system has no /proc
	resident  int64 // largest VmRSS seen: mapped pages of the input included
	written   int64 // bytes of its output
}

// timeCopy copies the folder in to out, syncs the copy and removes it.
func timeCopy(ctx context.Context, in, out string) (measurement, error) {
	if err := prepare(ctx, in); err != nil {
		return measurement{}, err
	}
	defer os.RemoveAll(out)
	start := time.Now()
	for _, argv := range [][]string{
		{"cp", "-r", "--reflink=never", in, out},
		{"sync", filepath.Join(out, modelFile), filepath.Join(out, dataFile), out},
	} {
		if text, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return measurement{}, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, text)
		}
	}
	m := measurement{seconds: time.Since(start).Seconds()}
	var err error
	m.written, err = folderBytes(out)
	return m, err
}

// timeConvert converts the model of the folder in to the folder out, watching the child's memory, and removes the output.
func timeConvert(ctx context.Context, binary, in, out string, flags []string) (measurement, error) {
	if err := prepare(ctx, in); err != nil {
		return measurement{}, err
	}
	if err := os.Mkdir(out, 0o777); err != nil {
		return measurement{}, err
	}
	defer os.RemoveAll(out)
	argv := append([]string{"convert", filepath.Join(in, modelFile), "-o", filepath.Join(out, modelFile), "--quiet"}, flags...)
	cmd := exec.CommandContext(ctx, binary, argv...)
	var said strings.Builder
	cmd.Stderr = &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return measurement{}, err
	}
	ended, watched := make(chan struct{}), make(chan measurement)
	go func() { watched <- watch(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	seconds := time.Since(start).Seconds()
	close(ended)
	m := <-watched
	if err != nil {
		return measurement{}, fmt.Errorf("fp8rewrite %s: %w: %s", strings.Join(argv, " "), err, said.String())
	}
	m.seconds = seconds
	m.written, err = folderBytes(out)
	return m, err
}

// prepare writes out what is dirty and reads the input once.
func prepare(ctx context.Context, in string) error {
	if runtime.GOOS == "linux" {
		if text, err := exec.CommandContext(ctx, "sync").CombinedOutput(); err != nil {
			return fmt.Errorf("sync: %w: %s", err, text)
		}
	}
	f, err := os.Open(filepath.Join(in, dataFile))
	if err != nil {
		return err
	}
	defer f.Close()
	// The file's own WriteTo would splice it; the pages must be read.
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return err
}

// watch samples the memory of the process pid every 20 ms until ended is closed.
func watch(pid int, ended <-chan struct{}) (peak measurement) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			peak.anonymous = max(peak.anonymous, statusBytes(string(status), "RssAnon"))
			peak.resident = max(peak.resident, statusBytes(string(status), "VmRSS"))
		}
		select {
		case <-ended:
			return peak
		case <-tick.C:
		}
	}
}

// statusBytes is a field of /proc/PID/status that is given in kB, or 0.
func statusBytes(status, field string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

func folderBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// results are all runs over one model.
type results struct {
	plan             plan
	copies, converts []measurement
}

// spread is the median, the least and the largest wall time.
func spread(ms []measurement) (median, least, most float64) {
	var s []float64
	for _, m := range ms {
		s = append(s, m.seconds)
	}
	slices.Sort(s)
	n := len(s)
	return (s[n/2] + s[(n-1)/2]) / 2, s[0], s[n-1]
}

// print writes one line per figure and then the same as a row of markdown.
func (r results) print(w io.Writer) {
	gb := float64(r.plan.bytes()) / 1e9
	var anonymous, resident int64
	for _, m := range r.converts {
		anonymous, resident = max(anonymous, m.anonymous), max(resident, m.resident)
	}
	convert, least, most := spread(r.converts)
	fmt.Fprintf(w, "input          %.2f GB, %d layers, %d weights, %s\n", gb, r.plan.layers, r.plan.layers*len(linears), r.plan.dtype)
	fmt.Fprintf(w, "output         %.2f GB\n", float64(r.converts[0].written)/1e9)
	copied, ratio := "-", "-"
	if len(r.copies) > 0 {
		c, low, high := spread(r.copies)
		copied, ratio = fmt.Sprintf("%.2f", c), fmt.Sprintf("%.2f", convert/c)
		fmt.Fprintf(w, "cp and sync    %.2f s median of %d (%.2f to %.2f)\n", c, len(r.copies), low, high)
	}
	fmt.Fprintf(w, "convert        %.2f s median of %d (%.2f to %.2f), %.2f GB/s of input\n", convert, len(r.converts), least, most, gb/convert)
	if len(r.copies) > 0 {
		fmt.Fprintf(w, "ratio          %s of cp and sync\n", ratio)
	}
	fmt.Fprintf(w, "RssAnon        %.0f MiB at most\n", mib(anonymous))
	fmt.Fprintf(w, "resident       %.0f MiB at most, pages of the mapped input included\n\n", mib(resident))
	fmt.Fprintln(w, "| weights | input GB | output GB | cp and sync, s | convert, s | ratio | RssAnon, MiB |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	fmt.Fprintf(w, "| %s | %.2f | %.2f | %s | %.2f | %s | %.0f |\n", r.plan.dtype, gb, float64(r.converts[0].written)/1e9, copied, convert, ratio, mib(anonymous))
}
