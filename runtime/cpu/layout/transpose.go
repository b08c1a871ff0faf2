package layout

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makeTranspose: axis i of the output is axis perm[i] of the input; without perm the axes turn round.
func makeTranspose(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	attr, some := r.Ints("perm")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		rank := len(t.Shape)
		perm := make([]int, rank)
		for i := range perm {
			perm[i] = rank - 1 - i
		}
		if some {
			if len(attr) != rank {
				return fmt.Errorf("perm %v has %d axes, input %s has %d", attr, len(attr), t, rank)
			}
			if perm, err = axes(attr, rank); err != nil {
				return fmt.Errorf("perm: %w", err)
			}
		}
		shape := make([]int, rank)
		for i, a := range perm {
			shape[i] = t.Shape[a]
		}
		if inOrder(t.Shape, perm) {
			c.View(0, t, shape)
			return nil
		}
		out, err := c.New(0, t.DType, shape)
		if err != nil {
			return err
		}
		permute(c.Pool, out, t, t.Shape, perm)
		return nil
	}, nil
}

// inOrder reports whether the permutation moves only axes of extent 1, so that memory stays as it is.
func inOrder(shape, perm []int) bool {
	last := -1
	for _, a := range perm {
		if shape[a] == 1 {
			continue
		}
		if a < last {
			return false
		}
		last = a
	}
	return true
}

// makeDepthToSpace moves blocks of channels into squares of the picture; mode says which part of the channel axis is the block.
func makeDepthToSpace(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	b := int(min(max(r.Int("blocksize", 0), 0), 1<<20))
	rows := r.Word("mode", "DCR", "DCR", "CRD") == "CRD"
	if b == 0 {
		r.Fail("attribute %q is missing or not positive", "blocksize")
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if len(t.Shape) != 4 || t.Shape[1]%(b*b) != 0 {
			return fmt.Errorf("input is %s, want 4 axes with channels divisible by %d", t, b*b)
		}
		n, ch, h, w := t.Shape[0], t.Shape[1]/(b*b), t.Shape[2], t.Shape[3]
		out, err := c.New(0, t.DType, []int{n, ch, h * b, w * b})
		if err != nil {
			return err
		}
		if rows {
			permute(c.Pool, out, t, []int{n, ch, b, b, h, w}, []int{0, 1, 4, 2, 5, 3})
		} else {
			permute(c.Pool, out, t, []int{n, b, b, ch, h, w}, []int{0, 3, 4, 1, 5, 2})
		}
		return nil
	}, nil
}

// makeSpaceToDepth moves squares of the picture into the channel axis.
func makeSpaceToDepth(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	b := int(min(max(r.Int("blocksize", 0), 0), 1<<20))
	if b == 0 {
		r.Fail("attribute %q is missing or not positive", "blocksize")
	}
	// Only DCR is in the specification; PyTorch's exporter never writes another.
	r.Word("mode", "DCR", "DCR")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if len(t.Shape) != 4 || t.Shape[2]%b != 0 || t.Shape[3]%b != 0 {
			return fmt.Errorf("input is %s, want 4 axes with height and width divisible by %d", t, b)
		}
		n, ch, h, w := t.Shape[0], t.Shape[1], t.Shape[2]/b, t.Shape[3]/b
		out, err := c.New(0, t.DType, []int{n, ch * b * b, h, w})
		if err != nil {
			return err
		}
		permute(c.Pool, out, t, []int{n, ch, h, b, w, b}, []int{0, 3, 5, 1, 2, 4})
		return nil
	}, nil
}
