package checkpoint

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Pattern chooses layers by name.
type Pattern struct {
	Text  string
	Match func(name string) bool
}

// Options choose the layers, and what they become.
type Options struct {
	Layout  layout.Layout
	Weights layout.Granularity // "" for the layout's own choice
	// Include names the layers to convert. A pattern that matches a layer which is kept by its role alone (an output head) asks for it beside the
	// others; any other pattern leaves out the layers that no pattern matches. Exclude names layers to keep, and wins.
	Include, Exclude []Pattern
	MultipleOf       int64 // keeps layers with an extent that it does not divide; 0 and 1 keep none
	MinDim           int64 // keeps layers with a smaller extent
	// TensorParallel is the number of devices that will share each layer; 0 and 1 for one.
	TensorParallel int64
	// InputAmax has the amax of the input of each layer, by name, as calibration found it; nil where there was none.
	InputAmax map[string]float32
	Version   string // of this program
}

// RefusedError says that a loader could not read a checkpoint of this layout.
type RefusedError struct{ Layout, Layer, Why string }

func (e *RefusedError) Error() string {
	if e.Layer == "" {
		return fmt.Sprintf("layout %s: %s", e.Layout, e.Why)
	}
	return fmt.Sprintf("layout %s: layer %q: %s", e.Layout, e.Layer, e.Why)
}

// QuantizedError says that a checkpoint holds float8 weights already.
type QuantizedError struct{ What string }

func (e *QuantizedError) Error() string { return "the checkpoint is quantized already: " + e.What }

// Conversion is a checkpoint and the decision about each of its layers.
type Conversion struct {
	Scheme layout.Scheme

	src    *Source
	opt    Options
	layers []*decision
	byName map[*stored][]*decision // by tensor
	bounds map[string][]*decision
	groups map[string][]*decision
	warn   []report.Warning
	shares bool
}

// decision is a layer and what becomes of it.
type decision struct {
	*Layer
	reason   *report.Reason
	measured bool
	known    bool      // an earlier run has measured it
	amax     []float32 // of each scale, before layers of a group share theirs
	values   layout.Values
	seen     seen
}

// seen is what the pass over a weight saw. It goes through the journal.
type seen struct {
	Amax      float32 `json:"amax"`
	Least     float32 `json:"least"` // multipliers into float8
	Greatest  float32 `json:"greatest"`
	Count     int64   `json:"count"`
	Saturated int64   `json:"saturated"`
	Flushed   int64   `json:"flushed"`
	SumSq     float64 `json:"sum_sq"`
	ErrSq     float64 `json:"err_sq"`
	Hash      string  `json:"xxh64"`
}

// NewConversion decides about every layer of src by names and shapes; the numbers in a weight may still keep a layer.
func NewConversion(src *Source, opt Options) (*Conversion, error) {
	c := &Conversion{src: src, opt: opt, byName: map[*stored][]*decision{}, bounds: map[string][]*decision{}, groups: map[string][]*decision{}}
	if err := quantizedAlready(src); err != nil {
		return nil, err
	}
	var err error
	c.Scheme, err = opt.Layout.Settle(layout.Request{Weights: opt.Weights, Inputs: opt.InputAmax != nil, Folder: src.Config != nil})
	if err != nil {
		return nil, err
	}
	if err := c.heads(); err != nil {
		return nil, err
	}
	c.shares = opt.Layout.Shares() && c.Scheme.Weights == layout.PerTensor
	for _, l := range Discover(src, !opt.Layout.Stacks()) {
		d := &decision{Layer: l}
		c.layers = append(c.layers, d)
		c.byName[l.source] = append(c.byName[l.source], d)
		if l.Bound != "" && (c.joins() || l.Op == "Experts") { // a stack is taken apart whole or not at all
			c.bounds[l.Bound] = append(c.bounds[l.Bound], d)
		}
		if l.Group != "" {
			c.groups[l.Group] = append(c.groups[l.Group], d)
		}
	}
	restrict := c.restricts()
	for _, d := range c.layers {
		d.reason = c.judge(d.Layer, restrict)
		if d.reason == nil && d.Conv1D && !d.Stacked && opt.Layout.Name() != "float8-linear" {
			return nil, &RefusedError{opt.Layout.Name(), d.Module, opt.Layout.Refuse(d.Linear, c.Scheme, opt.TensorParallel)}
		}
	}
	c.bind()
	if err := c.inputs(); err != nil {
		return nil, err
	}
	c.unmatched()
	return c, nil
}

