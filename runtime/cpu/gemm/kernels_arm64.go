//go:build !purego

package gemm

var neon = &isa{"neon", 8, 8, runNEON, nil}

// best is the widest instruction set that the processor has: every arm64 that Go runs on has NEON. Tests set it.
var best = neon

// available are the instruction sets of this processor, plain Go first.
func available() []*isa { return []*isa{plain, neon} }

func runNEON(rows int, t *tile) {
	switch rows {
	case 1:
		tileNEONx1(t)
	case 2:
		tileNEONx2(t)
	case 3:
		tileNEONx3(t)
	case 4:
		tileNEONx4(t)
	case 5:
		tileNEONx5(t)
	case 6:
		tileNEONx6(t)
	case 7:
		tileNEONx7(t)
	case 8:
		tileNEONx8(t)
	}
}

// The kernels of kernels_arm64.s.

//go:noescape
func tileNEONx1(t *tile)

//go:noescape
func tileNEONx2(t *tile)

//go:noescape
func tileNEONx3(t *tile)

//go:noescape
func tileNEONx4(t *tile)

//go:noescape
func tileNEONx5(t *tile)

//go:noescape
func tileNEONx6(t *tile)

//go:noescape
func tileNEONx7(t *tile)

//go:noescape
func tileNEONx8(t *tile)
