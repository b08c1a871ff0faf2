package calibrate

import (
	"encoding/json"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
)

// MetadataKey is the key of the model's metadata under which a calibrated model says how its state came about, as JSON.
const MetadataKey = "ai.fp8rewrite.calibration"

// Provenance is how the state of a model came about: what a later run, and Merge, must know.
type Provenance struct {
	Version  int    `json:"version"` // provenanceVersion
	Steps    int    `json:"steps"`
	Rows     int64  `json:"rows"`
	AmaxInit bool   `json:"amax_init"`
	Shard    string `json:"shard,omitempty"`  // "i/n"
	Merged   int    `json:"merged,omitempty"` // models that were merged
	Frozen   bool   `json:"frozen,omitempty"`
	Data     string `json:"data,omitempty"`  // Options.Data
	Batch    int    `json:"batch,omitempty"` // rows of the first step, all shards together

	// Windows are the histories that are not simply from the last steps.
	Windows []Window `json:"windows,omitempty"`
}

// Window says which steps a history is from, newest first; a step below 0 is one before the run.
type Window struct {
	History string `json:"history"` // name of the initializer
	Steps   []int  `json:"steps"`
}

const provenanceVersion = 1

// ReadProvenance reads what a model says of its calibration, nil where it says nothing.
func ReadProvenance(m *graph.Model) (*Provenance, error) {
	text, ok := m.Property(MetadataKey)
	if !ok {
		return nil, nil
	}
	p := new(Provenance)
	if err := json.Unmarshal([]byte(text), p); err != nil {
		return nil, fmt.Errorf("metadata %q: %w", MetadataKey, err)
	}
	if p.Version != provenanceVersion {
		return nil, fmt.Errorf("metadata %q: version %d, want %d", MetadataKey, p.Version, provenanceVersion)
	}
	return p, nil
}

// MarkFrozen notes in a calibrated model that its scales are to stay as they are. A layer whose scale waits for an observation is an
// [UnobservedError].
func MarkFrozen(m *graph.Model) error {
	p, err := ReadProvenance(m)
	if err != nil {
		return err
	}
	if p == nil {
		return fmt.Errorf("metadata has no %q: the model was not calibrated", MetadataKey)
	}
	var missing []string
	delayedLayers(m, func(name string, observed bool) {
		if !observed {
			missing = append(missing, name)
		}
	})
	if len(missing) > 0 {
		return &UnobservedError{missing}
	}
	p.Frozen = true
	return p.write(m)
}

// write puts p into the metadata of m.
func (p *Provenance) write(m *graph.Model) error {
	p.Version = provenanceVersion
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	for i := range m.Metadata {
		if m.Metadata[i].Key == MetadataKey {
			m.Metadata[i].Value = string(b)
			return nil
		}
	}
	m.Metadata = append(m.Metadata, graph.Property{Key: MetadataKey, Value: string(b)})
	return nil
}

// usualWindow are the steps that a history of n amaxes is from after steps steps, none of which was missed.
func usualWindow(steps, n int) []int {
	w := make([]int, n)
	for i := range w {
		w[i] = steps - 1 - i
	}
	return w
}

// windows are those of the operands that missed a step.
func (s *subject) windows(steps int) []Window {
	var out []Window
	for _, o := range s.operands {
		if o.state == nil {
			continue
		}
		for i, at := range usualWindow(steps, len(o.window)) {
			if o.window[i] != at {
				out = append(out, Window{o.history.Name, o.window})
				break
			}
		}
	}
	return out
}

// Calibrated counts the layers whose scales need observed amaxes, and those of them that have them.
func Calibrated(m *graph.Model) (need, have int64) {
	delayedLayers(m, func(_ string, observed bool) {
		need++
		if observed {
			have++
		}
	})
	return need, have
}

// delayedLayers calls f with the layers whose scales need observed amaxes, in order.
func delayedLayers(m *graph.Model, f func(name string, observed bool)) {
	s := &subject{}
	for _, p := range s.walk(graph.NewScope(m.Graph, nil, nil), "", "") {
		l, err := ops.ReadLayer(p.node)
		if err != nil || l.Variant.Input != ops.InputDelayed && l.Variant.Weight != ops.WeightDelayed {
			continue
		}
		observed := false
		if src := p.scope.Find(l.Initialized); src.Constant != nil {
			observed, err = src.Constant.Tensor.AsBool()
			observed = observed && err == nil
		}
		f(ops.LayerName(p.node), observed)
	}
}
