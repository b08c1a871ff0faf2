package cpu

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// branches is If: one of two graphs without inputs, chosen by a bool.
type branches struct{ then, els *program }

func makeIf(c *compiler, sc *scope, s *step) (control, error) {
	b := &branches{}
	// The order of the attributes is the order of the layers.
	for _, a := range s.node.Attributes {
		var err error
		switch a.Name {
		case "then_branch":
			b.then, err = c.inner(sc, s, a.Name)
		case "else_branch":
			b.els, err = c.inner(sc, s, a.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	if b.then == nil || b.els == nil {
		return nil, c.unsupported(s, "a branch is missing")
	}
	for _, p := range b.programs() {
		if len(p.inputs) != 0 || len(p.outputs) != len(s.node.Outputs) {
			return nil, c.unsupported(s, fmt.Sprintf("a branch has %d inputs and %d outputs, want 0 and %d", len(p.inputs), len(p.outputs),
				len(s.node.Outputs)))
		}
	}
	if len(s.in) != 1 {
		return nil, c.unsupported(s, fmt.Sprintf("%d inputs, want 1", len(s.in)))
	}
	return b, nil
}

func (b *branches) programs() []*program { return []*program{b.then, b.els} }

func (b *branches) run(x *exec, frame []kernel.Value, c *kernel.Call) error {
	p := b.els
	cond, err := truth(c.In[0], "the condition")
	if err != nil {
		return err
	}
	if cond {
		p = b.then
	}
	out, err := x.run(p, frame, nil)
	if err != nil {
		return err
	}
	put(c, out)
	return nil
}
