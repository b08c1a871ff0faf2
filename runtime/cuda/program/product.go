package program

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// product is a step that multiplies matrices.
type product struct {
	layer                string
	problem              lt.Problem
	plan                 *lt.Plan // nil: asked for when it is launched
	x, w, y              *Tensor
	scaleX, scaleW, bias *Tensor // nil where there are none
}

// multiply emits a product.
func (b *builder) multiply(p product) {
	q := p.problem
	batch := float64(max(q.Batch, 1))
	shape := fmt.Sprintf("%dx%dx%d", q.M, q.N, q.K)
	if q.Batch > 1 {
		shape = fmt.Sprintf("%d of %s", q.Batch, shape)
	}
	m, n, k := float64(q.M), float64(q.N), float64(q.K)
	b.emit(Step{
		Layer: p.layer, Kernel: fmt.Sprintf("matmul %v %s", q.X, shape), FLOPs: q.FLOPs(),
		Bytes: batch * (m*k*float64(q.X.Size()) + n*k*float64(q.W.Size()) + m*n*float64(q.Y.Size())),
		Reads: buffers(p.x, p.w, p.scaleX, p.scaleW, p.bias), Writes: buffers(p.y),
		Launch: func(l *Launcher) error {
			plan := p.plan
			if plan == nil {
				var err error
				if plan, err = l.LT.Plan(l.Context, p.problem); err != nil {
					return err
				}
			}
			return l.LT.Matmul(l.Context, plan, lt.Operands{X: l.Addr(p.x), W: l.Addr(p.w), Y: l.Addr(p.y),
				ScaleX: l.Addr(p.scaleX), ScaleW: l.Addr(p.scaleW), Bias: l.Addr(p.bias)}, l.Stream)
		},
	})
}

// typeLT is a type of kernels as lt calls it, fromLT the other way round.
func typeLT(t kernels.Type) lt.Type {
	switch t {
	case kernels.F32:
		return lt.F32
	case kernels.F16:
		return lt.F16
	case kernels.BF16:
		return lt.BF16
	case kernels.E4M3:
		return lt.E4M3
	case kernels.E5M2:
		return lt.E5M2
	}
	return lt.None
}

func fromLT(t lt.Type) kernels.Type {
	for _, k := range []kernels.Type{kernels.F32, kernels.F16, kernels.BF16, kernels.E4M3, kernels.E5M2} {
		if typeLT(k) == t {
			return k
		}
	}
	return kernels.None
}

// tail is what follows a product and can be computed with it.
type tail struct {
	bias  *Tensor // of as many elements as the product has columns, padded; nil: none
	added string  // its name
	act   lt.Activation
	out   string // the name of what comes out
	nodes []*graph.Node
}

func (t tail) biasType() lt.Type {
	if t.bias == nil {
		return lt.None
	}
	return typeLT(t.bias.T)
}

// tail finds what follows the product called out, which has n columns, padded to padded, of type t: the addition of a constant vector, and
// a GELU of which no layer wants codes. An activation's own kernel writes the codes as well.
//
// A ReLU is not among them: cuBLASLt's does not promise to keep NaN.
func (b *builder) tail(out string, n, padded int64, t kernels.Type) tail {
	f := tail{out: out}
	if add := b.reader(out); add != nil && add.Is("Add") {
		other := add.Input(0)
		if other == out {
			other = add.Input(1)
		}
		if bias := b.bias(other, n, padded, t); bias != nil && count(b.values[add.Output(0)].dims) == count(b.values[out].dims) &&
			len(b.values[add.Output(0)].dims) == len(b.values[out].dims) {
			f.bias, f.added, f.out, f.nodes = bias, other, add.Output(0), append(f.nodes, add)
		}
	}
	if gelu := b.reader(f.out); gelu != nil && t == kernels.BF16 && gelu.Is("Gelu") && gelu.AttrString("approximate", "none") == "tanh" &&
		b.sources[gelu.Output(0)] == nil {
		f.act, f.out, f.nodes = lt.GELU, gelu.Output(0), append(f.nodes, gelu)
	}
	return f
}

// lastType is the type of a product's result called out: float32 where nobody but the caller of the model gets it, as float32; else y.
func (b *builder) lastType(out string, y lt.Type) lt.Type {
	if y == lt.BF16 && b.kept[out] && len(b.readers[out]) == 0 && b.typeOf(out) == tensor.Float32 {
		return lt.F32
	}
	return y
}

// bias is a constant of n elements along the last dimension, padded, as type t; nil where it is none.
func (b *builder) bias(name string, n, padded int64, t kernels.Type) *Tensor {
	c := b.constant(name)
	if c == nil || c.Elements() != n || len(c.Shape) == 0 || c.Shape[len(c.Shape)-1] != n || b.held(c.DType) != t {
		return nil
	}
	return b.stored(c, t, 1, n, 1, padded)
}

// finished marks nodes whose work another's lower did.
func (b *builder) finished(nodes []*graph.Node) {
	for _, n := range nodes {
		b.done[n] = true
	}
}

// finishProduct emits a product of types that cuBLASLt multiplies as they are, with what follows it, and defines its result, of the given
// dims.
func (b *builder) finishProduct(p product, out string, dims []int64) (why string, err error) {
	if p.problem.Batch <= 1 && p.bias == nil {
		f := b.tail(out, int64(p.problem.N), int64(p.problem.N), fromLT(p.problem.Y))
		if y := b.lastType(f.out, p.problem.Y); len(f.nodes) > 0 || y != p.problem.Y {
			with := p.problem
			if with.Y = y; f.bias != nil && f.biasType() != y {
				f.bias = b.stored(b.constant(f.added), fromLT(y), 1, int64(with.N), 1, int64(with.N))
			}
			with.Bias, with.Activation = f.biasType(), f.act
			plan, why, err := b.planOf(with)
			if err != nil {
				return "", err
			}
			if why == "" {
				p.problem, p.plan, p.bias, out = with, plan, f.bias, f.out
				b.finished(f.nodes)
			}
		}
	}
	if p.plan == nil {
		if p.plan, why, err = b.planOf(p.problem); why != "" || err != nil {
			return why, err
		}
	}
	p.y = b.new(fromLT(p.problem.Y), dims...)
	b.multiply(p)
	b.define(out, p.y)
	return "", nil
}
