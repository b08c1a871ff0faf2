package program

import (
	"fmt"
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// point is an elementwise node while it is being lowered.
type point struct {
	b     *builder
	n     *graph.Node
	names []string // of the values that take part: the node's inputs, unless its maker says otherwise
	part  joiner   // joins some of them, where there may be more than one launch takes
	opset int64
}

// joiner puts the terms of the values together that take part; those of inputs that are left out are nil.
type joiner func(in []*term) *term

// pointwise are the elementwise operators: each checks the node and says what it makes of its inputs, or why it cannot.
//
// Arithmetic is float32 on the GPU, and so integers take part only where that is provably exact: what a comparison with small constants
// sees of them, and casts to floating-point types.
var pointwise = map[string]func(p *point) (joiner, string){
	"Add": arithmetic(kernels.OpAdd),
	"Sub": arithmetic(kernels.OpSub),
	"Mul": arithmetic(kernels.OpMul),
	"Div": arithmetic(kernels.OpDiv),
	"Pow": makePow,
	"Sum": variadic(kernels.OpAdd, false), "Mean": variadic(kernels.OpAdd, true),
	"Max": variadic(kernels.OpMax, false), "Min": variadic(kernels.OpMin, false),

	"Equal": comparison(kernels.OpEqual), "Less": comparison(kernels.OpLess), "LessOrEqual": comparison(kernels.OpLessEqual),
	"Greater": comparison(kernels.OpGreater), "GreaterOrEqual": comparison(kernels.OpGreaterEqual),
	"And": logic(kernels.OpAnd), "Or": logic(kernels.OpOr), "Xor": logic(kernels.OpXor), "Not": logic(kernels.OpNot),
	"Where": makeWhere, "IsNaN": makeIsNaN, "IsInf": makeIsInf,
	"Cast": makeCast, "CastLike": makeCast, "Identity": makeIdentity, "Dropout": makeDropout,

	"Neg": function(kernels.OpNeg), "Abs": function(kernels.OpAbs), "Sign": function(kernels.OpSign),
	"Floor": function(kernels.OpFloor), "Ceil": function(kernels.OpCeil), "Round": function(kernels.OpRound),
	"Sqrt": function(kernels.OpSqrt), "Reciprocal": function(kernels.OpReciprocal), "Exp": function(kernels.OpExp),
	"Log": function(kernels.OpLog), "Tanh": function(kernels.OpTanh), "Erf": function(kernels.OpErf),
	"Sin": function(kernels.OpSin), "Cos": function(kernels.OpCos),
	"Tan": shaped(nil, func(p *point, x *term) *term {
		return join(kernels.OpDiv, one(kernels.OpSin, x), one(kernels.OpCos, x))
	}),

	"Clip": makeClip, "PRelu": makePRelu,
	"Relu": function(kernels.OpRelu), "Sigmoid": function(kernels.OpSigmoid), "Softplus": function(kernels.OpSoftplus),
	"LeakyRelu": shaped([]string{"alpha"}, func(p *point, x *term) *term {
		return join(kernels.OpPRelu, x, number(p.n.AttrFloat("alpha", 0.01)))
	}),
	"Gelu":  makeGelu,
	"Swish": shaped([]string{"alpha"}, func(p *point, x *term) *term { return swish(x, p.n.AttrFloat("alpha", 1)) }),
	"Mish": shaped(nil, func(p *point, x *term) *term {
		return join(kernels.OpMul, x, one(kernels.OpTanh, one(kernels.OpSoftplus, x)))
	}),
	"Softsign": shaped(nil, func(p *point, x *term) *term {
		return join(kernels.OpDiv, x, join(kernels.OpAdd, one(kernels.OpAbs, x), number(1)))
	}),
	"HardSigmoid": shaped([]string{"alpha", "beta"}, func(p *point, x *term) *term {
		return hardSigmoid(x, p.n.AttrFloat("alpha", 0.2), p.n.AttrFloat("beta", 0.5))
	}),
	"HardSwish": shaped(nil, func(p *point, x *term) *term { return join(kernels.OpMul, x, hardSigmoid(x, 1.0/6, 0.5)) }),
	"ThresholdedRelu": shaped([]string{"alpha"}, func(p *point, x *term) *term {
		return choose(join(kernels.OpGreater, x, number(p.n.AttrFloat("alpha", 1))), x, number(0))
	}),
	"Shrink": shaped([]string{"lambd", "bias"}, func(p *point, x *term) *term {
		l, bias := p.n.AttrFloat("lambd", 0.5), number(p.n.AttrFloat("bias", 0))
		up := choose(join(kernels.OpGreater, x, number(l)), join(kernels.OpSub, x, bias), number(0))
		return choose(join(kernels.OpLess, x, number(-l)), join(kernels.OpAdd, x, bias), up)
	}),
	"Elu": shaped([]string{"alpha"}, func(p *point, x *term) *term {
		return choose(join(kernels.OpGreaterEqual, x, number(0)), x, join(kernels.OpMul, lessOne(x), number(p.n.AttrFloat("alpha", 1))))
	}),
	"Selu": shaped([]string{"alpha", "gamma"}, func(p *point, x *term) *term {
		gamma := p.n.AttrFloat("gamma", 1.05070102214813232421875)
		left := join(kernels.OpMul, lessOne(x), number(gamma*p.n.AttrFloat("alpha", 1.67326319217681884765625)))
		return choose(join(kernels.OpGreater, x, number(0)), join(kernels.OpMul, x, number(gamma)), left)
	}),
	"Celu": makeCelu,

	"com.microsoft.Gelu":     function(kernels.OpGELUErf),
	"com.microsoft.BiasGelu": biasGelu(kernels.OpGELUErf),
	"com.microsoft.FastGelu": biasGelu(kernels.OpGELUTanh),
	"com.microsoft.QuickGelu": shaped([]string{"alpha"}, func(p *point, x *term) *term {
		return swish(x, p.n.AttrFloat("alpha", 1.702))
	}),
}

// elementwise is the lowers of the elementwise operators.
func elementwise() map[string]lower {
	all := map[string]lower{}
	for op, f := range pointwise {
		all[op] = func(b *builder, n *graph.Node) (string, error) {
			p := &point{b: b, n: n, names: n.Inputs, opset: b.st.Model.OpsetVersion("")}
			join, why := f(p)
			if join == nil {
				return why, nil
			}
			if why := p.plain(); why != "" {
				return why, nil
			}
			if why, err := p.split(); why != "" || err != nil {
				return why, err
			}
			return b.lazily(n, p.names, join)
		}
	}
	return all
}

// split joins the first inputs where there are more than one launch takes: what comes of them is the first input then.
func (p *point) split() (why string, err error) {
	for i := 0; p.part != nil && len(p.names) > chainInputs; i++ {
		first, rest := p.names[:chainInputs], p.names[chainInputs:]
		dims, ok := p.b.broadcast(first)
		if !ok {
			return "the inputs do not broadcast", nil
		}
		name := fmt.Sprintf("%s (part %d)", p.n.Output(0), i)
		p.b.declare(name, p.b.typeOf(p.n.Output(0)), dims, 1)
		if why, err := p.b.grow(p.n, name, first, p.part); why != "" || err != nil {
			return why, err
		}
		p.names = append([]string{name}, rest...)
	}
	return "", nil
}

// lazily defines the node's first output as an expression over the values called names.
func (b *builder) lazily(n *graph.Node, names []string, f joiner) (why string, err error) {
	out := n.Output(0)
	switch b.held(b.typeOf(out)) {
	case kernels.F32, kernels.BF16, kernels.Bool:
		return b.grow(n, out, names, f)
	default:
		if len(names) == 1 && b.typeOf(names[0]) == b.typeOf(out) && f([]*term{nil}) == nil {
			// What only hands its input on does so for integers too.
			t, why := b.get(names[0])
			if t != nil {
				b.define(out, t)
			}
			return why, nil
		}
		return fmt.Sprintf("arithmetic on %v is not exact on the GPU", b.typeOf(out)), nil
	}
}

// plain says what of a node from before ONNX had one rule of broadcasting is not supported.
func (p *point) plain() string {
	if p.opset < 7 && (p.n.Attr("broadcast") != nil || p.n.Attr("axis") != nil) {
		return fmt.Sprintf("the broadcasting of opset %d is not supported on the GPU", p.opset)
	}
	return ""
}

// floating says which of the inputs is not of a floating-point type.
func (p *point) floating() string {
	for _, name := range p.n.Inputs {
		if name == "" {
			continue
		}
		switch d := p.b.typeOf(name); p.b.held(d) {
		case kernels.F32, kernels.BF16:
		default:
			return fmt.Sprintf("%s of %v is not exact on the GPU", p.n.OpType, d)
		}
	}
	return ""
}

// knows says which attribute of the node is none of names.
func knows(n *graph.Node, names ...string) string {
	for _, a := range n.Attributes {
		if !slices.Contains(names, a.Name) {
			return fmt.Sprintf("attribute %q is not supported on the GPU", a.Name)
		}
	}
	return ""
}

func number(v float32) *term { return &term{num: v} }

// one is an instruction without an operand.
func one(op kernels.Op, x *term) *term { return &term{op: op, args: []*term{x}} }

// join is an instruction with an operand, in its shortest form.
func join(op kernels.Op, x, y *term) *term {
	if op == kernels.OpMul {
		if same(x, y) {
			return one(kernels.OpSquare, x)
		}
		for _, s := range [2][2]*term{{x, y}, {y, x}} {
			if s[1].op == kernels.OpSigmoid && s[1].in == nil && same(s[1].args[0], s[0]) {
				return one(kernels.OpSiLU, s[0])
			}
		}
	}
	return &term{op: op, args: []*term{x, y}}
}

// choose is yes where cond is not zero, else no.
func choose(cond, yes, no *term) *term {
	return &term{op: kernels.OpKeepIf, args: []*term{cond, yes, no}}
}

// shaped is an operator of one floating-point input with these attributes.
func shaped(attrs []string, f func(p *point, x *term) *term) func(p *point) (joiner, string) {
	return func(p *point) (joiner, string) {
		if why := knows(p.n, attrs...); why != "" {
			return nil, why
		}
		if why := p.floating(); why != "" {
			return nil, why
		}
		return func(in []*term) *term { return f(p, in[0]) }, ""
	}
}

// function is an operator of one floating-point input that is one instruction.
func function(op kernels.Op) func(p *point) (joiner, string) {
	return shaped(nil, func(_ *point, x *term) *term { return one(op, x) })
}

// arithmetic is an operator of two floating-point inputs that is one instruction.
func arithmetic(op kernels.Op) func(p *point) (joiner, string) {
	return func(p *point) (joiner, string) {
		if why := knows(p.n, "broadcast", "axis"); why != "" {
			return nil, why
		}
		if why := p.floating(); why != "" {
			return nil, why
		}
		return func(in []*term) *term { return join(op, in[0], in[1]) }, ""
	}
}

// variadic is an operator that joins any number of floating-point inputs, one after the other; mean divides by their number.
func variadic(op kernels.Op, mean bool) func(p *point) (joiner, string) {
	return func(p *point) (joiner, string) {
		if why := knows(p.n); why != "" {
			return nil, why
		}
		if why := p.floating(); why != "" {
			return nil, why
		}
		all := func(in []*term) *term {
			x := in[0]
			for _, y := range in[1:] {
				x = join(op, x, y)
			}
			return x
		}
		last := all
		if mean {
			n := float32(len(p.n.Inputs))
			last = func(in []*term) *term { return join(kernels.OpDiv, all(in), number(n)) }
		}
		p.part = all
		return last, ""
	}
}

// broadcast is the dims to which the values called names spread.
func (b *builder) broadcast(names []string) (dims []int64, ok bool) {
	for _, name := range names {
		d, known := b.dims(name)
		if !known {
			return nil, false
		}
		if len(d) > len(dims) {
			dims = append(slices.Repeat([]int64{1}, len(d)-len(dims)), dims...)
		}
		for i, n := range d {
			at := &dims[len(dims)-len(d)+i]
			switch {
			case *at == 1:
				*at = n
			case n != 1 && n != *at:
				return nil, false
			}
		}
	}
	return dims, true
}

// comparison is an operator that compares two numbers. Integers are compared as float32, which is exact where one side is a constant below
// 2^24: both are rounded, but nothing else becomes one of those.
func comparison(op kernels.Op) func(p *point) (joiner, string) {
	return func(p *point) (joiner, string) {
		if why := knows(p.n, "broadcast", "axis"); why != "" {
			return nil, why
		}
		switch d := p.b.typeOf(p.n.Input(0)); p.b.held(d) {
		case kernels.F32, kernels.BF16:
		case kernels.Bool:
			if op != kernels.OpEqual {
				return nil, "only Equal takes bool"
			}
		case kernels.I32, kernels.I64:
			if !exact(p.b.constant(p.n.Input(0))) && !exact(p.b.constant(p.n.Input(1))) {
				return nil, fmt.Sprintf("comparing %v is not exact on the GPU", d)
			}
		default:
			return nil, fmt.Sprintf("no comparison of %v", d)
		}
		return func(in []*term) *term { return join(op, in[0], in[1]) }, ""
	}
}

// exact reports whether all elements of an integer constant are below 2^24, so that float32 tells them from all others.
func exact(t *tensor.Tensor) bool {
	if t == nil {
		return false
	}
	v, err := t.AsInt64s()
	return err == nil && !slices.ContainsFunc(v, func(n int64) bool { return n <= -1<<24 || n >= 1<<24 })
}

// numbers are the elements of a small constant as the kernels compute with them.
func numbers(t *tensor.Tensor) ([]float32, error) {
	switch t.DType {
	case tensor.Bool:
		raw, err := t.Bytes()
		v := make([]float32, len(raw))
		for i, c := range raw {
			if c != 0 {
				v[i] = 1
			}
		}
		return v, err
	case tensor.Int32, tensor.Int64:
		ints, err := t.AsInt64s()
		v := make([]float32, len(ints))
		for i, n := range ints {
			v[i] = float32(n)
		}
		return v, err
	case tensor.Float16, tensor.BFloat16, tensor.Float32:
		return floats(t)
	}
	return nil, fmt.Errorf("numbers of %v", t.DType)
}

// logic is an operator on truth values.
func logic(op kernels.Op) func(p *point) (joiner, string) {
	return func(p *point) (joiner, string) {
		if why := knows(p.n, "broadcast", "axis"); why != "" {
			return nil, why
		}
		for _, name := range p.n.Inputs {
			if d := p.b.typeOf(name); d != tensor.Bool {
				return nil, fmt.Sprintf("%s of %v", p.n.OpType, d)
			}
		}
		if op == kernels.OpNot {
			return func(in []*term) *term { return one(op, in[0]) }, ""
		}
		return func(in []*term) *term { return join(op, in[0], in[1]) }, ""
	}
}

func makeWhere(p *point) (joiner, string) {
	if why := knows(p.n); why != "" {
		return nil, why
	}
	switch d := p.b.typeOf(p.n.Input(1)); p.b.held(d) {
	case kernels.F32, kernels.BF16, kernels.Bool:
	default:
		return nil, fmt.Sprintf("Where of %v is not exact on the GPU", d)
	}
	return func(in []*term) *term { return choose(in[0], in[1], in[2]) }, ""
}

func makeIsNaN(p *point) (joiner, string) {
	return shaped(nil, func(_ *point, x *term) *term { return one(kernels.OpIsNaN, x) })(p)
}

func makeIsInf(p *point) (joiner, string) {
	return shaped([]string{"detect_negative", "detect_positive"}, func(p *point, x *term) *term {
		inf := float32(math.Inf(1))
		switch negative, positive := p.n.AttrInt("detect_negative", 1) != 0, p.n.AttrInt("detect_positive", 1) != 0; {
		case negative && positive:
			return join(kernels.OpEqual, one(kernels.OpAbs, x), number(inf))
		case positive:
			return join(kernels.OpEqual, x, number(inf))
		case negative:
			return join(kernels.OpEqual, x, number(-inf))
		}
		return join(kernels.OpLess, x, number(-inf)) // never
	})(p)
}

// makeCast makes Cast and CastLike. A cast to a type with fewer digits rounds, as far as the GPU holds values with more.
func makeCast(p *point) (joiner, string) {
	if why := knows(p.n, "to", "saturate", "round_mode"); why != "" {
		return nil, why
	}
	from, to := p.b.typeOf(p.n.Input(0)), p.b.typeOf(p.n.Output(0))
	p.names = p.n.Inputs[:1]
	if from == to {
		return func(in []*term) *term { return in[0] }, ""
	}
	var f func(x *term) *term
	switch p.b.held(to) {
	case kernels.F32, kernels.BF16:
		f = func(x *term) *term { return x }
		full := p.b.opt.Compute == kernels.F32
		switch {
		case from == tensor.Bool:
		case full && to == tensor.Float16:
			f = func(x *term) *term { return one(kernels.OpRoundF16, x) }
		case full && to == tensor.BFloat16:
			f = func(x *term) *term { return one(kernels.OpRoundBF16, x) }
		}
	case kernels.Bool:
		f = func(x *term) *term { return one(kernels.OpNot, one(kernels.OpNot, x)) }
	default:
		return nil, fmt.Sprintf("a cast from %v to %v has no kernel", from, to)
	}
	return func(in []*term) *term { return f(in[0]) }, ""
}

func makeIdentity(p *point) (joiner, string) {
	return func(in []*term) *term { return in[0] }, knows(p.n)
}

// makeDropout makes Dropout where it drops nothing.
func makeDropout(p *point) (joiner, string) {
	if p.n.Output(1) != "" && p.b.uses(p.n.Output(1)) > 0 {
		return nil, "the mask of Dropout has no kernel"
	}
	training := p.opset < 7 && p.n.AttrInt("is_test", 0) == 0
	if mode := p.n.Input(2); mode != "" {
		training = true
		if c := p.b.constant(mode); c != nil {
			on, err := c.AsBool()
			training = err != nil || on
		}
	}
	if training {
		return nil, "Dropout while training is random"
	}
	p.names = p.n.Inputs[:1]
	return func(in []*term) *term { return in[0] }, ""
}

func makePow(p *point) (joiner, string) {
	if why := knows(p.n, "broadcast", "axis"); why != "" {
		return nil, why
	}
	if d := p.b.typeOf(p.n.Input(0)); p.b.held(d) != kernels.F32 && p.b.held(d) != kernels.BF16 {
		return nil, fmt.Sprintf("Pow of %v is not exact on the GPU", d)
	}
	switch d := p.b.typeOf(p.n.Input(1)); p.b.held(d) {
	case kernels.F32, kernels.BF16:
	case kernels.I32, kernels.I64:
		if !exact(p.b.constant(p.n.Input(1))) {
			return nil, fmt.Sprintf("Pow with exponents of %v is not exact on the GPU", d)
		}
	default:
		return nil, fmt.Sprintf("Pow with exponents of %v has no kernel", d)
	}
	return func(in []*term) *term {
		x, e := in[0], in[1]
		if e.in == nil && e.op == 0 {
			switch e.num {
			case 1:
				return x
			case 2:
				return one(kernels.OpSquare, x)
			case 3:
				return join(kernels.OpMul, one(kernels.OpSquare, x), x)
			case -1:
				return one(kernels.OpReciprocal, x)
			}
		}
		return join(kernels.OpPow, x, e)
	}, ""
}

// makeClip makes Clip: min(max(x, lo), hi), so that NaN stays and hi wins where it is below lo. The bounds are attributes up to opset 10.
func makeClip(p *point) (joiner, string) {
	attrs := []string{"min", "max"}
	if p.opset >= 11 {
		attrs = nil
	}
	if why := knows(p.n, attrs...); why != "" {
		return nil, why
	}
	if why := p.floating(); why != "" {
		return nil, why
	}
	old := []*term{number(p.n.AttrFloat("min", -math.MaxFloat32)), number(p.n.AttrFloat("max", math.MaxFloat32))}
	return func(in []*term) *term {
		bounds := old
		if p.opset >= 11 {
			bounds = in[1:]
		}
		x := in[0]
		for i, op := range []kernels.Op{kernels.OpMax, kernels.OpMin} {
			// A bound that is NaN bounds nothing.
			if i < len(bounds) && bounds[i] != nil && !(bounds[i].leaf() && bounds[i].num != bounds[i].num) {
				x = join(op, x, bounds[i])
			}
		}
		return x
	}, ""
}

func makePRelu(p *point) (joiner, string) {
	if p.opset < 7 {
		return nil, fmt.Sprintf("the broadcasting of opset %d is not supported on the GPU", p.opset)
	}
	if why := p.floating(); why != "" {
		return nil, why
	}
	return func(in []*term) *term { return join(kernels.OpPRelu, in[0], in[1]) }, knows(p.n)
}

func makeGelu(p *point) (joiner, string) {
	op := kernels.OpGELUErf
	switch a := p.n.AttrString("approximate", "none"); a {
	case "none":
	case "tanh":
		op = kernels.OpGELUTanh
	default:
		return nil, fmt.Sprintf("attribute \"approximate\" is %q", a)
	}
	return shaped([]string{"approximate"}, func(_ *point, x *term) *term { return one(op, x) })(p)
}

// biasGelu is a GELU of the sum of two inputs, of which the second may be left out.
func biasGelu(op kernels.Op) func(p *point) (joiner, string) {
	return func(p *point) (joiner, string) {
		if why := p.floating(); why != "" {
			return nil, why
		}
		return func(in []*term) *term {
			x := in[0]
			if len(in) > 1 && in[1] != nil {
				x = join(kernels.OpAdd, x, in[1])
			}
			return one(op, x)
		}, knows(p.n)
	}
}

// swish is x/(1+exp(-alpha·x)).
func swish(x *term, alpha float32) *term {
	if alpha == 1 {
		return one(kernels.OpSiLU, x)
	}
	return join(kernels.OpMul, x, one(kernels.OpSigmoid, join(kernels.OpMul, x, number(alpha))))
}

// hardSigmoid is max(0, min(1, alpha·x+beta)).
func hardSigmoid(x *term, alpha, beta float32) *term {
	line := join(kernels.OpAdd, join(kernels.OpMul, x, number(alpha)), number(beta))
	return join(kernels.OpMax, join(kernels.OpMin, line, number(1)), number(0))
}

// lessOne is exp(x)-1 for x up to 0, with as many digits near 0 as elsewhere: 2/(1/tanh(x/2) - 1).
func lessOne(x *term) *term {
	t := one(kernels.OpReciprocal, one(kernels.OpTanh, join(kernels.OpMul, x, number(0.5))))
	return join(kernels.OpDiv, number(2), join(kernels.OpSub, t, number(1)))
}

// makeCelu makes Celu: max(0, x) + min(0, alpha·(exp(x/alpha)-1)).
func makeCelu(p *point) (joiner, string) {
	alpha := p.n.AttrFloat("alpha", 1)
	if !(alpha > 0) {
		return nil, fmt.Sprintf("attribute \"alpha\" is %v: not exact on the GPU", alpha)
	}
	return shaped([]string{"alpha"}, func(_ *point, x *term) *term {
		left := join(kernels.OpMul, lessOne(join(kernels.OpDiv, x, number(alpha))), number(alpha))
		return choose(join(kernels.OpGreater, x, number(0)), x, left)
	})(p)
}
