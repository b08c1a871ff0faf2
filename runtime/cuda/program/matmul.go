package program

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// products are the operators that are matrix products.
func products() map[string]lower {
	return map[string]lower{"MatMul": lowerMatMul, "Gemm": lowerGemm}
}

// lowerMatMul: matrices in the last two dimensions, the others broadcast; a vector is a row on the left and a column on the right.
func lowerMatMul(b *builder, n *graph.Node) (why string, err error) {
	t := b.held(b.typeOf(n.Output(0)))
	if t != kernels.F32 && t != kernels.BF16 {
		return fmt.Sprintf("products of %v", b.typeOf(n.Output(0))), nil
	}
	x, why := b.get(n.Input(0))
	if why != "" {
		return why, nil
	}
	w, why := b.get(n.Input(1))
	if why != "" {
		return why, nil
	}
	if len(x.Dims) == 1 {
		x = x.view(0, []int64{1, x.Dims[0]}, []int64{0, x.Strides[0]})
	}
	if len(w.Dims) == 1 {
		w = w.view(0, []int64{w.Dims[0], 1}, []int64{w.Strides[0], 0})
	}
	if len(x.Dims) < 2 || len(w.Dims) < 2 {
		return "a scalar operand", nil
	}
	dims, _ := b.dims(n.Output(0))
	layer := ""
	if b.constant(n.Input(1)) != nil || b.constant(n.Input(0)) != nil {
		layer = n.Name
	}
	return b.matmul(x, w, n.Output(0), dims, layer)
}

// matmul multiplies arrays of matrices, broadcasting their leading dimensions.
func (b *builder) matmul(x, w *Tensor, out string, dims []int64, layer string) (why string, err error) {
	rx, rw := len(x.Dims), len(w.Dims)
	m, k, n := x.Dims[rx-2], x.Dims[rx-1], w.Dims[rw-1]
	if w.Dims[rw-2] != k {
		return fmt.Sprintf("rows of %d times columns of %d", k, w.Dims[rw-2]), nil
	}
	t := typeLT(x.T)
	p := product{layer: layer, problem: lt.Problem{N: int(n), K: int(k), X: t, W: t, Y: t}}
	// One matrix on the right: the left ones are one tall matrix.
	if count(w.Dims[:rw-2]) == 1 {
		x = b.contiguous(x)
		p.x = x
		p.problem.M = int(x.Elements() / k)
		var kn bool
		p.w, kn = b.matrices(w.view(0, w.Dims[rw-2:], w.Strides[rw-2:]))
		p.problem.KN = kn
		return b.finishProduct(p, out, dims)
	}
	rank := max(rx, rw) - 2
	batch := make([]int64, rank)
	for i := range batch {
		batch[i] = max(leading(x, rank, i), leading(w, rank, i))
	}
	x, xBatch := b.batched(x, batch, true)
	w, wBatch := b.batched(w, batch, false)
	count, xStride, wStride, ok := joined(batch, xBatch, wBatch)
	if !ok {
		// The matrices of at least one operand lie at no even distance: repeat or gather them.
		x, w = b.contiguous(x), b.contiguous(w)
		xBatch, wBatch = x.Strides[:rank], w.Strides[:rank]
		if count, xStride, wStride, ok = joined(batch, xBatch, wBatch); !ok {
			return "", fmt.Errorf("matmul: contiguous matrices of %v and %v do not join", x.Dims, w.Dims)
		}
	}
	p.x, p.w = x, w
	q := &p.problem
	q.M, q.Batch = int(m), int(count)
	_, q.KN = layout(w)
	q.XStride, q.WStride, q.YStride = xStride, wStride, m*n
	return b.finishProduct(p, out, dims)
}

// leading is the extent of dimension i of rank leading ones of an array of matrices, 1 where it has none.
func leading(t *Tensor, rank, i int) int64 {
	if i += len(t.Dims) - 2 - rank; i >= 0 {
		return t.Dims[i]
	}
	return 1
}

// layout says whether the matrices in the last two dimensions are dense, row by row or, turned, column by column.
func layout(t *Tensor) (dense, rows bool) {
	r := len(t.Dims)
	m, n, sm, sn := t.Dims[r-2], t.Dims[r-1], t.Strides[r-2], t.Strides[r-1]
	if (n == 1 || sn == 1) && (m == 1 || sm == n) {
		return true, true
	}
	return (m == 1 || sm == 1) && (n == 1 || sn == m), false
}

// matrices is t with dense matrices, and whether they lie row by row.
func (b *builder) matrices(t *Tensor) (*Tensor, bool) {
	if dense, rows := layout(t); dense && t.Offset%16 == 0 {
		return t, rows
	}
	return b.copy(t), true
}

// batched is an array of matrices as one of the given leading dimensions, with dense matrices, and the strides of these dimensions, 0 where
// a matrix repeats. rows asks for matrices that lie row by row.
func (b *builder) batched(t *Tensor, batch []int64, rows bool) (*Tensor, []int64) {
	if dense, byRows := layout(t); !dense || t.Offset%16 != 0 || rows && !byRows {
		t = b.copy(t)
	}
	r := len(t.Dims)
	strides := make([]int64, len(batch))
	for i := range batch {
		if j := i + r - 2 - len(batch); j >= 0 && t.Dims[j] != 1 {
			strides[i] = t.Strides[j]
		}
	}
	return t.view(0, append(slices.Clone(batch), t.Dims[r-2:]...), append(slices.Clone(strides), t.Strides[r-2:]...)), strides
}

