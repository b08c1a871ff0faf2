package rewrite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite/observe"
	"github.com/fp8rewrite/fp8rewrite/rewrite/opset"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// MinOpset is the first opset whose Cast knows float8, MinIR the first IR version whose tensors do.
const (
	MinOpset = 19
	MinIR    = 9
)

// Result is a converted model and how it came about.
type Result struct {
	// Model is the rewritten model; the input model itself when nothing was rewritten.
	Model   *graph.Model
	Changed bool
	// Recipe is that of the resulting model's layers: the one asked for, or the one that the model had already.
	Recipe   scaling.Recipe
	Changes  []report.Change
	Warnings []report.Warning

	layers  []*layer
	weights map[weightKey]*storedWeight
}

// RecipeMismatchError says that the model holds layers of another recipe already.
type RecipeMismatchError struct{ Have, Want string }

func (e *RecipeMismatchError) Error() string {
	return fmt.Sprintf("rewrite: the model was converted with recipe %q, got %q; one model has one recipe", e.Have, e.Want)
}

// Convert rewrites the linear layers of m that opt chooses. m itself stays as it is; tensors are shared between the two models, and
// float8 weights are computed when they are written.
// A cancelled context stops the work within a weight, with the context's cause.
func Convert(ctx context.Context, m *graph.Model, opt Options) (*Result, error) {
	if err := opt.Recipe.Check(); err != nil {
		return nil, err
	}
	if err := validate(m); err != nil {
		return nil, err
	}
	res := &Result{Model: m, Recipe: opt.Recipe}
	work := clone(m)
	if why := res.inline(work, &opt); why != "" {
		work, opt.notInlined = clone(m), why
	}
	layers := decide(work, &opt)
	if !anyRewritten(layers) {
		return res.unchanged(layers, &opt)
	}
	if err := canJoin(m, layers, &opt); err != nil {
		return nil, err
	}
	if why := res.lift(work); why != nil {
		res.layers = layers
		for _, l := range res.layers {
			if l.rewritten() {
				l.keep(why)
			}
		}
		res.Changes = nil
		res.Warnings = append(res.Warnings, report.NewWarning(report.WarnModelKept, "model", report.Text(why.Sentence)))
		return res, nil
	}
	layers = decide(work, &opt)
	if err := measure(ctx, layers, &opt); err != nil {
		return nil, err
	}
	if !anyRewritten(layers) {
		return res.unchanged(layers, &opt)
	}
	res.layers = layers
	if err := res.apply(work, &opt); err != nil {
		return nil, err
	}
	res.Model, res.Changed = work, true
	res.warn(&opt)
	return res, res.observe(&opt)
}

// observe adds the outputs that Observe asks for, to a copy where the model is still the caller's.
func (res *Result) observe(opt *Options) error {
	if !opt.Observe || countExisting(decide(res.Model, opt)) == 0 {
		return nil
	}
	before := len(res.Model.Graph.Outputs)
	work := res.Model
	if !res.Changed {
		work = clone(work)
	}
	found, err := observe.Expose(work)
	if err != nil {
		return fmt.Errorf("observe: %w", err)
	}
	for _, o := range found {
		if o.Output == "" {
			res.Warnings = append(res.Warnings, report.NewWarning(report.WarnNotObservable, o.Layer, o.Layer, report.Text(o.Reason)))
		}
	}
	added := work.Graph.Outputs[before:]
	for _, v := range added {
		for _, o := range found {
			if o.Output == v.Name {
				res.Changes = append(res.Changes, report.NewChange(report.ChangeOutputAdded, v.Name, v.Name, o.Layer))
			}
		}
	}
	if len(added) > 0 {
		res.Model, res.Changed = work, true
	}
	return nil
}

// canJoin says why new layers cannot stand beside those that the model has: one model has one recipe, one form of weights and one
// version of the operator.
func canJoin(m *graph.Model, layers []*layer, opt *Options) error {
	if v := m.OpsetVersion(ops.Domain); v != 0 && v != ops.Version {
		return fmt.Errorf("rewrite: the model imports domain %q at version %d, and this program knows version %d", ops.Domain, v, ops.Version)
	}
	if countExisting(layers) == 0 {
		return nil
	}
	text, _ := m.Property(ops.MetadataRecipe)
	if recipe, err := scaling.Parse(text); err == nil && recipe != opt.Recipe {
		return &RecipeMismatchError{recipe.String(), opt.Recipe.String()}
	}
	for _, l := range layers {
		if f, err := ops.ReadLayer(l.node); err == nil && f.Variant != variant(opt) {
			return &RecipeMismatchError{f.Variant.FunctionName(), variant(opt).FunctionName()}
		}
	}
	return nil
}

// unchanged is the result for a model without any layer to rewrite. The decisions are those about the model with its functions
// inlined: only there has each layer a reason of its own.
func (res *Result) unchanged(layers []*layer, opt *Options) (*Result, error) {
	res.layers, res.Changes = layers, nil
	return res.nothing(opt), res.observe(opt)
}

