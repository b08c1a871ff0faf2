package specialize

import (
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// attentionRule: y = Softmax(q·kᵀ·scale + mask)·v over arrays [batch, heads, positions, size], or [batch, positions, size]. The scale may stand
// on q or k or both, as a Mul or Div; masking may be an Add or a Where; heads of k and v that are repeated are seen through. Probabilities
// that are NaN, because a query sees nothing, may be replaced by zeros; scores that are NaN themselves give NaN all the same.
func attentionRule(v *view, root *graph.Node) []*graph.Node {
	if !v.lifted || !root.Is("MatMul") {
		return nil
	}
	a := &attention{view: v, root: root, scale: 1}
	if !a.scores() || !a.shapes() || !v.closed(root, a.inner...) {
		return nil
	}
	return a.nodes()
}

// attention is one match.
type attention struct {
	*view
	root  *graph.Node
	inner []*graph.Node

	q, kt, v string
	scale    float64
	masks    []masking
	precise  bool // Softmax is taken in float32, of scores of another type
	guarded  bool // probabilities that are NaN are replaced by zeros

	dtype, within                            tensor.DType // of the operands, and of what Softmax reads
	batch, heads, queries, keys, size, vSize int64
	flat                                     bool // heads are among the batches
}

// scores goes back from the probabilities to the product of q and kᵀ.
func (a *attention) scores() bool {
	name := a.root.Input(0)
	pass := func(n *graph.Node, next string) {
		a.inner = append(a.inner, n)
		name = next
	}
	down, _, ok := a.typ(name)
	name = a.guard(name)
	if n := a.op(name, "Cast"); n != nil {
		pass(n, n.Input(0))
		name = a.guard(name)
	}
	softmax := a.op(name, "Softmax")
	if softmax == nil || !ok || !floating(down) {
		return false
	}
	within, s, ok := a.typ(name)
	if !ok || !lastAxis(softmax.AttrInt("axis", -1), len(s)) || len(s) != 3 && len(s) != 4 {
		return false
	}
	pass(softmax, softmax.Input(0))
	if within != down {
		if within != tensor.Float32 {
			return false
		}
		a.precise = true
	}
	a.within = within
	casts := 0
	for range 8 {
		n := a.maker[name]
		if n == nil || n.Output(0) != name {
			return false
		}
		d, t, ok := a.typ(name)
		if !ok || !t.Equal(s) || d != within && (casts == 0 || d != down) {
			return false
		}
		switch {
		case n.Is("MatMul"):
			a.inner = append(a.inner, n)
			a.q, a.kt, a.v, a.dtype = n.Input(0), n.Input(1), a.root.Input(1), down
			return d == down
		case n.Is("Cast"):
			casts++
			pass(n, n.Input(0))
		case n.Is("Mul"), n.Is("Div"):
			from, c, ok := a.scaled(n)
			if !ok {
				return false
			}
			a.scale *= c
			pass(n, from)
		case n.Is("Add") && len(n.Inputs) == 2:
			i := a.branch(n.Inputs, s, 0)
			if i < 0 || a.scale != 1 {
				return false
			}
			a.masks = append(a.masks, a.added(n.Inputs[1-i]))
			pass(n, n.Inputs[i])
		case n.Is("Where") && len(n.Inputs) == 3:
			i := 1 + a.branch(n.Inputs[1:], s, 0)
			if i < 1 || a.scale != 1 {
				return false
			}
			c, ok := a.scalar(n.Inputs[3-i])
			if !ok {
				return false
			}
			a.masks = append(a.masks, masking{where: n.Inputs[0], keep: i == 1, masked: c})
			pass(n, n.Inputs[i])
		default:
			return false
		}
	}
	return false
}

// guard is p in Where(IsNaN(p), 0, p).
func (a *attention) guard(name string) string {
	w := a.op(name, "Where")
	if w == nil || len(w.Inputs) != 3 || a.guarded {
		return name
	}
	test := a.op(w.Inputs[0], "IsNaN")
	if zero, ok := a.scalar(w.Inputs[1]); test == nil || !ok || zero != 0 || test.Input(0) != w.Inputs[2] {
		return name
	}
	a.guarded = true
	a.inner = append(a.inner, w, test)
	return w.Inputs[2]
}

// added is the masking by what is added to the scores. One that follows from a constant condition, and is too large to be constant itself, is
// known by the condition; so is one that adds -Inf.
func (a *attention) added(name string) masking {
	w := a.op(name, "Where")
	if w == nil || len(w.Inputs) != 3 {
		return masking{add: name}
	}
	constant := a.consts[w.Inputs[0]] != nil
	x, ok := a.scalar(w.Inputs[1])
	y, ok2 := a.scalar(w.Inputs[2])
	switch {
	case ok && ok2 && x == 0 && (y <= hidden && constant || math.IsInf(y, -1)):
		return masking{where: w.Inputs[0], keep: true, masked: y}
	case ok && ok2 && y == 0 && (x <= hidden && constant || math.IsInf(x, -1)):
		return masking{where: w.Inputs[0], masked: x}
	}
	return masking{add: name}
}

// scaled is what a Mul or Div by a constant scales, and by what.
func (v *view) scaled(n *graph.Node) (from string, by float64, ok bool) {
	if len(n.Inputs) != 2 {
		return "", 0, false
	}
	if c, ok := v.scalar(n.Inputs[1]); ok {
		if n.Is("Div") {
			c = 1 / c
		}
		return n.Inputs[0], c, !math.IsInf(c, 0) && !math.IsNaN(c) && v.sameType(n.Inputs[0], n.Output(0))
	}
	if c, ok := v.scalar(n.Inputs[0]); ok && n.Is("Mul") {
		return n.Inputs[1], c, !math.IsInf(c, 0) && !math.IsNaN(c) && v.sameType(n.Inputs[1], n.Output(0))
	}
	return "", 0, false
}

// branch is which of two operands comes from a product of the shape of the scores, -1 where that is none or both.
func (a *attention) branch(operands []string, scores tensor.Shape, depth int) int {
	found := -1
	for i, name := range operands {
		if !a.leads(name, scores, depth) {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// leads reports whether a value is a product of two values that are not constant, scaled and masked.
func (a *attention) leads(name string, scores tensor.Shape, depth int) bool {
	n := a.maker[name]
	_, s, ok := a.typ(name)
	if n == nil || depth > 8 || !ok || !s.Equal(scores) || graph.CanonicalDomain(n.Domain) != "" {
		return false
	}
	switch n.OpType {
	case "MatMul":
		return a.consts[n.Input(0)] == nil && a.consts[n.Input(1)] == nil
	case "Cast":
		return a.leads(n.Input(0), scores, depth+1)
	case "Mul", "Div":
		from, _, ok := a.scaled(n)
		return ok && a.leads(from, scores, depth+1)
	case "Add":
		return a.branch(n.Inputs, scores, depth+1) >= 0
	case "Where":
		return len(n.Inputs) == 3 && a.branch(n.Inputs[1:], scores, depth+1) >= 0
	}
	return false
}

// shapes checks that batches and heads of the operands are the same, without broadcasting.
func (a *attention) shapes() bool {
	dq, q, ok := a.typ(a.q)
	dk, k, ok2 := a.typ(a.kt)
	dv, v, ok3 := a.typ(a.v)
	n := len(q)
	if !ok || !ok2 || !ok3 || dq != a.dtype || dk != dq || dv != dq || len(k) != n || len(v) != n || n != 3 && n != 4 ||
		!q[:n-2].Equal(k[:n-2]) || !q[:n-2].Equal(v[:n-2]) || q[n-1] != k[n-2] || k[n-1] != v[n-2] {
		return false
	}
	a.flat = n == 3
	a.batch, a.heads = q[0], 1
	if n == 4 {
		a.heads = q[1]
	}
	a.queries, a.size, a.keys, a.vSize = q[n-2], q[n-1], k[n-1], v[n-1]
	for _, x := range []int64{a.batch, a.heads, a.queries, a.keys, a.size, a.vSize} {
		if x == 0 {
			return false
		}
	}
	return a.opt.MaxHead == 0 || max(a.size, a.vSize) <= a.opt.MaxHead
}

// nodes makes the operator and what stands before it.
func (a *attention) nodes() []*graph.Node {
	q := a.peel(a.q)
	k := a.peel(a.kt)
	perm := []int64{0, 1, 3, 2}
	if a.flat {
		perm = []int64{0, 2, 1}
	}
	if t := a.op(k, "Transpose"); t != nil {
		if p, ok := t.AttrInts("perm"); ok && len(p) == len(perm) {
			for i, at := range perm {
				perm[i] = p[at]
			}
			k = t.Input(0)
		}
	}
	var before []*graph.Node
	if !slices.IsSorted(perm) {
		t := a.node("Transpose", a.kt+"/keys", []string{k}, graph.Ints("perm", perm...))
		before, k = append(before, t), t.Outputs[0]
	} else {
		k = a.peel(k)
	}
	v := a.v
	if !a.flat {
		if from, n := a.shared(k, a.size); n > 0 {
			if vFrom, m := a.shared(v, a.vSize); m == n {
				k, v = from, vFrom
			}
		}
	}
	mask, ok := a.mask(&before)
	scale := float32(a.scale)
	if !ok || !(scale > 0) || math.IsInf(float64(scale), 0) {
		return nil
	}
	// Where the mask alone hides all keys of a query, the operator gives NaN.
	unseen := ""
	if a.guarded && mask.name != "" && !mask.seeing {
		if !mask.boolean || mask.causal || a.flat {
			return nil
		}
		mask.name, unseen = a.visible(mask.name, &before)
	}
	if a.flat {
		q, k, v = a.unflat(&before, q), a.unflat(&before, k), a.unflat(&before, v)
	}
	inputs := []string{q, k, v}
	attrs := []*graph.Attribute{graph.Float("scale", scale)}
	if mask.name != "" {
		inputs = append(inputs, mask.name)
	}
	if mask.causal {
		attrs = append(attrs, graph.Int("is_causal", 1))
	}
	if a.precise {
		attrs = append(attrs, graph.Int("softmax_precision", int64(tensor.Float32)))
	}
	out := a.root.Outputs[:1]
	switch {
	case a.flat:
		n := a.node("Attention", out[0]+"/heads", inputs, attrs...)
		shape := a.fresh(out[0]+"/shape", tensor.Int64s(tensor.Shape{3}, a.batch, a.queries, a.vSize))
		return append(before, n, &graph.Node{OpType: "Reshape", Inputs: []string{n.Outputs[0], shape}, Outputs: out})
	case unseen != "":
		n := a.node("Attention", out[0]+"/seen", inputs, attrs...)
		zero := a.fresh(out[0]+"/zero", filled(a.dtype, 0))
		return append(before, n, &graph.Node{OpType: "Where", Inputs: []string{unseen, zero, n.Outputs[0]}, Outputs: out})
	}
	return append(before, &graph.Node{OpType: "Attention", Inputs: inputs, Outputs: out, Attributes: attrs})
}

// visible is a mask of booleans with all keys shown to queries that see none, and which queries those are, with an axis of one for the keys.
func (a *attention) visible(mask string, before *[]*graph.Node) (all, unseen string) {
	number := a.once(before, [2]string{mask, "number"}, func() *graph.Node {
		return a.node("Cast", mask+"/number", []string{mask}, graph.Int("to", int64(tensor.Float32)))
	})
	most := a.once(before, [2]string{mask, "most"}, func() *graph.Node {
		axis := a.fresh(mask+"/axis", tensor.Int64s(tensor.Shape{1}, -1))
		return a.node("ReduceMax", mask+"/most", []string{number, axis}, graph.Int("keepdims", 1))
	})
	seen := a.once(before, [2]string{mask, "seen"}, func() *graph.Node {
		return a.node("Cast", mask+"/seen", []string{most}, graph.Int("to", int64(tensor.Bool)))
	})
	unseen = a.once(before, [2]string{mask, "unseen"}, func() *graph.Node { return a.node("Not", mask+"/unseen", []string{seen}) })
	all = a.once(before, [2]string{mask, "all"}, func() *graph.Node { return a.node("Or", mask+"/visible", []string{mask, unseen}) })
	return all, unseen
}

// peel takes scaling by a constant off an operand.
func (a *attention) peel(name string) string {
	for range 4 {
		n := a.maker[name]
		if n == nil || !n.Is("Mul") && !n.Is("Div") {
			break
		}
		from, c, ok := a.scaled(n)
		if !ok || c == 0 {
			break
		}
		name = from
		a.scale *= c
	}
	return name
}

// shared is what Reshape(Expand(x)) repeats: x is [batch, n, 1, positions, size], and each of its n heads stands for heads/n neighbours. n is
// 0 where name is not that.
func (a *attention) shared(name string, size int64) (from string, n int64) {
	reshape := a.op(name, "Reshape")
	if reshape == nil {
		return "", 0
	}
	expand := a.op(reshape.Input(0), "Expand")
	if expand == nil {
		return "", 0
	}
	_, e, ok := a.typ(expand.Output(0))
	_, x, ok2 := a.typ(expand.Input(0))
	if !ok || !ok2 || len(e) != 5 || len(x) != 5 || x[2] != 1 || e[1] != x[1] || e[1]*e[2] != a.heads ||
		!x.Equal(tensor.Shape{a.batch, e[1], 1, a.keys, size}) || !e.Equal(tensor.Shape{a.batch, e[1], e[2], a.keys, size}) {
		return "", 0
	}
	before := a.maker[expand.Input(0)]
	if before == nil || !before.Is("Unsqueeze") && !before.Is("Reshape") {
		return "", 0
	}
	_, y, ok := a.typ(before.Input(0))
	if !ok || !y.Equal(tensor.Shape{a.batch, e[1], a.keys, size}) {
		return "", 0
	}
	return before.Input(0), e[1]
}

// unflat gives an operand [batch, positions, size] an axis of one head.
func (a *attention) unflat(before *[]*graph.Node, name string) string {
	n := a.node("Unsqueeze", name+"/head", []string{name, a.fresh(name+"/axis", tensor.Int64s(tensor.Shape{1}, 1))})
	*before = append(*before, n)
	return n.Outputs[0]
}

// attentionOperatorRule: an Attention with a mask that is constant and hides nothing, or the keys after a query's own position; or with heads of
// keys and values that are repeated.
func attentionOperatorRule(v *view, root *graph.Node) []*graph.Node {
	if !root.Is("Attention") || len(root.Inputs) < 3 {
		return nil
	}
	for _, name := range append(slices.Clone(root.Inputs[min(4, len(root.Inputs)):]), root.Outputs[1:]...) {
		if name != "" {
			return nil
		}
	}
	_, q, ok := v.typ(root.Input(0))
	_, k, ok2 := v.typ(root.Input(1))
	_, x, ok3 := v.typ(root.Input(2))
	if !ok || !ok2 || !ok3 || len(q) != len(k) || len(x) != len(k) || len(q) != 3 && len(q) != 4 {
		return nil
	}
	n := &graph.Node{OpType: "Attention", Inputs: slices.Clone(root.Inputs), Outputs: root.Outputs[:1], Attributes: slices.Clone(root.Attributes)}
	a := &attention{view: v, root: root, queries: q[len(q)-2], keys: k[len(k)-2]}
	changed := false
	if mask := root.Input(3); v.consts[mask] != nil && root.AttrInt("is_causal", 0) == 0 {
		m := masking{add: mask}
		if v.consts[mask].DType == tensor.Bool {
			m = masking{where: mask, keep: true, masked: math.Inf(-1)}
		}
		if c := a.constantMask(m); c.kind != otherMask {
			n.Inputs, changed = n.Inputs[:3], true
			if c.kind == causalMask {
				n.SetAttr(graph.Int("is_causal", 1))
			}
		}
	}
	if len(q) == 4 && root.Attr("kv_num_heads") == nil {
		a.batch, a.heads = k[0], k[1]
		keys, heads := a.shared(root.Input(1), k[3])
		values, same := a.shared(root.Input(2), x[3])
		if heads > 0 && heads == same {
			n.Inputs[1], n.Inputs[2], changed = keys, values, true
		}
	}
	if !changed {
		return nil
	}
	return []*graph.Node{n}
}
