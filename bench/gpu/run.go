package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
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
	{"tests", "the short tests of runtime/cuda", 100 * time.Second, (*runner).tests},
	{"sanitizer", "memcheck and racecheck of the kernels' short tests", 100 * time.Second, (*runner).sanitizer},
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

// runAll runs the parts and prints the table. A bar that is missed, or that nothing was measured for, is an error behind the table.
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
		if ctx.Err() != nil {
			r.add(failed("part "+p.name, errors.New("not run: interrupted")))
			continue
		}
		start := time.Now()
		limited, stop := context.WithTimeout(ctx, p.limit)
		p.run(r, limited)
		stop()
		fmt.Fprintf(os.Stderr, "%s: %.1f s\n", p.name, time.Since(start).Seconds())
		if err := r.save(); err != nil {
			return err
		}
	}
	if err := errors.Join(r.save(), writeTable(stdout, r.rows)); err != nil {
		return err
	}
	return verdict(r.rows)
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
	out, err := r.fp8rewrite(ctx, "devices", "devices", "--json")
	if err != nil {
		r.add(failed("GPU", err))
		return
	}
	r.add(gpuRow([]byte(out)))
}

// gpuRow reads what fp8rewrite devices says of the first GPU.
func gpuRow(out []byte) row {
	var found struct {
		CUDA struct {
			Usable bool   `json:"usable"`
			Error  string `json:"error"`
			Cards  []struct {
				Name       string `json:"name"`
				Usable     bool   `json:"usable"`
				Error      string `json:"error"`
				Capability string `json:"compute_capability"`
			} `json:"cards"`
		} `json:"cuda"`
	}
	err := json.Unmarshal(out, &found)
	switch c := found.CUDA; {
	case err != nil:
		return failed("GPU", err)
	case len(c.Cards) == 0:
		return failed("GPU", fmt.Errorf("none: %s", c.Error))
	case !c.Usable || !c.Cards[0].Usable:
		return failed("GPU", fmt.Errorf("%s cannot be used: %s", c.Cards[0].Name, cmp.Or(c.Cards[0].Error, c.Error)))
	default:
		return row{What: "GPU", Got: c.Cards[0].Name + ", compute capability " + c.Cards[0].Capability, Bar: "can be used", Met: true}
	}
}

// results reads lines of JSON. One that tells an error does not keep the others from being read.
func results(out string, into map[string]float64) error {
	var errs []error
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var x result
		switch err := json.Unmarshal([]byte(line), &x); {
		case err != nil:
			errs = append(errs, fmt.Errorf("%.80q: %w", line, err))
		case x.Error != "":
			errs = append(errs, fmt.Errorf("%s: %s", x.Name, x.Error))
		case x.Ms > 0:
			into[x.Name] = x.Ms
		}
	}
	return errors.Join(errs...)
}

// took is the time of ours with this name, NaN where it was not measured.
func (r *runner) took(name string) float64 { return of(r.ours, name) }

// of is a figure that is not zero, or NaN.
func of(figures map[string]float64, name string) float64 {
	if v := figures[name]; v > 0 {
		return v
	}
	return math.NaN()
}

func (r *runner) kernels(ctx context.Context) {
	out, err := r.exec(ctx, "kernels", r.root, filepath.Join(r.bin, "gpu"), "kernels")
	if err = errors.Join(results(out, r.ours), err); err != nil {
		r.add(failed("kernels", err))
	}
	const elements, operations = 8192 * 8192, 2 * 8192. * 8192 * 8192
	r.add(above("fused cast + amax, 8192² bfloat16", 3*elements/r.took(castName)/1e9, 3.5, " TB/s"))
	for _, x := range []struct {
		s   size
		bar float64
	}{{size{8192, 4096, 4096}, 1.6}, {size{2048, 4096, 4096}, 1.25}} {
		f, b := r.took("float8linear "+x.s.String()), r.took("bf16 linear "+x.s.String())
		r.add(above(fmt.Sprintf("Float8Linear over bfloat16 linear, %v", x.s), b/f, x.bar, "×"))
	}
	r.add(shown("float8 product, 8192³", operations/r.took("float8 matmul 8192x8192x8192")/1e9, " TFLOP/s"),
		shown("bfloat16 product, 8192³", operations/r.took("bf16 linear 8192x8192x8192")/1e9, " TFLOP/s"))
}

