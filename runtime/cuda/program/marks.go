package program

import "github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"

// marks are small results that are set to zero beforehand: amaxes, counts, faults. They share one buffer, so that one launch clears them
// and one copy reads them.
type marks struct{ buffer *Buffer }

func newMarks() marks { return marks{&Buffer{Home: State}} }

// slot is an array of elements of type t.
func (m *marks) slot(t kernels.Type, dims ...int64) *Tensor {
	const align = 8
	at := (m.buffer.Bytes + align - 1) / align * align
	a := &Tensor{Buffer: m.buffer, Offset: at, T: t, Dims: dims, Strides: kernels.Strides(dims)}
	m.buffer.Bytes = at + a.Elements()*t.Size()
	return a
}

// dynamics are the scales that a run makes from its own amaxes. Each run begins with the stored ones, which stay where an amax makes none:
// Setup gathers these, and one step copies them.
type dynamics struct {
	stored, scale, inverse *Buffer
	gather                 []Step
}

func newDynamics() dynamics {
	return dynamics{stored: &Buffer{Home: State}, scale: &Buffer{Home: State}, inverse: &Buffer{Home: State}}
}

// slot is a scale that begins each run as from.
func (d *dynamics) slot(from *Tensor) *Tensor {
	d.gather = append(d.gather, copyFloats("stored scale", piece(d.stored, 1), from, 1))
	return piece(d.scale, 1)
}

// finishDynamics adds the steps that gather and copy the stored scales.
func (b *builder) finishDynamics() {
	d := &b.dynamics
	if len(d.gather) == 0 {
		return
	}
	b.prog.Setup = append(b.prog.Setup, d.gather...)
	n := d.stored.Bytes / 4
	b.prog.Steps = append([]Step{copyFloats("stored scales", flat(d.scale, n), flat(d.stored, n), n)}, b.prog.Steps...)
}

// copyFloats is a step that copies n float32 that lie one after the other.
func copyFloats(kernel string, to, from *Tensor, n int64) Step {
	return Step{
		Kernel: kernel, Bytes: float64(8 * n), Reads: buffers(from), Writes: buffers(to),
		Launch: func(l *Launcher) error {
			strides := []int64{1}
			return l.Kernels.Copy(kernels.View{P: l.Addr(to), Strides: strides}, kernels.View{P: l.Addr(from), Strides: strides}, []int64{n}, 4, l.Stream)
		},
	}
}
