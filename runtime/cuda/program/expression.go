package program

import "github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"

// expression is an elementwise computation that has no place in memory yet: a kernels.Chain over tensors.
type expression struct {
	dims   []int64
	t      kernels.Type
	inputs []*Tensor // read by Strides, which have the rank of dims
	steps  []kernels.Step
}

// materialize brings a lazy value into memory and forgets the expression. It does the cast that is wanted of it by the way; where nothing
// else is wanted the value's tensor stays nil.
func (b *builder) materialize(v *value) (why string) {
	e := v.lazy
	v.lazy = nil
	q := b.demand(v.name, 0)
	var y *Tensor
	if !q.only() {
		y = b.new(e.t, e.dims...)
	}
	dims, t := e.dims, e.t
	b.emit(Step{
		Kernel: "chain",
		Reads:  append(buffers(e.inputs...), q.reads()...), Writes: append(buffers(y), q.writes()...),
		Launch: func(l *Launcher) error {
			c := kernels.Chain{Dims: dims, Steps: e.steps, Y: l.Addr(y), T: t, Codes: q.codes(l)}
			for _, in := range e.inputs {
				c.Inputs = append(c.Inputs, kernels.ChainInput{P: l.Addr(in), T: in.T, Strides: in.Strides})
			}
			return l.Kernels.Chain(c, l.Stream)
		},
	})
	b.fulfilled(q)
	v.tensor = y
	return ""
}
