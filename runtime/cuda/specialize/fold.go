package specialize

import (
	"context"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/shape"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// constants looks up the initializers of the main graph and makes some of the Constant nodes that hold a tensor.
func (w *work) constants() {
	w.consts = map[string]*tensor.Tensor{}
	for _, i := range w.g.Initializers {
		w.consts[i.Name] = i.Tensor
	}
	nodes := w.g.Nodes[:0:0]
	for _, n := range w.g.Nodes {
		if t := constantOf(n); t != nil {
			w.weights[t] = true
			w.constant(n.Output(0), t)
		} else {
			nodes = append(nodes, n)
		}
	}
	w.g.Nodes = nodes
}

// constantOf is the tensor of a Constant, nil where n is none or holds something else.
func constantOf(n *graph.Node) *tensor.Tensor {
	if !n.Is("Constant") || n.Output(0) == "" {
		return nil
	}
	for _, a := range n.Attributes {
		switch a.Name {
		case "value":
			return a.Tensor
		case "value_int":
			return tensor.Int64s(tensor.Shape{}, a.Int)
		case "value_ints":
			return tensor.Int64s(tensor.Shape{int64(len(a.Ints))}, a.Ints...)
		case "value_float":
			return tensor.Float32s(tensor.Shape{}, a.Float)
		case "value_floats":
			return tensor.Float32s(tensor.Shape{int64(len(a.Floats))}, a.Floats...)
		}
	}
	return nil
}

// mostRounds bounds the rounds of settle; each but the last makes something constant, so this is for loops that grow only.
const mostRounds = 1000

// settle infers and computes until nothing changes any more. share says whether what is computed twice goes.
func (w *work) settle(ctx context.Context, share bool) error {
	for range mostRounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.info = shape.Infer(w.m)
		changed := w.spell()
		changed = w.known() || changed
		w.prune()
		more, err := w.compute(ctx)
		if err != nil {
			return err
		}
		more = w.compact() || more
		branched := w.branches()
		simpler := w.simplify()
		if share {
			simpler = w.share() || simpler
		}
		if !changed && !more && !branched && !simpler {
			return nil
		}
		if branched {
			if err := w.sort(); err != nil {
				return err
			}
			w.constants()
		}
	}
	return nil
}

// known makes initializers of values whose content shape inference knows: extents, and small arithmetic over them.
func (w *work) known() bool {
	nodes, changed := w.g.Nodes[:0:0], false
	for _, n := range w.g.Nodes {
		var made []*tensor.Tensor
		for _, o := range n.Outputs {
			if t := w.content(o); t != nil && !hasLayer(n) {
				made = append(made, t)
			}
		}
		if len(made) == 0 || len(made) < len(n.Outputs) {
			nodes = append(nodes, n)
			continue
		}
		for i, o := range n.Outputs {
			w.constant(o, made[i])
		}
		changed = true
	}
	w.g.Nodes = nodes
	return changed
}

// content is a value that shape inference knows element by element, nil where it does not.
func (w *work) content(name string) *tensor.Tensor {
	v, ok := w.info.Ints(w.g, name)
	t, fixed := w.fixedType(name)
	if name == "" || !ok || !fixed || len(t.Shape) > 1 {
		return nil
	}
	if n, err := extents(t).Elements(); err != nil || n != int64(len(v)) {
		return nil
	}
	switch t.DType {
	case tensor.Int64:
		return tensor.Int64s(extents(t), v...)
	case tensor.Int32:
		b := make([]byte, 0, 4*len(v))
		for _, x := range v {
			b = append(b, byte(x), byte(x>>8), byte(x>>16), byte(x>>24))
		}
		return &tensor.Tensor{DType: tensor.Int32, Shape: extents(t), Data: tensor.Bytes(b)}
	case tensor.Bool:
		b := make([]bool, len(v))
		for i, x := range v {
			b[i] = x != 0
		}
		return tensor.Bools(extents(t), b...)
	}
	return nil
}

// neverFold are operators whose outputs do not follow from their inputs.
var neverFold = map[string]bool{"RandomNormal": true, "RandomNormalLike": true, "RandomUniform": true, "RandomUniformLike": true,
	"Multinomial": true, "Bernoulli": true, "Dropout": true}

// pure reports whether what n gives follows from what it reads.
func pure(n *graph.Node) bool {
	ok := true
	graph.WalkNodes([]*graph.Node{n}, func(n *graph.Node) {
		ok = ok && !ops.IsFloat8Linear(n) && !(graph.CanonicalDomain(n.Domain) == "" && neverFold[n.OpType])
	})
	return ok
}

