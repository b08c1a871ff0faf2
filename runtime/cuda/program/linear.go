package program

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
)

// linear lowers a Float8Linear:
//
//	y = T(codes of x · codes of w · 1/(sx·sw))
//
// with the codes of x made by whoever computes x, where it can, and those of w made once.
func (b *builder) linear(n *graph.Node, l *layer) (why string, err error) {
	if why := b.ready(l.group); why != "" {
		return why, nil
	}
	if b.uses(l.AmaxInput) > 0 {
		b.define(l.AmaxInput, b.amaxOutput(l))
	}
	switch {
	case l.Variant.Input == ops.InputOff:
		return b.weightOnly(l)
	case l.decoded != "":
		b.prog.Placed = append(b.prog.Placed, placement(n, "bfloat16", l.decoded))
		return b.multiplyDecoded(l)
	}
	g := l.group
	w, why, err := b.weightCodes(l, int64(l.problem.N), int64(l.problem.K))
	if why != "" || err != nil {
		return why, err
	}
	p := product{layer: l.name, problem: l.problem, plan: l.plan, x: g.codes, w: w.codes, scaleX: g.inverse, scaleW: w.inverse}
	out := l.Output
	if l.problem.Y == lt.BF16 {
		// A float32 output wants its bias in bfloat16 too, which is too little where float32 is computed in.
		tail := b.tail(l.Output, l.n, int64(l.problem.N), kernels.BF16)
		with := l.problem
		with.Bias, with.Activation, with.Y = tail.biasType(), tail.act, b.lastType(tail.out, with.Y)
		plan, why, err := b.planOf(with)
		if err != nil {
			return "", err
		}
		if why == "" {
			p.problem, p.plan, p.bias, out = with, plan, tail.bias, tail.out
			b.finished(tail.nodes)
		}
	}
	if p.plan != nil && p.plan.SpreadX {
		p.scaleX = b.spread(g, l.m)
	}
	if l.sw.n > 1 && !p.problem.Channels {
		p.scaleW = nil
	}
	padded := append(append([]int64(nil), l.dims[:len(l.dims)-1]...), int64(p.problem.N))
	p.y = b.new(fromLT(p.problem.Y), padded...)
	b.multiply(p)
	y := p.y.view(0, l.dims, p.y.Strides)
	if l.sw.n > 1 && !p.problem.Channels {
		y = b.scaled(l, y, nil, w.inverse, 1)
	}
	b.define(out, y)
	return "", nil
}

// amaxOutput is the layer's second output: the amax itself, which has all its digits, unless a node reads it, which wants the type that
// the GPU holds values in.
func (b *builder) amaxOutput(l *layer) *Tensor {
	amax := l.group.source.amax.view(0, []int64{}, []int64{})
	if len(b.readers[l.AmaxInput]) == 0 {
		return amax
	}
	return b.convert(b.copy(amax), b.held(b.typeOf(l.AmaxInput)))
}

// weightOnly multiplies the input as it is with the decoded weight.
func (b *builder) weightOnly(l *layer) (why string, err error) {
	w, why, err := b.weightCodes(l, l.n, l.k)
	if why != "" || err != nil {
		return why, err
	}
	x, why := b.getDense(l.Input)
	if why != "" {
		return why, nil
	}
	p := product{layer: l.name, problem: l.problem, plan: l.plan, x: x}
	// A weight that no variable changes is decoded while it is uploaded.
	decode := func(scale *Tensor, numbers []float32) *Tensor {
		if l.Variant.Weight == ops.WeightFloat8 && l.sw.variable == "" {
			return b.decoded(b.constant(l.Weight), l.t, l.n, l.k, numbers)
		}
		return b.decodedWeight(w, l.t, scale)
	}
	if l.problem.Y == l.problem.X {
		p.w = decode(w.inverse, l.sw.constant)
		return b.finishProduct(p, l.Output, l.dims)
	}
	// bfloat16 holds codes exactly but not their values, so the scales come after the product. Codes are divided by a power of two that
	// no sum grows by, and the scales multiplied by it.
	const halves = 1 << 9
	p.w, p.y = decode(b.scales.number(1.0/halves), []float32{1.0 / halves}), b.new(kernels.F32, l.dims...)
	b.multiply(p)
	b.define(l.Output, b.scaled(l, p.y, nil, w.inverse, halves))
	return "", nil
}

