package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed torch_bench.py
var torchBench []byte

// part is a part of the run, which adds rows to the table.
type part struct {
	name, about string
	limit       time.Duration // of the whole part
	run         func(r *runner, ctx context.Context)
}

// parts in the order in which they run: what is measured beside torch stands next to it.
var parts = []part{
	{"devices", "what fp8rewrite devices finds", 20 * time.Second, (*runner).devices},
	{"kernels", "casts and products by themselves", 60 * time.Second, (*runner).kernels},
	{"torch", "the same work in torch", 120 * time.Second, (*runner).torch},
	{"model", "four layers of Llama 7B: convert, calibrate, bench", 150 * time.Second, (*runner).model},
	{"ratios", "our figures by torch's", time.Second, (*runner).ratios},
	{"calibrate", "calibrating llama on the GPU and on the processor", 60 * time.Second, (*runner).calibrate},
	{"golden", "the reference library's recording", 30 * time.Second, (*runner).golden},
	{"agree", "calibrated state and gates, GPU and processor", 60 * time.Second, (*runner).agree},
	{"tests", "the tests of runtime/cuda", 150 * time.Second, (*runner).tests},
	{"sanitizer", "memcheck and racecheck of the kernels' tests", 120 * time.Second, (*runner).sanitizer},
}

// runner is one run on a GPU machine.
type runner struct {
	bin, root, out, work string
	python, accumulate   string
	autotune             bool
	stdout               io.Writer

	ours, theirs map[string]float64 // milliseconds by name
	rows         []row
}

// runAll runs the parts and prints the table.
func runAll(ctx context.Context, args []string, stdout io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r := &runner{stdout: stdout, ours: map[string]float64{}, theirs: map[string]float64{}}
	fs := flag.NewFlagSet("gpu run", flag.ContinueOnError)
	fs.Usage = func() {
		fs.PrintDefaults()
		fmt.Fprintln(fs.Output(), "parts:")
		for _, p := range parts {
			fmt.Fprintf(fs.Output(), "  %-10s %s\n", p.name, p.about)
		}
	}
	fs.StringVar(&r.bin, "bin", filepath.Dir(self), "folder of the programs")
	fs.StringVar(&r.root, "root", ".", "checkout of the repository")
	fs.StringVar(&r.out, "out", "gpu-results", "folder for logs, reports and the table")
	fs.StringVar(&r.work, "work", "", "folder for models, some 4 GB (default: a temporary one, removed at the end)")
	fs.StringVar(&r.python, "python", "python3", "the Python that has torch")
	fs.StringVar(&r.accumulate, "accumulate", "auto", "how float8 products are summed where numbers are compared: auto, fast or float32")
	fs.BoolVar(&r.autotune, "autotune", false, "have torch try kernels, which takes a minute")
	list := fs.String("parts", "all", "parts to run, joined by commas; -part leaves one out of all")
	if err := fs.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*list)
	if err != nil {
		return err
	}
	for _, dir := range []*string{&r.bin, &r.root, &r.out} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(r.out, 0o777); err != nil {
		return err
	}
	if r.work == "" {
		if r.work, err = os.MkdirTemp("", "fp8rewrite-gpu"); err != nil {
			return err
		}
		defer os.RemoveAll(r.work)
	} else if err := os.MkdirAll(r.work, 0o777); err != nil {
		return err
	}
	for _, p := range chosen {
		start := time.Now()
		limited, stop := context.WithTimeout(ctx, p.limit)
		p.run(r, limited)
		stop()
		fmt.Fprintf(os.Stderr, "%s: %.1f s\n", p.name, time.Since(start).Seconds())
		if err := r.save(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return writeTable(stdout, r.rows)
}

// choose reads --parts.
func choose(list string) ([]part, error) {
	var chosen []part
	names := strings.Split(list, ",")
	if list == "all" || strings.HasPrefix(list, "-") {
		chosen = slices.Clone(parts)
	}
	for _, name := range names {
		if name == "all" {
			continue
		}
		without, drop := strings.CutPrefix(name, "-")
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == without })
		switch {
		case i < 0:
			return nil, fmt.Errorf("run: --parts: no part %q; --help lists them", without)
		case drop:
			chosen = slices.DeleteFunc(chosen, func(p part) bool { return p.name == without })
		default:
			chosen = append(chosen, parts[i])
		}
	}
	return chosen, nil
}

