package calibrate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// MergeError says why models cannot be merged.
type MergeError struct {
	Model int // from 0, in the order given
	Why   string
}

// Error names the model and the cause.
func (e *MergeError) Error() string { return fmt.Sprintf("merge: model %d: %s", e.Model+1, e.Why) }

// Merged is what Merge made.
type Merged struct {
	Model      *graph.Model
	Provenance Provenance
}

// Merge joins models that were calibrated from one model on parts of the same steps. For every history, the amaxes of one step join by
// maximum, the newest of all steps stay, and the scale is made from them as by a step of scaling.State. Models that differ in
// anything but this state, in what their histories held before, in the number of steps or in how a first scale was found, and shards that
// are of different data or batches, missing or there twice, are a [MergeError]. Weights are read once per model.
func Merge(ctx context.Context, models ...*graph.Model) (*Merged, error) {
	if len(models) < 2 {
		return nil, fmt.Errorf("merge: got %d models, want two or more", len(models))
	}
	subjects := make([]*subject, len(models))
	origins := make([]*Provenance, len(models))
	var first [sha256.Size]byte
	for i, m := range models {
		s, err := read(ctx, m)
		if err != nil {
			return nil, &MergeError{i, err.Error()}
		}
		p, err := ReadProvenance(m)
		if err != nil {
			return nil, &MergeError{i, err.Error()}
		}
		if p == nil {
			return nil, &MergeError{i, fmt.Sprintf("its metadata has no %q: it was not calibrated", MetadataKey)}
		}
		if p.Frozen {
			return nil, &MergeError{i, "its scales were frozen; merge first, then freeze"}
		}
		sum, err := s.digest(ctx)
		if err != nil {
			return nil, &MergeError{i, err.Error()}
		}
		if i == 0 {
			first = sum
		} else if sum != first {
			return nil, &MergeError{i, "it differs from the first one in more than calibration state: another model, weight or recipe"}
		}
		subjects[i], origins[i] = s, p
	}
	out := Provenance{Steps: origins[0].Steps, AmaxInit: origins[0].AmaxInit, Merged: len(models)}
	var err error
	if out.Data, out.Batch, err = together(origins); err != nil {
		return nil, err
	}
	windows := make([]map[string][]int, len(origins))
	for i, p := range origins {
		out.Rows += p.Rows
		windows[i] = map[string][]int{}
		for _, w := range p.Windows {
			windows[i][w.History] = w.Steps
		}
	}
	into := subjects[0]
	for k, o := range into.operands {
		if o.state == nil {
			continue
		}
		steps, since := map[int]float32{}, map[int]int{} // since: the model from which a step was taken first
		initialized := false
		var scales []float32
		for i, s := range subjects {
			from := s.operands[k]
			initialized = initialized || from.state.Initialized()
			if scales == nil && from.state.Initialized() {
				scales = from.scales
			}
			window, listed := windows[i][from.history.Name]
			if !listed {
				window = usualWindow(origins[i].Steps, len(from.window))
			}
			if len(window) != len(from.window) {
				return nil, &MergeError{i, fmt.Sprintf("its metadata gives %d steps for the history %q of %d", len(window), from.history.Name, len(from.window))}
			}
			for j, a := range from.state.History() {
				step := window[j]
				if from, seen := since[step]; !seen {
					since[step] = i
				} else if step < 0 && a != steps[step] {
					return nil, &MergeError{i, fmt.Sprintf("history %q: %v from before the run, in model %d %v: it did not start from the same state",
						o.history.Name, a, from+1, steps[step])}
				}
				steps[step] = max(steps[step], a)
			}
		}
		if scales != nil {
			o.scales = append([]float32(nil), scales...) // of channels: each model made the same from its copy of the weight
		}
		if err := o.merge(steps, initialized); err != nil {
			return nil, &MergeError{0, err.Error()}
		}
	}
	into.put()
	out.Windows = into.windows(out.Steps)
	if err := out.write(into.model); err != nil {
		return nil, err
	}
	return &Merged{into.model, out}, nil
}

