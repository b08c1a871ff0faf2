package nn

import (
	"math"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
)

// heads is an array of [batch, head, row, element] as it lies: elements are neighbours, the rest has distances of its own.
type heads[F real] struct {
	data             []F
	batch, head, row int
}

// at is the matrix of one head.
func (h heads[F]) at(batch, head int) matrix[F] {
	return matrix[F]{h.data[batch*h.batch+head*h.head:], h.row, 1}
}

// headsOf4D is an array [batch, heads, rows, size].
func headsOf4D[F real](data []F, count, rows, size int) heads[F] {
	return heads[F]{data, count * rows * size, rows * size, size}
}

// headsOf3D is an array [batch, rows, heads·size].
func headsOf3D[F real](data []F, count, rows, size int) heads[F] {
	return heads[F]{data, count * rows * size, size, count * size}
}

// attention is softmax(scale·Q·Kᵀ + bias)·V for every head of every batch. kvHeads divides qHeads: neighbouring query heads share keys.
type attention[F real] struct {
	batch, qHeads, kvHeads int
	queries, keys          int
	size, vSize            int // of a head of Q and K, and of V
	q, k, v, out           heads[F]

	scale, softcap F // softcap 0 is none
	addend[F]
	more *addend[F] // another one, or nil
	// causal masks keys beyond past+query with masked.
	causal bool
	past   int
	// lengths, where given, is how many keys each batch has; the others are masked.
	lengths []int
	masked  F    // what is added to a masked score
	replace bool // a masked score becomes masked instead

	// scores, where wanted, is [batch, qHeads, queries, keys] at a stage: see the constants.
	scores []F
	stage  int
}

// addend is an array that is added to the scores: element (batch, head, query, key) lies at the sum of index times stride, for the first keys;
// the other keys are masked. nil is none.
type addend[F real] struct {
	v      []F
	stride [4]int
	keys   int
}

// The stages at which scores can be looked at.
const (
	rawScores = iota
	cappedScores
	maskedScores
	probabilities
)

// tileRows is how many queries of a head a worker takes at a time.
const tileRows = 192

// run computes out. A row of it depends on its own query and on the keys and values of its batch alone.
func (a *attention[F]) run(w *work[F]) error {
	if a.batch*a.qHeads*a.queries == 0 {
		return nil
	}
	tiles := ceilDiv(a.queries, tileRows)
	var once sync.Once
	var failed error
	w.Pool.For(a.batch*a.qHeads*tiles, 1, func(job, _ int) {
		mem, err := w.Mem.New(realOf[F](), []int{min(tileRows, a.queries), max(1, a.keys)})
		if err != nil {
			once.Do(func() { failed = err })
			return
		}
		defer kernel.Release(mem)
		first := job % tiles * tileRows
		a.tile(kernel.Of[F](mem), job/tiles/a.qHeads, job/tiles%a.qHeads, first, min(first+tileRows, a.queries))
	})
	return failed
}

// tile computes queries [lo, hi) of a head.
func (a *attention[F]) tile(scores []F, b, h, lo, hi int) {
	rows, n := hi-lo, a.keys
	kv := h / (a.qHeads / a.kvHeads)
	q, out := a.q.at(b, h), a.out.at(b, h)
	q.data = q.data[lo*q.row:]
	multiply(alone{}, rows, n, a.size, q, factor[F]{matrix: a.k.at(b, kv).transposed()}, scores, n, nil)
	for r := range rows {
		a.weigh(scores[r*n:][:n], b, h, lo+r)
	}
	multiply(alone{}, rows, a.vSize, n, rowMajor(scores, n), factor[F]{matrix: a.v.at(b, kv)}, out.data[lo*out.row:], out.row, nil)
}

// weigh makes a row of products probabilities.
func (a *attention[F]) weigh(s []F, b, h, query int) {
	scaleTo(s, s, a.scale)
	a.keep(rawScores, s, b, h, query)
	if a.softcap > 0 {
		scaleTo(s, s, 1/a.softcap)
		tanh(s)
		scaleTo(s, s, a.softcap)
	}
	a.keep(cappedScores, s, b, h, query)
	a.add(&a.addend, s, b, h, query)
	if a.more != nil {
		a.add(a.more, s, b, h, query)
	}
	if a.causal {
		if beyond := a.past + query + 1; beyond < len(s) {
			a.mask(s[max(0, beyond):])
		}
	}
	if a.lengths != nil && a.lengths[b] < len(s) {
		a.mask(s[max(0, a.lengths[b]):])
	}
	a.keep(maskedScores, s, b, h, query)
	softmax(s)
	a.keep(probabilities, s, b, h, query)
}

// add adds a row of what is to be added.
func (a *attention[F]) add(t *addend[F], s []F, b, h, query int) {
	if t.v == nil {
		return
	}
	at := b*t.stride[0] + h*t.stride[1] + query*t.stride[2]
	n := min(t.keys, len(s))
	if step := t.stride[3]; step == 1 {
		addTo(s[:n], t.v[at:])
	} else {
		for i := range n {
			s[i] += t.v[at+i*step]
		}
	}
	a.mask(s[n:])
}

// mask masks scores.
func (a *attention[F]) mask(s []F) {
	if a.replace {
		for i := range s {
			s[i] = a.masked
		}
		return
	}
	for i := range s {
		s[i] += a.masked
	}
}

// keep copies the scores out where this is the stage that is looked at.
func (a *attention[F]) keep(stage int, s []F, b, h, query int) {
	if a.scores != nil && a.stage == stage {
		copy(a.scores[((b*a.qHeads+h)*a.queries+query)*a.keys:], s)
	}
}

// softmax replaces s by exp(s-max)/Σexp(s-max). A row of nothing but -Inf becomes NaN, as the formula says.
func softmax[F real](s []F) {
	if len(s) == 0 {
		return
	}
	if s32, ok := any(s).([]float32); ok {
		vec.MulScalar(s32, s32, 1/vec.ExpSum(s32, s32, vec.Maximum(s32)))
		return
	}
	top := F(math.Inf(-1))
	for _, v := range s {
		top = max(top, v)
	}
	for i, v := range s {
		s[i] = F(math.Exp(float64(v - top)))
	}
	scaleTo(s, s, 1/sum(s))
}