func (r *runner) torch(ctx context.Context) {
	script := filepath.Join(r.work, "torch_bench.py")
	if err := os.WriteFile(script, torchBench, 0o666); err != nil {
		r.add(failed("torch", err))
		return
	}
	if _, err := r.exec(ctx, "torch", r.work, r.python, "-c", "import torch; assert torch.cuda.is_available()"); err != nil {
		r.add(failed("torch", fmt.Errorf("torch with a GPU is not here: %w", err)))
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
	if err := r.timeModel(ctx); err != nil {
		r.add(failed("generated model", err))
	}
	f, bf := r.took("llama float8 static"), r.took("llama bf16")
	r.add(below("four layers of Llama 7B, 2 × 4096, float8 static", f, 22, " ms"), shown("the same in bfloat16", bf, " ms"),
		below("float8 static by our bfloat16", f/bf, 0.80, "×"))
}

// timeModel makes the model, converts and calibrates it, and times both.
func (r *runner) timeModel(ctx context.Context) error {
	dir := filepath.Join(r.work, "llama7b")
	if err := sevenB.write(ctx, dir, 2*batch, sequence); err != nil {
		return err
	}
	model, fp8, static, rep := filepath.Join(dir, "model.onnx"), filepath.Join(dir, "fp8.onnx"), filepath.Join(dir, "static.onnx"), filepath.Join(r.out, "bench-llama7b.json")
	gpu := []string{"--device", "cuda", "--compute", "bfloat16"}
	for _, args := range [][]string{
		{"convert", model, "-o", fp8, "--quiet"},
		append([]string{"calibrate", fp8, "--data", filepath.Join(dir, "batches.safetensors"), "--batch-size", fmt.Sprint(batch), "--freeze", "-o", static}, gpu...),
		append([]string{"bench", static, "--against", model, "--shape", fmt.Sprintf("hidden_states=%dx%dx%d", batch, sequence, sevenB.hidden), "--report", rep}, gpu...),
	} {
		if _, err := r.fp8rewrite(ctx, "model", args...); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
	}
	b, err := readReport(rep)
	if err != nil {
		return err
	}
	if b.Bench == nil || b.Bench.Against == nil {
		return errors.New("the report has no times of two models")
	}
	r.ours["llama float8 static"], r.ours["llama bf16"] = float64(b.Bench.Model.Median), float64(b.Bench.Against.Median)
	return nil
}

// ratios are our figures by torch's. One that lacks either is not measured.
func (r *runner) ratios(context.Context) {
	ratio := func(what, ours, theirs string, bar float64) {
		x := of(r.theirs, theirs) / r.took(ours)
		if bar > 0 {
			r.add(above(what, x, bar, "×"))
		} else {
			r.add(shown(what, x, "×"))
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
	err := r.converted(ctx, "calibrate", "llama/model.onnx", "calibrate.onnx")
	for _, device := range []string{"cuda", "cpu"} {
		if err == nil {
			var out string
			out, err = r.exec(ctx, "calibrate", r.work, filepath.Join(r.bin, "gpu"), "calibrate", "--device", device, "--model", "calibrate.onnx", "--data", r.models("llama/data.npz"))
			err = errors.Join(results(out, r.ours), err)
		}
	}
	if err != nil {
		r.add(failed("calibrating llama", err))
	}
	for _, x := range []struct {
		what, figure string
		bar          float64
	}{
		{"calibrating llama, 8 steps, engine started before; programs, uploads and recording included", wholeRun, 5},
		{"the steps of it alone, 8 times their median", stepsAlone, 0},
	} {
		gpu, cpu := r.took(calibrated("cuda", x.figure)), r.took(calibrated("cpu", x.figure))
		by := shown(x.what+": processor's time by the GPU's", cpu/gpu, "×")
		if x.bar > 0 {
			by = above(by.What, cpu/gpu, x.bar, "×")
		}
		r.add(by, shown("on the GPU", gpu, " ms"), shown("on the processor", cpu, " ms"))
	}
}

func (r *runner) golden(ctx context.Context) {
	const what = "golden delayed_scaled_mm_bf16"
	largest, median, loss, err := r.recorded(ctx)
	if err != nil {
		r.add(failed(what, err))
		largest, median, loss = math.NaN(), math.NaN(), math.NaN()
	}
	r.add(below(what+": largest error of an input's amax", 100*largest, 3, "%"), below("its median", 100*median, 0.5, "%"), below("largest error of a step's loss", loss, 8e-3, ""))
}

// recorded calibrates llama as the recording was made, and gives the largest and the median error of an amax and the largest of a loss.
func (r *runner) recorded(ctx context.Context) (largest, median, loss float64, err error) {
	rep := filepath.Join(r.out, "golden.json")
	if err := r.converted(ctx, "golden", "llama/model.onnx", "golden.onnx", "--weights", "original", "--history-len", "4"); err != nil {
		return 0, 0, 0, err
	}
	if _, err := r.fp8rewrite(ctx, "golden", "calibrate", "golden.onnx", "--data", r.models("llama/data.npz"), "--prefix", "calib_", "--labels", "labels",
		"--batch-size", "8", "--no-amax-init", "-o", "golden.calibrated.onnx", "--report", rep, "--device", "cuda", "--compute", "bfloat16", "--accumulate", r.accumulate); err != nil {
		return 0, 0, 0, err
	}
	g, err := readRecording(r.models("llama/golden.json"))
	if err != nil {
		return 0, 0, 0, err
	}
	c, err := readReport(rep)
	if err != nil {
		return 0, 0, 0, err
	}
	if c.Calibration == nil {
		return 0, 0, 0, errors.New("the report has no calibration")
	}
	amaxes, loss, err := g.against(c.Calibration)
	if err != nil {
		return 0, 0, 0, err
	}
	return amaxes[len(amaxes)-1], amaxes[len(amaxes)/2], loss, nil
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
		args := []string{"calibrate", name + ".onnx", "--data", data, "--prefix", "calib_", "-o", name + "." + device + ".onnx", "--report", reports[device], "--device", device, "--quiet"}
		if device == "cuda" {
			args = append(args, "--accumulate", r.accumulate)
		}
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
