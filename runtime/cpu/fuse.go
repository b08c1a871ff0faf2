package cpu

import (
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/shape"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Fusion joins steps of a program into one that does not write down what lies between them. A fused step keeps the steps that it
// stands for: it looks at the values of a run, and where they are not what it was made for, the steps run one by one.

// fuser is what the fusions of one program know.
type fuser struct {
	*compiler
	p       *program
	info    *shape.Info
	planner *planner
	readers [][]int // of every slot, the indices of the steps that read it; endless for an output of the program
	maker   []int   // of every slot, the index of the step that makes it; -1 for none
}

// endless is the reader of an output: after every step.
const endless = math.MaxInt

// newFuser looks at p as it stands.
func (c *compiler) newFuser(p *program, pl *planner) *fuser {
	f := &fuser{compiler: c, p: p, info: pl.info, planner: pl, readers: make([][]int, p.slots), maker: make([]int, p.slots)}
	for i := range f.maker {
		f.maker[i] = -1
	}
	for i, s := range p.steps {
		for _, in := range append(s.in[:len(s.in):len(s.in)], s.captures...) {
			if in != absent {
				f.readers[in] = append(f.readers[in], i)
			}
		}
		for _, o := range s.out {
			if o != absent {
				f.maker[o] = i
			}
		}
	}
	for _, o := range p.outputs {
		f.readers[o] = append(f.readers[o], endless)
	}
	return f
}

// typ is what is known of a slot.
func (f *fuser) typ(slot int) graph.Type {
	if slot == absent {
		return graph.Type{}
	}
	t, _ := f.info.Of(f.planner.graphs[f.p], f.planner.names[f.p][slot])
	return t
}

// scalar is the value of a slot that holds one constant float32.
func (f *fuser) scalar(slot int) (float32, bool) {
	if slot == absent {
		return 0, false
	}
	k := f.p.consts[slot]
	if k == nil || k.variable {
		return 0, false
	}
	t, ok := k.value.(*kernel.Tensor)
	if !ok || t.DType != tensor.Float32 || t.Len() != 1 {
		return 0, false
	}
	return kernel.Of[float32](t)[0], true
}

// fuse changes the steps of p and of the programs inside it.
func (c *compiler) fuse(p *program) error {
	pl := &planner{}
	m := &graph.Model{IRVersion: 8, Opsets: c.model.Opsets, Graph: pl.mirror(p, nil)}
	for i, v := range m.Graph.Inputs {
		if i < len(p.graph.Inputs) {
			v.Type = p.graph.Inputs[i].Type
		}
	}
	pl.info = shape.Infer(m)
	return c.fuseIn(p, pl)
}

func (c *compiler) fuseIn(p *program, pl *planner) error {
	for _, s := range p.steps {
		if s.control != nil {
			for _, q := range s.control.programs() {
				if err := c.fuseIn(q, pl); err != nil {
					return err
				}
			}
		}
	}
	c.newFuser(p, pl).products()
	c.newFuser(p, pl).rotations()
	if err := c.newFuser(p, pl).biases(); err != nil {
		return err
	}
	c.newFuser(p, pl).rows()
	return nil
}

// fused is the control of a fused step.
type fused struct {
	fast func(x *exec, c *kernel.Call) (bool, error) // false where the values are not what it was made for; then nothing is done yet
	held []*step
	out  []int
}

func (*fused) programs() []*program { return nil }

func (h *fused) run(x *exec, frame []kernel.Value, c *kernel.Call) error {
	done := false
	err := guarded(func() (err error) {
		done, err = h.fast(x, c)
		return err
	})
	if done || err != nil {
		return err
	}
	return h.oneByOne(x, frame, c)
}

// oneByOne runs the held steps in the frame of their program and takes their outputs over.
func (h *fused) oneByOne(x *exec, frame []kernel.Value, c *kernel.Call) error {
	for _, s := range h.held {
		if err := x.step(s, frame); err != nil {
			return err
		}
		for _, i := range s.free {
			if frame[i] != nil {
				kernel.Release(frame[i])
				frame[i] = nil
			}
		}
	}
	for i, o := range h.out {
		c.Out[i], frame[o] = frame[o], nil
	}
	return nil
}

// replace puts one step in place of the held ones, which must be in the order of the program, at the place of the last.
func (f *fuser) replace(held []int, out []int, fast func(in []int) func(*exec, *kernel.Call) (bool, error)) *step {
	s := &step{layers: false}
	var in []int
	for _, i := range held {
		h := f.p.steps[i]
		s.held = append(s.held, h)
		s.layers = s.layers || h.layers
		for _, slot := range h.in {
			if slot != absent && !contains(in, slot) && !contains(held, f.maker[slot]) {
				in = append(in, slot)
			}
		}
	}
	last := s.held[len(s.held)-1]
	s.name, s.opset, s.in, s.out = last.name, last.opset, in, out
	s.node = &graph.Node{Name: last.node.Name, OpType: last.node.OpType, Domain: last.node.Domain}
	s.control = &fused{fast: fast(in), held: s.held, out: out}
	f.p.steps[held[len(held)-1]] = s
	for _, i := range held[:len(held)-1] {
		f.p.steps[i] = nil
	}
	return s
}

// close takes out what replace emptied.
func (f *fuser) close() {
	f.p.steps = slices.DeleteFunc(f.p.steps, func(s *step) bool { return s == nil })
}
