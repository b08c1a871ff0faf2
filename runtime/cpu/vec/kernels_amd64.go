//go:build !purego

package vec

import "golang.org/x/sys/cpu"

// instructionSet is the widest one that the kernels may use. Tests lower it.
type instructionSet uint8

const (
	plainGo instructionSet = iota
	avx2
	avx512
)

func (s instructionSet) String() string { return [...]string{"plain", "avx2", "avx512"}[s] }

var best = detect()

func detect() instructionSet {
	x := &cpu.X86
	switch {
	case !(x.HasAVX2 && x.HasFMA):
		return plainGo
	case x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL:
		return avx512
	}
	return avx2
}

func expKernel(dst, src []float32) {
	switch {
	case len(src) == 0:
	case best == avx512:
		expAVX512(&dst[0], &src[0], len(src))
	case best == avx2:
		expAVX2(&dst[0], &src[0], len(src))
	default:
		expPlain(dst, src)
	}
}

func sigmoidKernel(dst, src []float32) {
	switch {
	case len(src) == 0:
	case best == avx512:
		sigmoidAVX512(&dst[0], &src[0], len(src))
	case best == avx2:
		sigmoidAVX2(&dst[0], &src[0], len(src))
	default:
		sigmoidPlain(dst, src)
	}
}

func tanhKernel(dst, src []float32) {
	switch {
	case len(src) == 0:
	case best == avx512:
		tanhAVX512(&dst[0], &src[0], len(src))
	case best == avx2:
		tanhAVX2(&dst[0], &src[0], len(src))
	default:
		tanhPlain(dst, src)
	}
}

func erfKernel(dst, src []float32) {
	switch {
	case len(src) == 0:
	case best == avx512:
		erfAVX512(&dst[0], &src[0], len(src))
	case best == avx2:
		erfAVX2(&dst[0], &src[0], len(src))
	default:
		erfPlain(dst, src)
	}
}

func sqrtKernel(dst, src []float32) {
	switch {
	case len(src) == 0:
	case best == avx512:
		sqrtAVX512(&dst[0], &src[0], len(src))
	case best == avx2:
		sqrtAVX2(&dst[0], &src[0], len(src))
	default:
		sqrtPlain(dst, src)
	}
}

func addKernel(dst, a, b []float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		addAVX512(&dst[0], &a[0], &b[0], len(a))
	case best == avx2:
		addAVX2(&dst[0], &a[0], &b[0], len(a))
	default:
		addPlain(dst, a, b)
	}
}

func subKernel(dst, a, b []float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		subAVX512(&dst[0], &a[0], &b[0], len(a))
	case best == avx2:
		subAVX2(&dst[0], &a[0], &b[0], len(a))
	default:
		subPlain(dst, a, b)
	}
}

func mulKernel(dst, a, b []float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		mulAVX512(&dst[0], &a[0], &b[0], len(a))
	case best == avx2:
		mulAVX2(&dst[0], &a[0], &b[0], len(a))
	default:
		mulPlain(dst, a, b)
	}
}

func divKernel(dst, a, b []float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		divAVX512(&dst[0], &a[0], &b[0], len(a))
	case best == avx2:
		divAVX2(&dst[0], &a[0], &b[0], len(a))
	default:
		divPlain(dst, a, b)
	}
}

func maxKernel(dst, a, b []float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		maxAVX512(&dst[0], &a[0], &b[0], len(a))
	case best == avx2:
		maxAVX2(&dst[0], &a[0], &b[0], len(a))
	default:
		maxPlain(dst, a, b)
	}
}

func minKernel(dst, a, b []float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		minAVX512(&dst[0], &a[0], &b[0], len(a))
	case best == avx2:
		minAVX2(&dst[0], &a[0], &b[0], len(a))
	default:
		minPlain(dst, a, b)
	}
}

