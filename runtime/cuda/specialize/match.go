package specialize

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// view is the main graph as the rules of the canonical forms see it. A rule looks from a node, the root of a pattern, back to what the
// root is made from; on a match nodes come in the root's place, the last of which gives the root's output under its old name. What the
// pattern consisted of dies by itself, if nobody else reads it.
type view struct {
	*work
	maker   map[string]*graph.Node
	readers map[string][]*graph.Node
	outputs map[string]bool
	made    map[*graph.Node][]*graph.Node // by root
	found   *found
}

// found is what rules made of constants for one match and can use for the next.
type found struct {
	tables    map[string]string
	positions map[[3]int64]string
	masks     map[string]*constantMask
	joined    map[[2]string]string
	ones      map[string]string
}

func (w *work) look(f *found) *view {
	v := &view{work: w, maker: map[string]*graph.Node{}, readers: map[string][]*graph.Node{}, outputs: map[string]bool{},
		made: map[*graph.Node][]*graph.Node{}, found: f}
	for _, n := range w.g.Nodes {
		for _, o := range n.Outputs {
			v.maker[o] = n
		}
		for _, r := range reads(n) {
			v.readers[r] = append(v.readers[r], n)
		}
	}
	for _, o := range w.g.Outputs {
		v.outputs[o.Name] = true
	}
	return v
}

// rule looks for its pattern at a root. nil is no match.
type rule func(v *view, root *graph.Node) []*graph.Node

// canonical applies the rules, larger patterns before those that they contain.
func (w *work) canonical() {
	rules := []rule{geluRule, layerNormalizationRule, layerNormalizationWithoutBias, rmsNormalizationRule, plainLayerNormalization,
		plainRMSNormalization, rotaryRule, rotaryHalvesRule, attentionRule, attentionOperatorRule}
	f := &found{tables: map[string]string{}, positions: map[[3]int64]string{}, masks: map[string]*constantMask{},
		joined: map[[2]string]string{}, ones: map[string]string{}}
	for _, r := range rules {
		v := w.look(f)
		for _, n := range w.g.Nodes {
			if made := r(v, n); made != nil {
				v.made[n] = made
				last := made[len(made)-1]
				last.Name, last.Metadata = n.Name, n.Metadata
				for _, m := range made {
					for _, o := range m.Outputs {
						v.maker[o] = m
					}
				}
			}
		}
		if len(v.made) == 0 {
			continue
		}
		nodes := w.g.Nodes[:0:0]
		for _, n := range w.g.Nodes {
			if made := v.made[n]; made != nil {
				nodes = append(nodes, made...)
			} else {
				nodes = append(nodes, n)
			}
		}
		w.g.Nodes = nodes
		w.prune()
		w.refresh()
	}
}

// op is the node that makes a value, where it is ONNX's own operator of that type, else nil.
func (v *view) op(name, op string) *graph.Node {
	if n := v.maker[name]; n != nil && n.Is(op) && n.Output(0) == name {
		return n
	}
	return nil
}

// closed reports whether what inner nodes give is read by them and the root alone, so that nothing but the root's output is missed when
// they go.
func (v *view) closed(root *graph.Node, inner ...*graph.Node) bool {
	for _, n := range inner {
		for _, o := range n.Outputs {
			if v.outputs[o] {
				return false
			}
			for _, r := range v.readers[o] {
				if r != root && !slices.Contains(inner, r) {
					return false
				}
			}
		}
	}
	return true
}

// typ is the element type and the extents of a value, false where they are not fixed.
func (v *view) typ(name string) (tensor.DType, tensor.Shape, bool) {
	t, ok := v.fixedType(name)
	if !ok {
		return 0, nil, false
	}
	return t.DType, extents(t), true
}

// scalar is the content of a constant of one element.
func (v *view) scalar(name string) (float64, bool) {
	t := v.consts[name]
	if t == nil || t.Elements() != 1 {
		return 0, false
	}
	x, ok := numbers(t)
	if !ok {
		return 0, false
	}
	return x[0], true
}

// ints is the content of a constant list of integers.
func (v *view) ints(name string) ([]int64, bool) {
	t := v.consts[name]
	if t == nil || t.DType != tensor.Int64 && t.DType != tensor.Int32 || t.Elements() > 64 {
		return nil, false
	}
	x, err := t.AsInt64s()
	return x, err == nil
}

// is reports whether a constant of one element is x, within the accuracy of its type.
func (v *view) is(name string, x float64) bool {
	got, ok := v.scalar(name)
	return ok && near(got, x, v.consts[name].DType)
}

// near compares a constant with what it should be, as exactly as exporters round.
func near(got, want float64, d tensor.DType) bool {
	tolerance := 1e-5
	if d == tensor.Float16 || d == tensor.BFloat16 {
		tolerance = 4e-3
	}
	return math.Abs(got-want) <= tolerance*math.Abs(want)
}

// numbers is a constant as float64; meant for small ones.
func numbers(t *tensor.Tensor) ([]float64, bool) {
	b, err := t.Bytes()
	if err != nil || t.DType == tensor.String {
		return nil, false
	}
	out := make([]float64, t.Elements())
	if int64(len(b)) != t.Size() {
		return nil, false
	}
	for i := range out {
		switch t.DType {
		case tensor.Float32:
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		case tensor.Float64:
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		case tensor.Float16:
			out[i] = fromFloat16(binary.LittleEndian.Uint16(b[2*i:]))
		case tensor.BFloat16:
			out[i] = fromBFloat16(binary.LittleEndian.Uint16(b[2*i:]))
		case tensor.Int64:
			out[i] = float64(int64(binary.LittleEndian.Uint64(b[8*i:])))
		case tensor.Int32:
			out[i] = float64(int32(binary.LittleEndian.Uint32(b[4*i:])))
		default:
			return nil, false
		}
	}
	return out, true
}

// floating reports whether canonical forms are made of values of type d.
func floating(d tensor.DType) bool {
	return d == tensor.Float32 || d == tensor.Float16 || d == tensor.BFloat16
}

// lastAxis reports whether a, of an operator on a value of this rank, is its last axis.
func lastAxis(a int64, rank int) bool { return rank > 0 && (a == -1 || a == int64(rank-1)) }

// fresh adds an initializer under a free name.
func (v *view) fresh(want string, t *tensor.Tensor) string {
	name := v.names.Fresh(want)
	v.constant(name, t)
	return name
}

// node makes a node with one output under a free name; its type is not inferred until the rule is done.
func (v *view) node(op, want string, inputs []string, attrs ...*graph.Attribute) *graph.Node {
	name := v.names.Fresh(want)
	return &graph.Node{Name: name, OpType: op, Inputs: inputs, Outputs: []string{name}, Attributes: attrs}
}
