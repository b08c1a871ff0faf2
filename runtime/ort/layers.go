package ort

import (
	"fmt"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite/observe"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// layer is one Float8Linear.
type layer struct {
	name   string
	amax   string  // the output that holds the input's amax, "" where none does
	weight string  // the initializer that is cast at every run, "" where there is none
	peak   float32 // its amax
}

// readLayers lists the layers in the order in which [observe.Expose] does. The weight's amax is no output of the operator: it is
// found here, where the weight is an initializer of its own type; one that the graph computes counts as 0.
func (p *prepared) readLayers(m *graph.Model, opt runtime.Options) error {
	peaks := map[*tensor.Tensor]float32{}
	var walk func(*graph.Scope) error
	walk = func(s *graph.Scope) error {
		for _, n := range s.Graph.Nodes {
			if ops.IsFloat8Linear(n) {
				l := layer{name: ops.LayerName(n)}
				v, ok := ops.ParseVariant(n.OpType)
				if opt.AllReduceMax != nil && ok && v.Dynamic() {
					return fmt.Errorf("ort: layer %q: its scale is made in the middle of a run, where ONNX Runtime cannot ask other workers; use device cpu", l.name)
				}
				init := s.Find(n.Input(ops.InWeight)).Constant
				if ok && v.Weight != ops.WeightFloat8 && init != nil {
					if _, seen := peaks[init.Tensor]; !seen {
						peak, err := amax(init.Tensor)
						if err != nil {
							return fmt.Errorf("ort: layer %q: weight %q: %w", l.name, init.Name, err)
						}
						peaks[init.Tensor] = peak
					}
					l.weight, l.peak = init.Name, peaks[init.Tensor]
				}
				p.layers = append(p.layers, l)
			}
			for _, sub := range n.Subgraphs() {
				if err := walk(s.Inner(sub, n)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(graph.NewScope(m.Graph, nil, nil)); err != nil {
		return err
	}
	// Expose lists the layers in functions last.
	for _, f := range m.Functions {
		if f.Domain == ops.Domain {
			continue
		}
		graph.WalkNodes(f.Nodes, func(n *graph.Node) {
			if ops.IsFloat8Linear(n) {
				p.layers = append(p.layers, layer{name: ops.LayerName(n)})
			}
		})
	}
	return nil
}

// amax is max|t| for a tensor of one of the types that a layer casts from: NaN where an element is, 0 without elements.
func amax(t *tensor.Tensor) (float32, error) {
	b, err := t.Bytes()
	if err != nil {
		return 0, err
	}
	switch t.DType {
	case tensor.Float32:
		return float8.AmaxFloat32(view[float32](b)), nil
	case tensor.Float16:
		return float8.AmaxFloat16(view[uint16](b)), nil
	case tensor.BFloat16:
		return float8.AmaxBFloat16(view[uint16](b)), nil
	}
	return 0, fmt.Errorf("%s, want float32, float16 or bfloat16", t.DType)
}

// view is bytes as elements. Memory from a file may be unaligned, which the supported processors allow.
func view[T float32 | uint16](b []byte) []T {
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(z)))
}

// weigh takes note of a new content of an initializer, which may be a weight.
func (p *prepared) weigh(name string, t *tensor.Tensor) error {
	for i, l := range p.layers {
		if l.weight != name {
			continue
		}
		var err error
		if p.layers[i].peak, err = amax(t); err != nil {
			return fmt.Errorf("ort: layer %q: weight %q: %w", l.name, name, err)
		}
	}
	return nil
}

// stats reads what the layers saw from the values of a run; replaced are the tensors that stood in for initializers.
func stats(layers []layer, values map[string]runtime.Value, replaced map[string]runtime.Value) ([]runtime.LayerStats, error) {
	out := make([]runtime.LayerStats, len(layers))
	for i, l := range layers {
		out[i].Layer = l.name
		if l.amax == "" {
			continue
		}
		seen, err := values[l.amax].Tensor.AsFloat32s()
		if err != nil {
			return nil, fmt.Errorf("ort: layer %q: amax %q: %w", l.name, l.amax, err)
		}
		if len(seen) != 1 {
			return nil, fmt.Errorf("ort: layer %q: amax %q has %d elements, want 1", l.name, l.amax, len(seen))
		}
		if seen[0] == observe.Unobserved {
			continue
		}
		out[i].Runs, out[i].AmaxInput, out[i].AmaxWeight = 1, seen[0], l.peak
		if v, ok := replaced[l.weight]; ok && v.Tensor != nil {
			if out[i].AmaxWeight, err = amax(v.Tensor); err != nil {
				return nil, fmt.Errorf("ort: layer %q: weight %q: %w", l.name, l.weight, err)
			}
		}
	}
	return out, nil
}
