package program

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// attentions is the lowers of attention and of what turns its heads.
func attentions() map[string]lower {
	return map[string]lower{"Attention": attend, "RotaryEmbedding": rotate}
}

// heads is a view as [batch, heads, rows, elements], the elements contiguous.
type heads struct {
	t                        *Tensor
	batch, count, rows, size int64
	strides                  [3]int64 // of batch, head and row
}

// readHeads is a value of four axes, or of three with this many heads side by side.
func (b *builder) readHeads(name string, count int64) (h *heads, why string) {
	t, why := b.get(name)
	if t == nil {
		return nil, why
	}
	switch len(t.Dims) {
	case 3:
		if count < 1 || t.Dims[2]%count != 0 {
			return nil, fmt.Sprintf("%d heads in %v", count, t.Dims)
		}
		size := t.Dims[2] / count
		s := t.Strides
		t = t.view(0, []int64{t.Dims[0], count, t.Dims[1], size}, []int64{s[0], s[2] * size, s[1], s[2]})
	case 4:
		if count != 0 && count != t.Dims[1] {
			return nil, fmt.Sprintf("%d heads in %v", count, t.Dims)
		}
	default:
		return nil, fmt.Sprintf("heads in %v", t.Dims)
	}
	if t.Strides[3] != 1 && t.Dims[3] != 1 {
		t = b.contiguous(t)
	}
	return &heads{t, t.Dims[0], t.Dims[1], t.Dims[2], t.Dims[3], [3]int64(t.Strides[:3])}, ""
}

// newHeads is a new array for heads, of which those of one row lie side by side: the transposition that usually follows is then a view.
// all is the array as [batch, rows, heads, elements] lies in memory.
func (b *builder) newHeads(t kernels.Type, batch, count, rows, size int64) (h *heads, all *Tensor) {
	all = b.new(t, batch, rows, count, size)
	s := all.Strides
	v := all.view(0, []int64{batch, count, rows, size}, []int64{s[0], s[2], s[1], s[3]})
	return &heads{v, batch, count, rows, size, [3]int64(v.Strides[:3])}, all
}

// defineHeads defines a value as heads, of three axes or of four.
func (b *builder) defineHeads(name string, h *heads, all *Tensor) {
	if dims, _ := b.dims(name); len(dims) == 3 {
		b.define(name, all.reshape(dims...))
		return
	}
	b.define(name, h.t)
}

