package gemm

import (
	"math"
	"sync"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

const (
	// blockRows × blockCols is what a worker finishes before it goes on, so that the epilogue finds it in cache. Both are multiples of
	// every tile.
	blockRows = 96
	blockCols = 256
	// maxK is how many k one pass takes; longer sums go on from what the pass before left in C. It bounds packed operands.
	maxK = 1 << 14
	// sharedFloats bounds the packed A that all workers share, freshFloats the B that is packed in the run, localFloats that of a single
	// worker.
	sharedFloats = 1 << 21
	freshFloats  = 1 << 19
	localFloats  = 1 << 17
	// B is read in place for so few rows of A, or for some more where its rows lie near to each other.
	inPlaceRows, inPlaceNearRows, inPlaceNear = 16, 256, 256
	// stripeFloats is the B that a worker packs for itself, when there is enough for all of them.
	stripeFloats = 1 << 17
	// inlineWork is the number of multiplications up to which more than one thread does not pay.
	inlineWork = 1 << 16
)

// Run computes p. Operands that do not fit their bytes are a bug of the caller and panic. C must not overlap an operand.
func Run(w Workers, p *Problem) {
	if p.Batch == 0 {
		q := *p
		q.Batch = 1
		p = &q
	}
	p.check()
	if p.M == 0 || p.N == 0 || p.Batch <= 0 {
		return
	}
	r := run{Problem: p, w: w, isa: best, round: p.C.DType}
	if p.Packed != nil {
		r.isa = p.Packed.isa
	}
	r.direct = p.A.DType == tensor.Float32 && p.A.ColStride == 1 && p.Cast == nil
	if p.K <= maxK {
		r.k1, r.first, r.last = p.K, true, true
		r.pass()
		return
	}
	if p.C.DType != tensor.Float32 {
		r.runWide()
		return
	}
	r.passes()
}

// run is a product under way: the part of it with k in [k0,k1).
type run struct {
	*Problem
	w      Workers
	isa    *isa
	direct bool         // kernels read A as it lies
	round  tensor.DType // what Steps rounds to

	k0, k1      int
	first, last bool // of the passes over K
}

func (r *run) passes() {
	for r.k0 = 0; r.k0 < r.K; r.k0 += maxK {
		r.k1 = min(r.k0+maxK, r.K)
		r.first, r.last = r.k0 == 0, r.k1 == r.K
		r.pass()
	}
}

// runWide makes a long sum in float32 before it is narrowed.
func (r *run) runWide() {
	wide := *r.Problem
	sums := getFloats(r.M * r.N * r.Batch)
	defer putFloats(sums)
	wide.C = Output{DType: tensor.Float32, Bytes: bytesOf((*sums)[:r.M*r.N*r.Batch]), RowStride: r.N, Offsets: make([]int, r.Batch)}
	for i := range wide.C.Offsets {
		wide.C.Offsets[i] = i * r.M * r.N
	}
	inner := *r
	inner.Problem = &wide
	inner.passes()
	r.w.For(r.M*r.Batch, 16, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			at := row % r.M * r.C.RowStride
			if r.C.Offsets != nil {
				at += r.C.Offsets[row/r.M]
			}
			r.C.store(at, (*sums)[row*r.N:(row+1)*r.N])
		}
	})
}

