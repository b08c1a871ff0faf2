package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// recurrent is the attributes of RNN, GRU and LSTM.
type recurrent struct {
	gates             int // rows of the weights are gates·hidden: 1, 3 (update, reset, hidden) or 4 (input, output, forget, cell)
	hidden            int // 0 where the weights say it
	reverse           []bool
	functions         [][]activation // for each direction
	clip              float32        // +Inf for none
	batchFirst        bool
	linearBeforeReset bool // GRU
	inputForget       bool // LSTM

	packedW []*gemm.Packed   // for each direction
	packedR [][]*gemm.Packed // for each direction, the products of a step
}

// readRecurrent reads what the three operators share; they add their own and call pack.
func readRecurrent(a *kernel.Attrs, gates int, defaults ...string) *recurrent {
	o := &recurrent{gates: gates, hidden: a.Count("hidden_size", 0, 0), clip: a.Float("clip", float32(math.Inf(1))),
		batchFirst: a.Bit("layout", false)}
	switch a.Word("direction", "forward", "forward", "reverse", "bidirectional") {
	case "reverse":
		o.reverse = []bool{true}
	case "bidirectional":
		o.reverse = []bool{false, true}
	default:
		o.reverse = []bool{false}
	}
	if o.clip < 0 {
		a.Fail("attribute \"clip\" is %v, want at least 0", o.clip)
	}
	all := readActivations(a, defaults, len(o.reverse))
	for d := range o.reverse {
		if a.Err() == nil {
			o.functions = append(o.functions, all[d*len(defaults):][:len(defaults)])
		}
	}
	return o
}

// parts are the ranges of gates that the products of a step are made of: a GRU that resets before its product needs two.
func (o *recurrent) parts() [][2]int {
	if o.gates == 3 && !o.linearBeforeReset {
		return [][2]int{{0, 2}, {2, 3}}
	}
	return [][2]int{{0, o.gates}}
}

// pack prepares the weights where they are constant, and makes the operator.
func (o *recurrent) pack(site *kernel.Site) kernel.Func {
	var w, r *kernel.Tensor
	if site.Constant != nil {
		w, r = site.Constant(1), site.Constant(2)
	}
	for d := range o.reverse {
		var pw *gemm.Packed
		if w != nil && len(w.Shape) == 3 {
			pw = packTransposed(site, w, d, 0, w.Shape[1])
		}
		o.packedW = append(o.packedW, pw)
		var pr []*gemm.Packed
		for _, g := range o.parts() {
			var p *gemm.Packed
			if r != nil && len(r.Shape) == 3 {
				p = packTransposed(site, r, d, g[0]*r.Shape[2], g[1]*r.Shape[2])
			}
			pr = append(pr, p)
		}
		o.packedR = append(o.packedR, pr)
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return recur(w, o) },
			func(w *work[float64]) error { return recur(w, o) })
	}
}

// recurrence is one execution of one direction. Arrays of states are [batch, hidden], gates [batch, gates·hidden].
type recurrence[F real] struct {
	*recurrent
	functions    []activation
	batch, width int // width is the number of hidden units
	h, c         []F
	gate         []F // of the step: x·W of all gates, then what becomes of them
	product      []F // h·R
	bias         []F // of R, where it must stay apart from that of W: GRU's linearBeforeReset
	peephole     []F // LSTM: input, output, forget; nil for none
	r            []factor[F]
	lengths      []int32 // nil: all sequences are full
}