// attend lowers Attention.
func attend(b *builder, n *graph.Node) (string, error) {
	if why := knows(n, "q_num_heads", "kv_num_heads", "scale", "softcap", "is_causal", "qk_matmul_output_mode", "softmax_precision"); why != "" {
		return why, nil
	}
	if why := b.unused(n, 3); why != "" {
		return why, nil
	}
	if n.Input(6) != "" || (n.Input(4) == "") != (n.Input(5) == "") {
		return "numbers of keys that data decides have no kernel", nil
	}
	out := n.Output(0)
	t := b.held(b.typeOf(out))
	if t != kernels.F32 && t != kernels.BF16 {
		return fmt.Sprintf("Attention of %v", b.typeOf(out)), nil
	}
	q, why := b.readHeads(n.Input(0), n.AttrInt("q_num_heads", 0))
	if q == nil {
		return why, nil
	}
	k, why := b.readHeads(n.Input(1), n.AttrInt("kv_num_heads", 0))
	if k == nil {
		return why, nil
	}
	v, why := b.readHeads(n.Input(2), n.AttrInt("kv_num_heads", 0))
	if v == nil {
		return why, nil
	}
	switch {
	case k.batch != q.batch || v.batch != q.batch || k.size != q.size || k.count != v.count || k.rows != v.rows || q.count%k.count != 0:
		return fmt.Sprintf("heads %v, %v and %v", q.t.Dims, k.t.Dims, v.t.Dims), nil
	case q.t.T != t || k.t.T != t || v.t.T != t:
		return fmt.Sprintf("types %v, %v and %v", q.t.T, k.t.T, v.t.T), nil
	}
	scale := n.AttrFloat("scale", float32(1/math.Sqrt(float64(q.size))))
	past := k.rows
	if why = b.cache(k, n.Input(4), n.Output(1)); why == "" {
		why = b.cache(v, n.Input(5), n.Output(2))
	}
	if why != "" {
		return why, nil
	}
	if past = k.rows - past; v.rows != k.rows {
		return fmt.Sprintf("%d keys and %d values", k.rows, v.rows), nil
	}
	mask, why := b.mask(n.Input(3), []int64{q.batch, q.count, q.rows, k.rows})
	if why != "" {
		return why, nil
	}
	if n.AttrFloat("softcap", 0) > 0 || v.size != q.size || q.size > 128 || !(scale > 0) || q.batch > math.MaxUint16 || q.count > math.MaxUint16 {
		return b.attendInSteps(n, q, k, v, mask, scale, past)
	}
	o, all := b.newHeads(t, q.batch, q.count, q.rows, q.size)
	to, turned := b.codesOfHeads(n)
	y := o.t
	if to.only() {
		y = nil
	}
	// Query i sees keys up to i behind those of the cache, however many there are.
	a := kernels.Attention{T: t, QStrides: q.strides, KStrides: k.strides, VStrides: v.strides, OStrides: o.strides, Batch: q.batch,
		Heads: q.count, KVHeads: k.count, Head: q.size, Queries: q.rows, Keys: k.rows, Scale: scale, Causal: n.AttrInt("is_causal", 0) != 0,
		Offset: past}
	if mask != nil {
		a.Mask = kernels.Mask{T: mask.T, Strides: [4]int64(mask.Strides)}
	}
	seen := float64(q.rows * k.rows)
	if a.Causal {
		seen = causalPairs(q.rows, k.rows, past)
	}
	b.emit(Step{
		Kernel: "attention", FLOPs: 4 * seen * float64(q.batch*q.count*q.size), Bytes: traffic(q.t, k.t, v.t, y, to.to()),
		Reads: append(buffers(q.t, k.t, v.t, mask), to.reads()...), Writes: append(buffers(y), to.writes()...),
		Launch: func(l *Launcher) error {
			a := a
			a.Q, a.K, a.V, a.O, a.Mask.P = l.Addr(q.t), l.Addr(k.t), l.Addr(v.t), l.Addr(y), l.Addr(mask)
			a.Codes = to.codes(l)
			return l.Kernels.Attend(a, l.Stream)
		},
	})
	b.fulfilled(to)
	if y != nil {
		b.defineHeads(out, o, all)
	} else if turned != nil {
		b.done[turned] = true
	}
	return "", nil
}