// save leaves what there is so far, so that a run that is cut short has said something.
func (r *runner) save() error {
	all := struct {
		Rows  []row              `json:"rows"`
		Ours  map[string]float64 `json:"ours_ms"`
		Torch map[string]float64 `json:"torch_ms"`
	}{r.rows, r.ours, r.theirs}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.out, "results.json"), append(b, '\n'), 0o666); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.out, "table.md"))
	if err != nil {
		return err
	}
	return errors.Join(writeTable(f, r.rows), f.Close())
}

// errTooLong says that a part's limit, or the user, ended a program.
var errTooLong = errors.New("took too long")

// exec runs a program, logs what it prints, and gives its stdout.
func (r *runner) exec(ctx context.Context, log, dir, program string, args ...string) (string, error) {
	f, err := os.OpenFile(filepath.Join(r.out, log+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fmt.Fprintf(f, "$ %s %s\n", program, strings.Join(args, " "))
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = io.MultiWriter(f, &out), io.MultiWriter(f, &problems)
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		last := strings.TrimSpace(problems.String())
		if ctx.Err() != nil {
			err = errTooLong
		}
		if i := strings.Index(last, "fp8rewrite: "); i >= 0 {
			last = last[i:]
		}
		first, _, _ := strings.Cut(last, "\n")
		return out.String(), fmt.Errorf("%s: %w: %.200s", filepath.Base(program), err, first)
	}
	return out.String(), nil
}

// fp8rewrite runs the program in the work folder.
func (r *runner) fp8rewrite(ctx context.Context, log string, args ...string) (string, error) {
	return r.exec(ctx, log, r.work, filepath.Join(r.bin, "fp8rewrite"), args...)
}

func (r *runner) add(rows ...row) { r.rows = append(r.rows, rows...) }

// models is a file of testdata/models.
func (r *runner) models(name string) string { return filepath.Join(r.root, "testdata", "models", name) }

func (r *runner) devices(ctx context.Context) {
	out, err := r.fp8rewrite(ctx, "devices", "devices")
	if err != nil {
		r.add(failed("devices", err))
		return
	}
	found := "no GPU"
	for line := range strings.Lines(out) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && name == "cuda:0" {
			found = strings.TrimSpace(rest)
		}
	}
	r.add(row{What: "GPU", Got: found, Met: true})
}

// results reads lines of JSON.
func results(out string, into map[string]float64) error {
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var x result
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			return fmt.Errorf("%.80q: %w", line, err)
		}
		if x.Error != "" {
			return fmt.Errorf("%s: %s", x.Name, x.Error)
		}
		if x.Ms > 0 {
			into[x.Name] = x.Ms
		}
	}
	return nil
}

func (r *runner) kernels(ctx context.Context) {
	out, err := r.exec(ctx, "kernels", r.root, filepath.Join(r.bin, "gpu"), "kernels")
	if err = errors.Join(results(out, r.ours), err); err != nil {
		r.add(failed("kernels", err))
	}
	const elements = 8192 * 8192
	if ms, ok := r.ours[castName]; ok { // it ran at least in part
		r.add(above("fused cast + amax, 8192² bfloat16", 3*elements/ms/1e9, 3.5, " TB/s"))
	}
	for _, x := range []struct {
		s   size
		bar float64
	}{{size{8192, 4096, 4096}, 1.6}, {size{2048, 4096, 4096}, 1.25}} {
		f, b := r.ours["float8linear "+x.s.String()], r.ours["bf16 linear "+x.s.String()]
		if f > 0 && b > 0 {
			r.add(above(fmt.Sprintf("Float8Linear over bfloat16 linear, %v", x.s), b/f, x.bar, "×"))
		}
	}
	if ms, ok := r.ours["float8 matmul 8192x8192x8192"]; ok {
		r.add(shown("float8 product, 8192³", 2*8192.*8192*8192/ms/1e9, " TFLOP/s"))
	}
	if ms, ok := r.ours["bf16 linear 8192x8192x8192"]; ok {
		r.add(shown("bfloat16 product, 8192³", 2*8192.*8192*8192/ms/1e9, " TFLOP/s"))
	}
}