// recur runs all directions.
//
// X·Wᵀ is one product over all steps; each step then adds h·Rᵀ. A sequence that is shorter than the longest keeps its state once it is at
// its end, and its outputs there are 0.
func recur[F real](w *work[F], o *recurrent) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	wt, weight, err := w.in(1)
	if err != nil {
		return err
	}
	rt, rWeight, err := w.in(2)
	if err != nil {
		return err
	}
	dirs := len(o.reverse)
	if len(xt.Shape) != 3 {
		return fmt.Errorf("input 0 has shape %s, want three axes", kernel.ShapeString(xt.Shape))
	}
	if len(rt.Shape) != 3 || rt.Shape[0] != dirs || rt.Shape[1] != o.gates*rt.Shape[2] {
		return fmt.Errorf("input 2 has shape %s, want [%d,%d·hidden,hidden]", kernel.ShapeString(rt.Shape), dirs, o.gates)
	}
	hidden := rt.Shape[2]
	if o.hidden != 0 && o.hidden != hidden {
		return fmt.Errorf("attribute \"hidden_size\" is %d, and input 2 has shape %s", o.hidden, kernel.ShapeString(rt.Shape))
	}
	steps, batch, size := xt.Shape[0], xt.Shape[1], xt.Shape[2]
	if o.batchFirst {
		steps, batch = batch, steps
	}
	rows := o.gates * hidden
	if want := []int{dirs, rows, size}; !equalShape(wt.Shape, want) {
		return shapeError(1, wt.Shape, want)
	}
	bias, err := w.shaped(3, dirs, 2*rows)
	if err != nil {
		return err
	}
	lengths, err := sequenceLengths(w.Call, batch, steps)
	if err != nil {
		return err
	}
	stateShape := []int{dirs, batch, hidden}
	outShape := []int{steps, dirs, batch, hidden}
	if o.batchFirst {
		stateShape = []int{batch, dirs, hidden}
		outShape = []int{batch, steps, dirs, hidden}
	}
	var initial, last [2][]F // of h and c
	for i := range o.states() {
		if initial[i], err = w.shaped(5+i, stateShape...); err != nil {
			return err
		}
		if last[i], err = w.outIf(1+i, xt.DType, stateShape); err != nil {
			return err
		}
	}
	y, err := w.outIf(0, xt.DType, outShape)
	if err != nil {
		return err
	}
	var peephole []F
	if o.gates == 4 {
		if peephole, err = w.shaped(7, dirs, 3*hidden); err != nil {
			return err
		}
	}
	input, err := w.temp(steps, batch, rows)
	if err != nil {
		return err
	}
	temp, err := w.temp(batch, 2*hidden+2*rows)
	if err != nil {
		return err
	}
	for d := range dirs {
		q := recurrence[F]{recurrent: o, functions: o.functions[d], batch: batch, width: hidden, lengths: lengths}
		q.h, temp = temp[:batch*hidden], temp[batch*hidden:]
		q.c, temp = temp[:batch*hidden], temp[batch*hidden:]
		q.gate, temp = temp[:batch*rows], temp[batch*rows:]
		q.product = temp[:batch*rows]
		temp = q.h[:batch*(2*hidden+2*rows)]
		for i, s := range [][]F{q.h, q.c} {
			clear(s)
			if initial[i] != nil {
				for b := range batch {
					copy(s[b*hidden:][:hidden], initial[i][o.state(d, b, dirs, batch)*hidden:])
				}
			}
		}
		if peephole != nil {
			q.peephole = peephole[d*3*hidden:][:3*hidden]
		}
		var inputBias []F
		if bias != nil {
			inputBias = q.joinBias(bias[d*2*rows:][:2*rows], rows)
		}
		multiply(w.Pool, steps*batch, rows, size, rowMajor(x, size),
			factor[F]{rowMajor(weight[d*rows*size:], size).transposed(), o.packedW[d]}, input, rows, inputBias)
		for i, g := range o.parts() {
			q.r = append(q.r, factor[F]{rowMajor(rWeight[(d*rows+g[0]*hidden)*hidden:], hidden).transposed(), o.packedR[d][i]})
		}
		for i := range steps {
			t := i
			if o.reverse[d] {
				t = steps - 1 - i
			}
			for b := range batch {
				at := t*batch + b
				if o.batchFirst {
					at = b*steps + t
				}
				copy(q.gate[b*rows:][:rows], input[at*rows:])
			}
			q.step(w.Pool, t)
			if y == nil {
				continue
			}
			for b := range batch {
				at := (t*dirs+d)*batch + b
				if o.batchFirst {
					at = (b*steps+t)*dirs + d
				}
				out := y[at*hidden:][:hidden]
				if q.over(b, t) {
					clear(out)
				} else {
					copy(out, q.h[b*hidden:])
				}
			}
		}
		for i, s := range [][]F{q.h, q.c} {
			if last[i] == nil {
				continue
			}
			for b := range batch {
				copy(last[i][o.state(d, b, dirs, batch)*hidden:][:hidden], s[b*hidden:])
			}
		}
	}
	return nil
}

// states is how many arrays a cell carries from step to step.
func (o *recurrent) states() int {
	if o.gates == 4 {
		return 2
	}
	return 1
}

// state is the place of a row in an array of states.
func (o *recurrent) state(d, b, dirs, batch int) int {
	if o.batchFirst {
		return b*dirs + d
	}
	return d*batch + b
}

// sequenceLengths is input 4, checked against the number of steps; nil where it is left out.
func sequenceLengths(c *kernel.Call, batch, steps int) ([]int32, error) {
	t := c.Optional(4)
	if t == nil {
		return nil, nil
	}
	if t.DType != tensor.Int32 || len(t.Shape) != 1 || t.Shape[0] != batch {
		return nil, fmt.Errorf("input 4 is %s, want int32[%d]", t, batch)
	}
	v := kernel.Of[int32](t)
	for _, n := range v {
		if n < 0 || int(n) > steps {
			return nil, fmt.Errorf("input 4 holds the length %d, want 0 to %d", n, steps)
		}
	}
	return v, nil
}

