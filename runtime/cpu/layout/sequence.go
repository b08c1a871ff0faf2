package layout

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// sequence is the input at i.
func sequence(c *kernel.Call, i int) (*kernel.Sequence, error) {
	if !given(c, i) {
		return nil, fmt.Errorf("input %d is missing", i)
	}
	s, ok := c.In[i].(*kernel.Sequence)
	if !ok {
		return nil, fmt.Errorf("input %d is not a sequence", i)
	}
	return s, nil
}

// emit makes the first output a sequence of these items. Those that the caller did not make itself must have been retained.
func emit(c *kernel.Call, items []kernel.Value, d tensor.DType) {
	if len(c.Out) > 0 {
		c.Out[0] = &kernel.Sequence{Items: items, DType: d}
	}
}

func makeSequenceConstruct(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		items := make([]kernel.Value, len(c.In))
		d := tensor.Undefined
		for i := range c.In {
			t, err := c.Tensor(i)
			if err != nil {
				return err
			}
			if i > 0 && t.DType != d {
				return fmt.Errorf("input %d is %s, want %s as the first", i, t, d)
			}
			items[i], d = t, t.DType
		}
		for _, v := range items {
			kernel.Retain(v)
		}
		emit(c, items, d)
		return nil
	}, nil
}

func makeSequenceEmpty(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	d := r.DType("dtype", tensor.Float32)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		emit(c, nil, d)
		return nil
	}, nil
}

// place is the position that the input at i gives in [0, extent-1], def where it is left out.
func place(c *kernel.Call, i, extent, def int) (int, error) {
	if !given(c, i) {
		return def, nil
	}
	p, err := scalar(c, i)
	if err != nil {
		return 0, err
	}
	if p < -int64(extent) || p >= int64(extent) {
		return 0, fmt.Errorf("position %d, want %d to %d", p, -extent, extent-1)
	}
	if p < 0 {
		p += int64(extent)
	}
	return int(p), nil
}

func makeSequenceInsert(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		seq, err := sequence(c, 0)
		if err != nil {
			return err
		}
		t, err := c.Tensor(1)
		if err != nil {
			return err
		}
		if seq.DType != tensor.Undefined && t.DType != seq.DType {
			return fmt.Errorf("input 1 is %s, the sequence holds %s", t, seq.DType)
		}
		n := len(seq.Items)
		at := n
		if given(c, 2) {
			p, err := scalar(c, 2)
			if err != nil {
				return err
			}
			// Unlike everywhere else the end itself is a place, while -1 is the one before the last item.
			if p < -int64(n) || p > int64(n) {
				return fmt.Errorf("position %d, want %d to %d", p, -n, n)
			}
			if at = int(p); at < 0 {
				at += n
			}
		}
		items := make([]kernel.Value, 0, n+1)
		items = append(append(append(items, seq.Items[:at]...), t), seq.Items[at:]...)
		for _, v := range items {
			kernel.Retain(v)
		}
		emit(c, items, t.DType)
		return nil
	}, nil
}

func makeSequenceErase(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		seq, err := sequence(c, 0)
		if err != nil {
			return err
		}
		n := len(seq.Items)
		if n == 0 {
			return fmt.Errorf("nothing to erase in an empty sequence")
		}
		at, err := place(c, 1, n, n-1)
		if err != nil {
			return err
		}
		items := append(append(make([]kernel.Value, 0, n-1), seq.Items[:at]...), seq.Items[at+1:]...)
		for _, v := range items {
			kernel.Retain(v)
		}
		emit(c, items, seq.DType)
		return nil
	}, nil
}

func makeSequenceAt(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		seq, err := sequence(c, 0)
		if err != nil {
			return err
		}
		if !given(c, 1) {
			return fmt.Errorf("input 1 is missing")
		}
		at, err := place(c, 1, len(seq.Items), 0)
		if err != nil {
			return err
		}
		hand(c, seq.Items[at])
		return nil
	}, nil
}

