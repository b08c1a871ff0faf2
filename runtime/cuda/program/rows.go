package program

import (
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// rowwise is the lowers of operators that see an array as rows: normalizations, softmax, reductions.
func rowwise() map[string]lower {
	all := map[string]lower{
		"LayerNormalization":                             norm(true),
		"RMSNormalization":                               norm(false),
		"SimplifiedLayerNormalization":                   norm(false),
		"com.microsoft.SimplifiedLayerNormalization":     norm(false),
		"com.microsoft.SkipLayerNormalization":           skipNorm(true),
		"com.microsoft.SkipSimplifiedLayerNormalization": skipNorm(false),
		"Softmax":           softmax(false),
		"LogSoftmax":        softmax(true),
		"GlobalAveragePool": globalPool(kernels.ReduceMean),
		"GlobalMaxPool":     globalPool(kernels.ReduceMax),
	}
	all["ReduceLogSum"] = reduceLogSum
	all["BatchNormalization"] = batchNorm
	for op, r := range map[string]kernels.Reduction{"ReduceSum": kernels.ReduceSum, "ReduceMean": kernels.ReduceMean, "ReduceMax": kernels.ReduceMax,
		"ReduceMin": kernels.ReduceMin, "ReduceProd": kernels.ReduceProd, "ReduceSumSquare": kernels.ReduceSumSquare,
		"ReduceL1": kernels.ReduceL1, "ReduceL2": kernels.ReduceL2} {
		all[op] = func(b *builder, n *graph.Node) (string, error) {
			y, why := b.reduceNode(n, r)
			if y != nil {
				b.define(n.Output(0), y)
			}
			return why, nil
		}
	}
	return all
}

// unused says which of the outputs from first on somebody reads, though it has no kernel; those in but are not asked for.
func (b *builder) unused(n *graph.Node, first int, but ...int) string {
	for i := first; i < len(n.Outputs); i++ {
		if n.Outputs[i] != "" && !slices.Contains(but, i) && b.uses(n.Outputs[i]) > 0 {
			return fmt.Sprintf("output %d of %s has no kernel", i, n.OpType)
		}
	}
	return ""
}

// norm lowers a normalization over the last axes.
func norm(center bool) lower {
	return func(b *builder, n *graph.Node) (string, error) {
		if why := knows(n, "axis", "epsilon", "stash_type"); why != "" {
			return why, nil
		}
		if why := b.unused(n, 1); why != "" {
			return why, nil
		}
		dims, ok := b.dims(n.Input(0))
		axis, fits := axisOf(n.AttrInt("axis", -1), len(dims))
		if !ok || !fits {
			return fmt.Sprintf("axis %d of %v", n.AttrInt("axis", -1), dims), nil
		}
		l := normLowering{center: center, x: n.Input(0), weight: n.Input(1), epsilon: n.AttrFloat("epsilon", 1e-5), axis: axis,
			sum: b.uses(n.Input(0)) > 1}
		if center {
			l.bias = n.Input(2)
		}
		return l.lower(b, n), nil
	}
}

// skipNorm lowers com.microsoft's normalization of a sum, which is output 3.
func skipNorm(center bool) lower {
	return func(b *builder, n *graph.Node) (string, error) {
		if why := knows(n, "epsilon"); why != "" {
			return why, nil
		}
		if why := b.unused(n, 1, 3); why != "" {
			return why, nil
		}
		dims, ok := b.dims(n.Input(0))
		if !ok || len(dims) == 0 {
			return fmt.Sprintf("rows of %v", dims), nil
		}
		l := normLowering{center: center, x: n.Output(3), weight: n.Input(2), epsilon: n.AttrFloat("epsilon", 1e-12), axis: len(dims) - 1}
		parts := []string{n.Input(0), n.Input(1)}
		if center {
			l.bias = n.Input(3)
			parts = append(parts, n.Input(4))
		} else {
			parts = append(parts, n.Input(3))
		}
		if parts[2] == "" {
			parts = parts[:2]
		}
		if l.sum = l.x != "" && b.uses(l.x) > 0; !l.sum {
			l.x = n.Output(0) + " (sum)"
			b.declare(l.x, b.typeOf(n.Input(0)), dims, 1)
		}
		why, err := b.grow(n, l.x, parts, func(in []*term) *term {
			s := join(kernels.OpAdd, in[0], in[1])
			if len(in) > 2 {
				s = join(kernels.OpAdd, s, in[2])
			}
			return s
		})
		if why != "" || err != nil {
			return why, err
		}
		return l.lower(b, n), nil
	}
}

// normLowering is a normalization of the value x over its axes from axis on.
type normLowering struct {
	center          bool
	x, weight, bias string
	epsilon         float32
	axis            int
	sum             bool // somebody else reads x
}

func (l normLowering) lower(b *builder, n *graph.Node) (why string) {
	out := n.Output(0)
	dims, _ := b.dims(out)
	t := b.held(b.typeOf(out))
	if t != kernels.F32 && t != kernels.BF16 {
		return fmt.Sprintf("%s of %v", n.OpType, b.typeOf(out))
	}
	cols := count(dims[l.axis:])
	rows := count(dims) / cols
	x, residual, sum, why := b.normInput(l, t)
	if x == nil {
		return why
	}
	weight, why := b.affine(l.weight, dims[l.axis:])
	if weight == nil {
		return why
	}
	var bias *Tensor
	if l.bias != "" {
		if bias, why = b.affine(l.bias, dims[l.axis:]); bias == nil {
			return why
		}
	}
	q := b.demand(out, cols)
	var y *Tensor
	if !q.only() {
		y = b.new(t, dims...)
	}
	k := kernels.Norm{T: t, Center: l.center, WeightType: weight.T, Rows: rows, Cols: cols, Epsilon: l.epsilon}
	name := "rms norm"
	if l.center {
		name = "layer norm"
	}
	if bias != nil {
		k.BiasType = bias.T
	}
	if residual != nil {
		name += " of a sum"
	}
	b.emit(Step{
		Kernel: name, Bytes: traffic(x, residual, sum, y, q.to()),
		Reads: append(buffers(x, residual, weight, bias), q.reads()...), Writes: append(buffers(sum, y), q.writes()...),
		Launch: func(l *Launcher) error {
			k := k
			k.X, k.Residual, k.Sum, k.Y = l.Addr(x), l.Addr(residual), l.Addr(sum), l.Addr(y)
			k.Weight, k.Bias, k.Codes = l.Addr(weight), l.Addr(bias), q.codes(l)
			return l.Kernels.Normalize(k, l.Stream)
		},
	})
	b.fulfilled(q)
	if y != nil {
		b.define(out, y)
	}
	return ""
}

// normInput is what is normalized, contiguous. The sum of two arrays is not computed before: the kernel adds the residual itself, and
// writes the sum where others read it.
func (b *builder) normInput(l normLowering, t kernels.Type) (x, residual, sum *Tensor, why string) {
	v := b.value(l.x)
	if v != nil && v.tensor == nil && v.lazy != nil && v.lazy.t == t {
		e := v.lazy
		if a, ok := e.activation(); ok && a.act == kernels.Add && a.a.Contiguous() && a.b.Contiguous() {
			v.lazy = nil
			if l.sum {
				sum = b.new(t, e.dims...)
				b.define(l.x, sum)
				e.root.in = sum
			}
			return a.a, a.b, sum, ""
		}
	}
	if x, why = b.getDense(l.x); x == nil {
		return nil, nil, nil, why
	}
	return b.convert(x, t), nil, nil, ""
}

// affine is a scale or bias as one row of these dims.
func (b *builder) affine(name string, dims []int64) (t *Tensor, why string) {
	if t, why = b.getOwn(name); t == nil {
		return nil, why
	}
	if t.Elements() == count(dims) {
		return t.reshape(count(dims)), ""
	}
	for len(t.Dims) > len(dims) && t.Dims[0] == 1 {
		t = t.reshape(t.Dims[1:]...)
	}
	strides, ok := spread(t, dims)
	if !ok {
		return nil, fmt.Sprintf("%q of %v for rows of %v", name, t.Dims, dims)
	}
	return b.copy(t.view(0, dims, strides)).reshape(count(dims)), ""
}

// traffic is the bytes of arrays that are read or written once.
func traffic(all ...*Tensor) float64 {
	n := float64(0)
	for _, t := range all {
		if t != nil {
			n += float64(t.Elements() * t.T.Size())
		}
	}
	return n
}

// to is where the codes of a cast go, nil where there are none.
func (q *cast) to() *Tensor {
	if q == nil {
		return nil
	}
	return q.Codes
}

// softmax lowers Softmax and LogSoftmax. Before opset 13 everything from the axis on is one row.
func softmax(log bool) lower {
	return func(b *builder, n *graph.Node) (string, error) {
		out := n.Output(0)
		dims, _ := b.dims(out)
		t := b.held(b.typeOf(out))
		if t != kernels.F32 && t != kernels.BF16 {
			return fmt.Sprintf("%s of %v", n.OpType, b.typeOf(out)), nil
		}
		flat := b.st.Model.OpsetVersion("") < 13
		axis := n.AttrInt("axis", -1)
		if flat {
			axis = n.AttrInt("axis", 1)
		}
		if len(dims) == 0 {
			dims, axis = []int64{1}, 0
		}
		at, ok := axisOf(axis, len(dims))
		if flat && axis == int64(len(dims)) {
			at, ok = len(dims), true
		}
		if !ok {
			return fmt.Sprintf("axis %d of %v", axis, dims), nil
		}
		s := kernels.Softmax{T: t, Scale: 1, Log: log}
		if flat || count(dims[at+1:]) == 1 {
			x, mask, why := b.scores(n.Input(0), &s, at == len(dims)-1 && len(dims) <= 4)
			if x == nil {
				return why, nil
			}
			s.Cols = count(dims[at:])
			if mask == nil {
				s.Dims = [3]int64{1, 1, count(dims) / s.Cols}
			} else {
				s.Dims = [3]int64{1, 1, 1}
				copy(s.Dims[4-len(dims):], dims[:len(dims)-1])
			}
			y := b.new(t, x.Dims...)
			b.emitSoftmax(s, x, mask, y)
			b.define(out, y)
			return "", nil
		}
		// The axis goes last, and the result is seen the other way round.
		x, why := b.get(n.Input(0))
		if x == nil {
			return why, nil
		}
		last := len(dims) - 1
		moved, strides := slices.Clone(dims), slices.Clone(x.Strides)
		moved[at], moved[last], strides[at], strides[last] = moved[last], moved[at], strides[last], strides[at]
		v := x.view(0, moved, strides)
		if joinedRank(moved, strides, kernels.Strides(moved)) > chainRank {
			return fmt.Sprintf("no kernel copies more than %d dimensions that cannot be joined", chainRank), nil
		}
		v = b.contiguous(v)
		s.Cols = dims[at]
		s.Dims = [3]int64{1, 1, count(dims) / s.Cols}
		y := b.new(t, moved...)
		b.emitSoftmax(s, v, nil, y)
		back := slices.Clone(y.Strides)
		back[at], back[last] = back[last], back[at]
		return b.defineView(out, y.view(0, dims, back)), nil
	}
}

// scores is what a softmax is taken of, contiguous. A factor, and a mask that is added, are left to the kernel where fuse allows.
func (b *builder) scores(name string, s *kernels.Softmax, fuse bool) (x, mask *Tensor, why string) {
	v := b.value(name)
	if fuse && v != nil && v.tensor == nil && v.lazy != nil && b.uses(name) == 1 && v.lazy.t == s.T {
		e := v.lazy
		whole := func(t *term) bool {
			return t.in != nil && t.in.T == s.T && t.in.Contiguous() && slices.Equal(t.in.Dims, e.dims)
		}
		// scaled is a term as an array times a factor.
		scaled := func(t *term) (in *Tensor, factor float32) {
			if whole(t) {
				return t.in, 1
			}
			if t.leaf() || t.op != kernels.OpMul && t.op != kernels.OpDiv {
				return nil, 0
			}
			a, c := t.args[0], t.args[1]
			if t.op == kernels.OpMul && a.in == nil && a.op == 0 {
				a, c = c, a
			}
			if !whole(a) || c.in != nil || c.op != 0 {
				return nil, 0
			}
			if t.op == kernels.OpDiv {
				return a.in, 1 / c.num
			}
			return a.in, c.num
		}
		in, factor := scaled(e.root)
		if in == nil && !e.root.leaf() && e.root.op == kernels.OpAdd {
			for i, a := range e.root.args {
				m := e.root.args[1-i].in
				if m == nil || m.T != kernels.F32 && m.T != kernels.F16 && m.T != kernels.BF16 {
					continue
				}
				strides, ok := spread(m, e.dims)
				if in, factor = scaled(a); in != nil && ok {
					mask = m.view(0, e.dims, strides)
					break
				}
				in = nil
			}
		}
		if in != nil {
			v.lazy = nil
			s.Scale = factor
			return in, mask, ""
		}
	}
	x, why = b.getDense(name)
	return x, nil, why
}

func (b *builder) emitSoftmax(s kernels.Softmax, x, mask, y *Tensor) {
	if mask != nil {
		s.Mask.T = mask.T
		copy(s.Mask.Strides[4-len(mask.Dims):], mask.Strides)
	}
	b.emit(Step{
		Kernel: "softmax", Bytes: traffic(x, y),
		Reads: buffers(x, mask), Writes: buffers(y),
		Launch: func(l *Launcher) error {
			s := s
			s.X, s.Y, s.Mask.P = l.Addr(x), l.Addr(y), l.Addr(mask)
			return l.Kernels.Softmax(s, l.Stream)
		},
	})
}

// reduceNode is the result of a Reduce operator; its axes are an attribute or input 1.
func (b *builder) reduceNode(n *graph.Node, r kernels.Reduction) (y *Tensor, why string) {
	if why := knows(n, "axes", "keepdims", "noop_with_empty_axes"); why != "" {
		return nil, why
	}
	dims, ok := b.dims(n.Input(0))
	if !ok {
		return nil, "the shape of what is reduced depends on data"
	}
	axes, _ := n.AttrInts("axes")
	if name := n.Input(1); name != "" {
		if axes, ok = b.ints(name); !ok {
			return nil, "the axes of a reduction depend on data"
		}
	}
	gone := make([]bool, len(dims))
	for i := range gone {
		gone[i] = len(axes) == 0 && n.AttrInt("noop_with_empty_axes", 0) == 0
	}
	for _, a := range axes {
		at, ok := axisOf(a, len(dims))
		if !ok {
			return nil, fmt.Sprintf("axis %d of %v", a, dims)
		}
		gone[at] = true
	}
	return b.reduced(n.Input(0), n.Output(0), r, gone)
}

// reduced is a value reduced over the axes that are gone, under the dims of the value called out.
func (b *builder) reduced(name, out string, r kernels.Reduction, gone []bool) (y *Tensor, why string) {
	t := b.held(b.typeOf(name))
	if t != kernels.F32 && t != kernels.BF16 {
		return nil, fmt.Sprintf("a reduction of %v is not exact on the GPU", b.typeOf(name))
	}
	x, why := b.get(name)
	if x == nil {
		return nil, why
	}
	// The axes that go must be neighbours; else they are moved to the end.
	outer, n, inner := int64(1), int64(1), int64(1)
	neighbours := true
	for i, d := range x.Dims {
		switch {
		case d == 1:
		case !gone[i] && n == 1:
			outer *= d
		case !gone[i]:
			inner *= d
		default:
			neighbours = neighbours && inner == 1
			n *= d
		}
	}
	if !neighbours {
		var dims, strides []int64
		for _, want := range []bool{false, true} {
			for i, d := range x.Dims {
				if gone[i] == want {
					dims, strides = append(dims, d), append(strides, x.Strides[i])
				}
			}
		}
		if joinedRank(dims, strides, kernels.Strides(dims)) > chainRank {
			return nil, fmt.Sprintf("no kernel copies more than %d dimensions that cannot be joined", chainRank)
		}
		x = x.view(0, dims, strides)
		outer, inner = outer*inner, 1
	}
	x = b.contiguous(x)
	dims, _ := b.dims(out)
	y = b.new(t, dims...)
	b.emit(Step{
		Kernel: "reduce", Bytes: traffic(x, y),
		Reads: buffers(x), Writes: buffers(y),
		Launch: func(l *Launcher) error {
			return l.Kernels.Reduce(r, l.Addr(y), l.Addr(x), t, outer, n, inner, l.Stream)
		},
	})
	return y, ""
}

// reduceLogSum lowers ReduceLogSum: the logarithm is left to whoever reads it.
func reduceLogSum(b *builder, n *graph.Node) (string, error) {
	y, why := b.reduceNode(n, kernels.ReduceSum)
	if y == nil {
		return why, nil
	}
	b.defineLazy(n.Output(0), &expression{dims: y.Dims, t: y.T, root: one(kernels.OpLog, &term{in: y}), node: n})
	return "", nil
}

// globalPool lowers a pooling over all spatial axes.
func globalPool(r kernels.Reduction) lower {
	return func(b *builder, n *graph.Node) (string, error) {
		dims, ok := b.dims(n.Input(0))
		if !ok || len(dims) < 2 || b.typeOf(n.Input(0)) == tensor.Undefined {
			return fmt.Sprintf("%s of %v", n.OpType, dims), nil
		}
		gone := make([]bool, len(dims))
		for i := range gone {
			gone[i] = i >= 2
		}
		y, why := b.reduced(n.Input(0), n.Output(0), r, gone)
		if y != nil {
			b.define(n.Output(0), y)
		}
		return why, nil
	}
}

// batchNorm lowers BatchNormalization that does not train: (x - mean)/sqrt(var + epsilon)·scale + bias for each channel, an expression over x.
func batchNorm(b *builder, n *graph.Node) (string, error) {
	if why := knows(n, "epsilon", "momentum", "training_mode", "spatial"); why != "" {
		return why, nil
	}
	if n.AttrInt("training_mode", 0) != 0 || n.AttrInt("spatial", 1) == 0 || len(n.Inputs) != 5 {
		return "BatchNormalization of this form has no kernel", nil
	}
	if why := b.unused(n, 1); why != "" {
		return why, nil
	}
	dims, _ := b.dims(n.Output(0))
	if len(dims) < 2 || b.st.Model.OpsetVersion("") < 7 {
		return fmt.Sprintf("BatchNormalization of %v has no kernel", dims), nil
	}
	channels := make([]int64, len(dims)-1)
	for i := range channels {
		channels[i] = 1
	}
	channels[0] = dims[1]
	var of [4]*term // scale, bias, mean, variance
	for i := range of {
		t, why := b.getOwn(n.Input(1 + i))
		if t == nil {
			return why, nil
		}
		if t.Elements() != dims[1] {
			return fmt.Sprintf("%d values for %d channels", t.Elements(), dims[1]), nil
		}
		of[i] = &term{in: t.reshape(channels...)}
	}
	return b.lazily(n, n.Inputs[:1], func(in []*term) *term {
		deviation := one(kernels.OpSqrt, join(kernels.OpAdd, of[3], number(n.AttrFloat("epsilon", 1e-5))))
		y := join(kernels.OpDiv, join(kernels.OpSub, in[0], of[2]), deviation)
		return join(kernels.OpAdd, join(kernels.OpMul, y, of[0]), of[1])
	})
}