// joins reports whether the layout is for engines that join layers.
func (c *Conversion) joins() bool {
	return c.opt.Layout.Name() != "float8-linear" && c.opt.Layout.Name() != "comfy"
}

// heads refuses a number of devices among which attention heads do not divide: every engine that divides layers does. Key and value heads divide
// among the devices, or are repeated on as many of them as there are for each.
func (c *Conversion) heads() error {
	tp := c.opt.TensorParallel
	if tp <= 1 || c.src.Config == nil || !c.joins() {
		return nil
	}
	config := c.src.Config.text()
	if n := config.Int("num_attention_heads"); n > 0 && n%tp != 0 {
		return &RefusedError{c.opt.Layout.Name(), "", fmt.Sprintf("%d attention heads do not divide among %d devices", n, tp)}
	}
	if n := config.Int("num_key_value_heads"); n > 0 && n%tp != 0 && tp%n != 0 {
		return &RefusedError{c.opt.Layout.Name(), "", fmt.Sprintf("%d key and value heads neither divide among %d devices nor repeat on them", n, tp)}
	}
	return nil
}

// quantizedAlready finds what a conversion would quantize a second time.
func quantizedAlready(src *Source) error {
	if src.Config != nil && src.Config.Has("quantization_config") {
		var q struct {
			Method string `json:"quant_method"`
		}
		src.Config.Get("quantization_config", &q)
		return &QuantizedError{fmt.Sprintf("config.json has a quantization_config with quant_method %q", q.Method)}
	}
	if slices.Contains(src.Others, moFile) {
		return &QuantizedError{"it has a " + moFile}
	}
	for _, sh := range src.Shards {
		for _, t := range sh.File.Tensors {
			if t.DType.IsFloat8() && strings.HasSuffix(t.Name, ".weight") && len(t.Shape) >= 2 {
				return &QuantizedError{fmt.Sprintf("tensor %q is %s", t.Name, t.DType)}
			}
		}
	}
	return nil
}

// ordinary reports whether a layer is converted without being asked for.
func ordinary(l *Layer) bool {
	return l.Role == "" && l.Tied == "" && l.Op != "Tensor" && l.Op != "Conv"
}

// restricts reports whether the include patterns leave layers out, rather than only asking for more.
func (c *Conversion) restricts() bool {
	for _, p := range c.opt.Include {
		extra, usual := false, false
		for _, d := range c.layers {
			if p.Match(d.Module) {
				extra, usual = extra || !ordinary(d.Layer), usual || ordinary(d.Layer)
			}
		}
		if usual || !extra {
			return true
		}
	}
	return false
}

func matches(list []Pattern, name string) *Pattern {
	for i := range list {
		if list[i].Match(name) {
			return &list[i]
		}
	}
	return nil
}

