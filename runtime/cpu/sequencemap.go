package cpu

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// sequenceMap is SequenceMap: the body runs for every element of the first input; further inputs that are sequences are walked
// along, tensors are given whole; each output of the body becomes a sequence.
type sequenceMap struct{ body *program }

func makeSequenceMap(c *compiler, sc *scope, s *step) (control, error) {
	body, err := c.inner(sc, s, "body")
	if err != nil {
		return nil, err
	}
	if len(s.in) < 1 || len(body.inputs) != len(s.in) || len(body.outputs) < len(s.node.Outputs) {
		return nil, c.unsupported(s, fmt.Sprintf("the body has %d inputs and %d outputs, the node %d and %d", len(body.inputs),
			len(body.outputs), len(s.in), len(s.node.Outputs)))
	}
	return &sequenceMap{body}, nil
}

func (m *sequenceMap) programs() []*program { return []*program{m.body} }

func (m *sequenceMap) run(x *exec, frame []kernel.Value, c *kernel.Call) error {
	first, ok := c.In[0].(*kernel.Sequence)
	if !ok {
		return fmt.Errorf("input 0 is %s, want a sequence", describe(c.In[0]))
	}
	out := make([]*kernel.Sequence, len(m.body.outputs))
	for i := range out {
		out[i] = &kernel.Sequence{}
		if t := outputType(m.body, i); t != nil {
			out[i].DType = t.DType
		}
	}
	for n := range first.Items {
		in := make([]kernel.Value, len(c.In))
		for i, v := range c.In {
			if s, ok := v.(*kernel.Sequence); ok {
				if len(s.Items) != len(first.Items) {
					return fmt.Errorf("input %d has %d elements, the first has %d", i, len(s.Items), len(first.Items))
				}
				v = s.Items[n]
			}
			in[i] = retained(v)
		}
		results, err := x.run(m.body, frame, in)
		if err != nil {
			return err
		}
		for i, v := range results {
			out[i].Items = append(out[i].Items, v)
		}
	}
	for i, s := range out {
		if c.Wants(i) {
			c.Out[i] = s
		} else {
			kernel.Release(s)
		}
	}
	return nil
}
