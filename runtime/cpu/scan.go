package cpu

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// scan is Scan from opset 9 on: states are carried from iteration to iteration, the other inputs are taken apart along an axis, and
// what the body gives beside the states is stacked along one.
type scan struct {
	body            *program
	states, scanned int
	inAxes, outAxes []int64
	inBack, outBack []bool
	batched         bool // opset 8: see scan8.go
}

func makeScan(c *compiler, sc *scope, s *step) (control, error) {
	body, err := c.inner(sc, s, "body")
	if err != nil {
		return nil, err
	}
	k := &scan{body: body, scanned: int(s.node.AttrInt("num_scan_inputs", 0)), batched: s.opset < 9}
	k.states = len(s.in) - k.scanned
	if k.batched {
		k.states-- // sequence_lens
	}
	stacked := len(body.outputs) - k.states
	if k.scanned < 1 || k.states < 0 || len(body.inputs) != k.states+k.scanned || stacked < 0 || len(s.node.Outputs) > len(body.outputs) {
		return nil, c.unsupported(s, fmt.Sprintf("the body has %d inputs and %d outputs for %d states, %d scanned inputs and %d outputs of the node",
			len(body.inputs), len(body.outputs), k.states, k.scanned, len(s.node.Outputs)))
	}
	in, out := "scan_input_directions", "scan_output_directions"
	if k.batched {
		in = "directions"
	}
	if k.inBack, err = directions(s.node, in, k.scanned); err == nil {
		k.outBack, err = directions(s.node, out, stacked)
	}
	if err == nil {
		k.inAxes, err = scanAxes(s.node, "scan_input_axes", k.scanned)
	}
	if err == nil {
		k.outAxes, err = scanAxes(s.node, "scan_output_axes", stacked)
	}
	if err != nil {
		return nil, c.unsupported(s, err.Error())
	}
	return k, nil
}

// scanAxes is a list of n axes, 0 where the attribute is left out.
func scanAxes(n *graph.Node, attr string, want int) ([]int64, error) {
	v, ok := n.AttrInts(attr)
	if !ok || len(v) == 0 {
		return make([]int64, want), nil
	}
	if len(v) != want {
		return nil, fmt.Errorf("attribute %q has %d elements, want %d", attr, len(v), want)
	}
	return v, nil
}

// directions tells for each of n lists whether it runs backward.
func directions(n *graph.Node, attr string, want int) ([]bool, error) {
	v, err := scanAxes(n, attr, want)
	if err != nil {
		return nil, err
	}
	back := make([]bool, want)
	for i, d := range v {
		if d != 0 && d != 1 {
			return nil, fmt.Errorf("attribute %q: direction %d, want 0 or 1", attr, d)
		}
		back[i] = d == 1
	}
	return back, nil
}

func (k *scan) programs() []*program { return []*program{k.body} }

func (k *scan) run(x *exec, frame []kernel.Value, c *kernel.Call) error {
	if k.batched {
		return k.batches(x, frame, c)
	}
	states := make([]kernel.Value, k.states)
	for i := range states {
		states[i] = retained(c.In[i])
	}
	parts := make([]*kernel.Tensor, k.scanned)
	for i := range parts {
		var err error
		if parts[i], err = c.Tensor(k.states + i); err != nil {
			return err
		}
	}
	stacks, err := k.sequence(x, frame, c, states, parts, -1)
	if err != nil {
		return err
	}
	put(c, states)
	for i := range stacks {
		if !c.Wants(k.states + i) {
			continue
		}
		t, err := stacks[i].join(x.arena)
		if err != nil {
			return err
		}
		c.Out[k.states+i] = t
	}
	return nil
}

