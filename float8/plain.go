package float8

import "math"

// The loops below are the reference for the kernels and what runs where there is
// none. 16-bit sources are widened a block at a time, which is exact.
const plainBlock = 256 // a multiple of the lanes of tally

func amaxPlain32(src []float32) uint32 {
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

func amaxPlain16(src []uint16) uint32 {
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
	return uint32(max(m0, m1, m2, m3))
}

func castPlain32(t *tally, dst []byte, src []float32, l *layout, scale float32, withError bool) {
	var decoded [256]float32
	if withError {
		decodeTable(&decoded, l, 1/scale)
	}
	for len(src) > 0 {
		n := min(len(src), plainBlock)
		t.castBlock(dst[:n], src[:n], l, scale)
		if withError {
			t.errorBlock(dst[:n], src[:n], &decoded)
		}
		dst, src = dst[n:], src[n:]
	}
}

func castPlain16(t *tally, dst []byte, src []uint16, source Source16, l *layout, scale float32, withError bool) {
	var decoded [256]float32
	if withError {
		decodeTable(&decoded, l, 1/scale)
	}
	var block [plainBlock]float32
	rest := dst
	for from := src; len(from) > 0; {
		n := min(len(from), plainBlock)
		if source == FromFloat16 {
			WidenFloat16(block[:n], from[:n])
		} else {
			WidenBFloat16(block[:n], from[:n])
		}
		t.castBlock(rest[:n], block[:n], l, scale)
		if withError {
			t.errorBlock(rest[:n], block[:n], &decoded)
		}
		rest, from = rest[n:], from[n:]
	}
	t.amax = amaxPlain16(src) // in place of that of the widened values
}

func (t *tally) castBlock(dst []byte, src []float32, l *layout, scale float32) {
	dst = dst[:len(src)]
	// In local variables, so that no store to dst makes the compiler load them
	// again; magnitude, written out, for the same reason.
	shift, first, minNormal, magic := l.shift&31, l.first, l.minNormal, l.magic
	half, rebias, power := uint32(1)<<(l.shift-1)-1, l.rebias, math.Float32frombits(l.magic)
	amax, zeroSign := t.amax, uint8(signCode)
	var saturated, flushed int64
	if l.fnuz {
		zeroSign = 0
	}
	for i, v := range src {
		a := math.Float32bits(v) &^ signBit
		amax = max(amax, a)
		b := math.Float32bits(v * scale)
		p := b &^ signBit
		sign := uint8(b >> 24 & signCode)
		var code uint8
		switch {
		case p-minNormal < first-minNormal:
			code = uint8((p+half+p>>shift&1)>>shift - rebias)
		case p < minNormal:
			code = uint8(math.Float32bits(math.Float32frombits(p)+power) - magic)
			if code == 0 {
				if a != 0 {
					flushed++
				}
				sign &= zeroSign
			}
		case p > infBits:
			code, sign = l.nan, 0
		default:
			code = l.maxCode
			saturated++
		}
		dst[i] = code | sign
	}
	t.amax = amax
	t.saturated += saturated
	t.flushed += flushed
}

func (t *tally) errorBlock(codes []byte, src []float32, decoded *[256]float32) {
	codes = codes[:len(src)]
	for i, v := range src {
		// The conversions keep the compiler from fusing, which would skip a rounding.
		e := float64(float32(v - decoded[codes[i]]))
		d := float64(v)
		t.sumSq[i&15] += float64(d * d)
		t.errSq[i&15] += float64(e * e)
	}
}
