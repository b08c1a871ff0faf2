package gemm

import "github.com/fp8rewrite/fp8rewrite/tensor"

// Packed is a B that stays: float32, in panels. It belongs to the instruction set that was in use when it was made.
type Packed struct {
	isa  *isa
	k, n int
	data []float32 // panel after panel of [k][width]
}

// Width is the number of columns of a panel on this processor.
func Width() int { return best.nr }

// PackedBytes is the memory that Pack takes for a [k,n] matrix.
func PackedBytes(k, n int) int64 { return 4 * int64(k) * int64(panels(n, best.nr)) * int64(best.nr) }

// Pack makes b, [k,n], ready for many runs.
func Pack(w Workers, b Operand, k, n int) *Packed {
	b.check("B", k, n, 1)
	p := &Packed{isa: best, k: k, n: n, data: make([]float32, PackedBytes(k, n)/4)}
	if k == 0 || n == 0 {
		return p
	}
	nr := best.nr
	w.For(panels(n, nr), panelGroup, func(lo, hi int) {
		t := getFloats(transposeScratch(nr))
		b.panels(p.data[lo*k*nr:], k*nr, *t, nr, 0, 0, k, lo, hi, n)
		putFloats(t)
	})
	return p
}

// Bytes is the memory that p holds.
func (p *Packed) Bytes() int64 { return 4 * int64(len(p.data)) }

func panels(n, width int) int { return (n + width - 1) / width }

// transposeK is how many rows of a panel are made at a time out of an operand whose columns are contiguous.
const transposeK = 128

func transposeScratch(nr int) int { return transposeK * nr }

// panelGroup is how many panels are packed side by side, so that rows are read in longer pieces.
const panelGroup = 4

// panels writes rows [k0,k1) of panels [q0,q1) of matrix i, which has n columns, to dst, apart floats from each other.
func (o *Operand) panels(dst []float32, apart int, tmp []float32, nr, i, k0, k1, q0, q1, n int) {
	q := q0
	if whole := min(q1, n/nr); o.DType == tensor.Float32 && o.ColStride == 1 && k0 < k1 && whole > q0 {
		src := view[float32](o.Bytes)[o.offset(i)+k0*o.RowStride:]
		for ; q < whole; q += panelGroup {
			copyPanels(dst[(q-q0)*apart:], apart, nr, min(panelGroup, whole-q), src[q*nr:], o.RowStride, k1-k0)
		}
		q = whole
	}
	for ; q < q1; q++ {
		o.panel(dst[(q-q0)*apart:][:(k1-k0)*nr], tmp, nr, i, k0, k1, q*nr, min((q+1)*nr, n))
	}
}

// panel writes rows [k0,k1) of columns [j0,j1) of matrix i to dst as rows of nr floats, zeros to the right. tmp is for transposeScratch floats.
func (o *Operand) panel(dst, tmp []float32, nr, i, k0, k1, j0, j1 int) {
	if k0 == k1 {
		return
	}
	at, n := o.offset(i), j1-j0
	if n < nr {
		clear(dst[:(k1-k0)*nr])
	}
	if o.RowStride == 1 && (o.ColStride != 1 || n == 1) {
		// Columns are contiguous: widen pieces of them and turn those around.
		var src []float32
		if o.DType == tensor.Float32 {
			src = view[float32](o.Bytes)
		}
		for k := k0; k < k1; k += transposeK {
			rows := min(transposeK, k1-k)
			piece := dst[(k-k0)*nr:]
			if src != nil {
				transpose(piece, nr, src[at+k+j0*o.ColStride:], o.ColStride, n, rows)
				continue
			}
			for j := range n {
				o.widen(tmp[j*transposeK:], at+k+(j0+j)*o.ColStride, rows, 1, o.columnScale(j0+j))
			}
			transpose(piece, nr, tmp, transposeK, n, rows)
		}
		return
	}
	uniform := len(o.Scale) <= 1
	for k := k0; k < k1; k++ {
		row := dst[(k-k0)*nr:]
		from := at + k*o.RowStride + j0*o.ColStride
		if uniform {
			o.widen(row, from, n, o.ColStride, o.columnScale(0))
			continue
		}
		for j := range n {
			o.widen(row[j:], from+j*o.ColStride, 1, 1, o.Scale[j0+j])
		}
	}
}

// transposePlain is transpose in plain Go.
func transposePlain(dst []float32, width int, src []float32, stride, n, rows int) {
	const block = 16
	for r0 := 0; r0 < rows; r0 += block {
		r1 := min(r0+block, rows)
		for j := range n {
			at := r0*width + j
			for _, v := range src[j*stride+r0 : j*stride+r1] {
				dst[at] = v
				at += width
			}
		}
	}
}

// copyPanels makes count whole panels, apart floats from each other, of rows that lie stride apart.
func copyPanels(dst []float32, apart, nr, count int, src []float32, stride, rows int) {
	for r := range rows {
		from, to := src[r*stride:][:count*nr], r*nr
		switch nr {
		case 32:
			for ; len(from) >= 32; from, to = from[32:], to+apart {
				*(*[32]float32)(dst[to:]) = *(*[32]float32)(from)
			}
		case 16:
			for ; len(from) >= 16; from, to = from[16:], to+apart {
				*(*[16]float32)(dst[to:]) = *(*[16]float32)(from)
			}
		default:
			for ; len(from) >= nr; from, to = from[nr:], to+apart {
				copy(dst[to:to+nr], from)
			}
		}
	}
}