// sequence runs the body along the scanned inputs, at most length times where that is not negative; states is changed to what
// comes out.
func (k *scan) sequence(x *exec, frame []kernel.Value, c *kernel.Call, states []kernel.Value, parts []*kernel.Tensor, length int) ([]stack, error) {
	stacks := make([]stack, len(k.body.outputs)-k.states)
	for i := range stacks {
		stacks[i] = stack{axis: k.outAxes[i], backward: k.outBack[i], declared: outputType(k.body, k.states+i)}
	}
	axes := make([]int, k.scanned)
	for i, t := range parts {
		var err error
		if axes[i], err = kernel.Axis(k.inAxes[i], len(t.Shape)); err != nil {
			return nil, fmt.Errorf("scanned input %d: %w", i, err)
		}
		n := t.Shape[axes[i]]
		if i > 0 && n != parts[0].Shape[axes[0]] {
			return nil, fmt.Errorf("scanned input %d has %d elements along its axis, the first has %d", i, n, parts[0].Shape[axes[0]])
		}
	}
	all := parts[0].Shape[axes[0]]
	if length < 0 {
		length = all
	}
	for n := range length {
		if err := x.ctx.Err(); err != nil {
			return nil, err
		}
		in := append(make([]kernel.Value, 0, len(states)+len(parts)), states...)
		for i, t := range parts {
			at := n
			if k.inBack[i] {
				at = length - 1 - n
			}
			e, err := slice(x.arena, t, axes[i], at)
			if err != nil {
				return nil, err
			}
			in = append(in, e)
		}
		out, err := x.run(k.body, frame, in)
		if err != nil {
			return nil, err
		}
		copy(states, out)
		for i := range stacks {
			v := out[k.states+i]
			if !c.Wants(k.states + i) {
				kernel.Release(v)
				continue
			}
			if err := stacks[i].add(v); err != nil {
				return nil, err
			}
		}
	}
	return stacks, nil
}

// batches is Scan of opset 8: every value has a batch axis first, the scanned axis is the second, and sequence_lens may end the
// sequence of one element of the batch early; outputs beyond its end are zero.
func (k *scan) batches(x *exec, frame []kernel.Value, c *kernel.Call) error {
	first, err := c.Tensor(1 + k.states)
	if err != nil {
		return err
	}
	if len(first.Shape) < 2 {
		return fmt.Errorf("the first scanned input is %s, want a batch and a sequence axis", first)
	}
	batch, all := first.Shape[0], first.Shape[1]
	for i := 1; i < len(c.In); i++ {
		t, err := c.Tensor(i)
		if err != nil {
			return err
		}
		if len(t.Shape) < 1 || t.Shape[0] != batch || i > k.states && (len(t.Shape) < 2 || t.Shape[1] != all) {
			return fmt.Errorf("input %d is %s beside %s", i, t, first)
		}
	}
	var lens []int64
	if c.In[0] != nil {
		if lens, err = c.Ints(0); err != nil {
			return err
		}
		if len(lens) != batch {
			return fmt.Errorf("%d sequence lengths, want %d", len(lens), batch)
		}
	}
	whole := make([]stack, len(k.body.outputs)) // over the batch, at axis 0
	for i := range whole {
		whole[i].declared = outputType(k.body, i)
	}
	for b := range batch {
		length := all
		if lens != nil {
			if lens[b] < 0 || lens[b] > int64(all) {
				return fmt.Errorf("sequence length %d, want 0 to %d", lens[b], all)
			}
			length = int(lens[b])
		}
		states := make([]kernel.Value, k.states)
		parts := make([]*kernel.Tensor, k.scanned)
		for i := range len(c.In) - 1 {
			t, _ := c.Tensor(i + 1)
			e, err := slice(x.arena, t, 0, b)
			if err != nil {
				return err
			}
			if i < k.states {
				states[i] = e
			} else {
				parts[i-k.states] = e
			}
		}
		stacks, err := k.sequence(x, frame, c, states, parts, length)
		if err != nil {
			return err
		}
		for _, t := range parts {
			kernel.Release(t)
		}
		for i, v := range states {
			if err := whole[i].add(v); err != nil {
				return err
			}
		}
		for i := range stacks {
			if !c.Wants(k.states + i) {
				continue
			}
			t, err := stacks[i].padded(x.arena, all)
			if err != nil {
				return err
			}
			if err := whole[k.states+i].add(t); err != nil {
				return err
			}
		}
	}
	for i := range whole {
		if !c.Wants(i) {
			for _, t := range whole[i].items {
				kernel.Release(t)
			}
			continue
		}
		t, err := whole[i].join(x.arena)
		if err != nil {
			return err
		}
		c.Out[i] = t
	}
	return nil
}

// padded is join at axis 0 with zeros up to n items.
func (k *stack) padded(mem *kernel.Arena, n int) (*kernel.Tensor, error) {
	for len(k.items) > 0 && len(k.items) < n {
		z, err := mem.New(k.items[0].DType, k.items[0].Shape)
		if err != nil {
			return nil, err
		}
		clear(z.Bytes)
		k.items = append(k.items, z)
	}
	if len(k.items) > 0 {
		return k.join(mem)
	}
	item := k.empty()
	t, err := mem.New(item.DType, append([]int{n}, item.Shape...))
	if err == nil && t.DType != tensor.String {
		clear(t.Bytes)
	}
	return t, err
}
