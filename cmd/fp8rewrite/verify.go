package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/verify"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	data            dataOptions
	device          deviceOptions
	labels          string
	logits          string
	minSQNR         float64
	maxLossIncrease float64
	maxAccuracyDrop float64
	sensitivity     bool
	recipes         recipeList
	calibration     string
	report          string
	json            bool
	quiet           bool
	all             bool

	gates verify.Gates
}

func newVerify() *cobra.Command {
	o := &verifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify ORIGINAL [REWRITTEN] --data BATCHES",
		Short: "Say what float8 costs, and hold it against limits",
		Long: `verify runs the original and the rewritten model on the same batches and compares outputs and layers: signal-to-quantization-noise ratio
in dB, largest error, cosine. With --labels it also gives the mean cross-entropy, perplexity and accuracy of both.

--min-sqnr, --max-loss-increase and --max-accuracy-drop are gates: one that is not met makes the exit status 3. --sensitivity runs each layer
alone in float8, ranks the layers by what they cost, and finds the --exclude list that meets the gates. --compare-recipes converts the original
with each recipe, calibrates what needs it, and puts them in one table; it needs no rewritten model, and one recipe that meets the gates is
enough.

Either model may be a checkpoint's folder, as for calibrate.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 a gate is not met, 130 interrupted.`,
		Example: `  fp8rewrite verify model.onnx model.calibrated.onnx --data batches.npz
  fp8rewrite verify model.onnx model.calibrated.onnx --data data.npz --prefix eval_ --labels labels --max-loss-increase 0.01
  fp8rewrite verify model.onnx --data data.npz --prefix eval_ --labels labels --compare-recipes delayed,dynamic,i:off`,
		Args:              originalAndRewritten,
		ValidArgsFunction: verifyFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, g := range []struct {
				flag  string
				value float64
				to    **float64
			}{{"min-sqnr", o.minSQNR, &o.gates.MinSQNR}, {"max-loss-increase", o.maxLossIncrease, &o.gates.MaxLossIncrease},
				{"max-accuracy-drop", o.maxAccuracyDrop, &o.gates.MaxAccuracyDrop}} {
				if cmd.Flags().Changed(g.flag) {
					*g.to = &g.value
				}
			}
			return runVerify(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, o)
		},
	}
	o.data.addFlags(cmd)
	o.device.addFlags(cmd, "float32")
	f := cmd.Flags()
	f.StringVar(&o.labels, "labels", "", "array with the right classes: integers, in the shape of the logits without their last axis; negative ones do not count")
	f.StringVar(&o.logits, "logits", "", "output that --labels judges (default: the first)")
	f.Float64Var(&o.minSQNR, "min-sqnr", 0, "gate: least SQNR of every output in dB")
	f.Float64Var(&o.maxLossIncrease, "max-loss-increase", 0, "gate: largest increase of the mean cross-entropy, in nats")
	f.Float64Var(&o.maxAccuracyDrop, "max-accuracy-drop", 0, "gate: largest drop of the accuracy, 0 to 1")
	f.BoolVar(&o.sensitivity, "sensitivity", false, "rank the layers by what each alone costs, and find what to exclude to meet the gates")
	f.Var(&o.recipes, "compare-recipes", "recipes to compare, such as delayed,dynamic,i:off; w: and go: belong to the recipe before them, as in i:dyn,w:dyn,i:off (repeatable)")
	f.StringVar(&o.calibration, "calibration-prefix", "", "for --compare-recipes: prefix of the arrays to calibrate with (default: the batches that are verified)")
	f.StringVar(&o.report, "report", "", "file to write the JSON report to")
	f.BoolVar(&o.json, "json", false, "print the JSON report instead of the table")
	f.BoolVar(&o.all, "all", false, "list every layer in the table, instead of the worst")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors and gates that are not met")
	completeFiles(cmd, "report", "json")
	completeWords(cmd, "compare-recipes", "delayed,dynamic", "delayed,dynamic,i:off")
	return cmd
}

// recipeList is the value of --compare-recipes. A recipe may have commas itself, and so do lists of them: i: begins a recipe, as a word does,
// and w: and go: go on with the one before. A recipe without i: comes first, or in a flag of its own.
type recipeList []string

