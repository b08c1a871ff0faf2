package float8

// DecodeFloat32 writes decode(code)·dequantScale for every code of src to dst,
// which must be at least as long; shorter panics. A dequantScale of 1 decodes
// exactly, another rounds the product once.
func DecodeFloat32(dst []float32, src []byte, f Format, dequantScale float32) {
	decodeFloat32(dst[:len(src)], src, f.layout(), dequantScale)
}

func decodeFloat32(dst []float32, src []byte, l *layout, dequantScale float32) {
	decodePlainFloat32(dst, src, l, dequantScale)
}

func decodePlainFloat32(dst []float32, src []byte, l *layout, dequantScale float32) {
	var t [256]float32
	decodeTable(&t, l, dequantScale)
	dst = dst[:len(src)]
	for i, c := range src {
		dst[i] = t[c]
	}
}
