package specialize

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// normalized is x/√(mean(x²)+ε) over the axes from axis on, made by node n.
type normalized struct {
	x       string
	epsilon float32
	axis    int64 // negative
	axes    []int64
	inner   []*graph.Node
}

// normalized finds x·r or x/d in n, where
//
//	d = Sqrt(s) | Pow(s, ½),  r = Reciprocal(d) | 1/d | Pow(s, −½),  s = ReduceMean(x² )+ε,  x² = Pow(x, 2) | Mul(x, x).
func (v *view) normalized(n *graph.Node) *normalized {
	switch {
	case n.Is("Mul") && len(n.Inputs) == 2:
		for i, in := range n.Inputs {
			if d, ok := v.inverted(n.Inputs[1-i]); ok {
				if f := v.deviation(in, d); f != nil {
					return f
				}
			}
		}
	case n.Is("Div") && len(n.Inputs) == 2:
		if d, ok := v.root(n.Inputs[1], 0.5); ok {
			return v.deviation(n.Inputs[0], d)
		}
	}
	return nil
}

// chain is a value that a pattern has gone back to, and the nodes passed on the way.
type chain struct {
	name  string
	inner []*graph.Node
}

// root is s in s^power.
func (v *view) root(name string, power float64) (chain, bool) {
	if n := v.op(name, "Sqrt"); n != nil && power == 0.5 {
		return chain{n.Input(0), []*graph.Node{n}}, true
	}
	if n := v.op(name, "Pow"); n != nil && v.is(n.Input(1), power) {
		return chain{n.Input(0), []*graph.Node{n}}, true
	}
	return chain{}, false
}

// inverted is s in 1/√s.
func (v *view) inverted(name string) (chain, bool) {
	if c, ok := v.root(name, -0.5); ok {
		return c, true
	}
	from := ""
	n := v.op(name, "Reciprocal")
	if n != nil {
		from = n.Input(0)
	} else if n = v.op(name, "Div"); n != nil && v.is(n.Input(0), 1) {
		from = n.Input(1)
	}
	c, ok := v.root(from, 0.5)
	c.inner = append(c.inner, n)
	return c, ok
}

// deviation checks that c is mean(x²)+ε.
func (v *view) deviation(x string, c chain) *normalized {
	add := v.op(c.name, "Add")
	if add == nil || len(add.Inputs) != 2 {
		return nil
	}
	for i, in := range add.Inputs {
		epsilon, ok := v.scalar(add.Inputs[1-i])
		mean := v.op(in, "ReduceMean")
		if !ok || mean == nil || !(epsilon >= 0) {
			continue
		}
		square := v.maker[mean.Input(0)]
		switch {
		case square == nil:
			return nil
		case square.Is("Pow") && square.Input(0) == x && v.is(square.Input(1), 2):
		case square.Is("Mul") && square.Input(0) == x && square.Input(1) == x:
		default:
			return nil
		}
		d, s, ok := v.typ(x)
		axes, ok2 := v.reduced(mean, len(s))
		if !ok || !ok2 || !floating(d) {
			return nil
		}
		return &normalized{x: x, epsilon: float32(epsilon), axis: int64(-len(axes)), axes: axes, inner: append(c.inner, add, mean, square)}
	}
	return nil
}

// reduced are the axes of a reduction of a value of this rank, where they are its last ones and stay with an extent of 1.
func (v *view) reduced(n *graph.Node, rank int) ([]int64, bool) {
	axes, ok := n.AttrInts("axes")
	if !ok && n.Input(1) != "" {
		axes, ok = v.ints(n.Input(1))
	}
	if !ok || len(axes) == 0 || n.AttrInt("keepdims", 1) == 0 {
		return nil, false
	}
	axes = slices.Clone(axes)
	for i, a := range axes {
		if a >= 0 {
			axes[i] = a - int64(rank)
		}
	}
	slices.Sort(axes)
	for i, a := range axes {
		if a != int64(i-len(axes)) {
			return nil, false
		}
	}
	return axes, true
}

// row is a weight or bias of the axes that are normalized, as an array of just these: a constant of more axes is seen anew. It is "" where
// name is none.
func (v *view) row(name, x string, axis int64) string {
	d, s, ok := v.typ(x)
	wd, ws, ok2 := v.typ(name)
	if !ok || !ok2 || d != wd || len(ws) > len(s) {
		return ""
	}
	want := s[int64(len(s))+axis:]
	lead := len(ws) - len(want)
	if lead < 0 || !ws[lead:].Equal(want) {
		return ""
	}
	for _, n := range ws[:lead] {
		if n != 1 {
			return ""
		}
	}
	if t := v.consts[name]; lead > 0 && t != nil {
		return v.fresh(name, &tensor.Tensor{DType: t.DType, Shape: want.Clone(), Data: t.Data})
	}
	return name
}

// weighted finds Mul(n, w), or Mul(Cast(n), w) where n is the normalization of a Cast of a value of the Cast's type: then the statistics are
// taken in another type than the value's, as attribute stash_type says.
func (v *view) weighted(root *graph.Node) (f *normalized, weight string, stash tensor.DType) {
	if !root.Is("Mul") || len(root.Inputs) != 2 {
		return nil, "", 0
	}
	for i, in := range root.Inputs {
		n, out := v.maker[in], in
		var inner []*graph.Node
		if n != nil && n.Is("Cast") {
			inner = append(inner, n)
			n = v.maker[n.Input(0)]
		}
		if n == nil {
			continue
		}
		f := v.normalized(n)
		if f == nil {
			continue
		}
		stash, _, _ = v.typ(f.x)
		f.inner = append(f.inner, append(inner, n)...)
		if len(inner) > 0 && !v.uncast(f, out) {
			continue
		}
		if weight = v.row(root.Inputs[1-i], f.x, f.axis); weight != "" {
			return f, weight, stash
		}
	}
	return nil, "", 0
}

