package shape

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// microsoft is the domain of the operators that ONNX Runtime's optimizer writes:
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md.
const microsoft = "com.microsoft"

// newContribRules are the operators of that domain that Infer follows.
func newContribRules() map[string]func(*call) {
	return map[string]func(*call){
		"Gelu": unary, "BiasGelu": unary, "FastGelu": unary, "QuickGelu": unary,
		"SkipLayerNormalization": skipNormalization, "SkipSimplifiedLayerNormalization": skipNormalization,
		"EmbedLayerNormalization": embedNormalization, "Attention": fusedAttention, "MultiHeadAttention": multiHeadAttention,
		"FusedMatMul": fusedMatMul, "MatMulNBits": matMulNBits,
	}
}

// skipNormalization: the result and output 3, the sum, are like the input.
func skipNormalization(c *call) {
	unary(c)
	f := c.in(0)
	c.out(3, fact{elem: f.elem, ext: f.ext})
}

// embedNormalization: ids are [batch, length], the word embedding (input 2) is [words, hidden], the result [batch, length, hidden], like output 2;
// output 1 counts for each batch.
func embedNormalization(c *call) {
	ids, table := c.in(0).ext, c.in(2)
	f := fact{elem: table.elem, ext: ofRank(3, sureRank)}
	count := ofRank(1, sureRank)
	if ids.ranked && len(ids.dims) == 2 {
		copy(f.ext.dims, ids.dims)
		count.dims[0] = ids.dims[0]
	}
	if table.ext.ranked && len(table.ext.dims) == 2 {
		f.ext.dims[2] = table.ext.dims[1]
	}
	c.out(0, f)
	c.out(1, fact{elem: sureElem(tensor.Int32), ext: count})
	c.out(2, f)
}

// fusedAttention: x is [batch, length, size], the weight [size, q+k+v], the result [batch, length, v]; the sizes are equal unless attribute
// qkv_hidden_sizes gives them. The cache is [2, batch, heads, length, size].
func fusedAttention(c *call) {
	x, w := c.in(0), c.in(1).ext
	d := anyDim
	if sizes, ok := c.node.AttrInts("qkv_hidden_sizes"); ok && len(sizes) == 3 {
		d.Value = max(sizes[2], -1)
	} else if !ok && w.ranked && len(w.dims) == 2 && w.dims[1].Value >= 0 && w.dims[1].Value%3 == 0 {
		d.Value = w.dims[1].Value / 3
	}
	c.out(0, fact{elem: x.elem, ext: withLast(x.ext, 3, d)})
	c.out(1, fact{elem: x.elem, ext: ofRank(5, sureRank)})
}

// withLast is an extent of this rank with another last axis, nothing for one of another rank.
func withLast(e extent, rank int, d graph.Dim) extent {
	if !e.ranked || len(e.dims) != rank {
		return extent{}
	}
	e = e.with(rank-1, d)
	e.sure = min(e.sure, sureRank)
	return e
}

// multiHeadAttention: the query is [batch, length, hidden]; the value [batch, length, hidden], or [batch, heads, length, size] with attribute
// num_heads. The caches are [batch, heads, length, size].
func multiHeadAttention(c *call) {
	q, v := c.in(0), c.in(2).ext
	d := anyDim
	switch heads := c.node.AttrInt("num_heads", 0); {
	case v.ranked && len(v.dims) == 3:
		d = v.dims[2]
	case v.ranked && len(v.dims) == 4 && v.dims[3].Value >= 0 && small(v.dims[3].Value) && heads > 0 && small(heads):
		d.Value = heads * v.dims[3].Value
	}
	c.out(0, fact{elem: q.elem, ext: withLast(q.ext, 3, d)})
	c.out(1, fact{elem: q.elem, ext: ofRank(4, sureRank)})
	c.out(2, fact{elem: q.elem, ext: ofRank(4, sureRank)})
}

// fusedMatMul: as MatMul, after each side has been transposed where its attribute says so.
func fusedMatMul(c *call) {
	turned := func(i int, attr string) extent {
		e := c.in(i).ext
		if n := len(e.dims); c.node.AttrInt(attr, 0) != 0 && n > 1 {
			e = e.with(n-1, c.in(i).ext.dims[n-2]).with(n-2, c.in(i).ext.dims[n-1])
		}
		return e
	}
	f := fact{elem: pickElem(c.in(0), c.in(1))}
	if c.node.AttrInt("transBatchA", 0) == 0 && c.node.AttrInt("transBatchB", 0) == 0 {
		f.ext = matMulExtent(turned(0, "transA"), turned(1, "transB"))
	}
	c.out(0, f)
}

// matMulNBits: [..., K] gives [..., N] for attribute N.
func matMulNBits(c *call) {
	x := c.in(0)
	if n := len(x.ext.dims); n > 0 {
		x.ext = withLast(x.ext, n, graph.Dim{Value: max(-1, c.node.AttrInt("N", -1))})
	}
	c.out(0, fact{elem: x.elem, ext: x.ext})
}
