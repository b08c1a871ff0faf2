package program

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
)

// expression is an elementwise computation that has no place in memory yet. It is computed in float32 and rounded once, to t.
type expression struct {
	dims []int64
	t    kernels.Type
	root *term
	node *graph.Node // the last one that became part of it
}

// term is a value as a part of an expression: itself where it is lazy and everybody who reads it can be part of the same expression, else
// where it lies in memory. A constant of one element is a number.
func (b *builder) term(name string) (t *term, why string) {
	v := b.value(name)
	if v != nil && v.tensor == nil && v.lazy != nil && b.joins(name) {
		return v.lazy.root, ""
	}
	c := b.constant(name)
	if c != nil && c.Elements() == 1 {
		if f, err := numbers(c); err == nil {
			return &term{num: f[0]}, ""
		}
	}
	in, why := b.get, ""
	if c != nil && c.Elements() <= 1<<16 {
		in = b.getOwn // a bias costs nothing, whatever its type
	}
	at, why := in(name)
	if at == nil {
		return nil, why
	}
	return &term{in: at}, ""
}

// regionNodes bounds the search of joins: what is larger does not fit into one chain.
const regionNodes = 12

// joins reports whether a lazy value can stay so for its readers: it has one, or all of them are elementwise and meet in one node again,
// as x and sigmoid(x) do in their product, so that the value is computed once.
func (b *builder) joins(name string) bool {
	if b.kept[name] {
		return false
	}
	readers := b.readers[name]
	if len(readers) == 1 {
		return true
	}
	order := b.st.Model.Graph.Nodes
	var region []*graph.Node
	exit, at := (*graph.Node)(nil), -1
	add := func(name string) bool {
		if b.kept[name] {
			return false
		}
		for _, r := range b.readers[name] {
			if pointwise[operator(r)] == nil || b.host[r] != "" {
				return false
			}
			if !slices.Contains(region, r) {
				region = append(region, r)
				if i := slices.Index(order, r); i > at {
					exit, at = r, i
				}
			}
		}
		return len(region) <= regionNodes
	}
	if !add(name) {
		return false
	}
	for grown := true; grown; {
		grown = false
		for _, r := range slices.Clone(region) {
			if r == exit {
				continue
			}
			before := len(region)
			for _, out := range r.Outputs {
				if out != "" && !add(out) {
					return false
				}
			}
			grown = grown || len(region) > before
		}
	}
	return true
}

// grow makes the output of a node an expression over its inputs: f puts their terms together. Where one launch does not hold what comes of
// it, lazy inputs are brought into memory first, those with the longest expressions before others.
func (b *builder) grow(n *graph.Node, out string, names []string, f func(in []*term) *term) (why string, err error) {
	dims, _ := b.dims(out)
	t := b.held(b.typeOf(out))
	for {
		in := make([]*term, len(names))
		for i, name := range names {
			if name == "" {
				continue
			}
			if in[i], why = b.term(name); in[i] == nil {
				return why, nil
			}
		}
		e := &expression{dims: dims, t: t, root: f(in), node: n}
		if !e.root.reads() {
			// A chain begins with an input, and so one of numbers alone needs them in memory.
			for i, name := range names {
				if in[i] != nil {
					at, why := b.get(name)
					if at == nil {
						return why, nil
					}
					in[i] = &term{in: at}
				}
			}
			e.root = f(in)
		}
		if _, ok := compile(e.root, dims); ok {
			b.defineLazy(out, e)
			return "", nil
		}
		longest, size := "", 0
		for _, name := range names {
			v := b.value(name)
			if v == nil || v.tensor != nil || v.lazy == nil {
				continue
			}
			if c, ok := compile(v.lazy.root, v.lazy.dims); ok && len(c.steps)+len(c.inputs) > size {
				longest, size = name, len(c.steps)+len(c.inputs)
			}
		}
		if longest == "" {
			return b.inSteps(n, out, e)
		}
		if _, why := b.get(longest); why != "" {
			return why, nil
		}
	}
}

// inSteps is for an expression whose leaves alone are too many for one launch, or too differently laid out: contiguous copies of views
// help against the latter.
func (b *builder) inSteps(n *graph.Node, out string, e *expression) (why string, err error) {
	copied := map[*term]*term{}
	var walk func(t *term) *term
	walk = func(t *term) *term {
		if c := copied[t]; c != nil {
			return c
		}
		c := *t
		if t.in != nil {
			if !t.in.Contiguous() {
				c.in = b.copy(t.in)
			}
		} else {
			c.args = nil
			for _, a := range t.args {
				c.args = append(c.args, walk(a))
			}
		}
		copied[t] = &c
		return &c
	}
	e.root = walk(e.root)
	if _, ok := compile(e.root, e.dims); !ok {
		return "its elementwise expression does not fit one kernel", nil
	}
	b.defineLazy(out, e)
	return "", nil
}

// materialize brings a lazy value into memory. It does the cast that is wanted of it by the way; where nothing else is wanted the value's
// tensor stays nil.
func (b *builder) materialize(v *value) (why string) {
	e := v.lazy
	v.lazy = nil
	if e.root.in != nil && e.root.in.T == e.t && slices.Equal(e.root.in.Dims, e.dims) {
		// It has become something that lies in memory.
		v.tensor = e.root.in
		return ""
	}
	s := Step{Op: "Chain"}
	if e.node != nil {
		s.Node, s.Op = e.node.Name, e.node.OpType
	}
	if a, ok := e.activation(); ok {
		v.tensor = b.activate(s, v.name, e, a)
	} else {
		c, ok := compile(e.root, e.dims)
		if !ok {
			return "its elementwise expression does not fit one kernel"
		}
		v.tensor = b.launchChain(s, v.name, e, c)
	}
	if v.tensor != nil {
		e.root.in = v.tensor // for expressions that it is a part of and that come later
	}
	return ""
}

