package layout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeNonMaxSuppression picks boxes by falling score, of equal ones the earlier first, and leaves out those that overlap a picked one too
// much. boxes [N,B,4], scores [N,C,B]; the output's rows are batch, class and box.
func makeNonMaxSuppression(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	center := r.Flag("center_point_box", false)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		bt, err := c.Tensor(0)
		if err != nil {
			return err
		}
		st, err := c.Tensor(1)
		if err != nil {
			return err
		}
		if len(bt.Shape) != 3 || len(st.Shape) != 3 || bt.Shape[2] != 4 || bt.Shape[0] != st.Shape[0] || bt.Shape[1] != st.Shape[2] {
			return fmt.Errorf("boxes are %s and scores %s, want [N,B,4] and [N,C,B]", bt, st)
		}
		boxes, err := floatInput(c, 0)
		if err != nil {
			return err
		}
		scores, err := floatInput(c, 1)
		if err != nil {
			return err
		}
		most := int64(0)
		if m := c.Optional(2); m != nil && m.Len() > 0 {
			if most, err = scalar(c, 2); err != nil {
				return err
			}
		}
		overlap, err := floatInput(c, 3)
		if err != nil {
			return err
		}
		if overlap == nil {
			overlap = []float32{0}
		}
		least, err := floatInput(c, 4)
		if err != nil {
			return err
		}
		if len(scores) == 0 {
			_, err := c.New(0, tensor.Int64, []int{0, 3})
			return err
		}
		n, classes, count := st.Shape[0], st.Shape[1], st.Shape[2]
		corners := make([]box, n*count)
		for i := range corners {
			corners[i] = newBox([4]float32(boxes[4*i:]), center)
		}
		picked := make([][]int, n*classes)
		c.Pool.For(n*classes, 1, func(lo, hi int) {
			for k := lo; k < hi; k++ {
				picked[k] = suppress(corners[k/classes*count:][:count], scores[k*count:][:count], most, overlap[0], least)
			}
		})
		total := 0
		for _, p := range picked {
			total += len(p)
		}
		out, err := c.New(0, tensor.Int64, []int{total, 3})
		if err != nil {
			return err
		}
		rows := kernel.Of[int64](out)
		for k, p := range picked {
			for _, b := range p {
				rows[0], rows[1], rows[2] = int64(k/classes), int64(k%classes), int64(b)
				rows = rows[3:]
			}
		}
		return nil
	}, nil
}

// box is a rectangle.
type box struct{ x1, y1, x2, y2 float32 }

// newBox reads y1, x1, y2, x2 of any two opposite corners, or the middle's x and y, width and height.
func newBox(v [4]float32, center bool) box {
	if center {
		return box{v[0] - v[2]/2, v[1] - v[3]/2, v[0] + v[2]/2, v[1] + v[3]/2}
	}
	return box{min(v[1], v[3]), min(v[0], v[2]), max(v[1], v[3]), max(v[0], v[2])}
}

func (b box) area() float32 { return (b.x2 - b.x1) * (b.y2 - b.y1) }

// overlaps reports whether intersection over union is above the limit.
func (b box) overlaps(o box, limit float32) bool {
	w, h := min(b.x2, o.x2)-max(b.x1, o.x1), min(b.y2, o.y2)-max(b.y1, o.y1)
	if !(w > 0 && h > 0) {
		return false
	}
	both := w * h
	a1, a2 := b.area(), o.area()
	either := a1 + a2 - both
	if !(both > 0 && a1 > 0 && a2 > 0 && either > 0) {
		return false
	}
	return both/either > limit
}

// suppress picks at most most boxes of one class.
func suppress(boxes []box, scores []float32, most int64, overlap float32, least []float32) []int {
	if most <= 0 {
		return nil
	}
	var order []int
	for i, v := range scores {
		if least == nil || v > least[0] {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
	var picked []int
next:
	for _, i := range order {
		if int64(len(picked)) >= most {
			break
		}
		for _, j := range picked {
			if boxes[i].overlaps(boxes[j], overlap) {
				continue next
			}
		}
		picked = append(picked, i)
	}
	return picked
}