// attendInSteps lowers what has no kernel of its own: two products, and a softmax between them.
func (b *builder) attendInSteps(n *graph.Node, q, k, v *heads, mask *Tensor, scale float32, past int64) (why string, err error) {
	out := n.Output(0)
	name := func(what string, dims ...int64) string {
		name := fmt.Sprintf("%s (%s)", out, what)
		b.declare(name, b.typeOf(out), dims, 1)
		return name
	}
	defined := func(what string, t *Tensor) string {
		name := name(what, t.Dims...)
		b.define(name, t)
		return name
	}
	keys, values := b.repeated(k, q.count), b.repeated(v, q.count)
	turned := keys.view(0, []int64{q.batch, q.count, q.size, k.rows}, []int64{keys.Strides[0], keys.Strides[1], keys.Strides[3], keys.Strides[2]})
	scores := name("scores", q.batch, q.count, q.rows, k.rows)
	product := &graph.Node{Name: n.Name, OpType: "MatMul", Inputs: []string{defined("queries", q.t), defined("keys", turned)}, Outputs: []string{scores}}
	if why, err = b.also(product); why != "" || err != nil {
		return why, err
	}
	s := kernels.Softmax{T: q.t.T, Scale: scale, Dims: [3]int64{q.batch, q.count, q.rows}, Cols: k.rows, Causal: n.AttrInt("is_causal", 0) != 0,
		Offset: past}
	x, why := b.getDense(scores)
	if x == nil {
		return why, nil
	}
	if soft := n.AttrFloat("softcap", 0); soft > 0 {
		capped := name("capped scores", x.Dims...)
		root := one(kernels.OpTanh, join(kernels.OpDiv, join(kernels.OpMul, &term{in: x}, number(scale)), number(soft)))
		b.defineLazy(capped, &expression{dims: x.Dims, t: x.T, root: join(kernels.OpMul, root, number(soft)), node: n})
		s.Scale = 1
		if x, why = b.getDense(capped); x == nil {
			return why, nil
		}
	}
	weights := b.new(x.T, x.Dims...)
	b.emitSoftmax(s, x, mask, weights)
	dims, _ := b.dims(out)
	product = &graph.Node{Name: n.Name, OpType: "MatMul", Inputs: []string{defined("weights", weights), defined("values", values)}, Outputs: []string{out}}
	if len(dims) == 3 {
		product.Outputs[0] = name("heads", q.batch, q.count, q.rows, v.size)
	}
	if why, err = b.also(product); why != "" || err != nil || len(dims) == 4 {
		return why, err
	}
	y, why := b.get(product.Outputs[0])
	if y == nil {
		return why, nil
	}
	y = y.view(0, []int64{q.batch, q.rows, q.count, v.size}, []int64{y.Strides[0], y.Strides[2], y.Strides[1], y.Strides[3]})
	b.define(out, b.reshaped(y, dims))
	return "", nil
}

// repeated is heads as many as there are queries' heads: neighbours of these share one.
func (b *builder) repeated(h *heads, count int64) *Tensor {
	if h.count == count {
		return h.t
	}
	s := h.t.Strides
	all := h.t.view(0, []int64{h.batch, h.count, count / h.count, h.rows, h.size}, []int64{s[0], s[1], 0, s[2], s[3]})
	return b.copy(all).reshape(h.batch, count, h.rows, h.size)
}

// codesOfHeads is the cast that is wanted of a result whose heads lie side by side: of the node's own where it has three axes, else of the
// result of the node that turns it so, which is returned too and alone reads it.
func (b *builder) codesOfHeads(n *graph.Node) (q *cast, turned *graph.Node) {
	name := n.Output(0)
	if dims, _ := b.dims(name); len(dims) == 4 {
		turned = b.reader(name)
		if turned == nil || !turned.Is("Transpose") {
			return nil, nil
		}
		if perm, _ := turned.AttrInts("perm"); !slices.Equal(perm, []int64{0, 2, 1, 3}) {
			return nil, nil
		}
		name = turned.Output(0)
	}
	q = b.demand(name, 0)
	if q != nil && q.Codes != nil && q.Ld != q.Cols {
		return nil, nil // its rows of codes have no gaps
	}
	return q, turned
}

// causalPairs is how many pairs of a query and a key there are where query i sees keys up to past + i.
func causalPairs(queries, keys, past int64) float64 {
	some := max(min(queries, keys-past), 0) // that do not see all keys, but for the last
	return float64(some*(some+1)/2 + some*past + (queries-some)*keys)
}

// cache puts the rows of the value called past before those of h, if there is one, and defines the value called present as both.
func (b *builder) cache(h *heads, past, present string) (why string) {
	if past != "" {
		t, why := b.get(past)
		if t == nil {
			return why
		}
		if len(t.Dims) != 4 || t.Dims[0] != h.batch || t.Dims[1] != h.count || t.Dims[3] != h.size || t.T != h.t.T {
			return fmt.Sprintf("a cache of %v for %v", t.Dims, h.t.Dims)
		}
		all := b.new(t.T, h.batch, h.count, t.Dims[2]+h.rows, h.size)
		for _, part := range []struct {
			t  *Tensor
			at int64
		}{{t, 0}, {h.t, t.Dims[2]}} {
			if why := b.put(all.view(part.at*h.size, part.t.Dims, all.Strides), part.t); why != "" {
				return why
			}
		}
		h.t, h.rows, h.strides = all, all.Dims[2], [3]int64(all.Strides[:3])
	}
	if present != "" && b.uses(present) > 0 {
		b.define(present, h.t)
	}
	return ""
}

