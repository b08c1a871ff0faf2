package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// fused is the attributes that com.microsoft's Attention and MultiHeadAttention share.
type fused struct {
	heads  int
	causal bool
	filter float32 // added to scores that the mask takes out
	scale  float32 // 0: 1/√size

	sizes  []int // of Q, K and V of all heads, nil where they are the same: Attention
	packed *gemm.Packed
}

func readFused(a *kernel.Attrs) *fused {
	if !a.Has("num_heads") {
		a.Fail("attribute \"num_heads\" is missing")
	}
	return &fused{heads: a.Count("num_heads", 0, 1), causal: a.Bit("unidirectional", false), filter: a.Float("mask_filter_value", -10000),
		scale: a.Float("scale", 0)}
}

// makeContribAttention is com.microsoft.Attention: the projections to Q, K and V, multi-head attention and its cache in one.
func makeContribAttention(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := readFused(a)
	o.sizes = a.Extents("qkv_hidden_sizes", 1)
	if o.sizes != nil && len(o.sizes) != 3 {
		a.Fail("attribute \"qkv_hidden_sizes\" has %d numbers, want 3", len(o.sizes))
	}
	for _, name := range []string{"do_rotary", "past_present_share_buffer"} {
		if a.Bit(name, false) {
			a.Fail("attribute %q is not supported", name)
		}
	}
	a.Int("rotary_embedding_dim", 0)
	if err := a.Done(); err != nil {
		return nil, err
	}
	if site.Constant != nil {
		o.packed = packMatrix(site, site.Constant(1))
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return contribAttention(w, o) },
			func(w *work[float64]) error { return contribAttention(w, o) })
	}, nil
}

// packMatrix packs t, [k, n], as the right side of products, where it is constant and memory allows; else it is nil.
func packMatrix(site *kernel.Site, t *kernel.Tensor) *gemm.Packed {
	if t == nil || len(t.Shape) != 2 || site.MayPack == nil {
		return nil
	}
	switch t.DType {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
	default:
		return nil
	}
	if k, n := t.Shape[0], t.Shape[1]; k*n > 0 && site.MayPack(gemm.PackedBytes(k, n)) {
		return gemm.Pack(alone{}, gemm.RowMajor(t.DType, t.Bytes, n), k, n)
	}
	return nil
}

func contribAttention[F real](w *work[F], o *fused) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	wt, weight, err := w.in(1)
	if err != nil {
		return err
	}
	if len(xt.Shape) != 3 || len(wt.Shape) != 2 || wt.Shape[0] != xt.Shape[2] {
		return fmt.Errorf("inputs 0 and 1 have shapes %s and %s, want [batch,length,size] and [size,3·hidden]", kernel.ShapeString(xt.Shape), kernel.ShapeString(wt.Shape))
	}
	batch, length, size, all := xt.Shape[0], xt.Shape[1], xt.Shape[2], wt.Shape[1]
	sizes := o.sizes
	if sizes == nil {
		sizes = []int{all / 3, all / 3, all / 3}
	}
	if sizes[0]+sizes[1]+sizes[2] != all || sizes[0] != sizes[1] || sizes[0]%o.heads != 0 || sizes[2]%o.heads != 0 {
		return fmt.Errorf("input 1 has %d columns, want Q, K and V of sizes %d that %d heads divide", all, sizes, o.heads)
	}
	bias, err := w.vector(2, all)
	if err != nil {
		return err
	}
	qkv, err := w.temp(batch, length, all)
	if err != nil {
		return err
	}
	multiply(w.Pool, batch*length, all, size, rowMajor(x, size), factor[F]{rowMajor(weight, all), o.packed}, qkv, all, bias)
	part := func(from, size int) *headed[F] {
		h := &headed[F]{t: xt, batch: batch, count: o.heads, rows: length, size: size / o.heads}
		h.heads = heads[F]{qkv[min(from, len(qkv)):], length * all, h.size, all}
		return h
	}
	q, k, v := part(0, sizes[0]), part(sizes[0], sizes[1]), part(sizes[0]+sizes[1], sizes[2])
	past := 0
	if t := w.Optional(4); t != nil || w.Wants(1) {
		if k.size != v.size {
			return fmt.Errorf("a cache of keys and values of sizes %d and %d, want the same", k.size, v.size)
		}
		if past, err = appendPair(w, k, v, t); err != nil {
			return err
		}
	}
	y, err := w.out(0, xt.DType, []int{batch, length, sizes[2]})
	if err != nil {
		return err
	}
	return fusedAttention(w, o, q, k, v, y, past, 3, 5)
}

