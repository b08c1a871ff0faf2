package shape

import (
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// pickElem is the element type of operands that share one.
func pickElem(fs ...fact) elemType {
	var e elemType
	for _, f := range fs {
		if f.elem.sure {
			return f.elem
		}
		if e.dtype == tensor.Undefined {
			e = f.elem
		}
	}
	return e
}

// matMulExtent follows numpy.matmul: a vector on the left loses its axis, a vector on the right too, leading axes broadcast.
func matMulExtent(a, b extent) extent {
	if !a.ranked || !b.ranked || len(a.dims) == 0 || len(b.dims) == 0 {
		return extent{}
	}
	sure := min(a.sure, b.sure)
	left, right := a.dims, b.dims
	if len(a.dims) == 1 {
		left = []graph.Dim{{Value: 1}, a.dims[0]}
	}
	if len(b.dims) == 1 {
		right = []graph.Dim{b.dims[0], {Value: 1}}
	}
	l, r := len(left), len(right)
	out := broadcast(extent{ranked: true, dims: left[:l-2]}, extent{ranked: true, dims: right[:r-2]})
	if len(a.dims) > 1 {
		out.dims = append(out.dims, left[l-2])
	}
	if len(b.dims) > 1 {
		out.dims = append(out.dims, right[r-1])
	}
	out.sure = sure
	return out
}

func matMul(c *call) {
	a, b := c.in(0), c.in(1)
	c.out(0, fact{elem: pickElem(a, b), ext: matMulExtent(a.ext, b.ext)})
}

func matMulInteger(c *call) {
	c.out(0, fact{elem: sureElem(tensor.Int32), ext: matMulExtent(c.in(0).ext, c.in(1).ext)})
}

// qLinearMatMul: a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero.
func qLinearMatMul(c *call) {
	c.out(0, fact{elem: c.in(7).elem, ext: matMulExtent(c.in(0).ext, c.in(3).ext)})
}

// gemm is a matrix whatever is known of the operands.
func gemm(c *call) {
	a, b := c.in(0), c.in(1)
	f := fact{elem: pickElem(a, b, c.in(2)), ext: ofRank(2, sureRank)}
	pick := func(i int, e extent, trans string, at int) {
		if e.ranked && len(e.dims) == 2 {
			if c.node.AttrInt(trans, 0) != 0 {
				at = 1 - at
			}
			f.ext.dims[i] = e.dims[at]
		}
	}
	pick(0, a.ext, "transA", 0)
	pick(1, b.ext, "transB", 1)
	if min(a.ext.sure, b.ext.sure) == sureDims {
		f.ext.sure = sureDims
	}
	c.out(0, f)
}

// float8Linear: input [..., K] and weight [N, K] give output [..., N] in the type of the input, and the input's amax as a scalar.
func float8Linear(c *call) {
	x, w := c.in(0), c.in(1)
	f := fact{elem: x.elem, ext: x.ext}
	if n := len(f.ext.dims); n > 0 {
		d := anyDim
		if w.ext.ranked && len(w.ext.dims) == 2 {
			d = w.ext.dims[0]
		}
		f.ext = f.ext.with(n-1, d)
		f.ext.sure = min(f.ext.sure, w.ext.sure)
	}
	c.out(0, f)
	c.out(1, fact{elem: sureElem(tensor.Float32), ext: scalar0})
}

// einsum reads equations whose output is written out and that have no ellipsis.
func einsum(c *call) {
	f := fact{elem: pickElem(c.in(0))}
	eq := strings.ReplaceAll(c.node.AttrString("equation", ""), " ", "")
	ins, out, ok := strings.Cut(eq, "->")
	if ok && !strings.Contains(eq, ".") {
		f.ext = ofRank(len(out), sureRank)
		extents := map[rune]graph.Dim{}
		for i, term := range strings.Split(ins, ",") {
			e := c.in(i).ext
			if !e.ranked || len(e.dims) != len(term) {
				continue
			}
			for j, letter := range term {
				if old, seen := extents[letter]; seen {
					extents[letter] = broadcastDim(old, e.dims[j])
				} else {
					extents[letter] = e.dims[j]
				}
			}
		}
		for j, letter := range out {
			if d, seen := extents[letter]; seen {
				f.ext.dims[j] = d
			}
		}
	}
	c.out(0, f)
}

// attention (opset 23): the result is [batch, heads, length, size] as the query, or [batch, length, heads·size], with the size of the value's
// heads; the present key and value are [batch, heads, length, size], the scores [batch, heads, length, length].
func attention(c *call) {
	q := c.in(0)
	f := fact{elem: q.elem, ext: q.ext}
	if n := len(q.ext.dims); n > 0 {
		f.ext = q.ext.with(n-1, attentionSize(c, n))
		f.ext.sure = min(q.ext.sure, sureRank)
	}
	c.out(0, f)
	c.out(1, fact{elem: c.in(1).elem, ext: ofRank(4, sureRank)})
	c.out(2, fact{elem: c.in(2).elem, ext: ofRank(4, sureRank)})
	c.out(3, fact{elem: q.elem, ext: ofRank(4, sureRank)})
}

// attentionSize is the last extent of the result of an Attention over arrays of this rank.
func attentionSize(c *call, rank int) graph.Dim {
	v := c.in(2).ext
	if !v.ranked || len(v.dims) != rank {
		return anyDim
	}
	size := v.dims[rank-1]
	if rank == 4 {
		return size
	}
	heads, kvHeads := c.node.AttrInt("q_num_heads", 0), c.node.AttrInt("kv_num_heads", 0)
	if heads <= 0 || kvHeads <= 0 || size.Value < 0 || size.Value%kvHeads != 0 || !small(heads) || !small(size.Value) {
		return anyDim
	}
	return graph.Dim{Value: size.Value / kvHeads * heads}
}

// recurrent: Y is [steps, directions, batch, hidden], the last states [directions, batch, hidden]. Attribute layout 1 puts the batch first. The
// input is [steps, batch, size] or, in layout 1, [batch, steps, size]; the weights over the state are [directions, gates·hidden, hidden].
func recurrent(c *call) {
	x, r := c.in(0).ext, c.in(2).ext
	steps, batch, directions := anyDim, anyDim, anyDim
	hidden := graph.Dim{Value: max(-1, c.node.AttrInt("hidden_size", -1))}
	if x.ranked && len(x.dims) == 3 {
		steps, batch = x.dims[0], x.dims[1]
	}
	if r.ranked && len(r.dims) == 3 {
		directions = r.dims[0]
		if hidden.Value < 0 {
			hidden = r.dims[2]
		}
	}
	all, last := ofRank(4, sureRank), ofRank(3, sureRank)
	all.dims, last.dims = []graph.Dim{steps, directions, batch, hidden}, []graph.Dim{directions, batch, hidden}
	if c.node.AttrInt("layout", 0) != 0 {
		steps, batch = batch, steps
		all.dims, last.dims = []graph.Dim{batch, steps, directions, hidden}, []graph.Dim{batch, directions, hidden}
	}
	e := pickElem(c.in(0), c.in(1))
	c.out(0, fact{elem: e, ext: all})
	c.out(1, fact{elem: e, ext: last})
	c.out(2, fact{elem: e, ext: last})
}