func (r *runner) torch(ctx context.Context) {
	script := filepath.Join(r.work, "torch_bench.py")
	if err := os.WriteFile(script, torchBench, 0o666); err != nil {
		r.add(failed("torch", err))
		return
	}
	if _, err := r.exec(ctx, "torch", r.work, r.python, "-c", "import torch; assert torch.cuda.is_available()"); err != nil {
		r.add(row{What: "torch", Got: "not here", Met: true})
		return
	}
	args := []string{"-u", script}
	if r.autotune {
		args = append(args, "--autotune")
	}
	out, err := r.exec(ctx, "torch", r.work, r.python, args...)
	if err = errors.Join(results(out, r.theirs), err); err != nil {
		r.add(failed("torch", err))
	}
}

// sequence is the tokens of a row of the measured model, batch its rows.
const (
	sequence = 4096
	batch    = 2
)

func (r *runner) model(ctx context.Context) {
	dir := filepath.Join(r.work, "llama7b")
	if err := sevenB.write(ctx, dir, 2*batch, sequence); err != nil {
		r.add(failed("generated model", err))
		return
	}
	model, fp8, static, rep := filepath.Join(dir, "model.onnx"), filepath.Join(dir, "fp8.onnx"), filepath.Join(dir, "static.onnx"), filepath.Join(r.out, "bench-llama7b.json")
	gpu := []string{"--device", "cuda", "--compute", "bfloat16"}
	for _, args := range [][]string{
		{"convert", model, "-o", fp8, "--quiet"},
		append([]string{"calibrate", fp8, "--data", filepath.Join(dir, "batches.safetensors"), "--batch-size", fmt.Sprint(batch), "--freeze", "-o", static}, gpu...),
		append([]string{"bench", static, "--against", model, "--shape", fmt.Sprintf("hidden_states=%dx%dx%d", batch, sequence, sevenB.hidden), "--report", rep}, gpu...),
	} {
		if _, err := r.fp8rewrite(ctx, "model", args...); err != nil {
			r.add(failed("generated model: "+args[0], err))
			return
		}
	}
	b, err := readReport(rep)
	if err == nil && (b.Bench == nil || b.Bench.Against == nil) {
		err = errors.New("the report has no times of two models")
	}
	if err != nil {
		r.add(failed("generated model", err))
		return
	}
	f, bf := float64(b.Bench.Model.Median), float64(b.Bench.Against.Median)
	r.ours["llama float8 static"], r.ours["llama bf16"] = f, bf
	r.add(below("four layers of Llama 7B, 2 × 4096, float8 static", f, 22, " ms"), shown("the same in bfloat16", bf, " ms"),
		below("float8 static by our bfloat16", f/bf, 0.80, "×"))
}

// ratios are our figures by torch's, where there are both.
func (r *runner) ratios(context.Context) {
	ratio := func(what, ours, theirs string, bar float64) {
		a, b := r.ours[ours], r.theirs[theirs]
		switch {
		case a == 0 || b == 0:
		case bar > 0:
			r.add(above(what, b/a, bar, "×"))
		default:
			r.add(shown(what, b/a, "×"))
		}
	}
	ratio("fused cast + amax: torch.compile's time by ours", castName, castName+" compiled", 1.5)
	for _, s := range sizes {
		bar := 0.
		if s.m == s.k {
			bar = 1
		}
		ratio(fmt.Sprintf("Float8Linear delayed, %v: torch.compile's time by ours", s), "float8linear "+s.String(), "float8linear "+s.String()+" compiled", bar)
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range r.theirs {
			if strings.HasPrefix(name, "llama ") && !yield(name) {
				return
			}
		}
	}) {
		r.add(shown("torch: "+name, r.theirs[name], " ms"))
	}
	ratio("four layers of Llama 7B in bfloat16: torch.compile's time by ours", "llama bf16", "llama bf16 compiled", 0)
	ratio("the same in float8 with static scales", "llama float8 static", "llama float8 static compiled", 0)
}

