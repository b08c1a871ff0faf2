package float8

import "math"

// The loops below are the reference for the fast paths and what runs where there
// is none. 16-bit sources are widened a block at a time, which is exact.
const plainBlock = 256

func amaxPlainFloat32(src []float32) uint32 {
	var m0, m1, m2, m3 uint32
	for ; len(src) >= 4; src = src[4:] {
		m0 = max(m0, math.Float32bits(src[0])&^signBit)
		m1 = max(m1, math.Float32bits(src[1])&^signBit)
		m2 = max(m2, math.Float32bits(src[2])&^signBit)
		m3 = max(m3, math.Float32bits(src[3])&^signBit)
	}
	for _, v := range src {
		m0 = max(m0, math.Float32bits(v)&^signBit)
	}
	return max(m0, m1, m2, m3)
}

func amaxPlain16(src []uint16) uint16 {
	var m0, m1, m2, m3 uint16
	for ; len(src) >= 4; src = src[4:] {
		m0 = max(m0, src[0]&0x7FFF)
		m1 = max(m1, src[1]&0x7FFF)
		m2 = max(m2, src[2]&0x7FFF)
		m3 = max(m3, src[3]&0x7FFF)
	}
	for _, v := range src {
		m0 = max(m0, v&0x7FFF)
	}
	return max(m0, m1, m2, m3)
}

// counts is what the cast kernels return: the largest magnitude as float32 bits
// and the two counts.
type counts struct {
	amax               uint32
	saturated, flushed int64
}

func (c *counts) merge(o counts) {
	c.amax = max(c.amax, o.amax)
	c.saturated += o.saturated
	c.flushed += o.flushed
}

func (c counts) stats() Stats {
	return Stats{Amax: amaxFromBits(c.amax), Saturated: c.saturated, Flushed: c.flushed}
}

func castPlainFloat32(dst []byte, src []float32, l *layout, scale float32) counts {
	var c counts
	dst = dst[:len(src)]
	for i, v := range src {
		a := math.Float32bits(v) &^ signBit
		c.amax = max(c.amax, a)
		b := math.Float32bits(v * scale)
		p := b &^ signBit
		sign := uint8(b >> 24 & signCode)
		var code uint8
		switch {
		case p < l.first:
			code = magnitude(p, l)
			if code == 0 {
				if a != 0 {
					c.flushed++
				}
				if l.fnuz {
					sign = 0
				}
			}
		case p > infBits:
			code, sign = l.nan, 0
		default:
			code = l.maxCode
			c.saturated++
		}
		dst[i] = code | sign
	}
	return c
}

func castPlain16(dst []byte, src []uint16, widen func([]float32, []uint16), l *layout, scale float32) counts {
	var c counts
	var block [plainBlock]float32
	for len(src) > 0 {
		n := min(len(src), plainBlock)
		widen(block[:n], src[:n])
		c.merge(castPlainFloat32(dst[:n], block[:n], l, scale))
		dst, src = dst[n:], src[n:]
	}
	return c
}