func (res *Result) nothing(opt *Options) *Result {
	if n := countExisting(res.layers); n > 0 {
		res.Warnings = append(res.Warnings, report.NewWarning(report.WarnAlreadyConverted, "model", n))
		res.keepRecipe()
	}
	res.Warnings = append(res.Warnings, report.NewWarning(report.WarnNothingRewritten, "model"))
	res.patterns(opt)
	return res
}

// keepRecipe makes the recipe that the model was converted with the result's, and warns where another was asked for.
func (res *Result) keepRecipe() {
	text, ok := res.Model.Property(ops.MetadataRecipe)
	have, err := scaling.Parse(text)
	if !ok || err != nil || have == res.Recipe {
		return
	}
	res.Warnings = append(res.Warnings, report.NewWarning(report.WarnRecipeIgnored, "model", report.Text(have.String()), report.Text(res.Recipe.String())))
	res.Recipe = have
}

// warn adds what the user should know of a model that was rewritten.
func (res *Result) warn(opt *Options) {
	if n := countExisting(res.layers); n > 0 {
		res.Warnings = append(res.Warnings, report.NewWarning(report.WarnAlreadyConverted, "model", n))
	}
	if opt.Recipe.Input == scaling.Delayed || opt.Weights == OriginalWeights && opt.Recipe.Weight == scaling.Delayed {
		n := 0
		for _, l := range res.layers {
			if l.rewritten() {
				n++
			}
		}
		res.Warnings = append(res.Warnings, report.NewWarning(report.WarnUncalibrated, "model", n))
	}
	res.patterns(opt)
}

// patterns warns of filters that match no layer at all: most often a typing error.
func (res *Result) patterns(opt *Options) {
	check := func(list string, patterns []Pattern) {
		for _, p := range patterns {
			found := false
			for _, l := range res.layers {
				found = found || p.Match(l.row.Name)
			}
			if !found {
				res.Warnings = append(res.Warnings, report.NewWarning(report.WarnPatternUnmatched, p.Text, report.Text(list), p.Text))
			}
		}
	}
	check("include", opt.Include)
	check("exclude", opt.Exclude)
}

func anyRewritten(layers []*layer) bool {
	for _, l := range layers {
		if l.rewritten() {
			return true
		}
	}
	return false
}

func countExisting(layers []*layer) int {
	n := 0
	for _, l := range layers {
		if l.row.Op == opFloat8Linear {
			n++
		}
	}
	return n
}

// clone copies what the passes change; tensors and Origins are shared.
func clone(m *graph.Model) *graph.Model {
	c := *m
	c.Opsets = append([]graph.Opset(nil), m.Opsets...)
	c.Metadata = append([]graph.Property(nil), m.Metadata...)
	c.Graph = m.Graph.Clone()
	c.Functions = append([]*graph.Function(nil), m.Functions...)
	return &c
}

// lift raises the opset and the IR version where the float8 Cast needs it. The reason is that for which every layer is kept, nil
// when the model has been lifted.
func (res *Result) lift(m *graph.Model) *report.Reason {
	from := m.OpsetVersion("")
	if from < MinOpset {
		lifted, err := opset.Lift(m, MinOpset)
		if err != nil {
			return report.Because(report.ReasonOpsetUnsupported, from, MinOpset, report.Text(firstBlocked(err)))
		}
		res.Changes = append(res.Changes, report.NewChange(report.ChangeOpsetLifted, "ai.onnx", lifted.From, lifted.To))
		var order []string
		counts := map[string]int{}
		for _, c := range lifted.Changes {
			if counts[c.OpType] == 0 {
				order = append(order, c.OpType)
			}
			counts[c.OpType]++
		}
		for _, op := range order {
			res.Changes = append(res.Changes, report.NewChange(report.ChangeOperatorConverted, op, report.Text(op), counts[op]))
		}
	}
	if m.IRVersion < MinIR {
		res.Changes = append(res.Changes, report.NewChange(report.ChangeIRLifted, "model", m.IRVersion, MinIR))
		if m.IRVersion < 4 {
			res.dropConstantInputs(m)
		}
		m.IRVersion = MinIR
	}
	return nil
}

// firstBlocked is the first reason of an opset error, and how many there are besides.
func firstBlocked(err error) string {
	why := err.Error()
	var blocked opset.Blockers
	if errors.As(err, &blocked) && len(blocked) > 0 {
		why = blocked[0].Error()
		if n := len(blocked) - 1; n > 0 {
			why = fmt.Sprintf("%s (and %d more)", why, n)
		}
	}
	return strings.TrimPrefix(why, "opset: ")
}

// dropConstantInputs takes initializers out of the main graph's inputs: before IR version 4 they had to stand there and were
// constants, from then on standing there makes them defaults that a caller can override.
func (res *Result) dropConstantInputs(m *graph.Model) {
	constant := map[string]bool{}
	for _, i := range m.Graph.Initializers {
		constant[i.Name] = true
	}
	for _, s := range m.Graph.Sparse {
		constant[s.Name] = true
	}
	var inputs []*graph.Value
	for _, v := range m.Graph.Inputs {
		if constant[v.Name] {
			res.Changes = append(res.Changes, report.NewChange(report.ChangeInputDropped, v.Name, v.Name))
			continue
		}
		inputs = append(inputs, v)
	}
	m.Graph.Inputs = inputs
}
