package float8

import "math"

// AmaxFloat32 returns the largest magnitude of src: NaN if any element is NaN,
// else +Inf if any is infinite, 0 if src is empty.
func AmaxFloat32(src []float32) float32 {
	if haveKernels() {
		return amaxFromBits(amaxFast32(src))
	}
	return amaxFromBits(amaxPlain32(src))
}

// AmaxFloat16 is [AmaxFloat32] for values held as float16 bits.
func AmaxFloat16(src []uint16) float32 { return amax16(src, FromFloat16) }

// AmaxBFloat16 is [AmaxFloat32] for values held as bfloat16 bits.
func AmaxBFloat16(src []uint16) float32 { return amax16(src, FromBFloat16) }

// Magnitudes order as their bits do in every format, so only the largest is
// widened.
func amax16(src []uint16, source Source16) float32 {
	bits := uint32(0)
	if haveKernels() {
		bits = amaxFast16(src)
	} else {
		bits = amaxPlain16(src)
	}
	return amaxFromBits(math.Float32bits(source.value(uint16(bits))))
}