// appendPair puts the cache t, [2, batch, heads, rows, size], before the rows of k and v, and makes output 1 of them.
func appendPair[F real](w *work[F], k, v *headed[F], t *kernel.Tensor) (past int, err error) {
	var old []F
	if t != nil {
		if len(t.Shape) != 5 || t.Shape[0] != 2 || t.Shape[1] != k.batch || t.Shape[2] != k.count || t.Shape[4] != k.size {
			return 0, fmt.Errorf("input 4 has shape %s, want [2,%d,%d,rows,%d]", kernel.ShapeString(t.Shape), k.batch, k.count, k.size)
		}
		past = t.Shape[3]
		if _, old, err = w.in(4); err != nil {
			return 0, err
		}
	}
	rows := past + k.rows
	shape := []int{2, k.batch, k.count, rows, k.size}
	var all []F
	if w.Wants(1) {
		all, err = w.out(1, k.t.DType, shape)
	} else {
		all, err = w.temp(shape...)
	}
	if err != nil {
		return 0, err
	}
	half, oldHalf := len(all)/2, len(old)/2
	for i, h := range []*headed[F]{k, v} {
		joinRows(w.Pool, all[i*half:][:half], old[i*oldHalf:][:oldHalf], h, past)
	}
	return past, nil
}

// makeMultiHeadAttention is com.microsoft.MultiHeadAttention.
func makeMultiHeadAttention(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := readFused(a)
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return multiHeadAttention(w, o) },
			func(w *work[float64]) error { return multiHeadAttention(w, o) })
	}, nil
}

func multiHeadAttention[F real](w *work[F], o *fused) error {
	for i := 8; i < len(w.In); i++ {
		if w.In[i] != nil {
			return fmt.Errorf("input %d is not supported", i)
		}
	}
	q, k, v, err := fusedOperands(w, o)
	if err != nil {
		return err
	}
	if k.batch != q.batch || v.batch != q.batch || k.rows != v.rows || k.size != q.size || k.count != q.count || v.count != q.count {
		return fmt.Errorf("%d heads of Q [%d,%d,%d], %d of K [%d,%d,%d] and %d of V [%d,%d,%d] do not fit", q.count, q.batch, q.rows, q.size,
			k.count, k.batch, k.rows, k.size, v.count, v.batch, v.rows, v.size)
	}
	past, err := appendCache(w, k, 6, 1)
	if err != nil {
		return err
	}
	pastV, err := appendCache(w, v, 7, 2)
	if err != nil {
		return err
	}
	if past != pastV {
		return fmt.Errorf("inputs 6 and 7 hold %d and %d rows, want the same", past, pastV)
	}
	y, err := w.out(0, q.t.DType, []int{q.batch, q.rows, q.count * v.size})
	if err != nil {
		return err
	}
	return fusedAttention(w, o, q, k, v, y, past, 4, 5)
}

// fusedOperands are Q, K and V of MultiHeadAttention: apart, [batch, rows, heads·size]; with K and V already as heads, [batch, heads, rows, size];
// K and V packed, [batch, rows, heads, 2, size]; or all packed, [batch, rows, heads, 3, size]. The bias of input 3 is added to those that
// come as rows.
func fusedOperands[F real](w *work[F], o *fused) (q, k, v *headed[F], err error) {
	qt, qv, err := w.in(0)
	if err != nil {
		return nil, nil, nil, err
	}
	packed := func(t *kernel.Tensor, data []F, i, of int) (*headed[F], error) {
		if len(t.Shape) != 5 || t.Shape[2] != o.heads || t.Shape[3] != of {
			return nil, fmt.Errorf("a packed input of shape %s, want [batch,rows,%d,%d,size]", kernel.ShapeString(t.Shape), o.heads, of)
		}
		h := &headed[F]{t: t, batch: t.Shape[0], rows: t.Shape[1], count: o.heads, size: t.Shape[4]}
		row := o.heads * of * h.size
		h.heads = heads[F]{data[min(i*h.size, len(data)):], h.rows * row, of * h.size, row}
		return h, nil
	}
	var three [3]*headed[F]
	switch {
	case len(qt.Shape) == 5:
		for i := range three {
			if three[i], err = packed(qt, qv, i, 3); err != nil {
				return nil, nil, nil, err
			}
		}
	default:
		if three[0], err = readHeads(w, 0, o.heads); err != nil {
			return nil, nil, nil, err
		}
		kt, kv, err := w.in(1)
		if err != nil {
			return nil, nil, nil, err
		}
		for i := 1; i < 3; i++ {
			if len(kt.Shape) == 5 {
				three[i], err = packed(kt, kv, i-1, 2)
			} else {
				three[i], err = readHeads(w, i, o.heads)
			}
			if err != nil {
				return nil, nil, nil, err
			}
		}
	}
	if w.Optional(3) == nil {
		return three[0], three[1], three[2], nil
	}
	total := 0
	for _, h := range three {
		total += h.count * h.size
	}
	bias, err := w.vector(3, total)
	if err != nil {
		return nil, nil, nil, err
	}
	for i, h := range three {
		n := h.count * h.size
		if i == 0 || len(three[i].t.Shape) != 4 {
			if err := addHeads(w, h, bias[:n]); err != nil {
				return nil, nil, nil, err
			}
		}
		bias = bias[n:]
	}
	return three[0], three[1], three[2], nil
}

