package float8

import "math"

// Source16 says which 16-bit format a [Table16] reads.
type Source16 uint8

// The 16-bit sources.
const (
	FromFloat16 Source16 = iota
	FromBFloat16
)

func (s Source16) value(h uint16) float32 {
	if s == FromFloat16 {
		return Float16(h).Float32()
	}
	return BFloat16(h).Float32()
}

// Table16 casts 16-bit values with one fixed scale by looking every one of them
// up. Filling it costs 65,536 casts and it fills 128 KiB, so it pays for tensors
// much larger than that, and only where no fast path exists: see [Table16.Cast].
// After Fill it may be used from many goroutines.
type Table16 struct {
	source Source16
	// entry is the code in the low byte and above it a one at flagSaturated or
	// at flagFlushed, so that counting is adding and needs no branch.
	entry [1 << 16]uint16
}

// One flag is 2^7 times the other, so that a sum over fewer than 128 entries
// keeps the two counts apart.
const (
	flagSaturated = 1 << 8
	flagFlushed   = 1 << 15
	tableTurn     = 64
)

// Fill computes the table for a source, a format and a scale.
func (t *Table16) Fill(source Source16, f Format, scale float32) {
	l := f.layout()
	t.source = source
	var code [1]byte
	for h := range t.entry {
		var c tally
		c.castBlock(code[:], []float32{source.value(uint16(h))}, l, scale)
		t.entry[h] = uint16(code[0]) | uint16(c.saturated)*flagSaturated | uint16(c.flushed)*flagFlushed
	}
}

// Cast is [CastFloat16] or [CastBFloat16] with the scale and format of Fill: the
// same codes, amax and counts. It always goes through the table; where the
// processor has a fast path, CastFloat16 and CastBFloat16 are faster.
func (t *Table16) Cast(dst []byte, src []uint16) Stats {
	dst = dst[:len(src)]
	var st Stats
	var amax uint16
	for len(src) > 0 {
		n := min(len(src), tableTurn)
		from, to := src[:n], dst[:n]
		var flags uint32
		for i, h := range from {
			e := t.entry[h]
			to[i] = byte(e)
			flags += uint32(e >> 8)
			amax = max(amax, h&0x7FFF)
		}
		st.Saturated += int64(flags & 0x7F)
		st.Flushed += int64(flags >> 7)
		dst, src = dst[n:], src[n:]
	}
	st.Amax = amaxFromBits(math.Float32bits(t.source.value(amax)))
	return st
}