// merge makes the newest of the steps' amaxes the history.
func (o *operand) merge(steps map[int]float32, initialized bool) error {
	order := slices.SortedFunc(maps.Keys(steps), func(a, b int) int { return b - a })
	n := len(o.window)
	history := make([]float32, n)
	for i := range min(n, len(order)) {
		history[i], o.window[i] = steps[order[i]], order[i]
	}
	scale := o.recipe.Scale(o.top, o.recipe.Reduce(history), o.state.Scale())
	var err error
	if o.state, err = scaling.RestoreState(o.recipe, o.top, history, scale, initialized); err != nil {
		return err
	}
	if o.channels == nil {
		o.scales = []float32{float32(scale)}
	}
	return nil
}

// together says why runs do not belong together, and what shards tell of the data that they are parts of. A model that says nothing of
// its data is taken at its word.
func together(origins []*Provenance) (data string, batch int, err error) {
	first, err := shardOf(origins[0])
	if err != nil {
		return "", 0, &MergeError{0, err.Error()}
	}
	seen := map[Shard]int{}
	for i, p := range origins {
		s, err := shardOf(p)
		switch {
		case err != nil:
		case p.Steps != origins[0].Steps:
			err = fmt.Errorf("calibrated in %d steps, the first one in %d", p.Steps, origins[0].Steps)
		case p.AmaxInit != origins[0].AmaxInit:
			err = errors.New("calibrated with another choice of amax initialization than the first one")
		case s.Count != first.Count:
			err = fmt.Errorf("it is shard %q, the first one %q", p.Shard, origins[0].Shard)
		case s.Count <= 1: // each ran all rows, of whatever data
		case data != "" && p.Data != "" && p.Data != data:
			err = fmt.Errorf("calibrated with other data than the ones before it: fingerprint %q, theirs %q", p.Data, data)
		case batch != 0 && p.Batch != 0 && p.Batch != batch:
			err = fmt.Errorf("calibrated in batches of %d rows, the ones before it of %d", p.Batch, batch)
		default:
			data, batch = cmp.Or(data, p.Data), cmp.Or(batch, p.Batch)
			if j, twice := seen[s]; twice {
				err = fmt.Errorf("it is shard %q, as is model %d", p.Shard, j+1)
			}
			seen[s] = i
		}
		if err != nil {
			return "", 0, &MergeError{i, err.Error()}
		}
	}
	for i := range first.Count {
		if _, ok := seen[Shard{i, first.Count}]; !ok && first.Count > 1 {
			return "", 0, fmt.Errorf("merge: shard %s is missing", Shard{i, first.Count})
		}
	}
	return data, batch, nil
}

func shardOf(p *Provenance) (Shard, error) {
	if p.Shard == "" {
		return Shard{}, nil
	}
	s, err := ParseShard(p.Shard)
	if err != nil {
		return s, fmt.Errorf("metadata %q: %w", MetadataKey, err)
	}
	return s, nil
}

// digest is over everything in the model but the content of the calibration state and the word about it. Two models of one
// conversion have the same.
func (s *subject) digest(ctx context.Context) (sum [sha256.Size]byte, err error) {
	d := digester{ctx: ctx, Hash: sha256.New(), state: map[*graph.Initializer]bool{}}
	for _, o := range s.operands {
		if o.state != nil {
			d.state[o.scale], d.state[o.history] = true, true
		}
	}
	for _, l := range s.layers {
		if l.initialized != nil {
			d.state[l.initialized] = true
		}
	}
	m := s.model
	d.int(m.IRVersion)
	d.opsets(m.Opsets)
	for _, p := range m.Metadata {
		if p.Key != MetadataKey {
			d.text(p.Key, p.Value)
		}
	}
	d.graph(m.Graph)
	d.int(int64(len(m.Functions)))
	for _, f := range m.Functions {
		d.text(f.Domain, f.Name, f.Overload)
		d.texts(f.Inputs)
		d.texts(f.Outputs)
		d.texts(f.Attributes)
		d.attributes(f.Defaults)
		d.nodes(f.Nodes)
		d.opsets(f.Opsets)
	}
	copy(sum[:], d.Sum(nil))
	return sum, d.err
}

