package cpu

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/linear"
)

// Biases: the Add of a constant vector behind a linear layer is done while the product is in the cache. The bits are those of the
// two operators.

// weighted is a product with a constant weight that takes what to do behind it.
type weighted interface {
	fuse(x *exec, c *kernel.Call, f linear.Fuse) error
}

// matMul is a MatMul by itself, so that it can be given a bias.
type matMul struct{ op *linear.MatMul }

func (m matMul) fuse(_ *exec, c *kernel.Call, f linear.Fuse) error { return m.op.Run(c, f) }

// biases fuses the layers of the program with the Add after them.
func (f *fuser) biases() error {
	for i, s := range f.p.steps {
		if s == nil || s.held != nil || len(s.out) == 0 || s.out[0] == absent {
			continue
		}
		channels := f.channels(s)
		r, ok := f.onlyReader(s.out[0])
		if channels == 0 || !ok {
			continue
		}
		add := f.p.steps[r]
		if add.control != nil || !add.node.Is("Add") || add.opset < 7 || len(add.in) != 2 {
			continue
		}
		bias := add.in[0]
		if bias == s.out[0] {
			bias = add.in[1]
		}
		k := f.p.consts[bias]
		if k == nil || k.variable || bias == s.out[0] {
			continue
		}
		t, ok := k.value.(*kernel.Tensor)
		if !ok || t.Len() != channels || len(t.Shape) == 0 || t.Shape[len(t.Shape)-1] != channels || t.DType != f.typ(s.in[0]).DType {
			continue
		}
		// More axes than the product's would be the sum's.
		if x := f.typ(s.in[0]); len(t.Shape) > 1 && (!x.HasShape || len(t.Shape) > len(x.Shape)) {
			continue
		}
		if err := f.biased(i, r, t); err != nil {
			return err
		}
	}
	f.close()
	return nil
}

// channels is the length of a product's rows, where the step is one with a constant weight; 0 else.
func (f *fuser) channels(s *step) int {
	weight := func(slot int) *kernel.Tensor {
		if k := f.p.consts[slot]; k != nil && !k.variable {
			t, _ := k.value.(*kernel.Tensor)
			return t
		}
		return nil
	}
	switch {
	case s.layer != nil && len(s.in) > ops.InWeight:
		if w := weight(s.in[ops.InWeight]); w != nil && len(w.Shape) == 2 {
			return w.Shape[0]
		}
	case s.control == nil && s.node.Is("MatMul") && len(s.in) == 2:
		// A vector on the left would leave no rows.
		if x := f.typ(s.in[0]); !x.HasShape || len(x.Shape) < 2 {
			return 0
		}
		if w := weight(s.in[1]); w != nil && len(w.Shape) == 2 {
			return w.Shape[1]
		}
	}
	return 0
}

// biased makes one step of a product and the Add after it.
func (f *fuser) biased(product, add int, bias *kernel.Tensor) error {
	s := f.p.steps[product]
	var w weighted = s.layer
	if s.layer == nil {
		op, err := linear.NewMatMul(f.site(f.p, s, f.budget.take))
		if err != nil {
			return f.unsupported(s, err.Error())
		}
		w = matMul{op}
	}
	outs := []int{f.p.steps[add].out[0]}
	for _, o := range s.out[1:] { // the amax of a layer
		if o != absent {
			outs = append(outs, o)
		}
	}
	amax := len(outs) > 1
	n := len(s.in)
	in := make([]kernel.Value, n)
	fusedStep := f.replace([]int{product, add}, outs, func(slots []int) func(*exec, *kernel.Call) (bool, error) {
		at := make([]int, n)
		for i, slot := range s.in {
			at[i] = slices.Index(slots, slot)
		}
		return func(x *exec, c *kernel.Call) (bool, error) {
			for i, j := range at {
				in[i] = nil
				if j >= 0 {
					in[i] = c.In[j]
				}
			}
			inner := kernel.Call{Ctx: c.Ctx, Pool: c.Pool, Mem: c.Mem, In: in, Out: make([]kernel.Value, len(s.out)), Wanted: make([]bool, len(s.out)),
				Dies: make([]bool, n)}
			inner.Wanted[0] = true
			if amax {
				inner.Wanted[1] = true
			}
			err := w.fuse(x, &inner, linear.Fuse{Bias: bias})
			clear(in)
			if err != nil {
				return false, err
			}
			c.Out[0] = inner.Out[0]
			for i, v := range inner.Out[1:] {
				switch {
				case amax && i == 0:
					c.Out[1] = v
				case v != nil:
					kernel.Release(v)
				}
			}
			return true, nil
		}
	})
	fusedStep.node = &graph.Node{Name: s.node.Name, OpType: s.node.OpType, Domain: s.node.Domain}
	fusedStep.name = s.name
	return nil
}
