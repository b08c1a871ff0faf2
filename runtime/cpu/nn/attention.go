package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// attending is the attributes of Attention.
type attending struct {
	qHeads, kvHeads int // 0 where left out
	scale           *float32
	softcap         float32
	causal          bool
	stage           int
	padMask         bool // a mask may be shorter than the keys: opset 24
}

// makeAttention is Attention.
func makeAttention(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := attending{qHeads: a.Count("q_num_heads", 0, 0), kvHeads: a.Count("kv_num_heads", 0, 0), softcap: a.Float("softcap", 0),
		causal: a.Bit("is_causal", false), stage: a.Count("qk_matmul_output_mode", 0, rawScores), padMask: site.Opset >= 24}
	if o.stage > probabilities {
		a.Fail("attribute \"qk_matmul_output_mode\" is %d, want %d to %d", o.stage, rawScores, probabilities)
	}
	if site.Node.Attr("scale") != nil {
		s := a.Float("scale", 0)
		o.scale = &s
	}
	softmaxPrecision(a)
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return attend(w, &o) },
			func(w *work[float64]) error { return attend(w, &o) })
	}, nil
}

// softmaxPrecision reads an attribute that names the least precision of softmax: here it is never below float32.
func softmaxPrecision(a *kernel.Attrs) {
	if d := tensor.DType(a.Int("softmax_precision", int64(tensor.Float32))); !isFloat(d) {
		a.Fail("attribute \"softmax_precision\" is %d, want a float type", d)
	}
}

// headed is one of Q, K and V with its shape.
type headed[F real] struct {
	heads[F]
	t                        *kernel.Tensor
	batch, count, rows, size int
}

// readHeads reads the input at i, of three axes with this many heads, or of four.
func readHeads[F real](w *work[F], i, count int) (*headed[F], error) {
	t, v, err := w.in(i)
	if err != nil {
		return nil, err
	}
	h := &headed[F]{t: t}
	switch len(t.Shape) {
	case 3:
		if count == 0 {
			return nil, fmt.Errorf("input %d has shape %s, and the number of heads is not given", i, kernel.ShapeString(t.Shape))
		}
		if t.Shape[2]%count != 0 {
			return nil, fmt.Errorf("input %d has shape %s, whose last axis %d heads do not divide", i, kernel.ShapeString(t.Shape), count)
		}
		h.batch, h.rows, h.count, h.size = t.Shape[0], t.Shape[1], count, t.Shape[2]/count
		h.heads = headsOf3D(v, h.count, h.rows, h.size)
	case 4:
		h.batch, h.count, h.rows, h.size = t.Shape[0], t.Shape[1], t.Shape[2], t.Shape[3]
		if count != 0 && count != h.count {
			return nil, fmt.Errorf("input %d has shape %s, want %d heads", i, kernel.ShapeString(t.Shape), count)
		}
		h.heads = headsOf4D(v, h.count, h.rows, h.size)
	default:
		return nil, fmt.Errorf("input %d has shape %s, want three axes or four", i, kernel.ShapeString(t.Shape))
	}
	return h, nil
}

func attend[F real](w *work[F], o *attending) error {
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
	switch {
	case len(k.t.Shape) != len(q.t.Shape) || len(v.t.Shape) != len(q.t.Shape):
		err = fmt.Errorf("inputs 0, 1 and 2 have %d, %d and %d axes, want as many", len(q.t.Shape), len(k.t.Shape), len(v.t.Shape))
	case k.batch != q.batch || v.batch != q.batch:
		err = fmt.Errorf("inputs 0, 1 and 2 have batches of %d, %d and %d, want the same", q.batch, k.batch, v.batch)
	case k.size != q.size:
		err = fmt.Errorf("heads of inputs 0 and 1 have sizes %d and %d, want the same", q.size, k.size)
	case k.count != v.count || k.rows != v.rows:
		err = fmt.Errorf("inputs 1 and 2 have %d and %d heads of %d and %d rows, want the same", k.count, v.count, k.rows, v.rows)
	case k.count == 0 || q.count%k.count != 0:
		err = fmt.Errorf("%d heads of input 0 are not a multiple of %d heads of input 1", q.count, k.count)
	}
	if err != nil {
		return err
	}
	a := &attention[F]{batch: q.batch, qHeads: q.count, kvHeads: k.count, queries: q.rows, size: q.size, vSize: v.size, q: q.heads,
		softcap: F(o.softcap), causal: o.causal, masked: F(math.Inf(-1)), scale: F(1 / math.Sqrt(float64(q.size)))}
	if o.scale != nil {
		a.scale = F(*o.scale)
	}
	past, err := appendCache(w, k, 4, 1)
	if err != nil {
		return err
	}
	pastV, err := appendCache(w, v, 5, 2)
	if err != nil {
		return err
	}
	if past != pastV {
		return fmt.Errorf("inputs 4 and 5 hold %d and %d rows, want the same", past, pastV)
	}
	a.keys, a.past, a.k, a.v = k.rows, past, k.heads, v.heads
	if err := a.readMask(w, 3, o.padMask); err != nil {
		return err
	}
	if w.Optional(6) != nil {
		if a.lengths, err = keyLengths(w.Call, 6, a.batch, a.keys); err != nil {
			return err
		}
	}
	shape := []int{q.batch, q.count, q.rows, v.size}
	if len(q.t.Shape) == 3 {
		shape = []int{q.batch, q.rows, q.count * v.size}
	}
	y, err := w.out(0, q.t.DType, shape)
	if err != nil {
		return err
	}
	if len(shape) == 3 {
		a.out = headsOf3D(y, q.count, q.rows, v.size)
	} else {
		a.out = headsOf4D(y, q.count, q.rows, v.size)
	}
	a.stage = o.stage
	if a.scores, err = w.outIf(3, q.t.DType, []int{q.batch, q.count, q.rows, a.keys}); err != nil {
		return err
	}
	return a.run(w)
}

