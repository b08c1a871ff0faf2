package nn

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// rotating is the attributes of RotaryEmbedding.
type rotating struct {
	heads, size int // 0 where left out
	interleaved bool
}

// makeRotaryEmbedding is RotaryEmbedding: pairs of elements of a head are turned by the angle of their position, whose cosine and sine
// come in tables. Pairs are neighbours where interleaved, else an element of the first half with one of the second.
func makeRotaryEmbedding(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := rotating{heads: a.Count("num_heads", 0, 0), size: a.Count("rotary_embedding_dim", 0, 0), interleaved: a.Bit("interleaved", false)}
	if o.size%2 != 0 {
		a.Fail("attribute \"rotary_embedding_dim\" is %d, want an even number", o.size)
	}
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return rotary(w, &o) },
			func(w *work[float64]) error { return rotary(w, &o) })
	}, nil
}

func rotary[F real](w *work[F], o *rotating) error {
	x, err := readHeads(w, 0, o.heads)
	if err != nil {
		return err
	}
	size := o.size
	if size == 0 {
		size = x.size
	}
	if size > x.size || size%2 != 0 {
		return fmt.Errorf("%d elements of heads of %d are to be turned, want an even number that is not larger", size, x.size)
	}
	half := size / 2
	ct, cos, err := w.in(1)
	if err != nil {
		return err
	}
	st, sin, err := w.in(2)
	if err != nil {
		return err
	}
	if !equalShape(ct.Shape, st.Shape) {
		return fmt.Errorf("inputs 1 and 2 have shapes %s and %s, want the same", kernel.ShapeString(ct.Shape), kernel.ShapeString(st.Shape))
	}
	place := func(b, s int) int { return b*x.rows + s }
	if w.Optional(3) == nil {
		if err := wantShape(1, ct.Shape, x.batch, x.rows, half); err != nil {
			return err
		}
	} else {
		if len(ct.Shape) != 2 || ct.Shape[1] != half {
			return fmt.Errorf("input 1 has shape %s, want [positions,%d]", kernel.ShapeString(ct.Shape), half)
		}
		ids, err := w.Ints(3)
		if err != nil {
			return err
		}
		pt, _ := w.Tensor(3)
		if err := wantShape(3, pt.Shape, x.batch, x.rows); err != nil {
			return err
		}
		for i, p := range ids {
			if p < -int64(ct.Shape[0]) || p >= int64(ct.Shape[0]) {
				return fmt.Errorf("input 3 holds the position %d, want less than %d", p, ct.Shape[0])
			}
			if p < 0 {
				ids[i] += int64(ct.Shape[0])
			}
		}
		place = func(b, s int) int { return int(ids[b*x.rows+s]) }
	}
	y, err := w.out(0, x.t.DType, x.t.Shape)
	if err != nil {
		return err
	}
	out := x.heads
	out.data = y
	w.Pool.For(x.batch*x.count, max(1, grain/max(1, x.rows*x.size)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			b, h := i/x.count, i%x.count
			from, to := x.at(b, h), out.at(b, h)
			for s := range x.rows {
				at := place(b, s) * half
				turn(to.data[s*to.row:][:x.size], from.data[s*from.row:][:x.size], cos[at:][:half], sin[at:][:half], o.interleaved)
			}
		}
	})
	return nil
}

// turn rotates the pairs of x that cos and sin are for, and copies the rest.
func turn[F real](y, x, cos, sin []F, interleaved bool) {
	half := len(cos)
	step, second := 1, half
	if interleaved {
		step, second = 2, 1
	}
	for i, c := range cos {
		a, b := x[i*step], x[i*step+second]
		y[i*step] = F(c*a) - F(sin[i]*b)
		y[i*step+second] = F(sin[i]*a) + F(c*b)
	}
	copy(y[2*half:], x[2*half:])
}

func wantShape(i int, got []int, want ...int) error {
	if !equalShape(got, want) {
		return shapeError(i, got, want)
	}
	return nil
}