// digester feeds a hash so that no two models give the same bytes: every text has its length before it, every list its number.
type digester struct {
	hash.Hash
	ctx   context.Context
	state map[*graph.Initializer]bool
	err   error
}

func (d *digester) int(v int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(v))
	d.Hash.Write(b[:])
}

func (d *digester) text(all ...string) {
	for _, s := range all {
		d.int(int64(len(s)))
		d.Hash.Write([]byte(s))
	}
}

func (d *digester) texts(all []string) {
	d.int(int64(len(all)))
	d.text(all...)
}

func (d *digester) opsets(sets []graph.Opset) {
	d.int(int64(len(sets)))
	for _, o := range sets {
		d.text(o.Domain)
		d.int(o.Version)
	}
}

func (d *digester) graph(g *graph.Graph) {
	d.text(g.Name)
	d.values(g.Inputs)
	d.values(g.Outputs)
	d.int(int64(len(g.Initializers)))
	for _, i := range g.Initializers {
		d.text(i.Name)
		if d.state[i] {
			d.text(i.Tensor.DType.String(), i.Tensor.Shape.String())
			continue
		}
		d.tensor(i.Tensor)
	}
	d.int(int64(len(g.Sparse)))
	for _, s := range g.Sparse {
		d.sparse(s)
	}
	d.nodes(g.Nodes)
}

func (d *digester) values(vs []*graph.Value) {
	d.int(int64(len(vs)))
	for _, v := range vs {
		d.text(v.Name)
		if v.Type != nil {
			d.text(v.Type.DType.String())
			d.int(int64(len(v.Type.Shape)))
			for _, dim := range v.Type.Shape {
				d.text(dim.Param)
				d.int(dim.Value)
			}
		}
	}
}

func (d *digester) nodes(nodes []*graph.Node) {
	d.int(int64(len(nodes)))
	for _, n := range nodes {
		d.text(n.Name, n.OpType, n.Domain, n.Overload)
		d.texts(n.Inputs)
		d.texts(n.Outputs)
		d.attributes(n.Attributes)
	}
}

func (d *digester) attributes(all []*graph.Attribute) {
	d.int(int64(len(all)))
	for _, a := range all {
		d.text(a.Name, a.Ref, string(a.String))
		d.int(int64(a.Kind))
		d.int(a.Int)
		d.int(int64(math.Float32bits(a.Float)))
		d.int(int64(len(a.Ints)))
		for _, v := range a.Ints {
			d.int(v)
		}
		d.int(int64(len(a.Floats)))
		for _, v := range a.Floats {
			d.int(int64(math.Float32bits(v)))
		}
		d.int(int64(len(a.Strings)))
		for _, v := range a.Strings {
			d.text(string(v))
		}
		d.sparse(a.Sparse)
		for _, t := range append([]*tensor.Tensor{a.Tensor}, a.Tensors...) {
			d.tensor(t)
		}
		for _, g := range append([]*graph.Graph{a.Graph}, a.Graphs...) {
			if g != nil {
				d.graph(g)
			}
		}
	}
}

func (d *digester) sparse(s *graph.Sparse) {
	if s == nil {
		d.int(-1)
		return
	}
	d.int(1)
	d.text(s.Name, s.Shape.String())
	d.tensor(s.Values)
	d.tensor(s.Indices)
}

func (d *digester) tensor(t *tensor.Tensor) {
	if t == nil {
		d.int(-1)
		return
	}
	d.text(t.DType.String(), t.Shape.String())
	d.int(int64(len(t.Strings)))
	for _, s := range t.Strings {
		d.text(string(s))
	}
	d.int(t.Size())
	if t.Data == nil || d.err != nil {
		return
	}
	if err := d.ctx.Err(); err != nil {
		d.err = context.Cause(d.ctx)
		return
	}
	_, d.err = t.Data.WriteTo(d.Hash)
}
