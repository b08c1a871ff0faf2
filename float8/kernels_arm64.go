//go:build !purego

package float8

// instructionSet is the widest one that the kernels may use. Tests lower it.
type instructionSet uint8

const (
	noKernels instructionSet = iota
	neonKernels
)

func (s instructionSet) String() string { return [...]string{"plain", "neon"}[s] }

// Every arm64 processor that Go runs on has NEON.
var best = neonKernels

// oddLanesApart: the kernels keep the lanes in the order of the elements.
const oddLanesApart = false

func haveKernels() bool { return best != noKernels }

func castKernel32(dst *byte, src *float32, n int, p *kernelParams, t *tally, withError bool) {
	if withError {
		castErrorFloat32NEON(dst, src, n, p, t)
	} else {
		castFloat32NEON(dst, src, n, p, t)
	}
}

func castKernel16(dst *byte, src *uint16, n int, p *kernelParams, t *tally, source Source16, withError bool) {
	switch {
	case source == FromFloat16 && withError:
		castErrorFloat16NEON(dst, src, n, p, t)
	case source == FromFloat16:
		castFloat16NEON(dst, src, n, p, t)
	case withError:
		castErrorBFloat16NEON(dst, src, n, p, t)
	default:
		castBFloat16NEON(dst, src, n, p, t)
	}
}

func amaxKernel32(src *float32, n int) uint32 { return amax32NEON(src, n) }

func amaxKernel16(src *uint16, n int) uint32 { return amax16NEON(src, n) }

// The kernels of kernels_arm64.s; n is a multiple of kernelTurn.

//go:noescape
func castFloat32NEON(dst *byte, src *float32, n int, p *kernelParams, s *tally)

//go:noescape
func castErrorFloat32NEON(dst *byte, src *float32, n int, p *kernelParams, s *tally)

//go:noescape
func castFloat16NEON(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func castErrorFloat16NEON(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func castBFloat16NEON(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func castErrorBFloat16NEON(dst *byte, src *uint16, n int, p *kernelParams, s *tally)

//go:noescape
func amax32NEON(src *float32, n int) uint32

//go:noescape
func amax16NEON(src *uint16, n int) uint32
