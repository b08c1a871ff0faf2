package quantize

import (
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// castRows fills codes with channels [lo, hi) of a source in [N, K] order.
func (w *Weight) castRows(codes []byte, r rows, lo, hi int) float8.Stats {
	var st float8.Stats
	if len(w.scales) == 1 {
		b := r.data[lo*r.len*r.width : hi*r.len*r.width]
		step := blockBytes / r.width
		scratch := make([]uint64, (min(blockBytes, len(b))+7)/8)
		for at := 0; at < len(codes); at += step {
			end := min(at+step, len(codes))
			st.Merge(cast(codes[at:end], r.dtype, aligned(b[at*r.width:end*r.width], r.width, scratch), w.scale(0)))
		}
		return st
	}
	scratch := make([]uint64, (r.len*r.width+7)/8)
	for c := lo; c < hi; c++ {
		b := aligned(r.segment(c, 0, r.len), r.width, scratch)
		st.Merge(cast(codes[(c-lo)*r.len:(c-lo+1)*r.len], r.dtype, b, w.scale(c)))
	}
	return st
}

// castColumns fills codes with channels [lo, hi) of a source in [K, N] order. It goes down the source in tiles of tileRows rows:
// a tile is gathered, which also aligns it, and then cast and turned, or turned and cast where each channel has its own scale.
func (w *Weight) castColumns(codes []byte, r rows, lo, hi int) float8.Stats {
	var st float8.Stats
	k, n := r.count, hi-lo
	tall := tileRows
	if len(w.scales) > 1 {
		tall = tileRowsPerChannel
	}
	tall = min(tall, k)
	gathered, turned := w.pool.get(tall*n*r.width), w.pool.get(tall*n*r.width)
	defer w.pool.put(gathered)
	defer w.pool.put(turned)
	scratch := make([]uint64, (tall*r.width+7)/8)
	for top := 0; top < k; top += tall {
		height := min(tall, k-top)
		tile := gathered[:height*n*r.width]
		for i := range height {
			copy(tile[i*n*r.width:], r.segment(top+i, lo, hi))
		}
		if len(w.scales) == 1 {
			flat := turned[:height*n]
			st.Merge(cast(flat, r.dtype, tile, w.scale(0)))
			transpose(codes[top:], flat, height, n, k)
			continue
		}
		flat := turned[:height*n*r.width]
		if r.dtype == tensor.Float32 {
			transpose(asFloat32(flat), asFloat32(tile), height, n, height)
		} else {
			transpose(asUint16(flat), asUint16(tile), height, n, height)
		}
		for c := range n {
			row := flat[c*height*r.width : (c+1)*height*r.width]
			st.Merge(cast(codes[c*k+top:c*k+top+height], r.dtype, aligned(row, r.width, scratch), w.scale(lo+c)))
		}
	}
	return st
}

func bytesOf(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}