// converted converts a model of testdata to name in the work folder.
func (r *runner) converted(ctx context.Context, log, model, name string, args ...string) error {
	_, err := r.fp8rewrite(ctx, log, append([]string{"convert", r.models(model), "-o", name, "--quiet"}, args...)...)
	return err
}

func (r *runner) calibrate(ctx context.Context) {
	const what = "calibrating llama, 8 steps: processor's time by the GPU's"
	if err := r.converted(ctx, "calibrate", "llama/model.onnx", "calibrate.onnx"); err != nil {
		r.add(failed(what, err))
		return
	}
	for _, device := range []string{"cuda", "cpu"} {
		out, err := r.exec(ctx, "calibrate", r.work, filepath.Join(r.bin, "gpu"), "calibrate", "--device", device, "--model", "calibrate.onnx", "--data", r.models("llama/data.npz"))
		if err = errors.Join(results(out, r.ours), err); err != nil {
			r.add(failed(what, err))
			return
		}
	}
	gpu, cpu := r.ours["calibrate llama 8 steps on cuda"], r.ours["calibrate llama 8 steps on cpu"]
	r.add(above(what, cpu/gpu, 5, "×"), shown("calibrating llama, 8 steps, on the GPU", gpu, " ms"))
	gpu, cpu = r.ours["calibrate llama 8 steps on cuda, whole"], r.ours["calibrate llama 8 steps on cpu, whole"]
	r.add(shown("the same with what engines do once for a model: processor's time by the GPU's", cpu/gpu, "×"), shown("on the GPU", gpu, " ms"))
}

func (r *runner) golden(ctx context.Context) {
	const what = "golden delayed_scaled_mm_bf16"
	rep := filepath.Join(r.out, "golden.json")
	err := r.converted(ctx, "golden", "llama/model.onnx", "golden.onnx", "--weights", "original", "--history-len", "4")
	if err == nil {
		_, err = r.fp8rewrite(ctx, "golden", "calibrate", "golden.onnx", "--data", r.models("llama/data.npz"), "--prefix", "calib_", "--labels", "labels",
			"--batch-size", "8", "--no-amax-init", "-o", "golden.calibrated.onnx", "--report", rep, "--device", "cuda", "--compute", "bfloat16", "--accumulate", r.accumulate)
	}
	if err != nil {
		r.add(failed(what, err))
		return
	}
	g, err := readRecording(r.models("llama/golden.json"))
	if err != nil {
		r.add(failed(what, err))
		return
	}
	c, err := readReport(rep)
	if err != nil {
		r.add(failed(what, err))
		return
	}
	amaxes, loss, err := g.against(c.Calibration)
	if err != nil {
		r.add(failed(what, err))
		return
	}
	r.add(below(what+": largest error of an input's amax", 100*amaxes[len(amaxes)-1], 3, "%"), below("its median", 100*amaxes[len(amaxes)/2], 0.5, "%"),
		below("largest error of a step's loss", loss, 8e-3, ""))
}

// verified are the models that the GPU and the processor must agree on, with the gates that both must pass.
var verified = []struct {
	name, model, data string
	gates             []string
}{
	{"llama", "llama/model.onnx", "llama/data.npz", []string{"--labels", "labels", "--max-loss-increase", "0.01"}},
	{"gpt2", "gpt2/model.onnx", "gpt2/data.npz", []string{"--labels", "labels", "--max-loss-increase", "0.02"}},
	{"digits_mlp", "digits/digits_mlp.onnx", "digits/data.npz", []string{"--min-sqnr", "25"}},
	{"digits_cnn", "digits/digits_cnn.onnx", "digits/data.npz", []string{"--min-sqnr", "20"}},
}

