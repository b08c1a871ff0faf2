package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/samples"
)

// calibrateOptions are the flags of calibrate.
type calibrateOptions struct {
	outputs
	data       dataOptions
	device     deviceOptions
	noAmaxInit bool
	freeze     bool
	force      bool
	shard      string
	labels     string
	logits     string
	resume     bool
	every      int
	include    []string
	exclude    []string
	json       bool
	quiet      bool
}

func newCalibrate() *cobra.Command {
	o := &calibrateOptions{}
	cmd := &cobra.Command{
		Use:   "calibrate MODEL --data BATCHES -o OUT",
		Short: "Run batches through a converted model and fill its scales",
		Long: `calibrate runs batches through a model that convert made, observes the amax of every layer's input, and writes the model with the
scales and amax histories that follow from it, and a table of what was seen.

The rows of an array are the samples: a step takes --batch-size of them. An array feeds the input of the same name, or of --prefix and that
name, or the one that --input says. A run that is interrupted leaves OUT.resume beside the output; --resume goes on from there and ends with
the same bytes. Under mpirun or srun the processes share the rows of every step, and the result is that of one process.

MODEL may be a checkpoint's folder of the families Llama, Mistral, Qwen2, Qwen3, Gemma, GPT-2 and BERT: its graph is built from config.json, and the
layers that convert would choose run in float8. OUT.safetensors then gets the scales of their inputs, for fp8rewrite convert --input-scales, and
OUT.onnx the whole model.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. No failure leaves a partial output, and an older file at OUT stays as it was.`,
		Example: `  fp8rewrite calibrate model.fp8.onnx --data batches.npz -o model.calibrated.onnx
  fp8rewrite calibrate model.fp8.onnx --data data.npz --prefix calib_ --batch-size 8 --steps 8 -o out.onnx --report report.json
  mpirun -np 4 fp8rewrite calibrate model.fp8.onnx --data batches.npz -o out.onnx`,
		Args:              one("the model to calibrate"),
		ValidArgsFunction: modelFiles, // and folders, which shells offer beside files
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCalibrate(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.out, "output", "o", "", "file to write the calibrated model to; a .safetensors file for the scales of a folder alone")
	o.data.addFlags(cmd)
	o.device.addFlags(cmd, "float32")
	f.BoolVar(&o.noAmaxInit, "no-amax-init", false, "cast the first batch with scale 1 instead of a scale from its own amax")
	f.BoolVar(&o.freeze, "freeze", false, "store the final scales as static: weights become float8, and later runs leave the scales alone")
	f.BoolVar(&o.force, "force", false, "go on from a model whose scales were frozen")
	f.StringArrayVar(&o.include, "include", nil, "of a folder: layers to run in float8, as for convert (repeatable)")
	f.StringArrayVar(&o.exclude, "exclude", nil, "of a folder: layers to keep, as for convert (repeatable)")
	f.StringVar(&o.shard, "shard", "", "take part i of n of every batch, as i/n; fp8rewrite merge joins the parts")
	f.StringVar(&o.labels, "labels", "", "array with the right classes: the report gains each batch's mean cross-entropy")
	f.StringVar(&o.logits, "logits", "", "output that --labels judges (default: the first)")
	f.BoolVar(&o.resume, "resume", false, "go on from OUT.resume, which an interrupted run left")
	f.IntVar(&o.every, "checkpoint-every", 16, "steps after which OUT.resume is written; 0 for never")
	f.StringVar(&o.report, "report", "", "file to write the JSON report to")
	f.BoolVar(&o.externalData, "external-data", false, "write weights to a data file beside the model (done anyway above 2 GB)")
	f.BoolVar(&o.json, "json", false, "print the JSON report instead of the table")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors")
	completeFiles(cmd, "output", "onnx", "safetensors")
	completeFiles(cmd, "report", "json")
	return cmd
}

// check finds conflicts between flags before any work.
func (o *calibrateOptions) check(in string) error {
	toFile := "-o " + shellWord(suggestCalibrated(in))
	if err := o.data.check("calibrate"); err != nil {
		return err
	}
	if err := o.checkFolder(in); err != nil {
		return err
	}
	switch {
	case o.out == "":
		return hint(usagef("calibrate: --output is missing"), "fp8rewrite calibrate %s --data %s %s", shellWord(in), shellWord(o.data.path), toFile)
	case o.out == "-":
		return hint(usagef("--output wants a file, got %q", o.out), "%s", toFile)
	case o.report == "-":
		return hint(usagef("--report wants a file, got %q", o.report), "--json prints the report on stdout")
	case o.quiet && o.json:
		return hint(usagef("--quiet and --json contradict each other"), "leave --quiet out: --json prints nothing else")
	case o.every < 0:
		return hint(usagef("--checkpoint-every: got %d, want 0 or more", o.every), "--checkpoint-every 16")
	case o.logits != "" && o.labels == "":
		return hint(usagef("--logits says which output --labels judges, and there is no --labels"), "--labels ARRAY")
	case o.shard != "" && o.labels != "":
		return hint(usagef("--labels judges whole batches, and a shard has a part of them"), "fp8rewrite verify judges what merge makes of the shards")
	case o.shard != "" && o.freeze:
		return hint(usagef("--freeze stores final scales, which a shard does not have"), "fp8rewrite merge --freeze freezes what the shards make together")
	}
	return nil
}

// probeAll finds an output that cannot be written, or that is an input, before the slow work.
func (o *calibrateOptions) probeAll(in string) error {
	if err := o.probe(in, suggestCalibrated(in)); err != nil {
		return err
	}
	if err := o.refuse(o.data.path, o.data.path, suggestCalibrated(in)); err != nil {
		return err
	}
	// An interrupt saves whatever --checkpoint-every says, and the end of the run removes what is there.
	if err := atomicfile.Probe(o.checkpointPath()); err != nil {
		return err
	}
	if foreign, err := foreignFile(o.checkpointPath()); err != nil {
		return err
	} else if foreign {
		return hint(fmt.Errorf("%q is there and is no checkpoint of this program, which would take its place", o.checkpointPath()), "another -o, or move that file")
	}
	return nil
}

// foreignFile reports whether there is a file at path that is no checkpoint. Its first bytes say so: it may be a model of any size.
func foreignFile(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	return err == nil && !calibrate.IsCheckpoint(b), err
}

// checkpointPath is where an interrupted run leaves what it has.
func (o *calibrateOptions) checkpointPath() string { return o.out + ".resume" }

// runCalibrate checks everything that can be checked before the slow work, and opens model and data.
func runCalibrate(ctx context.Context, stdout, stderr io.Writer, in string, o *calibrateOptions) (err error) {
	start := time.Now()
	if err := o.check(in); err != nil {
		return err
	}
	o.checkpoint = o.checkpointPath()
	shard := calibrate.Shard{}
	if o.shard != "" {
		if shard, err = calibrate.ParseShard(o.shard); err != nil {
			return hint(usageError{fmt.Errorf("--%w", err)}, "--shard 1/4 for the first of four")
		}
	}
	backend, limits, err := o.device.open()
	if err != nil {
		return err
	}
	workers, err := joinWorkers()
	if err != nil {
		return err
	}
	defer func() { err = workers.leave(ctx, err) }()
	backend.share(workers.size())
	stdout, stderr = workers.speak(stdout, stderr, &o.quiet)
	if workers.rank() == 0 {
		if err := o.probeAll(in); err != nil {
			return err
		}
	}
	o.data.maxMemory = limits.MaxMemory
	file, src, err := openModel(in, &o.data)
	if err != nil {
		return explainOpen(in, err)
	}
	defer closeModel(file, src)
	if src != nil {
		if file.Model, err = o.convertFolder(ctx, file.Model, src); err != nil {
			return err
		}
	}
	if err := o.refuseData(file, suggestCalibrated(in)); err != nil {
		return err
	}
	set, err := o.data.open(file.Model)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := o.refuseBatches(set, suggestCalibrated(in)); err != nil {
		return err
	}
	c := &calibration{calibrateOptions: o, file: file, set: set, backend: backend, workers: workers, start: start, stdout: stdout, stderr: stderr}
	c.opt = calibrate.Options{Threads: limits.Threads, MaxMemory: limits.MaxMemory, NoAmaxInit: o.noAmaxInit, Force: o.force, Shard: shard,
		Group: workers.group(), Every: o.every}
	err = mapfile.Guard(func() error { return c.run(ctx) })
	return c.interrupted(explainChange(file, explainCalibrate(in, o, err)))
}

// calibration is one run of the command.
type calibration struct {
	*calibrateOptions
	file           *onnxio.File
	set            *samples.Set
	backend        *engine
	workers        workers
	opt            calibrate.Options
	start          time.Time
	stdout, stderr io.Writer

	batches string // fingerprint of the data
	losses  *losses
	saved   bool // there is a checkpoint of this run
}

// run calibrates, saves and reports.
func (c *calibration) run(ctx context.Context) error {
	digests := digestInput(ctx, c.file)
	defer digests.stop()
	bar := newBar(c.stderr, c.quiet)
	defer bar.clear()
	if err := c.prepare(ctx, digests, bar); err != nil {
		return err
	}
	res, err := calibrate.Run(ctx, c.file.Model, c.backend, c.set, c.opt)
	bar.clear()
	if err != nil {
		return err
	}
	if c.workers.rank() > 0 {
		return c.workers.wait(ctx) // until rank 0 has written
	}
	model := res.Model
	if c.freeze {
		if model, err = freeze(ctx, model); err != nil {
			return err
		}
		res.Model = model
	}
	var saved onnxio.SaveResult
	if isBuilt(c.file) && isState(c.out) {
		saved, err = saveState(c.out, model)
	} else {
		saved, err = onnxio.Save(ctx, c.out, model, onnxio.SaveOptions{ExternalData: c.externalData, Progress: bar.stage("writing model")})
	}
	bar.clear()
	if err != nil {
		return err
	}
	os.Remove(c.checkpointPath()) // the run is over, and what an earlier one left there is out of date
	c.saved = false
	if err := c.workers.wait(ctx); err != nil {
		return written{c.out, err}
	}
	if err := c.tell(ctx, digests, res, model, saved); err != nil {
		return c.afterwards(err)
	}
	return nil
}

// prepare sets up what hears of the run: the bar, checkpoints, losses.
func (c *calibration) prepare(ctx context.Context, digests *digests, bar *bar) error {
	progress := bar.count("calibrating", "step")
	c.opt.Progress = func(p calibrate.Progress) {
		if progress != nil {
			progress(int64(p.Done), int64(p.Of))
		}
	}
	if !c.quiet {
		c.opt.Planned = func(p runtime.Plan) {
			bar.clear()
			c.backend.tell(c.stderr, &c.device)
			tellPlan(c.stderr, "plan", p)
		}
	}
	judged := ""
	if c.labels != "" {
		if c.workers.size() > 1 {
			return hint(usagef("--labels judges whole batches, and each process has a part of them"), "fp8rewrite verify judges the calibrated model")
		}
		var err error
		if c.losses, err = newLosses(c.set, c.file.Model, c.labels, c.logits); err != nil {
			return err
		}
		if judged, err = c.losses.check(ctx); err != nil {
			return err
		}
		c.opt.Outputs = c.losses.step
	}
	// An element that does not fit is found now, and not after an hour.
	err := c.set.Check(ctx, reading(bar, "step"))
	bar.clear()
	if err != nil {
		return err
	}
	if c.batches, err = c.set.Fingerprint(ctx); err != nil {
		return err
	}
	c.opt.Data = c.batches
	sums, err := digests.wait(ctx)
	if err != nil {
		return err
	}
	c.opt.Fingerprint = fingerprint{
		{"the model", fmt.Sprintf("%q", sums)}, {"the data", c.batches}, {"--batch-size", fmt.Sprint(c.set.BatchSize())}, {"the number of steps", fmt.Sprint(c.set.Steps())},
		{"--device", c.backend.Name()}, {"--compute", c.backend.compute}, {"--accumulate", c.backend.sums}, {"--no-amax-init", fmt.Sprint(c.noAmaxInit)}, {"--shard", c.opt.Shard.String()}, {"--allow-nonfinite", fmt.Sprint(c.data.allowNonFinite)},
		{"--force", fmt.Sprint(c.force)}, {"this program's version", buildVersion()}, {"--labels", judged},
	}.String()
	if isBuilt(c.file) {
		c.opt.Fingerprint += fingerprint{{"--include", strings.Join(c.include, "\n")}, {"--exclude", strings.Join(c.exclude, "\n")}}.String()
	}
	c.opt.Save = func(p *calibrate.Checkpoint) error {
		if c.losses != nil {
			p.Extra = c.losses.save(p.Steps)
		}
		b, err := p.Marshal()
		if err == nil {
			err = atomicfile.WriteFile(c.checkpointPath(), b)
		}
		c.saved = c.saved || err == nil
		return err
	}
	if !c.resume || c.workers.rank() > 0 { // the others go on with what the first one has
		return nil
	}
	b, err := os.ReadFile(c.checkpointPath())
	if err != nil {
		return hint(err, "--resume goes on from what an interrupted run with the same -o has left; leave it out to begin")
	}
	if c.opt.Resume, err = calibrate.UnmarshalCheckpoint(b); err != nil {
		return err
	}
	if differs := differing(c.opt.Resume.Fingerprint, c.opt.Fingerprint); differs != "" {
		return &calibrate.CheckpointError{Why: "it belongs to another run: " + differs}
	}
	c.saved = true
	if c.losses != nil {
		return c.losses.restore(c.opt.Resume.Extra, c.opt.Resume.Steps)
	}
	return nil
}

// interrupted says how to go on, where there is something to go on from: after a signal, and after whatever else ended the run.
func (c *calibration) interrupted(err error) error {
	var checkpoint *calibrate.CheckpointError
	switch {
	case err == nil || !c.saved || c.workers.rank() > 0 || errors.As(err, &checkpoint):
		return err
	case errors.Is(err, context.Canceled):
		return resumable{c.checkpointPath(), err}
	}
	advice := fmt.Sprintf("%s holds what was done so far; the same command with --resume goes on from there", c.checkpointPath())
	if h := (hinted{}); errors.As(err, &h) {
		advice = h.hint + "; " + advice
	}
	return hint(err, "%s", advice)
}

// tell completes the report and puts it where the flags ask for it.
func (c *calibration) tell(ctx context.Context, digests *digests, res *calibrate.Result, model *graph.Model, saved onnxio.SaveResult) error {
	sums, err := digests.wait(ctx)
	if err != nil {
		return err
	}
	rep := &reports.Report{Kind: reports.KindCalibrate, Settings: recipeSettings(res.Recipe), State: res.State(), Warnings: res.Warnings(), Calibration: res.Section()}
	rep.Model.Input = inputArtifact(c.file, sums)
	out := artifact(model, c.out, saved)
	if isBuilt(c.file) && isState(c.out) {
		sum, err := digestFile(ctx, c.out, saved.Bytes, xxhash.New())
		if err != nil {
			return err
		}
		out = asCheckpoint(describe(model), artifactOf(c.out, []checkpoint.FileInfo{{Bytes: saved.Bytes, XXH64: sum}}, false))
	}
	rep.Model.Output = &out
	if isBuilt(c.file) {
		rep.Settings.Include, rep.Settings.Exclude = append([]string{}, c.include...), append([]string{}, c.exclude...)
	}
	s := &rep.Calibration.Settings
	s.Data, s.BatchSize, s.Device, s.Freeze, s.Ranks = c.batches, c.set.BatchSize(), c.backend.Name(), c.freeze, int64(c.workers.size())
	rep.Calibration.Execution = c.backend.execution()
	if c.losses != nil {
		rep.Calibration.Losses = c.losses.all
	}
	fillVolatile(rep, c.start)
	c.backend.fill(&rep.Volatile)
	rep.Finish()
	for _, note := range c.set.Notes() {
		if !c.quiet {
			fmt.Fprintf(c.stderr, "note: %s\n", oneLine(note))
		}
	}
	if !c.quiet {
		c.backend.tellPlaces(c.stderr)
	}
	return writeReport(c.stdout, rep, c.report, c.json, c.quiet, render.Options{})
}

// explainCalibrate adds the command that helps.
func explainCalibrate(in string, o *calibrateOptions, err error) error {
	var checkpoint *calibrate.CheckpointError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, calibrate.ErrNotConverted):
		converted := suggestOutput(in)
		return hint(err, "fp8rewrite convert %s -o %s", shellWord(in), shellWord(converted))
	case errors.Is(err, calibrate.ErrShard):
		return hint(err, "fp8rewrite merge joins the shards first; --force calibrates this one on")
	case errors.Is(err, calibrate.ErrFrozen):
		return hint(err, "--force calibrates it all the same")
	case errors.As(err, &checkpoint):
		return hint(err, "remove %s and leave --resume out to begin again", shellWord(o.checkpointPath()))
	}
	return explainRun(explainData(err))
}

// freeze makes the scales of a calibrated model static.
func freeze(ctx context.Context, m *graph.Model) (*graph.Model, error) {
	frozen, err := rewrite.Freeze(ctx, m)
	if err != nil {
		return nil, err
	}
	return frozen, calibrate.MarkFrozen(frozen)
}
