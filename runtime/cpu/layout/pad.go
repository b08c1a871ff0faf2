package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makePad adds to, or with negative numbers takes from, both ends of axes. Opsets before 11 have pads and value as attributes.
func makePad(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	mode := r.Word("mode", "constant", "constant", "reflect", "edge", "wrap")
	attr, asAttr := r.Ints("pads")
	if old, ok := r.Ints("paddings"); ok {
		attr, asAttr = old, true
	}
	value := r.Float("value", 0)
	if asAttr != (s.Opset < 11) {
		r.Fail("pads must be an %s in opset %d", map[bool]string{true: "attribute", false: "input"}[s.Opset < 11], s.Opset)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		pads := attr
		var with *kernel.Tensor
		which := make([]int, len(t.Shape))
		for i := range which {
			which[i] = i
		}
		if asAttr {
			if value != 0 {
				with = &kernel.Tensor{DType: t.DType, Shape: []int{}, Bytes: make([]byte, width(t))}
				if err := store(with, []float64{float64(value)}, math.Trunc); err != nil {
					return err
				}
			}
		} else {
			if pads, err = c.Ints(1); err != nil {
				return err
			}
			if with = c.Optional(2); with != nil {
				if err := sameType(t, with); err != nil {
					return err
				}
				if with.Len() != 1 {
					return fmt.Errorf("constant_value has %d elements, want 1", with.Len())
				}
			}
			if given(c, 3) {
				v, err := c.Ints(3)
				if err != nil {
					return err
				}
				if which, err = axes(v, len(t.Shape)); err != nil {
					return err
				}
			}
		}
		if len(pads) != 2*len(which) {
			return fmt.Errorf("%d pads for %d axes of %s, want two each", len(pads), len(which), t)
		}
		before, after := make([]int, len(t.Shape)), make([]int, len(t.Shape))
		for i, a := range which {
			lo, hi := pads[i], pads[len(which)+i]
			n := int64(t.Shape[a])
			if lo > maxExtent || hi > maxExtent || lo < -maxExtent || hi < -maxExtent || n+lo+hi < 0 || n+min(lo, 0)+min(hi, 0) < 0 {
				return fmt.Errorf("pads %d and %d of axis %d with extent %d are not possible", lo, hi, a, n)
			}
			before[a], after[a] = int(lo), int(hi)
		}
		if mode == "constant" {
			return padConstant(c, t, before, after, with)
		}
		return padCopies(c, t, before, after, mode)
	}, nil
}

// padConstant surrounds t by a value, nil for zero.
func padConstant(c *kernel.Call, t *kernel.Tensor, before, after []int, with *kernel.Tensor) error {
	shape := make([]int, len(t.Shape))
	kept := make([]int, len(t.Shape)) // what stays of t
	whole := true
	for a, n := range t.Shape {
		shape[a] = n + before[a] + after[a]
		kept[a] = n + min(before[a], 0) + min(after[a], 0)
		whole = whole && kept[a] == shape[a]
	}
	out, err := c.New(0, t.DType, shape)
	if err != nil {
		return err
	}
	if !whole {
		if with != nil {
			fill(c.Pool, out, with)
		} else {
			zero(out)
		}
	}
	to, from := kernel.Strides(shape), kernel.Strides(t.Shape)
	at, start := 0, 0
	for a, n := range before {
		at += max(n, 0) * to[a]
		start += max(-n, 0) * from[a]
	}
	copyStrided(c.Pool, out, at, to, t, start, from, kept)
	return nil
}

// padCopies continues t by its own elements.
func padCopies(c *kernel.Call, t *kernel.Tensor, before, after []int, mode string) error {
	shape := make([]int, len(t.Shape))
	for a, n := range t.Shape {
		shape[a] = n + before[a] + after[a]
		if kept := n + min(before[a], 0) + min(after[a], 0); kept == 0 && shape[a] > 0 {
			return fmt.Errorf("axis %d of %s has nothing to continue by mode %q", a, t, mode)
		}
	}
	out, err := c.New(0, t.DType, shape)
	if err != nil || len(shape) == 0 {
		if err == nil {
			move(out, 0, t, 0, 1)
		}
		return err
	}
	if out.Len() == 0 {
		return nil
	}
	table := make([][]int, len(shape))
	stride := kernel.Strides(t.Shape)
	for a, n := range t.Shape {
		first := max(-before[a], 0)
		kept := n + min(before[a], 0) + min(after[a], 0)
		table[a] = make([]int, shape[a])
		for i := range table[a] {
			table[a][i] = (first + continued(i-max(before[a], 0), kept, mode)) * stride[a]
		}
	}
	pickGrid(c.Pool, out, t, table)
	return nil
}