// uncast takes the source of a Cast for what is normalized, where that has the type of out.
func (v *view) uncast(f *normalized, out string) bool {
	c := v.op(f.x, "Cast")
	if c == nil {
		return false
	}
	d, _, ok := v.typ(c.Input(0))
	want, _, ok2 := v.typ(out)
	if !ok || !ok2 || d != want || !floating(d) {
		return false
	}
	f.x = c.Input(0)
	return true
}

// rmsNormalizationRule: y = x/√(mean(x²)+ε) · w.
func rmsNormalizationRule(v *view, root *graph.Node) []*graph.Node {
	if !v.lifted {
		return nil
	}
	f, weight, stash := v.weighted(root)
	if f == nil || !v.closed(root, f.inner...) || !v.sameType(f.x, root.Output(0)) {
		return nil
	}
	return []*graph.Node{rmsNormalization(f, weight, stash, root)}
}

// plainRMSNormalization is that without a weight, which then is of ones.
func plainRMSNormalization(v *view, root *graph.Node) []*graph.Node {
	if !v.lifted {
		return nil
	}
	f := v.normalized(root)
	if f == nil || !v.closed(root, f.inner...) || !v.sameType(f.x, root.Output(0)) {
		return nil
	}
	d, s, _ := v.typ(f.x)
	return []*graph.Node{rmsNormalization(f, v.ones(d, s[int64(len(s))+f.axis:]), d, root)}
}

func rmsNormalization(f *normalized, weight string, stash tensor.DType, root *graph.Node) *graph.Node {
	return &graph.Node{OpType: "RMSNormalization", Inputs: []string{f.x, weight}, Outputs: root.Outputs[:1], Attributes: []*graph.Attribute{
		graph.Int("axis", f.axis), graph.Float("epsilon", f.epsilon), graph.Int("stash_type", int64(stash))}}
}

// ones is a constant of ones.
func (v *view) ones(d tensor.DType, s tensor.Shape) string {
	key := d.String() + s.String()
	if name := v.found.ones[key]; name != "" {
		return name
	}
	name := v.fresh("ones", filled(d, 1, s...))
	v.found.ones[key] = name
	return name
}

// centered takes x for what is normalized, where that was x − mean(x).
func (v *view) centered(f *normalized) bool {
	sub := v.op(f.x, "Sub")
	if sub == nil {
		return false
	}
	mean := v.op(sub.Input(1), "ReduceMean")
	if mean == nil || mean.Input(0) != sub.Input(0) {
		return false
	}
	_, s, ok := v.typ(sub.Input(0))
	axes, ok2 := v.reduced(mean, len(s))
	if !ok || !ok2 || !slices.Equal(axes, f.axes) || !v.sameType(sub.Input(0), f.x) {
		return false
	}
	f.x = sub.Input(0)
	f.inner = append(f.inner, sub, mean)
	return true
}

// layerNormalizationRule: y = (x−mean(x))/√(mean((x−mean(x))²)+ε) · w + b.
func layerNormalizationRule(v *view, root *graph.Node) []*graph.Node {
	if !root.Is("Add") || len(root.Inputs) != 2 {
		return nil
	}
	for i, in := range root.Inputs {
		mul := v.op(in, "Mul")
		if mul == nil {
			continue
		}
		f, weight := v.layer(mul)
		if f == nil || !v.closed(root, append(f.inner, mul)...) || !v.sameType(f.x, root.Output(0)) {
			continue
		}
		if bias := v.row(root.Inputs[1-i], f.x, f.axis); bias != "" {
			return []*graph.Node{layerNormalization(f, root, weight, bias)}
		}
	}
	return nil
}

// layerNormalizationWithoutBias is that without + b.
func layerNormalizationWithoutBias(v *view, root *graph.Node) []*graph.Node {
	f, weight := v.layer(root)
	if f == nil || !v.closed(root, f.inner...) || !v.sameType(f.x, root.Output(0)) {
		return nil
	}
	return []*graph.Node{layerNormalization(f, root, weight)}
}

// plainLayerNormalization is that without · w + b.
func plainLayerNormalization(v *view, root *graph.Node) []*graph.Node {
	f := v.normalized(root)
	if f == nil || !v.centered(f) || v.m.OpsetVersion("") < 17 || !v.closed(root, f.inner...) || !v.sameType(f.x, root.Output(0)) {
		return nil
	}
	d, s, _ := v.typ(f.x)
	return []*graph.Node{layerNormalization(f, root, v.ones(d, s[int64(len(s))+f.axis:]))}
}

// layer finds a weighted normalization of a centered value.
func (v *view) layer(mul *graph.Node) (*normalized, string) {
	f, weight, _ := v.weighted(mul)
	if f == nil || v.m.OpsetVersion("") < 17 || !v.centered(f) {
		return nil, ""
	}
	return f, weight
}

func layerNormalization(f *normalized, root *graph.Node, operands ...string) *graph.Node {
	return &graph.Node{OpType: "LayerNormalization", Inputs: append([]string{f.x}, operands...), Outputs: root.Outputs[:1],
		Attributes: []*graph.Attribute{graph.Int("axis", f.axis), graph.Float("epsilon", f.epsilon)}}
}