// multiplyDecoded multiplies the codes in bfloat16, which holds them exactly, sums in float32 and scales afterwards.
func (b *builder) multiplyDecoded(l *layer) (why string, err error) {
	w, why, err := b.weightCodes(l, l.n, l.k)
	if why != "" || err != nil {
		return why, err
	}
	g := l.group
	if g.decoded == nil {
		g.decoded = b.new(kernels.BF16, l.m, l.k)
		codes, to, n := g.codes, g.decoded, l.m*l.k
		b.emit(Step{
			Layer: l.name, Kernel: "decode e4m3", Bytes: float64(3 * n), Reads: buffers(codes), Writes: buffers(to),
			Launch: func(l *Launcher) error {
				return l.Kernels.Decode(l.Addr(to), kernels.BF16, l.Addr(codes), kernels.E4M3, 0, n, l.Stream)
			},
		})
	}
	y := b.new(kernels.F32, l.dims...)
	p := product{layer: l.name, problem: l.problem, plan: l.plan, x: g.decoded, y: y}
	if l.Variant.Weight == ops.WeightFloat8 {
		p.w = b.decoded(b.constant(l.Weight), kernels.BF16, l.n, l.k, []float32{1})
	} else {
		p.w = b.decodedWeight(w, kernels.BF16, nil)
	}
	b.multiply(p)
	b.define(l.Output, b.scaled(l, y, g.inverse, w.inverse, 1))
	return "", nil
}

// scaled is y of float32 times the scale x, where that is not nil, w, a scalar or one for each column, and a number, rounded to the layer's
// type.
func (b *builder) scaled(l *layer, y, x, w *Tensor, by float32) *Tensor {
	rank := len(y.Dims)
	inputs := []*Tensor{y}
	var steps []kernels.Step
	for _, s := range []*Tensor{x, w} {
		if s == nil {
			continue
		}
		strides := make([]int64, rank)
		if s.Elements() > 1 {
			strides[rank-1] = 1
		}
		steps = append(steps, kernels.Step{Op: kernels.OpMul, With: kernels.Input(len(inputs))})
		inputs = append(inputs, s.view(0, y.Dims, strides))
	}
	if by != 1 {
		steps = append(steps, kernels.Step{Op: kernels.OpMul, With: kernels.Constant(by)})
	}
	out := b.new(l.t, y.Dims...)
	b.emit(Step{
		Layer: l.name, Kernel: "scale", Bytes: float64(y.Elements() * (4 + l.t.Size())), Reads: buffers(inputs...), Writes: buffers(out),
		Launch: func(l *Launcher) error {
			c := kernels.Chain{Dims: out.Dims, Steps: steps, Y: l.Addr(out), T: out.T}
			for _, in := range inputs {
				c.Inputs = append(c.Inputs, kernels.ChainInput{P: l.Addr(in), T: in.T, Strides: in.Strides})
			}
			return l.Kernels.Chain(c, l.Stream)
		},
	})
	return out
}

// spread is the group's scale as a vector of m, for plans that want one. A stored scale is spread in Setup.
func (b *builder) spread(g *group, m int64) *Tensor {
	if g.spread != nil {
		return g.spread
	}
	from := g.inverse
	to := dense(&Buffer{}, kernels.F32, []int64{m})
	g.spread = to
	s := Step{
		Layer: g.layers[0].name, Kernel: "spread scale", Bytes: float64(8 * m), Reads: buffers(from), Writes: buffers(to),
		Launch: func(l *Launcher) error { return l.LT.Spread(l.Context, l.Addr(to), l.Addr(from), int(m), l.Stream) },
	}
	if g.mode == ops.InputDynamic {
		b.emit(s)
	} else {
		to.Buffer.Home = State
		b.setup(s)
	}
	return to
}

