package cpu

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// loop is Loop: the body takes the iteration's number, the condition and the carried values, and gives the next condition, the next
// carried values, and values that are collected along a new first axis.
type loop struct {
	body    *program
	carried int
}

func makeLoop(c *compiler, sc *scope, s *step) (control, error) {
	body, err := c.inner(sc, s, "body")
	if err != nil {
		return nil, err
	}
	l := &loop{body: body, carried: max(0, len(s.in)-2)}
	if len(body.inputs) != l.carried+2 || len(body.outputs) < l.carried+1 || len(s.node.Outputs) > len(body.outputs)-1 {
		return nil, c.unsupported(s, fmt.Sprintf("the body has %d inputs and %d outputs for %d carried values and %d outputs of the node",
			len(body.inputs), len(body.outputs), l.carried, len(s.node.Outputs)))
	}
	return l, nil
}

func (l *loop) programs() []*program { return []*program{l.body} }

func (l *loop) run(x *exec, frame []kernel.Value, c *kernel.Call) error {
	trips := int64(math.MaxInt64)
	if len(c.In) > 0 && c.In[0] != nil {
		m, err := c.Ints(0)
		if err != nil {
			return err
		}
		if len(m) != 1 {
			return fmt.Errorf("the trip count has %d elements, want 1", len(m))
		}
		trips = m[0]
	}
	cond := true
	if len(c.In) > 1 && c.In[1] != nil {
		var err error
		if cond, err = truth(c.In[1], "the condition"); err != nil {
			return err
		}
	}
	carried := make([]kernel.Value, l.carried)
	for i := range carried {
		carried[i] = retained(c.In[i+2])
	}
	stacks := make([]stack, len(l.body.outputs)-1-l.carried)
	for i := range stacks {
		stacks[i].declared = outputType(l.body, 1+l.carried+i)
	}
	for n := int64(0); n < trips && cond; n++ {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		in := append([]kernel.Value{
			kernel.FromSlice(tensor.Int64, []int{}, []int64{n}), kernel.FromSlice(tensor.Bool, []int{}, []bool{cond}),
		}, carried...)
		out, err := x.run(l.body, frame, in)
		if err != nil {
			return err
		}
		if cond, err = truth(out[0], "the body's condition"); err != nil {
			return err
		}
		kernel.Release(out[0])
		copy(carried, out[1:])
		for i := range stacks {
			if v := out[1+l.carried+i]; c.Wants(l.carried + i) {
				if err := stacks[i].add(v); err != nil {
					return err
				}
			} else {
				kernel.Release(v)
			}
		}
	}
	put(c, carried)
	for i := range stacks {
		if c.Wants(l.carried + i) {
			t, err := stacks[i].join(x.arena)
			if err != nil {
				return err
			}
			c.Out[l.carried+i] = t
		}
	}
	return nil
}
