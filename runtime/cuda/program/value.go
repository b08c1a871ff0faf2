package program

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
)

// bring is get.
func (b *builder) bring(name string) (*Tensor, string) {
	v := b.values[name]
	if v == nil {
		return nil, fmt.Sprintf("no value %q", name)
	}
	if v.tensor == nil && v.lazy != nil {
		if why := b.materialize(v); why != "" {
			return nil, why
		}
	}
	if v.tensor != nil {
		return v.tensor, ""
	}
	if v.dims == nil {
		return nil, fmt.Sprintf("the shape of %q depends on data", name)
	}
	want := b.held(b.typeOf(name))
	if want == kernels.None {
		return nil, fmt.Sprintf("%q is of %v", name, b.typeOf(name))
	}
	if count(v.dims) == 0 {
		return nil, fmt.Sprintf("%q has no elements", name)
	}
	switch v.role {
	case fromContent:
		v.tensor = b.weight(v.content, want)
	case fromInput, fromVariable, fromSegment:
		v.tensor = b.convert(b.arrived(v), want)
	default:
		return nil, fmt.Sprintf("%q is not computed yet", name)
	}
	return v.tensor, ""
}

// arrived is where a value that the host has arrives on the GPU, in the model's own type.
func (b *builder) arrived(v *value) *Tensor {
	if v.arrival != nil {
		return v.arrival
	}
	t := dense(&Buffer{Home: State}, own(v.typ.DType), v.dims)
	at := Transfer{v.name, t}
	switch v.role {
	case fromInput:
		b.prog.Inputs = append(b.prog.Inputs, at)
	case fromVariable:
		b.prog.Variables = append(b.prog.Variables, at)
	case fromSegment:
		t.Buffer.Home = Arena
		v.segment.Out = append(v.segment.Out, at)
		b.made[v.segment] = append(b.made[v.segment], t.Buffer)
	}
	v.arrival = t
	return t
}

// copy is a contiguous copy of a view.
func (b *builder) copy(t *Tensor) *Tensor {
	to := b.new(t.T, t.Dims...)
	b.copyTo(to, t)
	return to
}

// copyTo copies the elements of from to a view of the same dims and type.
func (b *builder) copyTo(to, from *Tensor) {
	dims := to.Dims
	b.emit(Step{
		Kernel: "copy", Bytes: float64(2 * to.Elements() * to.T.Size()),
		Reads: buffers(from), Writes: buffers(to),
		Launch: func(l *Launcher) error {
			return l.Kernels.Copy(kernels.View{P: l.Addr(to), Strides: to.Strides}, kernels.View{P: l.Addr(from), Strides: from.Strides},
				dims, to.T.Size(), l.Stream)
		},
	})
}

// convert is t as another floating-point type, t itself where it is of that type. Types that are not floating-point stay as they are.
func (b *builder) convert(t *Tensor, to kernels.Type) *Tensor {
	if t.T == to {
		return t
	}
	t = b.contiguous(t)
	y := b.new(to, t.Dims...)
	n := t.Elements()
	b.emit(Step{
		Kernel: "convert", Bytes: float64(n * (t.T.Size() + to.Size())),
		Reads: buffers(t), Writes: buffers(y),
		Launch: func(l *Launcher) error { return l.Kernels.Convert(l.Addr(y), to, l.Addr(t), t.T, n, l.Stream) },
	})
	return y
}

// count is the number of elements of an array of these extents.
func count(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}