// joined makes one dimension of the leading ones, where the matrices of both operands lie at even distances. Those of the result do.
func joined(batch, x, w []int64) (count, xStride, wStride int64, ok bool) {
	count = 1
	for i := len(batch) - 1; i >= 0; i-- {
		switch {
		case batch[i] == 1:
		case count == 1:
			count, xStride, wStride = batch[i], x[i], w[i]
		case x[i] == xStride*count && w[i] == wStride*count:
			count *= batch[i]
		default:
			return 0, 0, 0, false
		}
	}
	return count, xStride, wStride, true
}

// lowerGemm: alpha·A'·B' + beta·C, of matrices that may be transposed.
func lowerGemm(b *builder, n *graph.Node) (why string, err error) {
	t := b.held(b.typeOf(n.Output(0)))
	if t != kernels.F32 && t != kernels.BF16 {
		return fmt.Sprintf("products of %v", b.typeOf(n.Output(0))), nil
	}
	x, why := b.get(n.Input(0))
	if why != "" {
		return why, nil
	}
	w, why := b.get(n.Input(1))
	if why != "" {
		return why, nil
	}
	if len(x.Dims) != 2 || len(w.Dims) != 2 {
		return fmt.Sprintf("matrices of %d and %d dimensions", len(x.Dims), len(w.Dims)), nil
	}
	if n.AttrInt("transA", 0) != 0 {
		x = x.transposed()
	}
	if n.AttrInt("transB", 0) != 0 {
		w = w.transposed()
	}
	dims, _ := b.dims(n.Output(0))
	layer := ""
	if b.constant(n.Input(1)) != nil || b.constant(n.Input(0)) != nil {
		layer = n.Name
	}
	alpha, beta := n.AttrFloat("alpha", 1), n.AttrFloat("beta", 1)
	added := n.Input(2)
	if beta == 0 {
		added = ""
	}
	if alpha == 1 && added == "" {
		return b.matmul(x, w, n.Output(0), dims, layer)
	}
	if alpha == 1 && beta == 1 {
		if b.bias(added, dims[1], dims[1], t) != nil {
			return b.gemmBias(x, w, added, n.Output(0), dims, layer)
		}
	}
	typ := b.typeOf(n.Output(0))
	raw := n.Output(0) + " product"
	b.declare(raw, typ, dims, 1)
	if why, err := b.matmul(x, w, raw, dims, layer); why != "" || err != nil {
		return why, err
	}
	scaled := func(name string, by float32, to string) (string, string, error) {
		if by == 1 {
			return name, "", nil
		}
		if to == "" {
			to = name + " scaled"
			d, _ := b.dims(name)
			b.declare(to, typ, d, 1)
		}
		factor := b.literal(by, typ)
		why, err := b.also(&graph.Node{Name: n.Name, OpType: "Mul", Inputs: []string{name, factor}, Outputs: []string{to}})
		return to, why, err
	}
	if added == "" {
		_, why, err := scaled(raw, alpha, n.Output(0))
		return why, err
	}
	left, why, err := scaled(raw, alpha, "")
	if why != "" || err != nil {
		return why, err
	}
	right, why, err := scaled(added, beta, "")
	if why != "" || err != nil {
		return why, err
	}
	return b.also(&graph.Node{Name: n.Name, OpType: "Add", Inputs: []string{left, right}, Outputs: []string{n.Output(0)}})
}

// gemmBias is a product of two matrices plus a constant row.
func (b *builder) gemmBias(x, w *Tensor, added, out string, dims []int64, layer string) (why string, err error) {
	t := typeLT(x.T)
	y := b.lastType(out, t)
	p := product{layer: layer, x: b.contiguous(x), bias: b.stored(b.constant(added), fromLT(y), 1, dims[1], 1, dims[1])}
	w, kn := b.matrices(w)
	p.w = w
	p.problem = lt.Problem{M: int(dims[0]), N: int(dims[1]), K: int(x.Dims[1]), X: t, W: t, Y: y, KN: kn, Bias: y}
	return b.finishProduct(p, out, dims)
}

// transposed is a matrix read the other way.
func (t *Tensor) transposed() *Tensor {
	return t.view(0, []int64{t.Dims[1], t.Dims[0]}, []int64{t.Strides[1], t.Strides[0]})
}

// literal is the name of a constant scalar that the model does not have, of one of its floating-point types.
func (b *builder) literal(v float32, t tensor.DType) string {
	name := fmt.Sprintf("%v as %v", v, t)
	if b.values[name] != nil {
		return name
	}
	b.declare(name, t, []int64{}, 1)
	c := tensor.Float32s(tensor.Shape{}, v)
	switch t {
	case tensor.Float16:
		c.Data = tensor.Bytes(binary.LittleEndian.AppendUint16(nil, uint16(float8.Float16FromFloat32(v))))
	case tensor.BFloat16:
		c.Data = tensor.Bytes(binary.LittleEndian.AppendUint16(nil, uint16(float8.BFloat16FromFloat32(v))))
	}
	c.DType = t
	b.values[name].content, b.values[name].role = c, fromContent
	return name
}