// judge is the reason for which a layer is kept, nil for none.
func (c *Conversion) judge(l *Layer, restrict bool) *report.Reason {
	asked := matches(c.opt.Include, l.Module) != nil
	switch {
	case l.DType.IsFloat8():
		return report.Because(report.ReasonWeightQuantized, l.Tensor, report.Text(l.DType.String()))
	case l.Op == "Tensor":
		return report.Because(report.ReasonNotALayer, l.Tensor)
	case l.Tied != "":
		return report.Because(report.ReasonWeightTied, l.Tensor, l.Tied)
	case l.Role != "" && !asked:
		return report.Because(report.ReasonLayerRole, report.Text(l.Role))
	case l.Op == "Conv":
		return report.Because(report.ReasonWeightRank, l.Tensor, int64(len(l.Shape)))
	}
	if p := matches(c.opt.Exclude, l.Module); p != nil {
		return report.Because(report.ReasonExcluded, p.Text)
	}
	extents := []int64{l.N, l.K}
	switch m := c.opt.MultipleOf; {
	case restrict && !asked:
		return report.Because(report.ReasonNotIncluded)
	case !castable(l.DType):
		return report.Because(report.ReasonWeightDType, l.Tensor, report.Text(l.DType.String()))
	case l.N == 0 || l.K == 0 || l.Parts == 0:
		return report.Because(report.ReasonWeightEmpty, l.Tensor, []int64(l.Shape))
	case m > 1 && (l.N%m != 0 || l.K%m != 0):
		return report.Because(report.ReasonDimNotMultiple, extents, m)
	case l.N < c.opt.MinDim || l.K < c.opt.MinDim:
		return report.Because(report.ReasonDimTooSmall, extents, c.opt.MinDim)
	}
	name := c.opt.Layout.Name()
	if (l.Role == roleEmbedding || l.Role == roleNorm) && c.joins() {
		return report.Because(report.ReasonLoaderRefuses, report.Text(name), report.Text("it is "+l.Role))
	}
	if l.Conv1D && !l.Stacked {
		return nil // the whole checkpoint is refused
	}
	if why := c.opt.Layout.Refuse(l.Linear, c.Scheme, c.opt.TensorParallel); why != "" {
		return report.Because(report.ReasonLoaderRefuses, report.Text(name), report.Text(why))
	}
	return nil
}

// bind keeps whole groups of which a member is kept.
func (c *Conversion) bind() {
	for _, list := range c.bounds {
		keepBound(list)
	}
}

func keepBound(list []*decision) {
	for _, kept := range list {
		if kept.reason == nil {
			continue
		}
		for _, d := range list {
			if d.reason == nil {
				d.reason = report.Because(report.ReasonGroupKept, kept.Module)
			}
		}
		return
	}
}

// inputs finds the amax of each layer's input. Layers that are joined have the same one.
func (c *Conversion) inputs() error {
	if !c.Scheme.Static {
		return nil
	}
	missing := 0
	example := ""
	for _, d := range c.layers {
		if d.reason != nil {
			continue
		}
		d.values.Input = c.opt.InputAmax[d.Module]
		if c.shares {
			for _, other := range c.groups[d.Group] {
				d.values.Input = max(d.values.Input, c.opt.InputAmax[other.Module])
			}
		}
		if !scaling.Usable(d.values.Input) {
			d.values.Input = 0
			if missing++; example == "" {
				example = d.Module
			}
		}
	}
	if missing > 0 && c.opt.Layout.Name() != "float8-linear" { // which has a state for layers that have seen nothing
		return &RefusedError{c.opt.Layout.Name(), example, fmt.Sprintf("the calibration has no amax of its input; layers without one: %d", missing)}
	}
	return nil
}

func (c *Conversion) unmatched() {
	for _, list := range []struct {
		name     string
		patterns []Pattern
	}{{"include", c.opt.Include}, {"exclude", c.opt.Exclude}} {
		for _, p := range list.patterns {
			if !slices.ContainsFunc(c.layers, func(d *decision) bool { return p.Match(d.Module) }) {
				c.warn = append(c.warn, report.NewWarning(report.WarnPatternUnmatched, "model", report.Text(list.name), p.Text))
			}
		}
	}
}

// inShard are the layers that lie in shard i.
func (c *Conversion) inShard(i int) []*decision {
	var list []*decision
	for _, d := range c.layers {
		if d.source.shard == i {
			list = append(list, d)
		}
	}
	return list
}

