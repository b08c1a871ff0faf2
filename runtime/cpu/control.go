package cpu

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// controls are the operators that hold graphs.
var controls = []string{"If", "Loop", "Scan", "SequenceMap"}

// controlOf lowers the graphs of a step and gives its control; nil where the operator holds none.
func controlOf(n *graph.Node) func(*compiler, *scope, *step) (control, error) {
	switch key(n) {
	case "If":
		return makeIf
	case "Loop":
		return makeLoop
	case "Scan":
		return makeScan
	case "SequenceMap":
		return makeSequenceMap
	}
	return nil
}

// truth is the one element of a bool tensor.
func truth(v kernel.Value, what string) (bool, error) {
	t, ok := v.(*kernel.Tensor)
	if !ok || t == nil || t.DType != tensor.Bool || t.Len() != 1 {
		return false, fmt.Errorf("%s is %s, want one bool", what, describe(v))
	}
	return t.Bytes[0] != 0, nil
}

func describe(v kernel.Value) string {
	switch v := v.(type) {
	case *kernel.Tensor:
		if v != nil {
			return v.String()
		}
	case *kernel.Sequence:
		return fmt.Sprintf("a sequence of %d", len(v.Items))
	case *kernel.Optional:
		return "an optional"
	}
	return "missing"
}

// retained is v with one more holder.
func retained(v kernel.Value) kernel.Value {
	if v != nil {
		kernel.Retain(v)
	}
	return v
}

// put gives a control's outputs away; those that nobody wants are released.
func put(c *kernel.Call, out []kernel.Value) {
	for i, v := range out {
		if i < len(c.Out) {
			c.Out[i] = v
		} else if v != nil {
			kernel.Release(v)
		}
	}
}

// stack collects one tensor per iteration of a Loop or Scan.
type stack struct {
	items    []*kernel.Tensor
	axis     int64
	backward bool        // the first iteration comes last
	declared *graph.Type // of one item, for no iteration at all
}

func (k *stack) add(v kernel.Value) error {
	t, ok := v.(*kernel.Tensor)
	if !ok {
		return fmt.Errorf("a scan output is %s, want a tensor", describe(v))
	}
	if len(k.items) > 0 {
		if first := k.items[0]; first.String() != t.String() {
			return fmt.Errorf("a scan output is %s after %s in an earlier iteration", t, first)
		}
	}
	k.items = append(k.items, t)
	return nil
}

// join is the items as one tensor with a new axis; the items are released.
func (k *stack) join(mem *kernel.Arena) (*kernel.Tensor, error) {
	item := k.empty()
	if len(k.items) > 0 {
		item = k.items[0]
	}
	at, err := kernel.Axis(k.axis, len(item.Shape)+1)
	if err != nil {
		return nil, err
	}
	shape := append(append(append(make([]int, 0, len(item.Shape)+1), item.Shape[:at]...), len(k.items)), item.Shape[at:]...)
	out, err := mem.New(item.DType, shape)
	if err != nil {
		return nil, err
	}
	outer := kernel.Count(item.Shape[:at])
	for i, t := range k.items {
		to := i
		if k.backward {
			to = len(k.items) - 1 - i
		}
		interleave(out, t, outer, len(k.items), to)
		kernel.Release(t)
	}
	k.items = nil
	return out, nil
}

// empty is an item for a stack of none: extents that the file leaves open are 0.
func (k *stack) empty() *kernel.Tensor {
	t := &kernel.Tensor{DType: tensor.Float32}
	if k.declared != nil {
		if k.declared.DType != tensor.Undefined {
			t.DType = k.declared.DType
		}
		for _, d := range k.declared.Shape {
			t.Shape = append(t.Shape, int(max(d.Value, 0)))
		}
	}
	return t
}

// interleave writes part, seen as outer runs, to place at of n in every run of whole.
func interleave(whole, part *kernel.Tensor, outer, n, at int) {
	if outer == 0 {
		return
	}
	if part.DType == tensor.String {
		run := len(part.Strings) / outer
		for o := range outer {
			copy(whole.Strings[(o*n+at)*run:], part.Strings[o*run:(o+1)*run])
		}
		return
	}
	run := len(part.Bytes) / outer
	for o := range outer {
		copy(whole.Bytes[(o*n+at)*run:], part.Bytes[o*run:(o+1)*run])
	}
}

// slice is place at along axis of t, without that axis.
func slice(mem *kernel.Arena, t *kernel.Tensor, axis, at int) (*kernel.Tensor, error) {
	shape := append(append(make([]int, 0, len(t.Shape)), t.Shape[:axis]...), t.Shape[axis+1:]...)
	out, err := mem.New(t.DType, shape)
	if err != nil {
		return nil, err
	}
	outer, n := kernel.Count(t.Shape[:axis]), t.Shape[axis]
	if outer == 0 || out.Len() == 0 {
		return out, nil
	}
	if t.DType == tensor.String {
		run := len(out.Strings) / outer
		for o := range outer {
			copy(out.Strings[o*run:(o+1)*run], t.Strings[(o*n+at)*run:])
		}
		return out, nil
	}
	run := len(out.Bytes) / outer
	for o := range outer {
		copy(out.Bytes[o*run:(o+1)*run], t.Bytes[(o*n+at)*run:])
	}
	return out, nil
}

// outputType is what a graph declares for its output at i.
func outputType(p *program, i int) *graph.Type {
	if i < len(p.graph.Outputs) {
		return p.graph.Outputs[i].Type
	}
	return nil
}