func (l *recipeList) Set(text string) error {
	var recipes []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if last := len(recipes) - 1; last >= 0 && (strings.HasPrefix(part, "w:") || strings.HasPrefix(part, "go:")) {
			recipes[last] += "," + part
		} else {
			recipes = append(recipes, part)
		}
	}
	*l = append(*l, recipes...)
	return nil
}

func (l *recipeList) String() string { return strings.Join(*l, ",") }

// Type is what help calls the value.
func (l *recipeList) Type() string { return "strings" }

// originalAndRewritten wants one argument or two.
func originalAndRewritten(cmd *cobra.Command, args []string) error {
	if len(args) == 1 || len(args) == 2 {
		return nil
	}
	return hint(usagef("verify: got %d arguments, want the original and the rewritten model", len(args)), "%s", usageLine(cmd))
}

func verifyFiles(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return modelFiles(cmd, nil, text)
}

// check finds conflicts between flags before any work.
func (o *verifyOptions) check(args []string) error {
	if err := o.data.check("verify"); err != nil {
		return err
	}
	for _, g := range []struct {
		flag    string
		limit   *float64
		example string
	}{{"min-sqnr", o.gates.MinSQNR, "25"}, {"max-loss-increase", o.gates.MaxLossIncrease, "0.01"}, {"max-accuracy-drop", o.gates.MaxAccuracyDrop, "0.01"}} {
		if g.limit != nil && math.IsNaN(*g.limit) {
			return hint(usagef("--%s: got NaN, want a number", g.flag), "--%s %s", g.flag, g.example)
		}
	}
	switch {
	case len(args) == 1 && len(o.recipes) == 0:
		return hint(usagef("verify: the rewritten model is missing"), "fp8rewrite verify %s REWRITTEN.onnx --data %s, or --compare-recipes delayed,dynamic", shellWord(args[0]), shellWord(o.data.path))
	case len(args) == 2 && len(o.recipes) > 0:
		return hint(usagef("--compare-recipes makes its own models, got %q as well", args[1]), "leave %s out", shellWord(args[1]))
	case o.sensitivity && len(o.recipes) > 0:
		return hint(usagef("--sensitivity is about one rewritten model, --compare-recipes about several"), "leave one of them out")
	case o.gates.NeedLabels() && o.labels == "":
		return hint(usagef("--max-loss-increase and --max-accuracy-drop need --labels"), "--labels ARRAY")
	case o.logits != "" && o.labels == "":
		return hint(usagef("--logits says which output --labels judges, and there is no --labels"), "--labels ARRAY")
	case o.calibration != "" && len(o.recipes) == 0:
		return hint(usagef("--calibration-prefix is for --compare-recipes"), "leave it out")
	case o.calibration != "" && len(o.data.inputs) > 0:
		return hint(usagef("--input names the arrays to verify with, --calibration-prefix others to calibrate with"), "--prefix in place of --input")
	case o.gates.MaxAccuracyDrop != nil && (*o.gates.MaxAccuracyDrop < 0 || *o.gates.MaxAccuracyDrop > 1):
		return hint(usagef("--max-accuracy-drop: got %g, want 0 to 1", *o.gates.MaxAccuracyDrop), "--max-accuracy-drop 0.01 for one in a hundred")
	case o.quiet && o.json:
		return hint(usagef("--quiet and --json contradict each other"), "leave --quiet out: --json prints nothing else")
	case o.all && (o.json || o.quiet):
		return hint(usagef("--all is about the table"), "leave --all out")
	case o.report == "-":
		return hint(usagef("--report wants a file, got %q", o.report), "--json prints the report on stdout")
	}
	for _, r := range o.recipes {
		if _, err := scaling.DefaultRecipe().ParseModes(r); err != nil {
			example := "delayed,dynamic,i:off"
			if strings.Contains(r, ",") { // w: or go: after a word
				example = "delayed,i:del,w:dyn: a recipe of operands begins with i:"
			}
			return hint(usageError{fmt.Errorf("--compare-recipes: %w", err)}, "--compare-recipes %s", example)
		}
	}
	return nil
}

