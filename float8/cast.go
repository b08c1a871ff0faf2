package float8

// CastFloat32 writes saturate(round(v·scale)) for every v of src to dst, one
// code a byte, and returns amax and the counts of that same pass. dst must be
// at least as long as src and must not overlap it; shorter panics.
func CastFloat32(dst []byte, src []float32, f Format, scale float32) Stats {
	return castFloat32(dst[:len(src)], src, f.layout(), scale).stats()
}

// CastFloat16 is [CastFloat32] for values held as float16 bits.
func CastFloat16(dst []byte, src []uint16, f Format, scale float32) Stats {
	return castFloat16(dst[:len(src)], src, f.layout(), scale).stats()
}

// CastBFloat16 is [CastFloat32] for values held as bfloat16 bits.
func CastBFloat16(dst []byte, src []uint16, f Format, scale float32) Stats {
	return castBFloat16(dst[:len(src)], src, f.layout(), scale).stats()
}

func castFloat32(dst []byte, src []float32, l *layout, scale float32) counts {
	return castPlainFloat32(dst, src, l, scale)
}

func castFloat16(dst []byte, src []uint16, l *layout, scale float32) counts {
	return castPlain16(dst, src, WidenFloat16, l, scale)
}

func castBFloat16(dst []byte, src []uint16, l *layout, scale float32) counts {
	return castPlain16(dst, src, WidenBFloat16, l, scale)
}
