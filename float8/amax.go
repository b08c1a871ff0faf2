package float8

// AmaxFloat32 returns the largest magnitude of src: NaN if any element is NaN,
// else +Inf if any is infinite, 0 if src is empty.
func AmaxFloat32(src []float32) float32 { return amaxFromBits(amaxPlainFloat32(src)) }

// AmaxFloat16 is [AmaxFloat32] for values held as float16 bits.
func AmaxFloat16(src []uint16) float32 {
	// The magnitude's own bits order it, so only the winner is widened.
	return MaxAmax(0, Float16(amaxPlain16(src)).Float32())
}

// AmaxBFloat16 is [AmaxFloat32] for values held as bfloat16 bits.
func AmaxBFloat16(src []uint16) float32 {
	return MaxAmax(0, BFloat16(amaxPlain16(src)).Float32())
}
