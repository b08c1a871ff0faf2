package cpu

import (
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// freeFold is the number of bytes up to which a folded value costs nothing; a larger one counts as a weight that is held in the
// engine's own form.
const freeFold = 1 << 16

// maxFold bounds what folding one node may hold, so that a small model cannot grow huge while it is opened.
const maxFold = 1 << 30

// neverFold are operators whose outputs do not follow from their inputs, or that only exist to be seen running.
var neverFold = map[string]bool{"RandomNormal": true, "RandomNormalLike": true, "RandomUniform": true, "RandomUniformLike": true,
	"Multinomial": true, "Bernoulli": true, "Dropout": true}

// fold runs a step whose inputs all are constants, and gives the slots of its outputs. A step that fails is left for the run, whose
// error then says where; so is one whose outputs are out of proportion.
func (c *compiler) fold(p *program, s *step) (out []int, ok bool) {
	if s.control != nil || s.layers || s.maker == nil || neverFold[s.op()] {
		return nil, false
	}
	call := kernel.Call{Ctx: c.ctx, Pool: c.pool, Mem: kernel.NewArena(maxFold), Out: make([]kernel.Value, len(s.node.Outputs)),
		Dies: make([]bool, len(s.in))}
	held := int64(0)
	for _, i := range s.in {
		if i == absent {
			call.In = append(call.In, nil)
			continue
		}
		k := p.consts[i]
		if k == nil || k.variable {
			return nil, false
		}
		call.In = append(call.In, k.value)
		held += size(k.value)
	}
	for _, o := range s.node.Outputs {
		call.Wanted = append(call.Wanted, o != "")
	}
	// A small model may ask for a huge constant, which is cheaper made anew in each run than held: not more than eight bytes
	// for one, as from int4 to float32, and a floor for what makes shapes.
	call.Mem = kernel.NewArena(min(maxFold, 16*held+freeFold))
	err := guard(func() error {
		if err := c.function(p, s, func(int64) bool { return false }); err != nil {
			return err
		}
		return s.fn(&call)
	})
	s.fn = nil
	if err != nil {
		return nil, false
	}
	total := int64(0)
	for i, v := range call.Out {
		if call.Wanted[i] && v == nil {
			return nil, false
		}
		if t, ok := v.(*kernel.Tensor); ok && t.Sole() {
			total += int64(len(t.Bytes))
		}
	}
	if total > freeFold && !c.budget.take(total) {
		return nil, false
	}
	for i, v := range call.Out {
		o := absent
		if call.Wanted[i] {
			o = p.constant(&constant{value: v})
		}
		out = append(out, o)
	}
	return out, true
}

// size is the number of bytes of a value.
func size(v kernel.Value) int64 {
	switch v := v.(type) {
	case *kernel.Tensor:
		if v == nil {
			return 0
		}
		return int64(len(v.Bytes)) + 16*int64(len(v.Strings))
	case *kernel.Sequence:
		n := int64(0)
		for _, e := range v.Items {
			n += size(e)
		}
		return n
	case *kernel.Optional:
		if v.Item != nil {
			return size(v.Item)
		}
	}
	return 0
}

// site is the place of a step for its maker.
func (c *compiler) site(p *program, s *step, mayPack func(int64) bool) *kernel.Site {
	return &kernel.Site{
		Node:  s.node,
		Opset: s.opset,
		Constant: func(i int) *kernel.Tensor {
			if i >= len(s.in) || s.in[i] == absent {
				return nil
			}
			k := p.consts[s.in[i]]
			if k == nil || k.variable {
				return nil
			}
			t, _ := k.value.(*kernel.Tensor)
			return t
		},
		MayPack: mayPack,
	}
}
