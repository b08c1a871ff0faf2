package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// linearAttending is the attributes of LinearAttention.
type linearAttending struct {
	qHeads, kvHeads int
	scale           float32 // 0 means 1/√size
	gated, delta    bool
}

// makeLinearAttention is LinearAttention: a state S of every head goes from token to token,
//
//	S ← exp(decay)·S              where gated
//	v ← beta·(v - Sᵀk)            with the delta rule
//	S ← S + k·vᵀ,  y = scale·Sᵀq
func makeLinearAttention(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	for _, name := range []string{"q_num_heads", "kv_num_heads"} {
		if !a.Has(name) {
			a.Fail("attribute %q is missing", name)
		}
	}
	rule := a.Word("update_rule", "gated_delta", "gated_delta", "linear", "gated", "delta")
	o := linearAttending{qHeads: a.Count("q_num_heads", 0, 1), kvHeads: a.Count("kv_num_heads", 0, 1), scale: a.Float("scale", 0),
		gated: rule == "gated" || rule == "gated_delta", delta: rule == "delta" || rule == "gated_delta"}
	a.Int("chunk_size", 64) // how others cut the sequence; it shows in no result
	if a.Err() == nil && o.qHeads%o.kvHeads != 0 {
		a.Fail("%d query heads are not a multiple of %d key heads", o.qHeads, o.kvHeads)
	}
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return linearAttention(w, &o) },
			func(w *work[float64]) error { return linearAttention(w, &o) })
	}, nil
}

func linearAttention[F real](w *work[F], o *linearAttending) error {
	for i, name := range []string{4: "decay", 5: "beta"} {
		if want := i == 4 && o.gated || i == 5 && o.delta; name != "" && (w.Optional(i) != nil) != want {
			return fmt.Errorf("input %d (%s): given %t, and the update rule wants %t", i, name, !want, want)
		}
	}
	q, err := readHeads(w, 0, o.qHeads)
	if err != nil {
		return err
	}
	k, err := readHeads(w, 1, o.kvHeads)
	if err != nil {
		return err
	}
	v, err := readHeads(w, 2, o.kvHeads)
	if err != nil {
		return err
	}
	if len(q.t.Shape) != 3 || len(k.t.Shape) != 3 || len(v.t.Shape) != 3 {
		return fmt.Errorf("inputs 0, 1 and 2 have %d, %d and %d axes, want three", len(q.t.Shape), len(k.t.Shape), len(v.t.Shape))
	}
	batch, steps := q.batch, q.rows
	if k.batch != batch || v.batch != batch || k.rows != steps || v.rows != steps || k.size != q.size {
		return fmt.Errorf("inputs 0, 1 and 2 have shapes %s, %s and %s, which do not fit", kernel.ShapeString(q.t.Shape),
			kernel.ShapeString(k.t.Shape), kernel.ShapeString(v.t.Shape))
	}
	var decay, beta []F
	perKey, perHead := false, false
	if o.gated {
		t, _ := w.Tensor(4)
		n := o.kvHeads
		if len(t.Shape) == 3 && t.Shape[2] == n*k.size {
			perKey, n = true, n*k.size
		}
		if decay, err = w.shaped(4, batch, steps, n); err != nil {
			return err
		}
	}
	if o.delta {
		t, _ := w.Tensor(5)
		n := 1
		if len(t.Shape) == 3 && t.Shape[2] == o.kvHeads {
			perHead, n = true, o.kvHeads
		}
		if beta, err = w.shaped(5, batch, steps, n); err != nil {
			return err
		}
	}
	stateShape := []int{batch, o.kvHeads, k.size, v.size}
	past, err := w.shaped(3, stateShape...)
	if err != nil {
		return err
	}
	stateType := q.t.DType
	if t := w.Optional(3); t != nil {
		stateType = t.DType
	}
	y, err := w.out(0, q.t.DType, []int{batch, steps, o.qHeads * v.size})
	if err != nil {
		return err
	}
	state, err := w.out(1, stateType, stateShape)
	if err != nil {
		return err
	}
	scale := F(o.scale)
	if scale == 0 {
		scale = F(1 / math.Sqrt(float64(k.size)))
	}
	out := headsOf3D(y, o.qHeads, steps, v.size)
	group := o.qHeads / o.kvHeads
	w.Pool.For(batch*o.kvHeads, 1, func(i, _ int) {
		b, h := i/o.kvHeads, i%o.kvHeads
		s := state[i*k.size*v.size:][:k.size*v.size]
		clear(s)
		copy(s, past[min(i*len(s), len(past)):])
		keys, values := k.at(b, h), v.at(b, h)
		write, read := make([]F, v.size), make([]F, v.size)
		for t := range steps {
			key, value := keys.data[t*keys.row:][:k.size], values.data[t*values.row:][:v.size]
			at := (b*steps+t)*o.kvHeads + h
			if o.gated {
				for d := range key {
					g := at
					if perKey {
						g = at*k.size + d
					}
					f := F(math.Exp(float64(decay[g])))
					row := s[d*v.size:][:v.size]
					for m := range row {
						row[m] *= f
					}
				}
			}
			copy(write, value)
			if o.delta {
				clear(read)
				for d, f := range key {
					addTap(read, s[d*v.size:], f)
				}
				f := beta[b*steps+t]
				if perHead {
					f = beta[at]
				}
				for m := range write {
					write[m] = f * (write[m] - read[m])
				}
			}
			for d, f := range key {
				addTap(s[d*v.size:][:v.size], write, f)
			}
			for j := range group {
				queries, to := q.at(b, h*group+j), out.at(b, h*group+j)
				clear(read)
				for d, f := range queries.data[t*queries.row:][:k.size] {
					addTap(read, s[d*v.size:], f)
				}
				for m, f := range read {
					to.data[t*to.row+m] = scale * f
				}
			}
		}
	})
	return nil
}