// launchChain emits a chain; the result is nil where only the cast of the value is wanted.
func (b *builder) launchChain(s Step, name string, e *expression, c *chain) *Tensor {
	q := b.demand(name, c.rows(e.dims))
	var y *Tensor
	if !q.only() {
		y = b.new(e.t, e.dims...)
	}
	s.Kernel = "chain"
	s.Bytes = e.bytes(c.inputs, y, q)
	s.Reads, s.Writes = append(buffers(c.inputs...), q.reads()...), append(buffers(y), q.writes()...)
	s.Launch = func(l *Launcher) error {
		k := kernels.Chain{Dims: e.dims, Steps: c.steps, Y: l.Addr(y), T: e.t, Codes: q.codes(l)}
		for i, in := range c.inputs {
			k.Inputs = append(k.Inputs, kernels.ChainInput{P: l.Addr(in), T: in.T, Strides: c.strides[i]})
		}
		return l.Kernels.Chain(k, l.Stream)
	}
	b.emit(s)
	b.fulfilled(q)
	return y
}

// bytes are those that must be read and written once.
func (e *expression) bytes(inputs []*Tensor, y *Tensor, q *cast) float64 {
	n := float64(0)
	for _, in := range inputs {
		k := in.T.Size()
		for i, d := range in.Dims {
			if in.Strides[i] != 0 {
				k *= d
			}
		}
		n += float64(k)
	}
	if y != nil {
		n += float64(y.Elements() * y.T.Size())
	}
	if q != nil && q.Codes != nil {
		n += float64(q.Codes.Elements())
	}
	return n
}

// activation is an expression that a kernel of its own computes.
type activation struct {
	act      kernels.Act
	a, b     *Tensor
	aLd, bLd int64
	rows     int64
	cols     int64
}

// activation is the expression as one of kernels.Activate, where it is one: its operands as they lie in memory, all of the result's type
// and dims.
func (e *expression) activation() (a activation, ok bool) {
	r := e.root
	if e.t != kernels.F32 && e.t != kernels.BF16 || r.leaf() {
		return a, false
	}
	operands := r.args
	switch r.op {
	case kernels.OpGELUErf:
		a.act = kernels.GELUErf
	case kernels.OpGELUTanh:
		a.act = kernels.GELUTanh
	case kernels.OpRelu:
		a.act = kernels.ReLU
	case kernels.OpSiLU:
		a.act = kernels.SiLU
	case kernels.OpAdd:
		a.act = kernels.Add
	case kernels.OpMul:
		for i, s := range r.args {
			if s.op == kernels.OpSiLU && s.in == nil {
				a.act, operands = kernels.SiLUMul, []*term{s.args[0], r.args[1-i]}
				break
			}
		}
	}
	if a.act == "" {
		return a, false
	}
	a.cols = 1
	if n := len(e.dims); n > 0 {
		a.cols = e.dims[n-1]
	}
	for i, o := range operands {
		if o.in == nil || o.in.T != e.t || !slices.Equal(o.in.Dims, e.dims) {
			return a, false
		}
		rows, ld, ok := rowView(o.in)
		if !ok {
			return a, false
		}
		a.rows = rows
		if i == 0 {
			a.a, a.aLd = o.in, ld
		} else {
			a.b, a.bLd = o.in, ld
		}
	}
	return a, true
}

// rowView is a view as rows of its last dimension, ld elements apart; ok is false where it is none.
func rowView(t *Tensor) (rows, ld int64, ok bool) {
	last := len(t.Dims) - 1
	if last < 0 {
		return 1, 1, true
	}
	cols := t.Dims[last]
	if cols != 1 && t.Strides[last] != 1 {
		return 0, 0, false
	}
	rows, ld = 1, cols
	for i := last - 1; i >= 0; i-- {
		n := t.Dims[i]
		if n == 1 {
			continue
		}
		if rows == 1 {
			ld = t.Strides[i]
		} else if t.Strides[i] != ld*rows {
			return 0, 0, false
		}
		rows *= n
	}
	return rows, ld, ld >= cols
}

func (b *builder) activate(s Step, name string, e *expression, a activation) *Tensor {
	q := b.demand(name, a.cols)
	var y *Tensor
	if !q.only() {
		y = b.new(e.t, e.dims...)
	}
	s.Kernel = string(a.act)
	s.Bytes = e.bytes([]*Tensor{a.a}, y, q)
	if a.b != nil {
		s.Bytes += e.bytes([]*Tensor{a.b}, nil, nil)
	}
	s.Reads, s.Writes = append(buffers(a.a, a.b), q.reads()...), append(buffers(y), q.writes()...)
	s.Launch = func(l *Launcher) error {
		return l.Kernels.Activate(kernels.Activation{Act: a.act, T: e.t, A: l.Addr(a.a), B: l.Addr(a.b), ALd: a.aLd, BLd: a.bLd, Y: l.Addr(y),
			Codes: q.codes(l), Rows: a.rows, Cols: a.cols}, l.Stream)
	}
	b.emit(s)
	b.fulfilled(q)
	return y
}