func addScalarKernel(dst, a []float32, b float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		addScalarAVX512(&dst[0], &a[0], b, len(a))
	case best == avx2:
		addScalarAVX2(&dst[0], &a[0], b, len(a))
	default:
		addScalarPlain(dst, a, b)
	}
}

func subScalarKernel(dst, a []float32, b float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		subScalarAVX512(&dst[0], &a[0], b, len(a))
	case best == avx2:
		subScalarAVX2(&dst[0], &a[0], b, len(a))
	default:
		subScalarPlain(dst, a, b)
	}
}

func mulScalarKernel(dst, a []float32, b float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		mulScalarAVX512(&dst[0], &a[0], b, len(a))
	case best == avx2:
		mulScalarAVX2(&dst[0], &a[0], b, len(a))
	default:
		mulScalarPlain(dst, a, b)
	}
}

func divScalarKernel(dst, a []float32, b float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		divScalarAVX512(&dst[0], &a[0], b, len(a))
	case best == avx2:
		divScalarAVX2(&dst[0], &a[0], b, len(a))
	default:
		divScalarPlain(dst, a, b)
	}
}

func rsubScalarKernel(dst, a []float32, b float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		rsubScalarAVX512(&dst[0], &a[0], b, len(a))
	case best == avx2:
		rsubScalarAVX2(&dst[0], &a[0], b, len(a))
	default:
		rsubScalarPlain(dst, a, b)
	}
}

func rdivScalarKernel(dst, a []float32, b float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		rdivScalarAVX512(&dst[0], &a[0], b, len(a))
	case best == avx2:
		rdivScalarAVX2(&dst[0], &a[0], b, len(a))
	default:
		rdivScalarPlain(dst, a, b)
	}
}

func maxScalarKernel(dst, a []float32, b float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		maxScalarAVX512(&dst[0], &a[0], b, len(a))
	case best == avx2:
		maxScalarAVX2(&dst[0], &a[0], b, len(a))
	default:
		maxScalarPlain(dst, a, b)
	}
}

func minScalarKernel(dst, a []float32, b float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		minScalarAVX512(&dst[0], &a[0], b, len(a))
	case best == avx2:
		minScalarAVX2(&dst[0], &a[0], b, len(a))
	default:
		minScalarPlain(dst, a, b)
	}
}

func addScaledKernel(dst, a []float32, b float32) {
	switch {
	case len(a) == 0:
	case best == avx512:
		addScaledAVX512(&dst[0], &a[0], b, len(a))
	case best == avx2:
		addScaledAVX2(&dst[0], &a[0], b, len(a))
	default:
		addScaledPlain(dst, a, b)
	}
}

func sumKernel(src []float32, sums *[turn]float32) {
	switch {
	case len(src) == 0:
	case best == avx512:
		sumAVX512(&src[0], &sums[0], len(src))
	case best == avx2:
		sumAVX2(&src[0], &sums[0], len(src))
	default:
		sumPlain(src, sums)
	}
}

func sumSquaresKernel(src []float32, shift float32, sums *[turn]float32) {
	switch {
	case len(src) == 0:
	case best == avx512:
		sumSquaresAVX512(&src[0], shift, &sums[0], len(src))
	case best == avx2:
		sumSquaresAVX2(&src[0], shift, &sums[0], len(src))
	default:
		sumSquaresPlain(src, shift, sums)
	}
}

func maximumKernel(src []float32, most *[turn]float32) {
	switch {
	case len(src) == 0:
	case best == avx512:
		maximumAVX512(&src[0], &most[0], len(src))
	case best == avx2:
		maximumAVX2(&src[0], &most[0], len(src))
	default:
		maximumPlain(src, most)
	}
}

func expSumKernel(dst, src []float32, shift float32, sums *[turn]float32) {
	switch {
	case len(src) == 0:
	case best == avx512:
		expSumAVX512(&dst[0], &src[0], shift, &sums[0], len(src))
	case best == avx2:
		expSumAVX2(&dst[0], &src[0], shift, &sums[0], len(src))
	default:
		expSumPlain(dst, src, shift, sums)
	}
}