// hasLayer reports whether n is a Float8Linear or holds one.
func hasLayer(n *graph.Node) bool {
	found := false
	graph.WalkNodes([]*graph.Node{n}, func(n *graph.Node) { found = found || ops.IsFloat8Linear(n) })
	return found
}

// Weights must not be copied for the sake of a Transpose or a Cast, which an engine may do as it takes them over: a tensor of the file of more
// than freeFold bytes goes through no operator of moves, and through a Slice only where the result is not larger than smallSlice, as a
// table of positions is cut.
const (
	freeFold   = 64 << 10
	smallSlice = 16 << 20
)

var moves = map[string]bool{"Transpose": true, "Cast": true, "CastLike": true, "Reshape": true, "Squeeze": true, "Unsqueeze": true,
	"Flatten": true, "Identity": true, "DequantizeLinear": true, "Split": true, "Expand": true, "Tile": true}

// foldable says whether n can be computed beforehand, if everything that it reads is constant.
func (w *work) foldable(n *graph.Node) bool {
	if w.stays[n] || !pure(n) {
		return false
	}
	total := int64(0)
	for _, o := range n.Outputs {
		if t, ok := w.fixedType(o); ok {
			b, err := t.DType.ByteSize(elements(t))
			if err != nil && t.DType != tensor.String || b > w.opt.MaxFold {
				return false
			}
			total += b
		}
	}
	for _, in := range n.Inputs {
		t := w.consts[in]
		if t == nil || !w.weights[t] || t.Size() <= freeFold || total <= freeFold {
			continue
		}
		if own := graph.CanonicalDomain(n.Domain) == ""; own && (moves[n.OpType] || n.OpType == "Slice" && total > smallSlice) {
			return false
		}
	}
	return true
}

// elements is the number of elements of a fixed type, a number too large for any bound on overflow.
func elements(t graph.Type) int64 {
	n, err := extents(t).Elements()
	if err != nil {
		return 1 << 62
	}
	return n
}

// compute runs whatever follows from constants alone on the engine.
func (w *work) compute(ctx context.Context) (bool, error) {
	known := map[string]bool{"": true}
	for name := range w.consts {
		known[name] = true
	}
	var part []*graph.Node
	for _, n := range w.g.Nodes {
		ready := w.foldable(n)
		for _, r := range n.Reads() {
			ready = ready && known[r]
		}
		if !ready {
			continue
		}
		part = append(part, n)
		for _, o := range n.Outputs {
			known[o] = true
		}
	}
	if len(part) == 0 {
		return false, nil
	}
	changed, err := w.replace(ctx, part)
	if err == nil || ctx.Err() != nil {
		return changed, ctx.Err()
	}
	// One of them is beyond the engine: the others go alone.
	for _, n := range part {
		ready := true
		for _, r := range n.Reads() {
			ready = ready && (r == "" || w.consts[r] != nil)
		}
		if !ready {
			continue
		}
		ok, err := w.replace(ctx, []*graph.Node{n})
		if ctx.Err() != nil {
			return changed, ctx.Err()
		}
		if err != nil {
			w.stays[n] = true
		}
		changed = changed || ok
	}
	return changed, nil
}

// replace computes nodes and puts initializers in the place of those of their outputs that others read.
func (w *work) replace(ctx context.Context, part []*graph.Node) (bool, error) {
	inside := map[*graph.Node]bool{}
	for _, n := range part {
		inside[n] = true
	}
	wanted := map[string]bool{}
	for _, o := range w.g.Outputs {
		wanted[o.Name] = true
	}
	for _, n := range w.g.Nodes {
		if !inside[n] {
			for _, r := range reads(n) {
				wanted[r] = true
			}
		}
	}
	var want []string
	for _, n := range part {
		for _, o := range n.Outputs {
			if o != "" && wanted[o] {
				want = append(want, o)
			}
		}
	}
	got, err := w.evaluate(ctx, part, want)
	if err != nil {
		return false, err
	}
	for name, t := range got {
		if b := t.Size(); b > w.opt.MaxFold {
			return false, &tooLarge{name, b}
		}
	}
	w.g.Nodes = slices.DeleteFunc(w.g.Nodes, func(n *graph.Node) bool { return inside[n] })
	for _, name := range want {
		w.constant(name, got[name])
	}
	return true, nil
}