// joinBias is the biases of W and R as one, save for those of R that stay apart.
func (q *recurrence[F]) joinBias(b []F, rows int) []F {
	out := append([]F(nil), b[:rows]...)
	for i, v := range b[rows:] {
		if q.gates == 3 && q.linearBeforeReset && i >= 2*q.width {
			q.bias = b[rows+2*q.width:]
			break
		}
		out[i] += v
	}
	return out
}

// over reports whether sequence b ended before step t.
func (q *recurrence[F]) over(b, t int) bool { return q.lengths != nil && t >= int(q.lengths[b]) }

// rows calls f for every row whose sequence still runs.
func (q *recurrence[F]) rows(p *kernel.Pool, t int, f func(b int, gate, product, h, c []F)) {
	n, rows := q.width, q.gates*q.width
	p.For(q.batch, max(1, grain/16/max(1, rows)), func(lo, hi int) {
		for b := lo; b < hi; b++ {
			if !q.over(b, t) {
				f(b, q.gate[b*rows:][:rows], q.product[b*rows:][:rows], q.h[b*n:][:n], q.c[b*n:][:n])
			}
		}
	})
}

// step moves all rows on by one.
func (q *recurrence[F]) step(p *kernel.Pool, t int) {
	n, rows := q.width, q.gates*q.width
	g := q.parts()[0]
	multiply(p, q.batch, (g[1]-g[0])*n, n, rowMajor(q.h, n), q.r[0], q.product, rows, nil)
	switch q.gates {
	case 1:
		q.rows(p, t, q.plainCell)
	case 4:
		q.rows(p, t, q.longShortCell)
	default:
		q.rows(p, t, q.gatesOfGatedCell)
		if !q.linearBeforeReset {
			// The rows of gate now begin with update, then reset·h, which is multiplied by the last part of R.
			multiply(p, q.batch, n, n, matrix[F]{q.gate[n:], rows, 1}, q.r[1], q.product[2*n:], rows, nil)
		}
		q.rows(p, t, q.gatedCell)
	}
}

// plainCell: h = f(x·W + h·R + b)
func (q *recurrence[F]) plainCell(_ int, gate, product, h, _ []F) {
	addTo(gate, product)
	apply(q.functions[0], gate, F(q.clip))
	copy(h, gate)
}

// gatesOfGatedCell makes update and reset, and leaves in reset's place what the hidden gate needs of it.
func (q *recurrence[F]) gatesOfGatedCell(_ int, gate, product, h, _ []F) {
	n := q.width
	addTo(gate[:2*n], product)
	apply(q.functions[0], gate[:2*n], F(q.clip))
	if q.linearBeforeReset {
		return
	}
	multiplyBy(gate[n:2*n], h)
}

// gatedCell: h = (1-update)·g(hidden) + update·h
func (q *recurrence[F]) gatedCell(_ int, gate, product, h, _ []F) {
	n := q.width
	update, reset, hidden, recurrent := gate[:n], gate[n:2*n], gate[2*n:3*n], product[2*n:3*n]
	if q.linearBeforeReset {
		if q.bias != nil {
			addTo(recurrent, q.bias)
		}
		multiplyBy(recurrent, reset)
	}
	addTo(hidden, recurrent)
	apply(q.functions[1], hidden, F(q.clip))
	for i, z := range update {
		h[i] = F((1-z)*hidden[i]) + F(z*h[i])
	}
}

// longShortCell: c = forget·c + input·g(cell), h = output·h(c)
func (q *recurrence[F]) longShortCell(_ int, gate, product, h, c []F) {
	n, clip := q.width, F(q.clip)
	addTo(gate, product)
	in, out, forget, cell := gate[:n], gate[n:2*n], gate[2*n:3*n], gate[3*n:]
	peek := func(gate []F, part int) {
		if q.peephole == nil {
			return
		}
		for i, p := range q.peephole[part*n:][:n] {
			gate[i] += F(p * c[i])
		}
	}
	peek(in, 0)
	apply(q.functions[0], in, clip)
	if q.inputForget {
		for i, v := range in {
			forget[i] = 1 - v
		}
	} else {
		peek(forget, 2)
		apply(q.functions[0], forget, clip)
	}
	apply(q.functions[1], cell, clip)
	for i, f := range forget {
		c[i] = F(f*c[i]) + F(in[i]*cell[i])
	}
	peek(out, 1)
	apply(q.functions[0], out, clip)
	copy(cell, c)
	apply(q.functions[2], cell, clip)
	copy(h, out)
	multiplyBy(h, cell)
}