func makeSequenceLength(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		seq, err := sequence(c, 0)
		if err != nil {
			return err
		}
		out, err := c.New(0, tensor.Int64, nil)
		if err != nil {
			return err
		}
		kernel.Of[int64](out)[0] = int64(len(seq.Items))
		return nil
	}, nil
}

// makeSplitToSequence cuts along an axis: into parts of the given lengths, of one length, or of 1, and then keepdims says whether the axis
// stays.
func makeSplitToSequence(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", 0)
	keep := r.Flag("keepdims", true)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		a, err := ranked(t, axis)
		if err != nil {
			return err
		}
		extent := t.Shape[a]
		var lengths []int
		single := !given(c, 1)
		each := int64(1)
		if !single {
			want, err := c.Ints(1)
			if err != nil {
				return err
			}
			if split, _ := c.Tensor(1); len(split.Shape) > 0 {
				if lengths, err = partsOf(want, extent, a); err != nil {
					return err
				}
				each = 0
			} else if each = want[0]; each <= 0 {
				return fmt.Errorf("parts of length %d", each)
			}
		}
		if each > 0 {
			n := int(min(each, int64(max(extent, 1))))
			if extent/n > maxParts && t.Len() == 0 {
				return fmt.Errorf("%d empty parts of %s", extent/n, t)
			}
			for from := 0; from < extent; from += n {
				lengths = append(lengths, min(n, extent-from))
			}
		}
		items := make([]kernel.Value, 0, len(lengths))
		from := 0
		for _, n := range lengths {
			shape := append([]int(nil), t.Shape...)
			shape[a] = n
			part, err := c.Mem.New(t.DType, shape)
			if err != nil {
				for _, v := range items {
					kernel.Release(v)
				}
				return err
			}
			cut(c.Pool, part, t, a, from)
			if single && !keep {
				part.Shape = without(shape, a)
			}
			items = append(items, part)
			from += n
		}
		emit(c, items, t.DType)
		return nil
	}, nil
}

// makeConcatFromSequence joins the items along an axis, which is a new one where new_axis says so.
func makeConcatFromSequence(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	axis := r.Int("axis", 0)
	fresh := r.Flag("new_axis", false)
	if !r.Has("axis") {
		r.Fail("attribute %q is missing", "axis")
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		seq, err := sequence(c, 0)
		if err != nil {
			return err
		}
		parts := make([]*kernel.Tensor, len(seq.Items))
		for i, v := range seq.Items {
			t, ok := v.(*kernel.Tensor)
			if !ok {
				return fmt.Errorf("item %d of the sequence is not a tensor", i)
			}
			if fresh {
				a, err := kernel.Axis(axis, len(t.Shape)+1)
				if err != nil {
					return err
				}
				view := *t
				view.Shape = with(t.Shape, a, 1)
				t = &view
			}
			parts[i] = t
		}
		return concat(c, parts, axis)
	}, nil
}

// makeOptional wraps its input, or nothing.
func makeOptional(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	r.Skip("type") // says what is missing, which nobody needs to know here
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		o := &kernel.Optional{}
		if given(c, 0) {
			o.Item = c.In[0]
			kernel.Retain(o.Item)
		}
		if len(c.Out) > 0 {
			c.Out[0] = o
		}
		return nil
	}, nil
}

// makeOptionalHasElement is false for nothing, be it an optional without content or an input left out.
func makeOptionalHasElement(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		has := given(c, 0)
		if has {
			if o, ok := c.In[0].(*kernel.Optional); ok {
				has = o.Item != nil
			}
		}
		out, err := c.New(0, tensor.Bool, nil)
		if err != nil {
			return err
		}
		kernel.Of[bool](out)[0] = has
		return nil
	}, nil
}

func makeOptionalGetElement(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		if !given(c, 0) {
			return fmt.Errorf("input 0 is missing")
		}
		v := c.In[0]
		if o, ok := v.(*kernel.Optional); ok {
			if v = o.Item; v == nil {
				return fmt.Errorf("the optional is empty")
			}
		}
		hand(c, v)
		return nil
	}, nil
}
