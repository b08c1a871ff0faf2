package float8

import "math"

// CastFloat32 writes saturate(round(v·scale)) for every v of src to dst, one
// code a byte, and returns amax and the counts of that same pass. dst must be
// at least as long as src, else it panics, and must not overlap it.
func CastFloat32(dst []byte, src []float32, f Format, scale float32) Stats {
	return castFloat32(dst[:len(src)], src, f, scale, false)
}

// CastFloat16 is [CastFloat32] for values held as float16 bits.
func CastFloat16(dst []byte, src []uint16, f Format, scale float32) Stats {
	return castFloat16s(dst[:len(src)], src, FromFloat16, f, scale, false)
}

// CastBFloat16 is [CastFloat32] for values held as bfloat16 bits.
func CastBFloat16(dst []byte, src []uint16, f Format, scale float32) Stats {
	return castFloat16s(dst[:len(src)], src, FromBFloat16, f, scale, false)
}

// CastFloat32WithError is [CastFloat32] that also fills SumSq and ErrSq.
func CastFloat32WithError(dst []byte, src []float32, f Format, scale float32) Stats {
	return castFloat32(dst[:len(src)], src, f, scale, true)
}

// CastFloat16WithError is [CastFloat16] that also fills SumSq and ErrSq.
func CastFloat16WithError(dst []byte, src []uint16, f Format, scale float32) Stats {
	return castFloat16s(dst[:len(src)], src, FromFloat16, f, scale, true)
}

// CastBFloat16WithError is [CastBFloat16] that also fills SumSq and ErrSq.
func CastBFloat16WithError(dst []byte, src []uint16, f Format, scale float32) Stats {
	return castFloat16s(dst[:len(src)], src, FromBFloat16, f, scale, true)
}

func castFloat32(dst []byte, src []float32, f Format, scale float32, withError bool) Stats {
	var t tally
	if l := f.layout(); fast(scale) {
		castFast32(&t, dst, src, l, scale, withError)
	} else {
		castPlain32(&t, dst, src, l, scale, withError)
	}
	return t.stats(math.Float32frombits(t.amax))
}

func castFloat16s(dst []byte, src []uint16, source Source16, f Format, scale float32, withError bool) Stats {
	var t tally
	if l := f.layout(); fast(scale) {
		castFast16(&t, dst, src, source, l, scale, withError)
	} else {
		castPlain16(&t, dst, src, source, l, scale, withError)
	}
	return t.stats(source.value(uint16(t.amax)))
}

// fast reports whether a cast takes the kernels: they take signs from the
// values and NaN from the values, so the scale must not bring its own.
func fast(scale float32) bool {
	return haveKernels() && scale > 0 && scale <= math.MaxFloat32
}
