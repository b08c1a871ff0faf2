package quantize

import (
	"encoding/binary"
	"unsafe"
)

// transpose writes the height×width matrix src as width rows of height elements, each row stride elements after the one before:
// dst[j·stride+i] = src[i·width+j].
func transpose[T byte | uint16 | uint32](dst, src []T, height, width, stride int) {
	if unsafe.Sizeof(src[0]) == 1 {
		transposeBytes(asBytes(dst), asBytes(src), height, width, stride)
		return
	}
	transposeRange(dst, src, 0, height, 0, width, width, stride)
}

// transposeWide is transpose for elements of width bytes; stride counts elements.
func transposeWide(dst, src []byte, width, height, n, stride int) {
	switch width {
	case 1:
		transpose(dst, src, height, n, stride)
	case 2:
		transpose(asUint16(dst), asUint16(src), height, n, stride)
	case 4:
		transpose(asUint32(dst), asUint32(src), height, n, stride)
	default:
		for i := range height {
			for j := range n {
				copy(dst[(j*stride+i)*width:], src[(i*n+j)*width:(i*n+j+1)*width])
			}
		}
	}
}

func asBytes[T byte | uint16 | uint32](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(v[0])))
}

// transposeRange turns rows [i0, i1) and columns [j0, j1) in blocks that stay in the first-level cache on both sides.
func transposeRange[T byte | uint16 | uint32](dst, src []T, i0, i1, j0, j1, width, stride int) {
	const block = 32
	for ib := i0; ib < i1; ib += block {
		ie := min(ib+block, i1)
		for jb := j0; jb < j1; jb += block {
			je := min(jb+block, j1)
			for j := jb; j < je; j++ {
				to := dst[j*stride+ib : j*stride+ie]
				from := src[ib*width+j:]
				for i := range to {
					to[i] = from[i*width]
				}
			}
		}
	}
}

// transposeBytes turns blocks of 8×8 bytes in registers: three rounds exchange quarters, of 32, 16 and 8 bits, between pairs of
// rows.
func transposeBytes(dst, src []byte, height, width, stride int) {
	const (
		m32 = 0x00000000FFFFFFFF
		m16 = 0x0000FFFF0000FFFF
		m8  = 0x00FF00FF00FF00FF
	)
	h8, w8 := height&^7, width&^7
	for j := 0; j < w8; j += 8 {
		for i := 0; i < h8; i += 8 {
			var r [8]uint64
			for x := range r {
				r[x] = binary.LittleEndian.Uint64(src[(i+x)*width+j:])
			}
			for x := range 4 {
				t := (r[x]>>32 ^ r[x+4]) & m32
				r[x] ^= t << 32
				r[x+4] ^= t
			}
			for _, x := range [4]int{0, 1, 4, 5} {
				t := (r[x]>>16 ^ r[x+2]) & m16
				r[x] ^= t << 16
				r[x+2] ^= t
			}
			for _, x := range [4]int{0, 2, 4, 6} {
				t := (r[x]>>8 ^ r[x+1]) & m8
				r[x] ^= t << 8
				r[x+1] ^= t
			}
			for x := range r {
				binary.LittleEndian.PutUint64(dst[(j+x)*stride+i:], r[x])
			}
		}
	}
	transposeRange(dst, src, h8, height, 0, w8, width, stride)
	transposeRange(dst, src, 0, height, w8, width, width, stride)
}
