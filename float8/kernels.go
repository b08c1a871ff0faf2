//go:build (amd64 || arm64) && !purego

package float8

import "math"

// kernelParams is a format and a scale as the kernels want them. They know its
// layout; internal/asmgen says what they compute.
type kernelParams struct {
	scale    float32
	next     float32 // the value that would follow the largest finite one
	addExp   uint32  // (23-man) << 23
	floor    uint32  // bits of the least power of two to round with
	shift    uint32  // 23-man
	base     uint32  // what the exponent's part of the code starts at, twice as 16 bits
	maxCode  uint32  // four times
	nan      uint32  // four times
	fnuz     uint32  // all ones or zero
	inverse  float32 // 1/scale
	maxValue float32 // the largest finite value
}

func newKernelParams(l *layout, scale float32) kernelParams {
	unit := uint32(1) << l.shift // one code, in float32 bits
	maxBits := uint32(l.maxCode)<<l.shift + (l.rebias << l.shift)
	p := kernelParams{
		scale:    scale,
		next:     math.Float32frombits(maxBits + unit),
		addExp:   uint32(l.shift) << 23,
		floor:    l.magic,
		shift:    uint32(l.shift),
		base:     (l.magic >> l.shift) * 0x10001,
		maxCode:  uint32(l.maxCode) * 0x01010101,
		nan:      uint32(l.nan) * 0x01010101,
		inverse:  1 / scale,
		maxValue: math.Float32frombits(maxBits),
	}
	if l.fnuz {
		p.fnuz = math.MaxUint32
	}
	return p
}

const (
	// Lengths given to kernels are multiples of kernelTurn. What is left over is
	// padded with zeros, which count as nothing.
	kernelTurn = 64
	// The scheduler cannot interrupt assembly, so no call is longer than this:
	// some ten microseconds.
	kernelMost = 1 << 16
)

// wholeTurns returns how many of n elements the next call of a kernel takes.
func wholeTurns(n int) int { return min(n, kernelMost) &^ (kernelTurn - 1) }

func castFast32(t *tally, dst []byte, src []float32, l *layout, scale float32, withError bool) {
	p := newKernelParams(l, scale)
	for n := wholeTurns(len(src)); n > 0; n = wholeTurns(len(src)) {
		castKernel32(&dst[0], &src[0], n, &p, t, withError)
		dst, src = dst[n:], src[n:]
	}
	if len(src) > 0 {
		var values [kernelTurn]float32
		var codes [kernelTurn]byte
		copy(values[:], src)
		castKernel32(&codes[0], &values[0], kernelTurn, &p, t, withError)
		copy(dst, codes[:len(src)])
	}
}

func castFast16(t *tally, dst []byte, src []uint16, source Source16, l *layout, scale float32, withError bool) {
	p := newKernelParams(l, scale)
	for n := wholeTurns(len(src)); n > 0; n = wholeTurns(len(src)) {
		castKernel16(&dst[0], &src[0], n, &p, t, source, withError)
		dst, src = dst[n:], src[n:]
	}
	if len(src) > 0 {
		var values [kernelTurn]uint16
		var codes [kernelTurn]byte
		copy(values[:], src)
		castKernel16(&codes[0], &values[0], kernelTurn, &p, t, source, withError)
		copy(dst, codes[:len(src)])
	}
	if source == FromBFloat16 && oddLanesApart {
		t.sumSq, t.errSq = interleave(t.sumSq), interleave(t.errSq)
	}
}

// interleave puts the lanes of bfloat16 kernels that take even elements and odd
// ones apart in the order of the elements.
func interleave(v [16]float64) (w [16]float64) {
	for i := range 8 {
		w[2*i], w[2*i+1] = v[i], v[8+i]
	}
	return w
}

func amaxFast32(src []float32) uint32 {
	bits := uint32(0)
	for n := wholeTurns(len(src)); n > 0; n = wholeTurns(len(src)) {
		bits = max(bits, amaxKernel32(&src[0], n))
		src = src[n:]
	}
	return max(bits, amaxPlain32(src))
}

func amaxFast16(src []uint16) uint32 {
	bits := uint32(0)
	for n := wholeTurns(len(src)); n > 0; n = wholeTurns(len(src)) {
		bits = max(bits, amaxKernel16(&src[0], n))
		src = src[n:]
	}
	return max(bits, amaxPlain16(src))
}
