package quantize

import (
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
)

// A tile of a transposed source is this many rows tall: one scale casts whole rows, which then turn in the cache; a scale per
// channel casts a run of one channel at a time, which must not be short.
const (
	tileRows           = 128
	tileRowsPerChannel = 1024
)

// castRows fills codes with a panel of a source in [N, K] order.
func (w *Weight) castRows(codes []byte, r rows, p panel) float8.Stats {
	if len(w.scales) == 1 {
		return cast(codes, r.dtype, r.data[(p.lo*r.len+p.from)*r.width:((p.hi-1)*r.len+p.to)*r.width], w.scale(0))
	}
	var st float8.Stats
	for c := p.lo; c < p.hi; c++ {
		at := (c - p.lo) * p.inputs()
		st.Merge(cast(codes[at:at+p.inputs()], r.dtype, r.segment(c, p.from, p.to), w.scale(c)))
	}
	return st
}

// castTile is the tile in which castColumns works, and the bytes of scratch memory that it needs for each element.
func (w *Weight) castTile(p panel, width int) (t tile, perElement int) {
	if len(w.scales) == 1 {
		perElement = width + 1
		return tileOf(p, tileRows, perElement), perElement
	}
	perElement = 2 * width
	return tileOf(p, tileRowsPerChannel, perElement), perElement
}

// castColumns fills codes with a panel of a source in [K, N] order. It goes down the source in tiles: with one scale a tile is
// cast and then turned; with a scale per channel it is turned first and then cast channel by channel.
func (w *Weight) castColumns(codes, scratch []byte, r rows, p panel) float8.Stats {
	var st float8.Stats
	t, _ := w.castTile(p, r.width)
	raw, second := scratch[:t.tall*t.wide*r.width], scratch[t.tall*t.wide*r.width:]
	k := p.inputs()
	t.each(p, func(top, height, lo, hi int) {
		n := hi - lo
		gather(raw, r, top, height, lo, hi)
		to := codes[(lo-p.lo)*k+top-p.from:]
		if len(w.scales) == 1 {
			st.Merge(cast(second[:height*n], r.dtype, raw[:height*n*r.width], w.scale(0)))
			transpose(to, second, height, n, k)
			return
		}
		transposeWide(second, raw, r.width, height, n, height)
		for c := range n {
			row := second[c*height*r.width : (c+1)*height*r.width]
			st.Merge(cast(to[c*k:c*k+height], r.dtype, row, w.scale(lo+c)))
		}
	})
	return st
}

// gather copies elements [lo, hi) of height rows: reading a strided source once, in copies, is faster than casting from it.
func gather(tile []byte, r rows, top, height, lo, hi int) {
	for i := range height {
		copy(tile[i*(hi-lo)*r.width:], r.segment(top+i, lo, hi))
	}
}

func bytesOf(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}
