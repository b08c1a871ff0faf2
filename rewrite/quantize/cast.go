package quantize

import (
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// castRows fills codes with channels [lo, hi) of a source in [N, K] order.
func (w *Weight) castRows(codes []byte, r rows, lo, hi int) float8.Stats {
	if len(w.scales) == 1 {
		return cast(codes, r.dtype, r.data[lo*r.len*r.width:hi*r.len*r.width], w.scale(0))
	}
	var st float8.Stats
	for c := lo; c < hi; c++ {
		st.Merge(cast(codes[(c-lo)*r.len:(c-lo+1)*r.len], r.dtype, r.segment(c, 0, r.len), w.scale(c)))
	}
	return st
}

// castColumns fills codes with channels [lo, hi) of a source in [K, N] order. It goes down the source in tiles: with one scale a
// tile is cast and then turned; with a scale per channel it is turned first and then cast channel by channel.
func (w *Weight) castColumns(codes []byte, r rows, lo, hi int) float8.Stats {
	if len(w.scales) == 1 {
		return w.castThenTurn(codes, r, lo, hi)
	}
	return w.turnThenCast(codes, r, lo, hi)
}

func (w *Weight) castThenTurn(codes []byte, r rows, lo, hi int) float8.Stats {
	var st float8.Stats
	k, n := r.count, hi-lo
	tall := min(tileRows, k)
	tile, flat := w.pool.get(tall*n*r.width), w.pool.get(tall*n)
	defer w.pool.put(tile)
	defer w.pool.put(flat)
	for top := 0; top < k; top += tall {
		height := min(tall, k-top)
		gather(tile, r, top, height, lo, hi)
		st.Merge(cast(flat[:height*n], r.dtype, tile[:height*n*r.width], w.scale(0)))
		transpose(codes[top:], flat, height, n, k)
	}
	return st
}

// gather copies elements [lo, hi) of height rows: reading a strided source once, in copies, is faster than casting from it.
func gather(tile []byte, r rows, top, height, lo, hi int) {
	for i := range height {
		copy(tile[i*(hi-lo)*r.width:], r.segment(top+i, lo, hi))
	}
}

func (w *Weight) turnThenCast(codes []byte, r rows, lo, hi int) float8.Stats {
	var st float8.Stats
	k, n := r.count, hi-lo
	tall := min(tileRowsPerChannel, k)
	tile, turned := w.pool.get(tall*n*r.width), w.pool.get(tall*n*r.width)
	defer w.pool.put(tile)
	defer w.pool.put(turned)
	for top := 0; top < k; top += tall {
		height := min(tall, k-top)
		gather(tile, r, top, height, lo, hi)
		if r.dtype == tensor.Float32 {
			transpose(asFloat32(turned), asFloat32(tile), height, n, height)
		} else {
			transpose(asUint16(turned), asUint16(tile), height, n, height)
		}
		for c := range n {
			row := turned[c*height*r.width : (c+1)*height*r.width]
			st.Merge(cast(codes[c*k+top:c*k+top+height], r.dtype, row, w.scale(lo+c)))
		}
	}
	return st
}

func bytesOf(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}