// mask is a mask spread over dims, of a type that is added or of bool. It is nil, without a reason, where there is none.
func (b *builder) mask(name string, dims []int64) (t *Tensor, why string) {
	if name == "" {
		return nil, ""
	}
	if t, why = b.get(name); t == nil {
		return nil, why
	}
	switch t.T {
	case kernels.F32, kernels.F16, kernels.BF16, kernels.Bool:
	default:
		return nil, fmt.Sprintf("a mask of %v", t.T)
	}
	strides, ok := spread(t, dims)
	if last := len(t.Dims) - 1; last >= 0 && t.Dims[last] != dims[3] && b.st.Model.OpsetVersion("") >= 24 {
		ok = false // it is not spread over the keys: those that it lacks are left out
	}
	if !ok {
		return nil, fmt.Sprintf("a mask of %v for scores of %v has no kernel", t.Dims, dims)
	}
	return t.view(0, dims, strides), ""
}

// rotate lowers RotaryEmbedding.
func rotate(b *builder, n *graph.Node) (string, error) {
	if why := knows(n, "num_heads", "rotary_embedding_dim", "interleaved"); why != "" {
		return why, nil
	}
	out := n.Output(0)
	t := b.held(b.typeOf(out))
	if t != kernels.F32 && t != kernels.BF16 {
		return fmt.Sprintf("RotaryEmbedding of %v", b.typeOf(out)), nil
	}
	x, why := b.readHeads(n.Input(0), n.AttrInt("num_heads", 0))
	if x == nil {
		return why, nil
	}
	width := n.AttrInt("rotary_embedding_dim", 0)
	if width == 0 {
		width = x.size
	}
	if width < 0 || width > x.size || width%2 != 0 || x.t.T != t {
		return fmt.Sprintf("%d of %d elements of %v are turned", width, x.size, x.t.T), nil
	}
	half := width / 2
	cos, sin, positions, why := b.turns(n, x, half)
	if cos == nil {
		return why, nil
	}
	r := kernels.Rotary{T: t, XStrides: x.strides, Batch: x.batch, Heads: x.count, Sequence: x.rows, Head: x.size, Width: width,
		TableType: cos.T, TableLd: half, Interleaved: n.AttrInt("interleaved", 0) != 0}
	if positions != nil {
		r.PositionStride = positions.Strides[0]
	}
	// The result lies as the input does.
	var y *heads
	var all *Tensor
	if dims, _ := b.dims(out); len(dims) == 3 || x.strides[2] >= x.strides[1] && x.count > 1 {
		y, all = b.newHeads(t, x.batch, x.count, x.rows, x.size)
	} else {
		v := b.new(t, x.batch, x.count, x.rows, x.size)
		y = &heads{v, x.batch, x.count, x.rows, x.size, [3]int64(v.Strides[:3])}
	}
	r.YStrides = y.strides
	b.emit(Step{
		Kernel: "rotary", Bytes: traffic(x.t, y.t),
		Reads: buffers(x.t, cos, sin, positions), Writes: buffers(y.t),
		Launch: func(l *Launcher) error {
			r := r
			r.X, r.Y, r.Cos, r.Sin, r.Positions = l.Addr(x.t), l.Addr(y.t), l.Addr(cos), l.Addr(sin), l.Addr(positions)
			return l.Kernels.Rotate(r, l.Stream)
		},
	})
	b.defineHeads(out, y, all)
	return "", nil
}

