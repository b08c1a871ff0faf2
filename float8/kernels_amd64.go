//go:build !purego

package float8

import "golang.org/x/sys/cpu"

// instructionSet is the widest one that the kernels may use. Tests lower it.
type instructionSet uint8

const (
	noKernels instructionSet = iota
	avx2Kernels
	avx512Kernels
)

func (s instructionSet) String() string { return [...]string{"plain", "avx2", "avx512"}[s] }

var best = detect()

func detect() instructionSet {
	x := &cpu.X86
	switch {
	case !(x.HasAVX2 && x.HasFMA && x.HasF16C && x.HasPOPCNT):
		return noKernels
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL:
		return avx512Kernels
	}
	return avx2Kernels
}

// oddLanesApart: the bfloat16 kernels keep even elements' lanes before odd ones'.
const oddLanesApart = true

func haveKernels() bool { return best != noKernels }

func castKernel32(dst *byte, src *float32, n int, p *kernelParams, t *tally, withError bool) {
	switch {
	case best == avx512Kernels && withError:
		castErrorFloat32AVX512(dst, src, n, p, t)
	case best == avx512Kernels:
		castFloat32AVX512(dst, src, n, p, t)
	case withError:
		castErrorFloat32AVX2(dst, src, n, p, t)
	default:
		castFloat32AVX2(dst, src, n, p, t)
	}
}

func castKernel16(dst *byte, src *uint16, n int, p *kernelParams, t *tally, source Source16, withError bool) {
	if source == FromFloat16 {
		switch {
		case best == avx512Kernels && withError:
			castErrorFloat16AVX512(dst, src, n, p, t)
		case best == avx512Kernels:
			castFloat16AVX512(dst, src, n, p, t)
		case withError:
			castErrorFloat16AVX2(dst, src, n, p, t)
		default:
			castFloat16AVX2(dst, src, n, p, t)
		}
		return
	}
	switch {
	case best == avx512Kernels && withError:
		castErrorBFloat16AVX512(dst, src, n, p, t)
	case best == avx512Kernels:
		castBFloat16AVX512(dst, src, n, p, t)
	case withError:
		castErrorBFloat16AVX2(dst, src, n, p, t)
	default:
		castBFloat16AVX2(dst, src, n, p, t)
	}
}

func amaxKernel32(src *float32, n int) uint32 {
	if best == avx512Kernels {
		return amax32AVX512(src, n)
	}
	return amax32AVX2(src, n)
}

func amaxKernel16(src *uint16, n int) uint32 {
	if best == avx512Kernels {
		return amax16AVX512(src, n)
	}
	return amax16AVX2(src, n)
}

// The kernels of kernels_amd64.s; n is a multiple of kernelTurn.

//go:noescape
func castFloat32AVX2(dst *byte, src *float32, n int, p *kernelParams, s *tally)

//go:noescape
func castErrorFloat32AVX2(dst *byte, src *float32, n int, p *kernelParams, s *tally)

//go:noescape
func castFloat16AVX2(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func castErrorFloat16AVX2(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func castBFloat16AVX2(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func castErrorBFloat16AVX2(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func amax32AVX2(src *float32, n int) uint32

//go:noescape
func amax16AVX2(src *uint16, n int) uint32

//go:noescape
func castFloat32AVX512(dst *byte, src *float32, n int, p *kernelParams, s *tally)

//go:noescape
func castErrorFloat32AVX512(dst *byte, src *float32, n int, p *kernelParams, s *tally)

//go:noescape
func castFloat16AVX512(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func castErrorFloat16AVX512(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func castBFloat16AVX512(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func castErrorBFloat16AVX512(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func amax32AVX512(src *float32, n int) uint32

//go:noescape
func amax16AVX512(src *uint16, n int) uint32