// continued is the index below n that stands for any index i.
func continued(i, n int, mode string) int {
	switch mode {
	case "edge":
		return min(max(i, 0), n-1)
	case "wrap":
		return ((i % n) + n) % n
	}
	if n == 1 {
		return 0
	}
	turn := 2 * (n - 1) // there and back without the ends twice
	i = ((i % turn) + turn) % turn
	return min(i, turn-i)
}

// makeCenterCropPad brings axes to a length, from the middle: what is odd goes to, or is missing at, the end.
func makeCenterCropPad(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	attr, some := r.Ints("axes")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		want, err := c.Ints(1)
		if err != nil {
			return err
		}
		which := make([]int, len(t.Shape))
		for i := range which {
			which[i] = i
		}
		if some {
			if which, err = axes(attr, len(t.Shape)); err != nil {
				return err
			}
		}
		if len(want) != len(which) {
			return fmt.Errorf("%d lengths for %d axes", len(want), len(which))
		}
		target, err := dims(want)
		if err != nil {
			return err
		}
		before, after := make([]int, len(t.Shape)), make([]int, len(t.Shape))
		for i, a := range which {
			more := target[i] - t.Shape[a]
			before[a] = more / 2 // rounds towards zero: the odd one falls to the end either way
			after[a] = more - before[a]
		}
		return padConstant(c, t, before, after, nil)
	}, nil
}

// makeTrilu keeps the upper or lower triangle of the last two axes, counted from diagonal k, and makes the rest zero.
func makeTrilu(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	upper := r.Flag("upper", true)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if len(t.Shape) < 2 {
			return fmt.Errorf("input is %s, want at least two axes", t)
		}
		k := int64(0)
		if given(c, 1) {
			if k, err = scalar(c, 1); err != nil {
				return err
			}
		}
		out, err := c.New(0, t.DType, t.Shape)
		if err != nil {
			return err
		}
		zero(out)
		rank := len(t.Shape)
		rows, cols := t.Shape[rank-2], t.Shape[rank-1]
		if out.Len() == 0 {
			return nil
		}
		k = min(max(k, -int64(rows)), int64(cols))
		c.Pool.For(out.Len()/cols, max(1, job/cols), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				diagonal := i%rows + int(k) // the column that the diagonal meets in this row
				if from := min(max(diagonal, 0), cols); upper {
					move(out, i*cols+from, t, i*cols+from, cols-from)
				} else {
					move(out, i*cols, t, i*cols, min(max(diagonal+1, 0), cols))
				}
			}
		})
		return nil
	}, nil
}

// makeReverseSequence turns the first sequence_lens[b] steps of every batch entry b round.
func makeReverseSequence(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	batch, time := r.Int("batch_axis", 1), r.Int("time_axis", 0)
	if batch+time != 1 || batch*time != 0 {
		r.Fail("batch_axis is %d and time_axis %d, want 0 and 1 or 1 and 0", batch, time)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if len(t.Shape) < 2 {
			return fmt.Errorf("input is %s, want at least two axes", t)
		}
		lens, err := c.Ints(1)
		if err != nil {
			return err
		}
		steps := t.Shape[time]
		if len(lens) != t.Shape[batch] {
			return fmt.Errorf("%d sequence lengths for a batch of %d", len(lens), t.Shape[batch])
		}
		for b, n := range lens {
			if n < 0 || n > int64(steps) {
				return fmt.Errorf("sequence length %d of batch entry %d, want 0 to %d", n, b, steps)
			}
		}
		out, err := c.New(0, t.DType, t.Shape)
		if err != nil || out.Len() == 0 {
			return err
		}
		run := kernel.Count(t.Shape[2:])
		at := make([]int, t.Shape[0]*t.Shape[1])
		for i := range t.Shape[0] {
			for j := range t.Shape[1] {
				from := [2]int{i, j}
				if n := int(lens[from[batch]]); from[time] < n {
					from[time] = n - 1 - from[time]
				}
				at[i*t.Shape[1]+j] = (from[0]*t.Shape[1] + from[1]) * run
			}
		}
		pickRuns(c.Pool, out, t, at, run)
		return nil
	}, nil
}