// addHeads adds bias, [heads·size], to every row of a copy of h.
func addHeads[F real](w *work[F], h *headed[F], bias []F) error {
	all, err := w.temp(h.batch, h.rows, h.count, h.size)
	if err != nil {
		return err
	}
	to := headsOf3D(all, h.count, h.rows, h.size)
	w.Pool.For(h.batch*h.count, max(1, grain/max(1, h.rows*h.size)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			b, n := i/h.count, i%h.count
			from, dst := h.at(b, n), to.at(b, n)
			add := bias[n*h.size:][:h.size]
			for r := range h.rows {
				row := dst.data[r*dst.row:][:h.size]
				copy(row, from.data[r*from.row:])
				addTo(row, add)
			}
		}
	})
	h.heads = to
	return nil
}

// fusedAttention computes multi-head attention into y, [batch, queries, heads·size], with a mask of keys at input mask and numbers to add at
// input add.
func fusedAttention[F real](w *work[F], o *fused, q, k, v *headed[F], y []F, past, mask, add int) error {
	a := &attention[F]{batch: q.batch, qHeads: q.count, kvHeads: k.count, queries: q.rows, keys: k.rows, size: q.size, vSize: v.size,
		q: q.heads, k: k.heads, v: v.heads, out: headsOf3D(y, q.count, q.rows, v.size),
		scale: F(o.scale), causal: o.causal, past: past, masked: -math.MaxFloat32, replace: true}
	if o.scale == 0 {
		a.scale = F(1 / math.Sqrt(float64(q.size)))
	}
	if err := a.readMask(w, add, false); err != nil {
		return err
	}
	if err := keyMask(w, o, a, mask); err != nil {
		return err
	}
	return a.run(w)
}

// keyMask reads the input at i: the number of keys of each batch, [batch]; their ends and then their starts, [2·batch]; or 0 for what is taken
// out and another number for what stays, [batch, keys] or [batch, queries, keys]. What is taken out gets o.filter added.
func keyMask[F real](w *work[F], o *fused, a *attention[F], i int) error {
	t := w.Optional(i)
	if t == nil {
		return nil
	}
	if t.DType != tensor.Int32 {
		return fmt.Errorf("input %d is %s, want int32", i, t.DType)
	}
	m := kernel.Of[int32](t)
	rows := 1
	var kept func(b, query, key int) bool
	switch s := t.Shape; {
	case len(s) == 1 && s[0] == a.batch:
		kept = func(b, _, key int) bool { return key < int(m[b]) }
	case len(s) == 1 && s[0] == 2*a.batch:
		kept = func(b, _, key int) bool { return key < int(m[b]) && key >= int(m[a.batch+b]) }
	case equalShape(s, []int{a.batch, a.keys}):
		kept = func(b, _, key int) bool { return m[b*a.keys+key] != 0 }
	case equalShape(s, []int{a.batch, a.queries, a.keys}):
		rows = a.queries
		kept = func(b, query, key int) bool { return m[(b*a.queries+query)*a.keys+key] != 0 }
	case len(s) == 2 && s[1] == 1 && (s[0] == 1 || s[0] == a.batch):
		return nil // ONNX Runtime's sign for no mask
	default:
		return fmt.Errorf("input %d has shape %s, want [%d], [%d], [%d,%d] or [%d,%d,%d]", i, kernel.ShapeString(s), a.batch, 2*a.batch,
			a.batch, a.keys, a.batch, a.queries, a.keys)
	}
	v, err := w.temp(a.batch, rows, a.keys)
	if err != nil {
		return err
	}
	for j := range v {
		v[j] = 0
		if !kept(j/a.keys/rows, j/a.keys%rows, j%a.keys) {
			v[j] = F(o.filter)
		}
	}
	mine := addend[F]{v: v, keys: a.keys}
	copy(mine.stride[:], kernel.BroadcastStrides([]int{a.batch, 1, rows, a.keys}, []int{a.batch, a.qHeads, a.queries, a.keys}))
	a.more = &mine
	return nil
}