// weightCodes is a weight in float8, shared by the layers that have it with equal scales.
type weightCodes struct {
	codes   *Tensor // [padded n, padded k]
	inverse *Tensor // that brings codes back: a scalar, or one for each row
	amax    *Tensor // nil for one that is stored in float8
	counts  *Tensor // likewise, and where nobody counts
	n, k    int64
	layer   string // the first that has it
	decoded map[decodedKey]*Tensor
}

// decodedKey tells the forms apart that codes are decoded to.
type decodedKey struct {
	t     kernels.Type
	scale *Tensor
}

// weightCodes makes, or finds, the codes of a layer's weight as [n, k], at least as large as it is, with zeros beyond it.
func (b *builder) weightCodes(l *layer, n, k int64) (w *weightCodes, why string, err error) {
	key := fmt.Sprintf("%q %d %q %d %d", l.Weight, l.Variant.Weight, l.ScaleWeight, n, k)
	if l.Variant.Weight == ops.WeightDynamic {
		key += fmt.Sprintf(" %x %t", l.QuantMax, l.Variant.PowerOfTwo)
	}
	if w = b.codes[key]; w == nil {
		w = &weightCodes{n: l.n, k: l.k, layer: l.name, inverse: l.sw.dequant, decoded: map[decodedKey]*Tensor{}}
		if l.Variant.Weight == ops.WeightFloat8 {
			w.codes = b.stored(b.constant(l.Weight), kernels.E4M3, l.n, l.k, n, k)
		} else {
			w.codes = dense(&Buffer{Home: State}, kernels.E4M3, []int64{n, k})
			b.castWeight(l, w)
		}
		b.codes[key] = w
	}
	if l.place >= 0 {
		at := &b.prog.Layers[l.place]
		if at.AmaxWeight, at.CountWeight = w.amax, w.counts; w.amax != nil {
			at.Weight = l.n * l.k
		}
	}
	return w, "", nil
}

// castWeight adds to Setup what casts a weight that the model holds unquantized.
func (b *builder) castWeight(l *layer, w *weightCodes) {
	v := b.values[l.Weight]
	var x *Tensor
	if v.role == fromContent {
		x = b.weight(v.content, own(v.content.DType))
	} else {
		x = b.arrived(v)
	}
	n := l.n * l.k
	w.amax = b.weighed.slot(kernels.F32)
	if b.opt.Statistics {
		w.counts = b.weighed.slot(kernels.I64, 3)
	}
	if w.codes.Dims[0] != l.n {
		b.prog.SetupCleared = append(b.prog.SetupCleared, w.codes.Buffer)
	}
	scale := l.sw.quant
	amax := w.amax
	channels := l.sw.n > 1
	if channels || l.Variant.Weight == ops.WeightDynamic {
		b.setup(Step{
			Layer: l.name, Kernel: "amax", Bytes: float64(n * x.T.Size()), Reads: buffers(x, amax), Writes: buffers(amax),
			Launch: func(l *Launcher) error { return l.Kernels.Amax(l.Addr(w.amax), l.Addr(x), x.T, n, l.Stream) },
		})
		amax = nil
	}
	if l.Variant.Weight == ops.WeightDynamic {
		of := w.amax
		if channels {
			of = b.rowAmaxes(l, x)
		}
		made := &Buffer{Home: State}
		scale = piece(made, l.sw.n)
		back := &Buffer{Home: State}
		w.inverse = piece(back, l.sw.n)
		b.setup(copyFloats("stored scale", scale, l.sw.quant, l.sw.n))
		b.setup(b.scaleStep(l.name, scale, w.inverse, of, l))
	}
	from := x
	if channels {
		from, scale = b.timesRows(l, x, scale), nil
	}
	b.castTo(w.codes, from, castOptions{layer: l.name, scale: scale, amax: amax, counts: w.counts, rows: l.n, cols: l.k}, b.setup)
}