// runVerify checks what can be checked before the slow work, and opens models and data.
func runVerify(ctx context.Context, stdout, stderr io.Writer, args []string, o *verifyOptions) error {
	start := time.Now()
	if err := o.check(args); err != nil {
		return err
	}
	backend, limits, err := o.device.open()
	if err != nil {
		return err
	}
	if o.report != "" {
		for _, in := range append(slices.Clone(args), o.data.path) {
			if sameTarget(o.report, in) {
				return hint(fmt.Errorf("report %q is the same file as the input %q", o.report, in), "--report report.json")
			}
		}
		if err := atomicfile.Probe(o.report); err != nil {
			return err
		}
	}
	var files []*onnxio.File
	for _, in := range args {
		file, src, err := openModel(in, &o.data)
		if err != nil {
			return explainOpen(in, err)
		}
		defer closeModel(file, src)
		if err := (&outputs{report: o.report}).refuseData(file, ""); err != nil {
			return err
		}
		files = append(files, file)
	}
	set, err := o.data.open(files[0].Model)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := (&outputs{report: o.report}).refuseBatches(set, ""); err != nil {
		return err
	}
	v := &verification{verifyOptions: o, files: files, set: set, backend: backend, limits: limits, start: start, stdout: stdout, stderr: stderr}
	err = mapfile.Guard(func() error { return v.run(ctx) })
	for _, f := range files {
		err = explainChange(f, err)
	}
	return explainRun(explainData(err))
}

// verification is one run of the command.
type verification struct {
	*verifyOptions
	files          []*onnxio.File // the original, the rewritten
	set            *samples.Set
	backend        *engine
	limits         runtime.Options
	start          time.Time
	stdout, stderr io.Writer
}

// verified is everything that a run found.
type verified struct {
	data      string // fingerprint of the batches
	candidate []candidate
	costs     []verify.Cost
	exclusion *verify.Exclusion
}

// candidate is one rewritten model.
type candidate struct {
	recipe   string
	measured *verify.Measured
	failures []verify.Failure
}

func (v *verification) run(ctx context.Context) error {
	var digests []*digests
	for _, f := range v.files {
		d := digestInput(ctx, f)
		defer d.stop()
		digests = append(digests, d)
	}
	bar := newBar(v.stderr, v.quiet)
	defer bar.clear()
	opt := verify.Options{
		Runtime: v.limits, Layers: true, Logits: v.logits, Labels: labels(v.set, v.labels), Progress: bar.count("verifying", "batch"),
	}
	if !v.quiet {
		opt.Planned = func(model string, p runtime.Plan) {
			bar.clear()
			v.backend.tell(v.stderr, &v.device)
			tellPlan(v.stderr, "plan of the "+model+" model", p)
		}
	}
	v.backend.places.original = v.files[0].Model
	verifier, err := verify.New(v.backend, v.files[0].Model, v.set, opt)
	if err != nil {
		return err
	}
	// An element that does not fit is found now, and not after an hour.
	if err := v.set.Check(ctx, reading(bar, "batch")); err != nil {
		return err
	}
	bar.clear()
	var found verified
	if found.data, err = v.set.Fingerprint(ctx); err != nil {
		return err
	}
	if len(v.recipes) > 0 {
		err = v.compare(ctx, verifier, &found)
	} else {
		err = v.judge(ctx, verifier, &found)
	}
	bar.clear()
	if err != nil {
		return err
	}
	if err := v.tell(ctx, digests, &found); err != nil {
		return err
	}
	return v.gate(&found)
}

// judge measures the rewritten model, and its layers one by one where that is asked for.
func (v *verification) judge(ctx context.Context, verifier *verify.Verifier, found *verified) error {
	rewritten := v.files[1].Model
	m, err := verifier.Measure(ctx, rewritten)
	if err != nil {
		return err
	}
	recipe, _ := rewritten.Property(ops.MetadataRecipe)
	found.candidate = []candidate{{recipe, m, v.gates.Check(m)}}
	if !v.sensitivity {
		return nil
	}
	parts := variants{original: v.files[0].Model, rewritten: rewritten}
	for _, l := range m.Layers {
		parts.layers = append(parts.layers, l.Name)
	}
	if len(parts.layers) == 0 {
		return hint(fmt.Errorf("%s has no Float8Linear layer: there is nothing to rank", v.files[1].Path), "fp8rewrite convert %s -o %s", shellWord(v.files[0].Path), shellWord(suggestOutput(v.files[0].Path)))
	}
	if found.costs, err = verifier.Sensitivity(ctx, parts); err != nil {
		return err
	}
	if v.gates.Any() && len(found.candidate[0].failures) > 0 {
		found.exclusion, err = verifier.Exclude(ctx, parts, found.costs, v.gates)
	}
	return err
}