// appendCache puts the rows of the input at in before those of h, and writes them together to the output at out where it is wanted. It gives
// the number of rows that were there before.
func appendCache[F real](w *work[F], h *headed[F], in, out int) (past int, err error) {
	t := w.Optional(in)
	if t == nil && !w.Wants(out) {
		return 0, nil
	}
	var old []F
	if t != nil {
		if len(t.Shape) != 4 || t.Shape[0] != h.batch || t.Shape[1] != h.count || t.Shape[3] != h.size {
			return 0, fmt.Errorf("input %d has shape %s, want [%d,%d,rows,%d]", in, kernel.ShapeString(t.Shape), h.batch, h.count, h.size)
		}
		past = t.Shape[2]
		if _, old, err = w.in(in); err != nil {
			return 0, err
		}
	}
	rows := past + h.rows
	var all []F
	if w.Wants(out) {
		all, err = w.out(out, h.t.DType, []int{h.batch, h.count, rows, h.size})
	} else {
		all, err = w.temp(h.batch, h.count, rows, h.size)
	}
	if err != nil {
		return 0, err
	}
	joinRows(w.Pool, all, old, h, past)
	return past, nil
}

// joinRows writes old, past rows of every head, and then the rows of h to all, which becomes what h is.
func joinRows[F real](p *kernel.Pool, all, old []F, h *headed[F], past int) {
	rows := past + h.rows
	p.For(h.batch*h.count, max(1, grain/max(1, rows*h.size)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst := all[i*rows*h.size:][:rows*h.size]
			n := copy(dst, old[i*past*h.size:][:past*h.size])
			from := h.at(i/h.count, i%h.count)
			for r := range h.rows {
				copy(dst[n+r*h.size:], from.data[r*from.row:][:h.size])
			}
		}
	})
	h.rows = rows
	h.heads = headsOf4D(all, h.count, rows, h.size)
}

// readMask reads the input at i, which broadcasts to [batch, heads, queries, keys]: a bool says what is looked at, a number is added. With
// pad the last axis may be shorter than keys, and the rest is masked.
func (a *attention[F]) readMask(w *work[F], i int, pad bool) error {
	t := w.Optional(i)
	if t == nil {
		return nil
	}
	keys := a.keys
	if n := len(t.Shape); n > 0 && t.Shape[n-1] < keys && (pad || t.Shape[n-1] != 1) {
		keys = t.Shape[n-1]
	}
	full := []int{a.batch, a.qHeads, a.queries, keys}
	if joint, err := kernel.Broadcast(t.Shape, full); err != nil || !equalShape(joint, full) {
		return fmt.Errorf("input %d has shape %s, want one that spreads over %s", i, kernel.ShapeString(t.Shape), kernel.ShapeString(full))
	}
	v, err := w.floats(t)
	if err != nil {
		return fmt.Errorf("input %d: %w", i, err)
	}
	if t.DType == tensor.Bool {
		for j, b := range v {
			v[j] = 0
			if b == 0 {
				v[j] = F(math.Inf(-1))
			}
		}
	}
	a.addend.v, a.addend.keys = v, keys
	copy(a.stride[:], kernel.BroadcastStrides(t.Shape, full))
	return nil
}

// keyLengths is the input at i: how many of the keys each batch has.
func keyLengths(c *kernel.Call, i, batch, keys int) ([]int, error) {
	v, err := c.Ints(i)
	if err != nil {
		return nil, err
	}
	if t, _ := c.Tensor(i); len(t.Shape) != 1 || len(v) != batch {
		return nil, shapeError(i, t.Shape, []int{batch})
	}
	out := make([]int, batch)
	for j, n := range v {
		if n < 0 || n > int64(keys) {
			return nil, fmt.Errorf("input %d holds the length %d, want 0 to %d", i, n, keys)
		}
		out[j] = int(n)
	}
	return out, nil
}

// makeFlexAttention is ai.onnx.preview's FlexAttention without the graphs that change scores and probabilities.
func makeFlexAttention(site *kernel.Site) (kernel.Func, error) {
	for _, name := range []string{"score_mod", "prob_mod"} {
		if site.Node.Attr(name) != nil {
			return nil, fmt.Errorf("attribute %q is not supported", name)
		}
	}
	a := site.Attrs()
	o := attending{}
	if site.Node.Attr("scale") != nil {
		s := a.Float("scale", 0)
		o.scale = &s
	}
	softmaxPrecision(a)
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return attend(w, &o) },
			func(w *work[float64]) error { return attend(w, &o) })
	}, nil
}