// timesRows is x of [n, k], whose rows are multiplied by a scale each, in float32, as Setup computes it.
func (b *builder) timesRows(l *layer, x, scale *Tensor) *Tensor {
	y := b.new(kernels.F32, l.n, l.k)
	b.setup(Step{
		Layer: l.name, Kernel: "rows times scales", Reads: buffers(x, scale), Writes: buffers(y),
		Launch: func(l *Launcher) error {
			return l.Kernels.Chain(kernels.Chain{
				Dims: y.Dims, Y: l.Addr(y), T: kernels.F32,
				Inputs: []kernels.ChainInput{{P: l.Addr(x), T: x.T, Strides: x.Strides}, {P: l.Addr(scale), T: kernels.F32, Strides: []int64{1, 0}}},
				Steps:  []kernels.Step{{Op: kernels.OpMul, With: kernels.Input(1)}},
			}, l.Stream)
		},
	})
	return y
}

// rowAmaxes is the largest magnitude of each row of a weight, as Setup computes it.
func (b *builder) rowAmaxes(l *layer, x *Tensor) *Tensor {
	size, amaxes := b.new(kernels.F32, l.n, l.k), b.new(kernels.F32, l.n)
	b.setup(Step{
		Layer: l.name, Kernel: "magnitudes", Reads: buffers(x), Writes: buffers(size),
		Launch: func(l *Launcher) error {
			return l.Kernels.Chain(kernels.Chain{
				Dims: size.Dims, Y: l.Addr(size), T: kernels.F32,
				Inputs: []kernels.ChainInput{{P: l.Addr(x), T: x.T, Strides: x.Strides}}, Steps: []kernels.Step{{Op: kernels.OpAbs}},
			}, l.Stream)
		},
	})
	rows, cols := l.n, l.k
	b.setup(Step{
		Layer: l.name, Kernel: "amax of rows", Reads: buffers(size), Writes: buffers(amaxes),
		Launch: func(l *Launcher) error {
			return l.Kernels.Reduce(kernels.ReduceMax, l.Addr(amaxes), l.Addr(size), kernels.F32, rows, cols, 1, l.Stream)
		},
	})
	return amaxes
}

// decodedWeight is the values of codes [n, k] in a type, times scale: a scalar, one for each row, or nil. Setup computes them.
func (b *builder) decodedWeight(w *weightCodes, t kernels.Type, scale *Tensor) *Tensor {
	key := decodedKey{t, scale}
	if y := w.decoded[key]; y != nil {
		return y
	}
	y := dense(&Buffer{Home: State}, t, []int64{w.n, w.k})
	w.decoded[key] = y
	to, scalar, n, codes := y, scale, w.n*w.k, w.codes
	rows := scale != nil && scale.Elements() > 1
	if rows {
		scalar = nil
	}
	if rows {
		to = b.new(kernels.F32, w.n, w.k)
	}
	b.setup(Step{
		Layer: w.layer, Kernel: "decode e4m3", Bytes: float64(n * (1 + to.T.Size())), Reads: buffers(codes, scalar), Writes: buffers(to),
		Launch: func(l *Launcher) error {
			return l.Kernels.Decode(l.Addr(to), to.T, l.Addr(codes), kernels.E4M3, l.Addr(scalar), n, l.Stream)
		},
	})
	if rows {
		b.setup(Step{
			Layer: w.layer, Kernel: "rows times scales", Reads: buffers(to, scale), Writes: buffers(y),
			Launch: func(l *Launcher) error {
				return l.Kernels.Chain(kernels.Chain{
					Dims: y.Dims, Y: l.Addr(y), T: t,
					Inputs: []kernels.ChainInput{{P: l.Addr(to), T: kernels.F32, Strides: to.Strides}, {P: l.Addr(scale), T: kernels.F32, Strides: []int64{1, 0}}},
					Steps:  []kernels.Step{{Op: kernels.OpMul, With: kernels.Input(1)}},
				}, l.Stream)
			},
		})
	}
	return y
}