// variants are models in which some layers are float8, with the state that they have in the rewritten model.
type variants struct {
	original, rewritten *graph.Model
	layers              []string
}

func (p variants) Layers() []string { return p.layers }

func (p variants) Only(ctx context.Context, layers []string) (*graph.Model, error) {
	return rewrite.Partial(ctx, p.original, p.rewritten, layers)
}

// compare converts the original with each recipe, calibrates what needs it, and measures it.
func (v *verification) compare(ctx context.Context, verifier *verify.Verifier, found *verified) error {
	batches := v.set
	if v.calibration != "" {
		d := v.data
		d.prefix, d.steps = v.calibration, 0
		var err error
		if batches, err = d.open(v.files[0].Model); err != nil {
			var missing *samples.NoArrayError
			if errors.As(err, &missing) && len(missing.Prefixes) > 0 {
				return hint(missing, "--calibration-prefix %s", shellWord(missing.Prefixes[0]))
			}
			return err
		}
		defer batches.Close()
	}
	for _, text := range v.recipes {
		recipe, err := scaling.DefaultRecipe().ParseModes(text)
		if err != nil {
			return err
		}
		res, err := rewrite.Convert(ctx, v.files[0].Model, rewrite.Options{Recipe: recipe})
		if err != nil {
			return fmt.Errorf("recipe %s: %w", text, err)
		}
		model := res.Model
		if recipe.Input == scaling.Delayed && res.Changed {
			calibrated, err := calibrate.Run(ctx, model, v.backend, batches, calibrate.Options{Threads: v.limits.Threads, MaxMemory: v.limits.MaxMemory})
			if err != nil {
				return fmt.Errorf("recipe %s: %w", text, err)
			}
			model = calibrated.Model
		}
		m, err := verifier.Measure(ctx, model)
		if err != nil {
			return fmt.Errorf("recipe %s: %w", text, err)
		}
		found.candidate = append(found.candidate, candidate{recipe.String(), m, v.gates.Check(m)})
	}
	return nil
}

// gateError says which limits were not kept: exit code 3.
type gateError struct{ failures []string }

func (e gateError) Error() string { return "gate not met: " + strings.Join(e.failures, "; ") }

// gate is the error of the limits that were not kept. Of several recipes, one that keeps them all is enough.
func (v *verification) gate(found *verified) error {
	var failed gateError
	for _, c := range found.candidate {
		if len(c.failures) == 0 {
			return nil
		}
		for _, f := range c.failures {
			text := f.String()
			if len(found.candidate) > 1 {
				text = c.recipe + ": " + text
			}
			failed.failures = append(failed.failures, text)
		}
	}
	if e := found.exclusion; e != nil && e.Met {
		flags := make([]string, len(e.Layers))
		for i, l := range e.Layers {
			flags[i] = "--exclude " + shellWord(rewrite.Literal(l))
		}
		return hint(failed, "fp8rewrite convert %s %s -o %s, then calibrate, meets it", shellWord(v.files[0].Path), strings.Join(flags, " "), shellWord(suggestOutput(v.files[0].Path)))
	}
	if len(found.costs) == 0 && len(v.recipes) == 0 {
		return hint(failed, "--sensitivity finds the layers to exclude")
	}
	return failed
}

// tell puts the report where the flags ask for it.
func (v *verification) tell(ctx context.Context, digests []*digests, found *verified) error {
	rep := verificationReport(v, found)
	for i, d := range digests {
		sums, err := d.wait(ctx)
		if err != nil {
			return err
		}
		a := inputArtifact(v.files[i], sums)
		if i == 0 {
			rep.Model.Input = a
		} else {
			rep.Model.Output = &a
		}
	}
	fillVolatile(rep, v.start)
	v.backend.fill(&rep.Volatile)
	rep.Finish()
	for _, note := range v.set.Notes() {
		if !v.quiet {
			fmt.Fprintf(v.stderr, "note: %s\n", oneLine(note))
		}
	}
	if !v.quiet {
		v.backend.tellPlaces(v.stderr)
	}
	err := writeReport(v.stdout, rep, v.report, v.json, v.quiet, render.Options{All: v.all})
	if err != nil && errors.Is(err, context.Canceled) {
		return fmt.Errorf("report: %w", err)
	}
	return err
}