// measure finds the amaxes on which the layers of list depend: their own, and those of the layers that share a scale or a fate with them.
func (c *Conversion) measure(ctx context.Context, p *pool, list []*decision) error {
	var unmeasured []*decision
	want := func(d *decision) {
		if !d.measured && d.reason == nil {
			d.measured = true
			unmeasured = append(unmeasured, d)
		}
	}
	bounds := map[string]bool{}
	for _, d := range list {
		want(d)
		bounds[d.Bound] = true
		if d.Bound != "" {
			for _, other := range c.bounds[d.Bound] {
				want(other)
			}
		}
	}
	if len(unmeasured) == 0 {
		return nil
	}
	slices.SortStableFunc(unmeasured, func(a, b *decision) int { return -cmp.Compare(a.view.elements(), b.view.elements()) })
	err := p.each(ctx, len(unmeasured), func(ctx context.Context, s *scratch, i int) error {
		d := unmeasured[i]
		var err error
		if d.amax, err = s.measure(ctx, d.Layer, c.Scheme); err != nil {
			return fmt.Errorf("tensor %q: %w", d.Tensor, err)
		}
		for _, a := range d.amax {
			d.seen.Amax = float8.MaxAmax(d.seen.Amax, a)
		}
		if a := d.seen.Amax; a-a != 0 {
			n, err := s.nonfinite(ctx, d.Layer)
			if err != nil {
				return err
			}
			d.reason = report.Because(report.ReasonWeightNonfinite, d.Tensor, n)
		}
		return nil
	})
	if err != nil {
		for _, d := range unmeasured {
			d.measured = false
		}
		return err
	}
	for b := range bounds {
		keepBound(c.bounds[b])
	}
	for _, d := range unmeasured {
		c.settle(d)
	}
	return nil
}

// settle makes the scales of a measured layer.
func (c *Conversion) settle(d *decision) {
	if d.reason != nil {
		return
	}
	v := &d.values
	v.Amax = d.seen.Amax
	v.Dequant = make([]float32, len(d.amax))
	for i, a := range d.amax {
		if c.shares && d.Group != "" { // a scale per tensor
			for _, other := range c.groups[d.Group] {
				if other.reason == nil && other.Stacked == d.Stacked {
					a = max(a, other.amax[i])
				}
			}
		}
		v.Dequant[i] = dequantScale(a)
	}
	v.Quant = 448 / max(v.Amax, scaling.Epsilon)
	d.seen.Count, d.seen.Least, d.seen.Greatest = int64(len(v.Dequant)), 1/v.Dequant[0], 1/v.Dequant[0]
	for _, s := range v.Dequant {
		d.seen.Least, d.seen.Greatest = min(d.seen.Least, 1/s), max(d.seen.Greatest, 1/s)
	}
	if c.multiplies() {
		d.seen.Count, d.seen.Least, d.seen.Greatest = 1, v.Quant, v.Quant
	}
}

// multiplies reports whether codes come from a product with the stored multiplier, as the reference library has it, and not from a quotient.
func (c *Conversion) multiplies() bool { return c.opt.Layout.Name() == "float8-linear" }

// Measure reads all weights, without writing anything: after it the decisions are final.
func (c *Conversion) Measure(ctx context.Context, workers int) error {
	p := newPool(Workers(workers))
	for i := range c.src.Shards {
		if err := c.measure(ctx, p, c.inShard(i)); err != nil {
			return err
		}
	}
	return nil
}

// Run converts the checkpoint and writes it at target.
func (c *Conversion) Run(ctx context.Context, target string, opt RunOptions) (*Result, error) {
	return run(ctx, c.src, c, target, opt)
}