func bytesOf(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// rows is A as the kernels read it: row i of the product begins, at k0, at data[off+(i-first)·stride].
type rows struct {
	data          []float32
	off           int
	stride, first int
}

// cols is B in panels: panel q of the product begins, at k0, at data[off+(q-first)·stride]. Where B is read in place, panel q begins at
// data[off+q·nr] and its rows are inPlace apart, except for a last panel that is not whole, which begins at edge[0].
type cols struct {
	data          []float32
	off           int
	stride, first int
	inPlace       int
	edge          []float32
}

func (r *run) rowsInPlace(i int) rows {
	return rows{data: view[float32](r.A.Bytes), off: r.A.offset(i) + r.k0, stride: r.A.RowStride}
}

func (r *run) packedCols() cols {
	nr := r.isa.nr
	return cols{data: r.Packed.data, off: r.k0 * nr, stride: r.K * nr}
}

// colsInPlace reports whether B is read as it lies. Then it is not as near to the processor as it could be, but nothing is copied, which
// pays for few rows.
func (r *run) colsInPlace() bool {
	return r.Packed == nil && r.Fill == nil && r.B.DType == tensor.Float32 && r.B.ColStride == 1 && r.B.RowStride > 0 &&
		(r.M <= inPlaceRows || r.M <= inPlaceNearRows && r.B.RowStride <= inPlaceNear)
}

// edgeInPlace makes b that of matrix i.
func (r *run) edgeInPlace(ws *worker, b *cols, i int) {
	nr := r.isa.nr
	b.off = r.B.offset(i) + r.k0*r.B.RowStride
	if whole := r.N / nr * nr; whole < r.N {
		r.B.panel(b.edge, ws.tmp[:], nr, i, r.k0, r.k1, whole, r.N)
	}
}

// packStride keeps rows of packed A apart so that rows of a tile do not share the sets of the cache.
func (r *run) packStride() int { return (r.k1-r.k0+15)&^15 + 16 }

func roundUp(n, to int) int { return (n + to - 1) / to * to }

func (r *run) pass() {
	k := r.k1 - r.k0
	packedN := roundUp(r.N, r.isa.nr)
	work := r.M * r.Batch * packedN * max(k, 1)
	small := r.Packed != nil || k*packedN <= localFloats
	switch {
	case small && (work <= inlineWork || r.w.Threads() == 1 && k*packedN <= localFloats):
		r.local(0, r.Batch)
	case small && r.Batch >= 2*r.w.Threads():
		grain := max(1, inlineWork/(work/r.Batch+1))
		r.w.For(r.Batch, grain, r.local)
	default:
		for i := range r.Batch {
			r.shared(i)
		}
	}
}

// local computes matrices [lo,hi) of the batch in the calling goroutine.
func (r *run) local(lo, hi int) {
	ws := getWorker()
	defer ws.put()
	k, nr := r.k1-r.k0, r.isa.nr
	var b cols
	inPlace := r.colsInPlace()
	switch {
	case r.Packed != nil:
		b = r.packedCols()
	case inPlace:
		buf := getFloats(k * nr)
		defer putFloats(buf)
		b = cols{inPlace: r.B.RowStride, data: view[float32](r.B.Bytes), edge: (*buf)[:k*nr]}
	default:
		n := k * roundUp(r.N, nr)
		buf := getFloats(n)
		defer putFloats(buf)
		b = cols{data: (*buf)[:n], stride: k * nr}
	}
	var a rows
	if !r.direct {
		stride := r.packStride()
		buf := getFloats(min(r.M, blockRows) * stride)
		defer putFloats(buf)
		a = rows{data: *buf, stride: stride}
	}
	for i := lo; i < hi; i++ {
		if r.Packed == nil && (i == lo || r.Fill != nil || r.B.Offsets != nil && r.B.Offsets[i] != r.B.Offsets[i-1]) {
			if inPlace {
				r.edgeInPlace(ws, &b, i)
			} else {
				r.packB(ws, b, i, 0, panels(r.N, nr))
			}
		}
		if r.direct {
			a = r.rowsInPlace(i)
		}
		for m0 := 0; m0 < r.M; m0 += blockRows {
			m1 := min(m0+blockRows, r.M)
			if !r.direct {
				a.first = m0
				r.packA(ws, a, i, m0, m1)
			}
			r.block(ws, a, b, i, m0, m1, 0, r.N)
		}
	}
}

// shared computes matrix i with all workers on it.
func (r *run) shared(i int) {
	k, nr := r.k1-r.k0, r.isa.nr
	rowsAtOnce, a := r.M, rows{}
	if r.direct {
		a = r.rowsInPlace(i)
	} else {
		a.stride = r.packStride()
		rowsAtOnce = min(r.M, max(1, sharedFloats/a.stride/blockRows)*blockRows)
		buf := getFloats(rowsAtOnce * a.stride)
		defer putFloats(buf)
		a.data = *buf
	}
	colsAtOnce, b := r.N, cols{}
	inPlace := r.colsInPlace()
	fresh := r.Packed == nil && !inPlace
	switch {
	case r.Packed != nil:
		b = r.packedCols()
	case inPlace:
		buf := getFloats(k * nr)
		defer putFloats(buf)
		b = cols{inPlace: r.B.RowStride, data: view[float32](r.B.Bytes), edge: (*buf)[:k*nr]}
		ws := getWorker()
		r.edgeInPlace(ws, &b, i)
		ws.put()
	case r.stripeWidth() == 0:
		b.stride = k * nr
		colsAtOnce = min(roundUp(r.N, nr), max(1, freshFloats/max(1, b.stride))*nr)
		buf := getFloats(k * colsAtOnce)
		defer putFloats(buf)
		b.data = *buf
	}
	for m0 := 0; m0 < r.M; m0 += rowsAtOnce {
		m1 := min(m0+rowsAtOnce, r.M)
		if !r.direct {
			a.first = m0
			r.w.For(m1-m0, max(1, min(16, 1<<15/a.stride)), func(lo, hi int) {
				ws := getWorker()
				r.packA(ws, a, i, m0+lo, m0+hi)
				ws.put()
			})
		}
		if width := r.stripeWidth(); fresh && width > 0 {
			r.stripes(a, width, i, m0, m1)
			continue
		}
		for n0 := 0; n0 < r.N; n0 += colsAtOnce {
			n1 := min(n0+colsAtOnce, r.N)
			if fresh && (m0 == 0 || colsAtOnce < r.N) {
				b.first = n0 / nr
				count := panels(n1-n0, nr)
				r.w.For(count, max(1, min(panelGroup, count/(2*r.w.Threads()))), func(lo, hi int) {
					ws := getWorker()
					r.packB(ws, b, i, b.first+lo, b.first+hi)
					ws.put()
				})
			}
			r.blocks(a, b, i, m0, m1, n0, n1)
		}
	}
}

// stripeWidth is the number of columns that a worker packs at a time and multiplies with all rows, so that they stay in its cache; 0 where that
// does not pay.
func (r *run) stripeWidth() int {
	nr := r.isa.nr
	k := r.k1 - r.k0
	width := max(1, min(blockCols, stripeFloats/max(1, k))/nr) * nr
	if r.w.Threads() > 1 && panels(r.N, width) < 2*r.w.Threads() {
		return 0
	}
	if width < blockRows && r.M*k > 2*stripeFloats {
		return 0 // every stripe would read A from far away
	}
	return width
}

// stripes computes rows [m0,m1) of matrix i in stripes of columns.
func (r *run) stripes(a rows, width, i, m0, m1 int) {
	k, nr := r.k1-r.k0, r.isa.nr
	height := r.height(m1 - m0)
	r.w.For(panels(r.N, width), 1, func(lo, hi int) {
		ws := getWorker()
		defer ws.put()
		buf := getFloats(k * width)
		defer putFloats(buf)
		for n0 := lo * width; n0 < min(hi*width, r.N); n0 += width {
			n1 := min(n0+width, r.N)
			b := cols{data: *buf, stride: k * nr, first: n0 / nr}
			r.packB(ws, b, i, n0/nr, panels(n1, nr))
			for row := m0; row < m1; row += height {
				r.block(ws, a, b, i, row, min(row+height, m1), n0, n1)
			}
		}
	})
}

// height cuts m rows into blocks of about one size.
func (r *run) height(m int) int {
	return min(blockRows, roundUp(panels(m, panels(m, blockRows)), r.isa.mr))
}

// blocks shares [m0,m1) × [n0,n1) out. Which worker takes what does not show in the result.
func (r *run) blocks(a rows, b cols, i, m0, m1, n0, n1 int) {
	m, n, nr := m1-m0, n1-n0, r.isa.nr
	height := r.height(m)
	down := panels(m, height)
	across := 1
	if want := 4 * r.w.Threads(); r.w.Threads() > 1 && down < want {
		across = min(panels(want, down), panels(n, nr))
	}
	width := roundUp(panels(n, across), nr)
	across = panels(n, width)
	r.w.For(down*across, 1, func(lo, hi int) {
		ws := getWorker()
		for task := lo; task < hi; task++ {
			i0, j0 := m0+task%down*height, n0+task/down*width
			r.block(ws, a, b, i, i0, min(i0+height, m1), j0, min(j0+width, n1))
		}
		ws.put()
	})
}

// worker is what one goroutine needs.
type worker struct {
	tile
	acc         [blockRows * blockCols]float32 // of a C that is not float32
	edge        [blockRows * maxWidth]float32  // of a panel that C has no room for
	scale, bias [maxWidth]float32              // of such a panel
	codes       [castPiece]byte
	tmp         [transposeK * maxWidth]float32
}

// castPiece is how many elements are cast at a time: their codes stay in the first cache.
const castPiece = 4096

var workers = sync.Pool{New: func() any { return new(worker) }}

func getWorker() *worker { return workers.Get().(*worker) }

func (ws *worker) put() {
	ws.tile = tile{}
	workers.Put(ws)
}

// packB makes panels [q0,q1) of matrix i.
func (r *run) packB(ws *worker, b cols, i, q0, q1 int) {
	nr := r.isa.nr
	dst := b.data[(q0-b.first)*b.stride:]
	if r.Fill == nil {
		r.B.panels(dst, b.stride, ws.tmp[:], nr, i, r.k0, r.k1, q0, q1, r.N)
		return
	}
	for q := q0; q < q1; q++ {
		piece := dst[(q-q0)*b.stride:][:b.stride]
		j0, j1 := q*nr, min((q+1)*nr, r.N)
		if j1-j0 < nr {
			clear(piece)
		}
		r.Fill(piece, nr, i, r.k0, r.k1, j0, j1)
	}
}

// packA makes rows [m0,m1) of matrix i.
func (r *run) packA(ws *worker, a rows, i, m0, m1 int) {
	o, n := &r.A, r.k1-r.k0
	dst := a.data[(m0-a.first)*a.stride:]
	at := o.offset(i) + m0*o.RowStride + r.k0*o.ColStride
	if r.Cast != nil {
		r.castRows(ws, dst, a.stride, at, m1-m0)
		return
	}
	if o.DType == tensor.Float32 && o.RowStride == 1 && n > 0 {
		transpose(dst, a.stride, view[float32](o.Bytes)[at:], o.ColStride, n, m1-m0)
		return
	}
	for row := range m1 - m0 {
		o.widen(dst[row*a.stride:], at+row*o.RowStride, n, o.ColStride, o.columnScale(0))
	}
}

// castRows makes rows of the values of their float8 codes.
func (r *run) castRows(ws *worker, dst []float32, stride, at, count int) {
	o, n := &r.A, r.k1-r.k0
	var seen float8.Stats
	var nonFinite int64
	piece := func(at, n int) []byte {
		s := r.Cast.one(ws, o, at, n)
		seen.Merge(s)
		if !(s.Amax <= math.MaxFloat32) {
			nonFinite += countNonFinite(o, at, n)
		}
		return ws.codes[:n]
	}
	switch {
	case n == 0:
	case o.ColStride == 1 && o.RowStride == n && n <= castPiece/2: // several rows at once
		most := castPiece / n
		for row := 0; row < count; row += most {
			some := min(most, count-row)
			codes := piece(at+row*n, some*n)
			for i := range some {
				decode(dst[(row+i)*stride:], codes[i*n:(i+1)*n], float8.E4M3FNFormat, 1)
			}
		}
	default:
		for row := range count {
			for k := 0; k < n; k += castPiece {
				some := min(castPiece, n-k)
				codes := piece(at+row*o.RowStride+k*o.ColStride, some)
				decode(dst[row*stride+k:], codes, float8.E4M3FNFormat, 1)
			}
		}
	}
	r.Cast.merge(seen, int64(n)*int64(count), nonFinite)
}

// one casts n elements from at to ws.codes.
func (c *Cast) one(ws *worker, o *Operand, at, n int) float8.Stats {
	const f = float8.E4M3FNFormat
	switch {
	case o.ColStride != 1:
		buf := getFloats(n)
		defer putFloats(buf)
		o.widen(*buf, at, n, o.ColStride, 1)
		return float8.CastFloat32(ws.codes[:], (*buf)[:n], f, c.Scale)
	case o.DType == tensor.Float32:
		return float8.CastFloat32(ws.codes[:], view[float32](o.Bytes)[at:at+n], f, c.Scale)
	case o.DType == tensor.Float16:
		return float8.CastFloat16(ws.codes[:], view[uint16](o.Bytes)[at:at+n], f, c.Scale)
	}
	return float8.CastBFloat16(ws.codes[:], view[uint16](o.Bytes)[at:at+n], f, c.Scale)
}

func countNonFinite(o *Operand, at, n int) (count int64) {
	var v [1]float32
	for i := range n {
		o.widen(v[:], at+i*o.ColStride, 1, 1, 1)
		if x := float64(v[0]); math.IsNaN(x) || math.IsInf(x, 0) {
			count++
		}
	}
	return count
}

// block computes rows [m0,m1), at most blockRows, and columns [n0,n1) of matrix i; n0 begins a panel.
func (r *run) block(ws *worker, a rows, b cols, i, m0, m1, n0, n1 int) {
	nr, mr := r.isa.nr, r.isa.mr
	stepped := r.Steps && r.last && r.round != tensor.Float32
	inPlace := r.C.DType == tensor.Float32
	post := r.last && (r.Add != nil || r.Act != nil || stepped)
	cAt := m0 * r.C.RowStride
	if r.C.Offsets != nil {
		cAt += r.C.Offsets[i]
	}
	var c []float32
	if inPlace {
		c = view[float32](r.C.Bytes)[cAt:]
	}
	if len(r.Scale) == 1 {
		for j := range nr {
			ws.scale[j] = r.Scale[0]
		}
	}
	t := &ws.tile
	t.lda, t.ldb = uintptr(a.stride)*4, uintptr(nr)*4
	for j0 := n0; j0 < n1; j0 += blockCols {
		j1 := min(j0+blockCols, n1)
		sums, ld := ws.acc[:], blockCols
		if inPlace {
			sums, ld = c[j0:], r.C.RowStride
		}
		whole := j0 + (j1-j0)/nr*nr // columns of whole panels
		if inPlace && whole < j1 && !r.first {
			for row := range m1 - m0 {
				copy(ws.edge[row*nr:], sums[row*ld+whole-j0:][:j1-whole])
			}
		}
		for k := r.k0; ; k += kc {
			ke := min(k+kc, r.k1)
			t.k = uintptr(ke - k)
			t.accumulate = 1
			if k == r.k0 && r.first {
				t.accumulate = 0
			}
			final := ke == r.k1 && r.last
			for j := j0; j < j1; j += nr {
				edge := j >= whole
				to, ldc := sums[j-j0:], ld
				if edge && inPlace {
					to, ldc = ws.edge[:], nr
				}
				t.ldc = uintptr(ldc) * 4
				t.scale, t.bias = nil, nil
				if final {
					r.columnVectors(ws, j, min(j+nr, j1), stepped)
				}
				switch {
				case t.k == 0:
				case b.inPlace == 0:
					t.b = &b.data[b.off+(j/nr-b.first)*b.stride+(k-r.k0)*nr]
				case edge:
					t.b, t.ldb = &b.edge[(k-r.k0)*nr], uintptr(nr)*4
				default:
					t.b, t.ldb = &b.data[b.off+(k-r.k0)*b.inPlace+j], uintptr(b.inPlace)*4
				}
				for row := m0; row < m1; row += mr {
					if t.k > 0 {
						t.a = &a.data[a.off+(row-a.first)*a.stride+k-r.k0]
					}
					t.c = &to[(row-m0)*ldc]
					t.rowBias = nil
					if final && !stepped && r.RowBias != nil {
						t.rowBias = &r.RowBias[row]
					}
					r.isa.run(min(mr, m1-row), t)
				}
			}
			if ke == r.k1 {
				break
			}
		}
		if inPlace && whole < j1 {
			for row := range m1 - m0 {
				copy(sums[row*ld+whole-j0:], ws.edge[row*nr:][:j1-whole])
			}
		}
		if post || !inPlace {
			for row := range m1 - m0 {
				v := sums[row*ld:][:j1-j0]
				if post {
					r.finish(v, i, m0+row, j0, stepped)
				}
				if !inPlace {
					r.C.store(cAt+row*r.C.RowStride+j0, v)
				}
			}
		}
	}
}

// columnVectors sets what the kernel does to columns [j0,j1) at the end.
func (r *run) columnVectors(ws *worker, j0, j1 int, stepped bool) {
	whole := j1-j0 == r.isa.nr
	switch {
	case len(r.Scale) == 1:
		ws.tile.scale = &ws.scale[0]
	case r.Scale != nil && whole:
		ws.tile.scale = &r.Scale[j0]
	case r.Scale != nil:
		copy(ws.scale[:], r.Scale[j0:j1])
		ws.tile.scale = &ws.scale[0]
	}
	switch {
	case r.Bias == nil || stepped:
	case whole:
		ws.tile.bias = &r.Bias[j0]
	default:
		copy(ws.bias[:], r.Bias[j0:j1])
		ws.tile.bias = &ws.bias[0]
	}
}

// finish does to a piece of a row, from column j0, what the kernels do not.
func (r *run) finish(v []float32, i, row, j0 int, stepped bool) {
	if stepped {
		roundTo(v, r.round)
		if r.Bias != nil {
			for j, b := range r.Bias[j0 : j0+len(v)] {
				v[j] += b
			}
		}
		if r.RowBias != nil {
			for j := range v {
				v[j] += r.RowBias[row]
			}
		}
	}
	if r.Add != nil {
		var piece [64]float32
		at := r.Add.offset(i) + row*r.Add.RowStride
		for j := 0; j < len(v); j += len(piece) {
			some := v[j:min(j+len(piece), len(v))]
			r.Add.widen(piece[:], at+(j0+j)*r.Add.ColStride, len(some), r.Add.ColStride, 1)
			for l := range some {
				some[l] += float32(r.Beta * piece[l])
			}
		}
	}
	if stepped {
		roundTo(v, r.round)
	}
	if r.Act != nil {
		r.Act(v)
	}
}