// turns is the tables of a rotary embedding, rows of half elements, and which row each position of each batch uses: [batch, rows] by
// strides, nil where it is that of the position's own number.
func (b *builder) turns(n *graph.Node, x *heads, half int64) (cos, sin, positions *Tensor, why string) {
	dims, ok := b.dims(n.Input(1))
	other, _ := b.dims(n.Input(2))
	if !ok || len(dims) == 0 || dims[len(dims)-1] != half || !slices.Equal(dims, other) {
		return nil, nil, nil, fmt.Sprintf("tables of %v and %v for %d angles", dims, other, half)
	}
	ids := n.Input(3)
	if ids == "" {
		if len(dims) != 3 || dims[0] != x.batch || dims[1] != x.rows {
			return nil, nil, nil, fmt.Sprintf("tables of %v for %v", dims, x.t.Dims)
		}
		if cos, sin, why = b.tables(n); cos == nil {
			return nil, nil, nil, why
		}
		return cos, sin, b.everyRow(n, x), ""
	}
	if d, _ := b.dims(ids); len(dims) != 2 || !slices.Equal(d, []int64{x.batch, x.rows}) {
		return nil, nil, nil, fmt.Sprintf("tables of %v and positions of %v for %v", dims, d, x.t.Dims)
	}
	if known, ok := b.ints(ids); ok {
		id := make([]int64, len(known))
		for i, p := range known {
			if p < 0 {
				p += dims[0]
			}
			if p < 0 || p >= dims[0] {
				return nil, nil, nil, fmt.Sprintf("position %d of %d", p, dims[0])
			}
			id[i] = p
		}
		if cos, sin, why = b.tables(n); cos == nil {
			return nil, nil, nil, why
		}
		return cos, sin, b.weight(tensor.Int64s(tensor.Shape{x.batch, x.rows}, id...), kernels.I64), ""
	}
	// Positions that data decides may be out of range: a Gather looks at each of them.
	var picked [2]*Tensor
	for i := range picked {
		name := fmt.Sprintf("%s (table %d)", n.Output(0), i)
		b.declare(name, b.typeOf(n.Input(1+i)), []int64{x.batch, x.rows, half}, 1)
		g := &graph.Node{Name: n.Name, OpType: "Gather", Inputs: []string{n.Input(1 + i), ids}, Outputs: []string{name}}
		if why, err := gather(b, g); why != "" || err != nil {
			return nil, nil, nil, why
		}
		if picked[i], why = b.getDense(name); picked[i] == nil {
			return nil, nil, nil, why
		}
	}
	return picked[0], picked[1], b.rowNumbers(x), ""
}

// tables are those of a rotary embedding as they are, of one type; constants in the model's own: the angles of far positions want the
// digits.
func (b *builder) tables(n *graph.Node) (cos, sin *Tensor, why string) {
	get := b.getOwn
	if (b.constant(n.Input(1)) == nil) != (b.constant(n.Input(2)) == nil) {
		get = b.getDense
	}
	if cos, why = get(n.Input(1)); cos == nil {
		return nil, nil, why
	}
	if sin, why = get(n.Input(2)); sin == nil {
		return nil, nil, why
	}
	if cos.T != sin.T {
		return nil, nil, fmt.Sprintf("tables of %v and %v", cos.T, sin.T)
	}
	return cos, sin, ""
}

// everyRow is the positions for tables that have a row for each position of each batch; nil where the batches are the same.
func (b *builder) everyRow(n *graph.Node, x *heads) *Tensor {
	if x.batch == 1 || repeats(b.constant(n.Input(1)), x.batch) && repeats(b.constant(n.Input(2)), x.batch) {
		return nil
	}
	return b.rowNumbers(x)
}

// rowNumbers counts the positions of all batches.
func (b *builder) rowNumbers(x *heads) *Tensor {
	if x.batch == 1 {
		return nil
	}
	id := make([]int64, x.batch*x.rows)
	for i := range id {
		id[i] = int64(i)
	}
	return b.weight(tensor.Int64s(tensor.Shape{x.batch, x.rows}, id...), kernels.I64)
}

// repeats reports whether a constant is the same for every index of its first axis.
func repeats(t *tensor.Tensor, times int64) bool {
	if t == nil {
		return false
	}
	raw, err := t.Bytes()
	if err != nil {
		return false
	}
	size := len(raw) / int(times)
	for i := size; i < len(raw); i += size {
		if !bytes.Equal(raw[:size], raw[i:i+size]) {
			return false
		}
	}
	return true
}