func (c *Conversion) fingerprint() any {
	type one struct {
		Name  string
		Kept  string
		Input float32
	}
	f := struct {
		Layout string
		Scheme layout.Scheme
		Layers []one
	}{Layout: c.opt.Layout.Name(), Scheme: c.Scheme}
	for _, d := range c.layers {
		o := one{Name: d.name(), Input: d.values.Input}
		if d.reason != nil {
			o.Kept = string(d.reason.Code)
		}
		f.Layers = append(f.Layers, o)
	}
	return f
}

// shard is what shard i of the output holds.
func (c *Conversion) shard(ctx context.Context, p *pool, i int) ([]part, map[string]string, error) {
	if err := c.measure(ctx, p, c.inShard(i)); err != nil {
		return nil, nil, err
	}
	parts, folder, err := c.parts(i)
	if err != nil {
		return nil, nil, err
	}
	metadata := withFormat(c.src.Shards[i].File.Metadata)
	edits, err := c.opt.Layout.Edits(folder, c.Scheme)
	if err != nil {
		return nil, nil, err
	}
	for k, v := range edits.Metadata {
		metadata[k] = v
	}
	for _, t := range edits.Marker {
		parts = append(parts, part{Tensor: t})
	}
	return parts, metadata, nil
}

// withFormat is a file's metadata with the key that transformers refuses to do without.
func withFormat(m map[string]string) map[string]string {
	out := map[string]string{"format": "pt"}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// parts are the tensors of shard i, and the layers of it that are float8.
func (c *Conversion) parts(i int) ([]part, layout.Folder, error) {
	folder := layout.Folder{Version: c.opt.Version}
	taken := map[string]bool{}
	var parts []part
	add := func(p part) error {
		if taken[p.Name] {
			return &RefusedError{c.opt.Layout.Name(), "", fmt.Sprintf("the checkpoint has a tensor %q, which the layout would add", p.Name)}
		}
		taken[p.Name] = true
		parts = append(parts, p)
		return nil
	}
	for _, t := range c.src.Shards[i].File.Tensors {
		kept := true
		for _, d := range c.byName[c.src.tensors[t.Name]] {
			if d.reason != nil {
				continue
			}
			kept = false
			if err := add(c.codes(d)); err != nil {
				return nil, folder, err
			}
			for _, beside := range c.opt.Layout.Beside(d.Linear, c.Scheme, d.values) {
				if err := add(part{Tensor: beside}); err != nil {
					return nil, folder, err
				}
			}
			folder.Quantized = append(folder.Quantized, d.Module)
		}
		if kept {
			if err := add(part{Tensor: t}); err != nil {
				return nil, folder, err
			}
		}
	}
	slices.Sort(folder.Quantized)
	return parts, folder, nil
}

// codes is the float8 weight of a layer.
func (c *Conversion) codes(d *decision) part {
	shape := tensor.Shape{d.N, d.K}
	if d.Op != "Experts" || d.Stacked {
		shape = d.Shape
	}
	t := &tensor.Tensor{DType: tensor.Float8E4M3FN, Shape: shape, Data: computed(d.view.elements())}
	return part{Tensor: safetensors.Tensor{Name: d.name(), Tensor: t}, fill: func(ctx context.Context, s *scratch, emit func([]byte) error) error {
		h := xxhash.New()
		st, err := s.castLayer(ctx, d.Layer, c.Scheme, d.values, c.multiplies(), func(b []byte) error {
			h.Write(b)
			return emit(b)
		})
		d.seen.Saturated, d.seen.Flushed, d.seen.SumSq, d.seen.ErrSq = st.Saturated, st.Flushed, st.SumSq, st.ErrSq
		d.seen.Hash = fmt.Sprintf("%016x", h.Sum64())
		return err
	}}
}

// noted is what the journal says of a layer: what was seen, or why it stayed although the plan would have converted it.
type noted struct {
	Layer  string         `json:"layer"`
	Amax   *uint32        `json:"amax,omitempty"` // its bits, where it was measured: JSON has no word for what is not finite
	Seen   *seen          `json:"seen,omitempty"`
	Reason *report.Reason `json:"reason,omitempty"`
}

func (c *Conversion) record(i int) any {
	list := []noted{}
	for _, d := range c.inShard(i) {
		n := noted{Layer: d.name(), Reason: d.reason}
		if d.measured {
			n.Amax = new(math.Float32bits(d.seen.Amax))
		}
		if d.reason == nil {
			n.Seen = &d.seen
		}
		list = append(list, n)
	}
	return list
}

func (c *Conversion) replay(i int, raw json.RawMessage) error {
	var list []noted
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	layers := c.inShard(i)
	if len(list) != len(layers) {
		return fmt.Errorf("journal: %d layers in %s, want %d", len(list), c.src.Shards[i].Name, len(layers))
	}
	for k, d := range layers {
		if list[k].Layer != d.name() {
			return fmt.Errorf("journal: layer %q, want %q", list[k].Layer, d.name())
		}
		d.reason = list[k].Reason
		if a := list[k].Amax; a != nil {
			d.known, d.seen.Amax = true, math.Float32frombits(*a)
		}
		if list[k].Seen != nil {
			d.seen = *list[k].Seen
			d.known = true
		}
	}
	return nil
}

// edits are config.json and what the layout adds.
func (c *Conversion) edits() (map[string][]byte, error) {
	e, err := c.opt.Layout.Edits(c.Folder(), c.Scheme)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for k, v := range e.Files {
		files[k] = v
	}
	if c.src.Config != nil {
		config := c.src.Config.Clone()
		if e.Config != nil {
			if err := config.Set("quantization_config", e.Config); err != nil {
				return nil, err
			}
		}
		if files[configFile], err = config.Encode(); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Folder is what the checkpoint's settings say of its layers, as far as is decided.
func (c *Conversion) Folder() layout.Folder {
	f := layout.Folder{Version: c.opt.Version, Ignored: []string{}}
	for _, d := range c.layers {
		switch {
		case d.reason == nil:
			f.Quantized = append(f.Quantized, d.Module)
		case d.Op == "Tensor" || d.Op == "Conv" || d.Role == roleEmbedding || d.Role == roleNorm || d.Stacked:
			if d.Stacked {
				f.Ignored = append(f.Ignored, d.Bound)
			}
		default:
			f.Ignored = append(f.Ignored, d.Module)
		}
	}
	// A tied head has no tensor of its own and is a linear layer all the same.
	if c.src.Config != nil && c.src.tensors["lm_head.weight"] == nil {
		f.Ignored = append(f.Ignored, "lm_head")
	}
	slices.Sort(f.Quantized)
	slices.Sort(f.Ignored)
	f.Ignored = slices.Compact(f.Ignored)
	return f
}

// Warnings are what the user should know.
func (c *Conversion) Warnings() []report.Warning {
	w := append(append([]report.Warning{}, c.warn...), c.src.copiedWeights()...)
	n := 0
	waiting := 0
	for _, d := range c.layers {
		if d.reason == nil {
			n++
			if d.values.Input == 0 {
				waiting++
			}
		}
	}
	if n == 0 {
		w = append(w, report.NewWarning(report.WarnNothingRewritten, "model"))
	} else if c.multiplies() && waiting > 0 {
		w = append(w, report.NewWarning(report.WarnUncalibrated, "model", waiting))
	}
	return w
}

// State is the state of the layers' activations.
func (c *Conversion) State() report.State {
	s := report.State{Calibrated: true}
	if !c.multiplies() {
		return s
	}
	for _, d := range c.layers {
		if d.reason == nil {
			s.DelayedLayers++
			if d.values.Input > 0 {
				s.InitializedLayers++
			}
		}
	}
	s.Calibrated = s.DelayedLayers == s.InitializedLayers
	return s
}

// InputScaling is how the activations of converted layers are scaled.
func (c *Conversion) InputScaling() string {
	switch {
	case c.multiplies():
		return "delayed"
	case c.Scheme.Static:
		return "static"
	case c.opt.Layout.Name() == "modelopt" && c.Scheme.Weights == layout.PerBlock:
		return "off"
	}
	return "dynamic"
}

// Rows are the decisions.
func (c *Conversion) Rows() []report.Layer {
	rows := make([]report.Layer, 0, len(c.layers))
	for _, d := range c.layers {
		rows = append(rows, c.row(d))
	}
	return rows
}

func (c *Conversion) row(d *decision) report.Layer {
	r := report.Layer{Name: d.Module, Op: d.Op, Decision: report.Kept, Reason: d.reason, Weight: d.Tensor, Shape: d.Shape.Clone(),
		DTypeBefore: d.DType.String(), DTypeAfter: d.DType.String(), Elements: elements(d.Shape), BytesBefore: d.source.Size()}
	r.BytesAfter = r.BytesBefore
	if d.measured || d.known {
		r.SetAmax(d.seen.Amax)
	}
	if d.reason != nil {
		return r
	}
	r.Decision, r.InputScaling, r.WeightXXH64 = report.Rewritten, c.InputScaling(), d.seen.Hash
	r.Rule = map[string]report.RuleCode{"Linear": report.RuleLinear, "Conv1D": report.RuleConv1D, "Experts": report.RuleExperts}[d.Op]
	r.Shape = tensor.Shape{d.N, d.K}
	if d.Stacked {
		r.Shape = tensor.Shape{d.Parts, d.N, d.K}
	}
	r.Elements = d.view.elements()
	r.BytesBefore, r.BytesAfter = r.Elements*int64(d.DType.Bits()/8), r.Elements
	r.DTypeAfter = tensor.Float8E4M3FN.String()
	r.Saturated, r.Flushed = d.seen.Saturated, d.seen.Flushed
	if d.seen.Hash != "" {
		r.SetWeightSQNR(sqnr(d.seen))
	}
	if d.seen.Count > 0 {
		r.QuantScale = &report.QuantScale{Granularity: map[layout.Granularity]report.Granularity{layout.PerTensor: report.PerTensor,
			layout.PerChannel: report.PerChannel, layout.PerBlock: report.PerBlock}[c.Scheme.Weights], Count: d.seen.Count,
			Min: report.Float32(d.seen.Least), Max: report.Float32(d.seen.Greatest)}
	}
	return r
}

func elements(s tensor.Shape) int64 {
	n, _ := s.Elements() // of a tensor that was opened
	return n
}

func sqnr(s seen) float64 {
	st := float8.Stats{SumSq: s.SumSq, ErrSq: s.ErrSq}
	if s.SumSq == 0 && s.ErrSq == 0 {
		return math.Inf(1)
	}
	return st.SQNR()
}

// Names are the layers that would be converted, and how they are grouped, for whoever calibrates them: a group reads one input.
func (c *Conversion) Names() (names []string, groups map[string]string) {
	groups = map[string]string{}
	for _, d := range c.layers {
		if d.reason == nil {
			names = append(names, d.Module)
			if d.Group != "" {
				groups[d.Module] = d.Group
			}
		}
	}
	return names, groups
}

// Planned is the files of tensors that a run would write, without hashes; it wants Measure before it.
func (c *Conversion) Planned() ([]FileInfo, error) {
	var list []FileInfo
	for i, sh := range c.src.Shards {
		parts, metadata, err := c.shard(context.Background(), nil, i)
		if err != nil {
			return nil, err
		}
		tensors := make([]safetensors.Tensor, len(parts))
		for k, p := range parts {
			tensors[k] = p.Tensor
		}
		size, err := safetensors.Size(tensors, metadata)
		if err != nil {
			return nil, err
		}
		list = append(list, FileInfo{Name: sh.Name, Bytes: size})
	}
	return list, nil
}
