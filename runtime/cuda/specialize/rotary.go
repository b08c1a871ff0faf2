package specialize

import (
	"bytes"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// rotaryRule: y = x·cos + turned(x)·sin, where turned(x) = Concat(−x₂, x₁) of the halves x₁, x₂ of the last axis, and cos and sin are tables by
// position whose own halves are equal.
func rotaryRule(v *view, root *graph.Node) []*graph.Node {
	if !v.lifted || !root.Is("Add") || len(root.Inputs) != 2 {
		return nil
	}
	for i := range root.Inputs {
		plain, turned := v.op(root.Inputs[i], "Mul"), v.op(root.Inputs[1-i], "Mul")
		if plain == nil || turned == nil || len(plain.Inputs) != 2 || len(turned.Inputs) != 2 {
			continue
		}
		for j := range 4 {
			x, cos := plain.Inputs[j&1], plain.Inputs[1-j&1]
			source, inner, ok := v.halfTurn(turned.Inputs[j>>1])
			if !ok || source != x || !v.closed(root, append(inner, plain, turned)...) {
				continue
			}
			if made := v.rotary(root, x, cos, turned.Inputs[1-j>>1], true); made != nil {
				return made
			}
		}
	}
	return nil
}

// rotaryHalvesRule: y = Concat(x₁·cos − x₂·sin, x₂·cos + x₁·sin), where cos and sin are half as wide.
func rotaryHalvesRule(v *view, root *graph.Node) []*graph.Node {
	if !v.lifted || !root.Is("Concat") || len(root.Inputs) != 2 {
		return nil
	}
	sub, add := v.op(root.Inputs[0], "Sub"), v.op(root.Inputs[1], "Add")
	if sub == nil || add == nil || len(add.Inputs) != 2 {
		return nil
	}
	_, s, ok := v.typ(root.Output(0))
	if !ok || !lastAxis(root.AttrInt("axis", 0), len(s)) {
		return nil
	}
	x, cos, inner, ok := v.halfTimes(sub.Inputs[0], false)
	x2, sin, inner2, ok2 := v.halfTimes(sub.Inputs[1], true)
	if !ok || !ok2 || x != x2 {
		return nil
	}
	for i := range add.Inputs {
		x3, cos3, inner3, ok3 := v.halfTimes(add.Inputs[i], true)
		x4, sin4, inner4, ok4 := v.halfTimes(add.Inputs[1-i], false)
		if !ok3 || !ok4 || x3 != x || x4 != x || cos3 != cos || sin4 != sin ||
			!v.closed(root, slices.Concat([]*graph.Node{sub, add}, inner, inner2, inner3, inner4)...) {
			continue
		}
		return v.rotary(root, x, cos, sin, false)
	}
	return nil
}

// halfTimes is the product of a half of x, the second one where high, with a table.
func (v *view) halfTimes(name string, high bool) (x, table string, inner []*graph.Node, ok bool) {
	mul := v.op(name, "Mul")
	if mul == nil || len(mul.Inputs) != 2 {
		return "", "", nil, false
	}
	for i, in := range mul.Inputs {
		if x, second, n := v.half(in); n != nil && second == high {
			return x, mul.Inputs[1-i], []*graph.Node{mul, n}, true
		}
	}
	return "", "", nil, false
}

// halfTurn is x in Concat(−x₂, x₁).
func (v *view) halfTurn(name string) (x string, inner []*graph.Node, ok bool) {
	concat := v.op(name, "Concat")
	if concat == nil || len(concat.Inputs) != 2 {
		return "", nil, false
	}
	_, s, ok := v.typ(name)
	if !ok || !lastAxis(concat.AttrInt("axis", 0), len(s)) {
		return "", nil, false
	}
	from := ""
	neg := v.maker[concat.Inputs[0]]
	switch {
	case neg == nil:
		return "", nil, false
	case neg.Is("Neg"):
		from = neg.Input(0)
	case neg.Is("Mul") && v.is(neg.Input(1), -1):
		from = neg.Input(0)
	case neg.Is("Mul") && v.is(neg.Input(0), -1):
		from = neg.Input(1)
	default:
		return "", nil, false
	}
	x, second, hi := v.half(from)
	x1, other, lo := v.half(concat.Inputs[1])
	if hi == nil || lo == nil || x != x1 || !second || other {
		return "", nil, false
	}
	return x, []*graph.Node{concat, neg, hi, lo}, true
}

// half is the value of which name is a half along the last axis, and which half: a Slice or an output of a Split.
func (v *view) half(name string) (x string, second bool, n *graph.Node) {
	n = v.maker[name]
	if n == nil || !n.Is("Slice") && !n.Is("Split") {
		return "", false, nil
	}
	x = n.Input(0)
	_, whole, ok := v.typ(x)
	_, part, ok2 := v.typ(name)
	if !ok || !ok2 || len(whole) == 0 || 2*part[len(part)-1] != whole[len(whole)-1] {
		return "", false, nil
	}
	if n.Is("Split") {
		if len(n.Outputs) != 2 || !lastAxis(n.AttrInt("axis", 0), len(whole)) {
			return "", false, nil
		}
		return x, n.Outputs[1] == name, n
	}
	starts, ok := v.ints(n.Input(1))
	axes, ok2 := v.ints(n.Input(3))
	if !ok || !ok2 || len(starts) != 1 || len(axes) != 1 || !lastAxis(axes[0], len(whole)) || !v.forward(n) {
		return "", false, nil
	}
	width := whole[len(whole)-1]
	switch start := starts[0]; {
	case start == 0 || start <= -width:
		return x, false, n
	case start == width/2 || start == -width/2:
		return x, true, n
	}
	return "", false, nil
}

// rotary makes the operator for x, [batch, heads, sequence, width] or [batch, sequence, heads, width], as the tables tell. Tables come to the
// operator as rows by position, with the positions.
func (v *view) rotary(root *graph.Node, x, cos, sin string, whole bool) []*graph.Node {
	d, s, ok := v.typ(x)
	if !ok || !floating(d) || len(s) != 4 || s[3] == 0 || s[3]%2 != 0 || !v.sameType(x, root.Output(0)) {
		return nil
	}
	width := s[3]
	if !whole {
		width /= 2
	}
	dc, c, ok := v.typ(cos)
	ds, c2, ok2 := v.typ(sin)
	if !ok || !ok2 || dc != d || ds != d || !c.Equal(c2) || len(c) > 4 {
		return nil
	}
	c = append(slices.Repeat(tensor.Shape{1}, 4-len(c)), c...)
	if c[3] != width || c[0] != 1 && c[0] != s[0] {
		return nil
	}
	var batch, heads, sequence int64
	headsFirst := true
	switch {
	case c[1] == 1 && c[2] == s[2]:
		batch, heads, sequence = s[0], s[1], s[2]
	case c[2] == 1 && c[1] == s[1]:
		headsFirst = false
		batch, sequence, heads = s[0], s[1], s[2]
	default:
		return nil
	}
	nodes, tables := []*graph.Node(nil), [2]string{}
	for i, name := range []string{cos, sin} {
		table, made, ok := v.table(name, c[0]*sequence, width, whole)
		if !ok {
			return nil
		}
		tables[i] = table
		nodes = append(nodes, made...)
	}
	inputs := []string{x, tables[0], tables[1], v.positions(batch, sequence, c[0])}
	if headsFirst {
		return append(nodes, &graph.Node{OpType: "RotaryEmbedding", Inputs: inputs, Outputs: root.Outputs[:1]})
	}
	flat := v.node("Reshape", x+"/flat", []string{x, v.fresh(x+"/flat_shape", tensor.Int64s(tensor.Shape{3}, batch, sequence, heads*s[3]))})
	inputs[0] = flat.Outputs[0]
	turned := v.node("RotaryEmbedding", root.Output(0)+"/flat", inputs, graph.Int("num_heads", heads))
	back := &graph.Node{OpType: "Reshape", Inputs: []string{turned.Outputs[0], v.fresh(x+"/shape", tensor.Int64s(tensor.Shape{4}, s...))},
		Outputs: root.Outputs[:1]}
	return append(nodes, flat, turned, back)
}

// table is the first halves of the rows of a table, or the rows themselves where they are not whole, as a matrix. Where the table is not
// constant it is made by nodes, the first time that it is asked for.
func (v *view) table(name string, rows, width int64, whole bool) (string, []*graph.Node, bool) {
	if t := v.found.tables[name]; t != "" {
		return t, nil, true
	}
	half := width
	if whole {
		half = width / 2
	}
	shape := tensor.Shape{rows, half}
	if t := v.consts[name]; t != nil {
		b, err := t.Bytes()
		if err != nil {
			return "", nil, false
		}
		if whole {
			n := int(half) * t.DType.Bits() / 8
			out := make([]byte, 0, len(b)/2)
			for ; len(b) > 0; b = b[2*n:] {
				if !bytes.Equal(b[:n], b[n:2*n]) {
					return "", nil, false
				}
				out = append(out, b[:n]...)
			}
			b = out
		}
		v.found.tables[name] = v.fresh(name+"/rows", &tensor.Tensor{DType: t.DType, Shape: shape, Data: tensor.Bytes(b)})
		return v.found.tables[name], nil, true
	}
	var nodes []*graph.Node
	from := name
	if whole {
		if !v.twice(name, 0) {
			return "", nil, false
		}
		one := func(what string, x int64) string {
			return v.fresh(name+"/"+what, tensor.Int64s(tensor.Shape{1}, x))
		}
		cut := v.node("Slice", name+"/half", []string{name, one("from", 0), one("to", half), one("axis", -1)})
		nodes, from = append(nodes, cut), cut.Outputs[0]
	}
	flat := v.node("Reshape", name+"/rows", []string{from, v.fresh(name+"/rows_shape", tensor.Int64s(tensor.Shape{2}, shape...))})
	v.found.tables[name] = flat.Outputs[0]
	return flat.Outputs[0], append(nodes, flat), true
}

// twice reports whether the rows of a value consist of two equal halves, because it was made elementwise from Concat(f, f) or by rows from
// a constant of that kind.
func (v *view) twice(name string, depth int) bool {
	n := v.maker[name]
	if n == nil || depth > 8 {
		return false
	}
	_, s, ok := v.typ(name)
	if !ok || len(s) == 0 {
		return false
	}
	switch {
	case n.Is("Concat"):
		return len(n.Inputs) == 2 && n.Inputs[0] == n.Inputs[1] && lastAxis(n.AttrInt("axis", 0), len(s))
	case n.Is("Cos"), n.Is("Sin"), n.Is("Cast"):
		return v.twice(n.Input(0), depth+1)
	case n.Is("Mul") && len(n.Inputs) == 2:
		for i, in := range n.Inputs {
			if _, ok := v.scalar(in); ok {
				return v.twice(n.Inputs[1-i], depth+1)
			}
		}
	case n.Is("Unsqueeze"), n.Is("Squeeze"), n.Is("Reshape"):
		// The last axis must be the same one.
		_, from, ok := v.typ(n.Input(0))
		return ok && len(from) > 0 && from[len(from)-1] == s[len(s)-1] && s[len(s)-1] > 1 && v.twice(n.Input(0), depth+1)
	case n.Is("Gather"):
		t := v.consts[n.Input(0)]
		if t == nil || len(t.Shape) != 2 || n.AttrInt("axis", 0) != 0 || t.DType.Bits()%8 != 0 {
			return false
		}
		b, err := t.Bytes()
		half := int(t.Shape[1]) * t.DType.Bits() / 16
		if err != nil || half == 0 || t.Shape[1]%2 != 0 {
			return false
		}
		for ; len(b) > 0; b = b[2*half:] {
			if !bytes.Equal(b[:half], b[half:2*half]) {
				return false
			}
		}
		return true
	}
	return false
}

// positions are the rows of a table for each batch and position: the table has them for one batch or for all.
func (v *view) positions(batch, sequence, tables int64) string {
	key := [3]int64{batch, sequence, tables}
	if name := v.found.positions[key]; name != "" {
		return name
	}
	rows := make([]int64, 0, batch*sequence)
	for i := range batch {
		for j := range sequence {
			if tables > 1 {
				j += i * sequence
			}
			rows = append(rows, j)
		}
	}
	v.found.positions[key] = v.fresh("positions", tensor.Int64s(tensor.Shape{batch, sequence}, rows...))
	return v.found.positions[key]
}
