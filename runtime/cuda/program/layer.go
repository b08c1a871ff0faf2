package program

import (
	"errors"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// layer is a Float8Linear that the GPU computes.
type layer struct {
	ops.Layer
	name    string // in reports and statistics
	place   int    // in Program.Layers, -1: in none
	dims    []int64
	m, n, k int64
	t       kernels.Type // of the output
	sx, sw  *scale

	decoded string     // why the codes are multiplied in bfloat16; "" where they are multiplied in float8
	problem lt.Problem // without a bias
	plan    *lt.Plan
	group   *group
}

// epsilon is scaling.Epsilon, below which no amax lowers the scale made from it.
const epsilon = 1e-12

// layer reads a Float8Linear. why says why the GPU cannot compute it.
func (b *builder) layer(n *graph.Node) (l *layer, why string, err error) {
	read, err := ops.ReadLayer(n)
	if err != nil {
		return nil, err.Error(), nil
	}
	l = &layer{Layer: read, name: ops.LayerName(n), place: -1}
	dims, ok := b.dims(l.Input)
	if !ok {
		return nil, "the input's shape depends on data", nil
	}
	if len(dims) == 0 || count(dims) == 0 {
		return nil, "the input has no elements", nil
	}
	w := b.values[l.Weight]
	if w == nil || w.role != fromContent && w.role != fromVariable || len(w.dims) != 2 || count(w.dims) == 0 {
		return nil, "the weight is computed", nil
	}
	l.n, l.k = w.dims[0], w.dims[1]
	l.m = count(dims) / dims[len(dims)-1]
	if dims[len(dims)-1] != l.k {
		return nil, fmt.Sprintf("rows of %d times a weight for rows of %d", dims[len(dims)-1], l.k), nil
	}
	l.dims = append(append([]int64(nil), dims[:len(dims)-1]...), l.n)
	if l.t = b.held(b.typeOf(l.Input)); l.t != kernels.F32 && l.t != kernels.BF16 {
		return nil, fmt.Sprintf("an input of %v", b.typeOf(l.Input)), nil
	}
	stored := b.typeOf(l.Weight)
	if l.Variant.Weight == ops.WeightFloat8 {
		if stored != tensor.Float8E4M3FN || w.role != fromContent {
			return nil, fmt.Sprintf("a weight of %v that changes", stored), nil
		}
	} else if o := own(stored); o != kernels.F32 && o != kernels.F16 && o != kernels.BF16 {
		return nil, fmt.Sprintf("a weight of %v", stored), nil
	}
	if l.sx, why = b.scale(l.ScaleInput); why != "" {
		return nil, why, nil
	}
	if l.sw, why = b.scale(l.ScaleWeight); why != "" {
		return nil, why, nil
	}
	if l.sx.n != 1 || l.sw.n != 1 && l.sw.n != l.n {
		return nil, fmt.Sprintf("%d scales of the input and %d of the weight", l.sx.n, l.sw.n), nil
	}
	why, err = b.choose(l)
	return l, why, err
}

// sumsFloat32 is the compute capability from which on tensor cores sum products of float8 codes in float32. Hopper's keep 14 bits, also where
// cuBLASLt adds what they summed to a float32 after every 128 codes; Ada's are of the same kind.
const sumsFloat32 = 10

// choose decides how l's product is computed; why says why none of the ways is open.
func (b *builder) choose(l *layer) (why string, err error) {
	if l.Variant.Input == ops.InputOff {
		l.problem = lt.Problem{M: int(l.m), N: int(l.n), K: int(l.k), X: typeLT(l.t), W: typeLT(l.t), Y: typeLT(l.t)}
		if b.typeOf(l.Input) == tensor.BFloat16 {
			l.problem.Y = lt.F32 // see weightOnly
		}
	} else {
		l.problem = lt.Pad(lt.Problem{M: int(l.m), N: int(l.n), K: int(l.k), X: lt.E4M3, W: lt.E4M3, Y: typeLT(l.t),
			Fast: !b.opt.Exact, Channels: l.sw.n > 1})
		if b.opt.Exact && b.opt.Card.Major < sumsFloat32 {
			why = "sums in float32 were asked for, and the float8 tensor cores of this card keep 14 bits of one"
		} else if why, err = b.plan(l); why == "" || err != nil {
			return why, err
		}
		l.decoded = why
		l.problem = lt.Problem{M: int(l.m), N: int(l.n), K: int(l.k), X: lt.BF16, W: lt.BF16, Y: lt.F32}
	}
	return b.plan(l)
}

// plan asks for l's plan. Where the library cannot take a vector of scales the product is planned without it, in float32, and its columns
// are multiplied afterwards.
func (b *builder) plan(l *layer) (why string, err error) {
	p := l.problem
	if p.X.Float8() {
		if why := lt.Why(b.opt.Card, p); why != "" {
			return why, nil
		}
	}
	plan, why, err := b.planOf(p)
	if plan != nil && plan.MultiplyW {
		p.Channels, p.Y = false, lt.F32
		p = lt.Pad(p)
		plan, why, err = b.planOf(p)
	}
	l.problem, l.plan = p, plan
	return why, err
}

// planOf asks cuBLASLt for an algorithm, where it can be asked.
func (b *builder) planOf(p lt.Problem) (plan *lt.Plan, why string, err error) {
	if b.opt.Plan == nil {
		return nil, "", nil
	}
	plan, err = b.opt.Plan(p)
	if no, ok := errors.AsType[*lt.UnsupportedError](err); ok {
		return nil, no.Error(), nil
	}
	return plan, "", err
}