func (r *runner) agree(ctx context.Context) {
	for _, m := range verified {
		if err := r.agrees(ctx, m.name, m.model, m.data, m.gates); err != nil {
			r.add(failed("agreement on "+m.name, err))
		}
	}
}

func (r *runner) agrees(ctx context.Context, name, model, data string, gates []string) error {
	if err := r.converted(ctx, "agree", model, name+".onnx"); err != nil {
		return err
	}
	data = r.models(data)
	reports := map[string]string{}
	for _, device := range []string{"cpu", "cuda"} {
		reports[device] = filepath.Join(r.out, name+"-"+device+".json")
		args := []string{"calibrate", name + ".onnx", "--data", data, "--prefix", "calib_", "-o", name + "." + device + ".onnx", "--report", reports[device], "--device", device, "--accumulate", r.accumulate, "--quiet"}
		if _, err := r.fp8rewrite(ctx, "agree", args...); err != nil {
			return err
		}
	}
	a, err := readReport(reports["cuda"])
	if err != nil {
		return err
	}
	b, err := readReport(reports["cpu"])
	if err != nil {
		return err
	}
	d, err := states(a.Calibration, b.Calibration)
	if err != nil {
		return err
	}
	r.add(above(name+": calibrated state within 1e-2 of the processor's", 100*share(d, 1e-2), 95, "%"), below("its largest difference", d[len(d)-1], 3e-2, ""))
	for _, device := range []string{"cpu", "cuda"} {
		args := append([]string{"verify", r.models(model), name + "." + device + ".onnx", "--data", data, "--prefix", "eval_", "--device", device, "--quiet"}, gates...)
		if _, err := r.fp8rewrite(ctx, "agree", args...); err != nil {
			return fmt.Errorf("verify on %s: %w", device, err)
		}
	}
	r.add(passed(name+": verify on both, "+strings.Join(gates, " "), "gates met"))
	return nil
}

var testLine = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): `)

func (r *runner) tests(ctx context.Context) {
	for _, p := range tested {
		what := "tests of " + p
		// GPUs are left in any state by a test that loses its context: one after the other, each in a process of its own.
		out, err := r.exec(ctx, "tests", filepath.Join(r.root, filepath.FromSlash(p)), filepath.Join(r.bin, testBinary(p)), "-test.v", "-test.timeout", "140s")
		count := map[string]int{}
		for _, m := range testLine.FindAllStringSubmatch(out, -1) {
			count[m[1]]++
		}
		text := fmt.Sprintf("%d passed, %d failed, %d skipped", count["PASS"], count["FAIL"], count["SKIP"])
		if err != nil {
			r.add(row{What: what, Got: text + ": " + strings.SplitN(err.Error(), "\n", 2)[0], Bar: "passes"})
			continue
		}
		r.add(passed(what, text))
	}
}

// sanitizerErrors finds the last line of compute-sanitizer.
var sanitizerErrors = regexp.MustCompile(`(?:ERROR SUMMARY|RACECHECK SUMMARY): [^\n]*`)

func (r *runner) sanitizer(ctx context.Context) {
	program := "compute-sanitizer"
	if _, err := exec.LookPath(program); err != nil {
		found, _ := filepath.Glob("/usr/local/cuda*/bin/compute-sanitizer")
		if len(found) == 0 {
			r.add(row{What: "compute-sanitizer", Got: "not here", Met: true})
			return
		}
		program = found[0]
	}
	const kernels = "runtime/cuda/kernels"
	for _, tool := range []string{"memcheck", "racecheck"} {
		out, err := r.exec(ctx, "sanitizer", filepath.Join(r.root, filepath.FromSlash(kernels)), program, "--tool", tool, "--error-exitcode", "99",
			filepath.Join(r.bin, testBinary(kernels)), "-test.short", "-test.timeout", "100s")
		summary := sanitizerErrors.FindString(out)
		if err != nil {
			r.add(failed(tool+" of the kernels' tests", fmt.Errorf("%s: %w", summary, err)))
			continue
		}
		r.add(passed(tool+" of the kernels' tests", summary))
	}
}
