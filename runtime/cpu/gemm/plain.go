package gemm

import "unsafe"

// runPlain is the tile in plain Go. A product is rounded before it is added, on every processor.
func runPlain(rows int, t *tile) {
	const nr = 8
	for i := range rows {
		c := (*[nr]float32)(unsafe.Add(unsafe.Pointer(t.c), uintptr(i)*t.ldc))
		var acc [nr]float32
		if t.accumulate != 0 {
			acc = *c
		}
		var a []float32
		if t.k > 0 {
			a = unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(t.a), uintptr(i)*t.lda)), int(t.k))
		}
		b := unsafe.Pointer(t.b)
		s0, s1, s2, s3, s4, s5, s6, s7 := acc[0], acc[1], acc[2], acc[3], acc[4], acc[5], acc[6], acc[7]
		for k, v := range a {
			row := (*[nr]float32)(unsafe.Add(b, uintptr(k)*t.ldb))
			s0 += float32(v * row[0])
			s1 += float32(v * row[1])
			s2 += float32(v * row[2])
			s3 += float32(v * row[3])
			s4 += float32(v * row[4])
			s5 += float32(v * row[5])
			s6 += float32(v * row[6])
			s7 += float32(v * row[7])
		}
		acc = [nr]float32{s0, s1, s2, s3, s4, s5, s6, s7}
		if t.scale != nil {
			for j, s := range (*[nr]float32)(unsafe.Pointer(t.scale)) {
				acc[j] = float32(acc[j] * s)
			}
		}
		if t.bias != nil {
			for j, s := range (*[nr]float32)(unsafe.Pointer(t.bias)) {
				acc[j] += s
			}
		}
		if t.rowBias != nil {
			v := *(*float32)(unsafe.Add(unsafe.Pointer(t.rowBias), uintptr(i)*4))
			for j := range acc {
				acc[j] += v
			}
		}
		*c = acc
	}
}