// The kernels of kernels_amd64.s; n is a positive multiple of turn.

//go:noescape
func expAVX2(dst, src *float32, n int)

//go:noescape
func sigmoidAVX2(dst, src *float32, n int)

//go:noescape
func tanhAVX2(dst, src *float32, n int)

//go:noescape
func erfAVX2(dst, src *float32, n int)

//go:noescape
func sqrtAVX2(dst, src *float32, n int)

//go:noescape
func addAVX2(dst, a, b *float32, n int)

//go:noescape
func subAVX2(dst, a, b *float32, n int)

//go:noescape
func mulAVX2(dst, a, b *float32, n int)

//go:noescape
func divAVX2(dst, a, b *float32, n int)

//go:noescape
func maxAVX2(dst, a, b *float32, n int)

//go:noescape
func minAVX2(dst, a, b *float32, n int)

//go:noescape
func addScalarAVX2(dst, a *float32, b float32, n int)

//go:noescape
func subScalarAVX2(dst, a *float32, b float32, n int)

//go:noescape
func mulScalarAVX2(dst, a *float32, b float32, n int)

//go:noescape
func divScalarAVX2(dst, a *float32, b float32, n int)

//go:noescape
func rsubScalarAVX2(dst, a *float32, b float32, n int)

//go:noescape
func rdivScalarAVX2(dst, a *float32, b float32, n int)

//go:noescape
func maxScalarAVX2(dst, a *float32, b float32, n int)

//go:noescape
func minScalarAVX2(dst, a *float32, b float32, n int)

//go:noescape
func addScaledAVX2(dst, a *float32, b float32, n int)

//go:noescape
func sumAVX2(src, sums *float32, n int)

//go:noescape
func sumSquaresAVX2(src *float32, shift float32, sums *float32, n int)

//go:noescape
func maximumAVX2(src, most *float32, n int)

//go:noescape
func expSumAVX2(dst, src *float32, shift float32, sums *float32, n int)

//go:noescape
func expAVX512(dst, src *float32, n int)

//go:noescape
func sigmoidAVX512(dst, src *float32, n int)

//go:noescape
func tanhAVX512(dst, src *float32, n int)

//go:noescape
func erfAVX512(dst, src *float32, n int)

//go:noescape
func sqrtAVX512(dst, src *float32, n int)

//go:noescape
func addAVX512(dst, a, b *float32, n int)

//go:noescape
func subAVX512(dst, a, b *float32, n int)

//go:noescape
func mulAVX512(dst, a, b *float32, n int)

//go:noescape
func divAVX512(dst, a, b *float32, n int)

//go:noescape
func maxAVX512(dst, a, b *float32, n int)

//go:noescape
func minAVX512(dst, a, b *float32, n int)

//go:noescape
func addScalarAVX512(dst, a *float32, b float32, n int)

//go:noescape
func subScalarAVX512(dst, a *float32, b float32, n int)

//go:noescape
func mulScalarAVX512(dst, a *float32, b float32, n int)

//go:noescape
func divScalarAVX512(dst, a *float32, b float32, n int)

//go:noescape
func rsubScalarAVX512(dst, a *float32, b float32, n int)

//go:noescape
func rdivScalarAVX512(dst, a *float32, b float32, n int)

//go:noescape
func maxScalarAVX512(dst, a *float32, b float32, n int)

//go:noescape
func minScalarAVX512(dst, a *float32, b float32, n int)

//go:noescape
func addScaledAVX512(dst, a *float32, b float32, n int)

//go:noescape
func sumAVX512(src, sums *float32, n int)

//go:noescape
func sumSquaresAVX512(src *float32, shift float32, sums *float32, n int)

//go:noescape
func maximumAVX512(src, most *float32, n int)

//go:noescape
func expSumAVX512(dst, src *float32, shift float32, sums *float32, n int)
