//go:build !purego

package gemm

import "golang.org/x/sys/cpu"

var (
	avx512 = &isa{"avx512", 12, 32, runAVX512, avx2Converters}
	avx2   = &isa{"avx2", 6, 16, runAVX2, avx2Converters}
)

// avx2Converters serve both: memory is what limits them.
var avx2Converters = &converters{transposeAVX2, decodeE4M3FNAVX2, widenFloat16AVX2, narrowFloat16AVX2}

// best is the widest instruction set that the processor has. Tests set it.
var best = available()[len(available())-1]

// available are the instruction sets of this processor, plain Go first.
func available() []*isa {
	x := &cpu.X86
	sets := []*isa{plain}
	if x.HasAVX2 && x.HasFMA && x.HasF16C {
		sets = append(sets, avx2)
		if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL {
			sets = append(sets, avx512)
		}
	}
	return sets
}

func runAVX512(rows int, t *tile) {
	switch rows {
	case 1:
		tileAVX512x1(t)
	case 2:
		tileAVX512x2(t)
	case 3:
		tileAVX512x3(t)
	case 4:
		tileAVX512x4(t)
	case 5:
		tileAVX512x5(t)
	case 6:
		tileAVX512x6(t)
	case 7:
		tileAVX512x7(t)
	case 8:
		tileAVX512x8(t)
	case 9:
		tileAVX512x9(t)
	case 10:
		tileAVX512x10(t)
	case 11:
		tileAVX512x11(t)
	case 12:
		tileAVX512x12(t)
	}
}

func runAVX2(rows int, t *tile) {
	switch rows {
	case 1:
		tileAVX2x1(t)
	case 2:
		tileAVX2x2(t)
	case 3:
		tileAVX2x3(t)
	case 4:
		tileAVX2x4(t)
	case 5:
		tileAVX2x5(t)
	case 6:
		tileAVX2x6(t)
	}
}

// The kernels of kernels_amd64.s.

//go:noescape
func transposeAVX2(dst *float32, ldd int, src *float32, lds int, n int)

//go:noescape
func decodeE4M3FNAVX2(dst *float32, src *byte, n int, scale float32)

//go:noescape
func widenFloat16AVX2(dst *float32, src *uint16, n int)

//go:noescape
func narrowFloat16AVX2(dst *uint16, src *float32, n int)

//go:noescape
func tileAVX512x1(t *tile)

//go:noescape
func tileAVX512x2(t *tile)

//go:noescape
func tileAVX512x3(t *tile)

//go:noescape
func tileAVX512x4(t *tile)

//go:noescape
func tileAVX512x5(t *tile)

//go:noescape
func tileAVX512x6(t *tile)

//go:noescape
func tileAVX512x7(t *tile)

//go:noescape
func tileAVX512x8(t *tile)

//go:noescape
func tileAVX512x9(t *tile)

//go:noescape
func tileAVX512x10(t *tile)

//go:noescape
func tileAVX512x11(t *tile)

//go:noescape
func tileAVX512x12(t *tile)

//go:noescape
func tileAVX2x1(t *tile)

//go:noescape
func tileAVX2x2(t *tile)

//go:noescape
func tileAVX2x3(t *tile)

//go:noescape
func tileAVX2x4(t *tile)

//go:noescape
func tileAVX2x5(t *tile)

//go:noescape
func tileAVX2x6(t *tile)
