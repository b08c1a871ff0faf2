package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exp(x) = 2^n · e^r with n = round(x·log2 e) and r = x − n·ln 2, |r| ≤ ln 2 / 2. ln 2 is split so that n·ln2High is exact. e^r is its
// Taylor polynomial of degree 7, whose error r^8/8! is below 6e-9.
const (
	expHigh = 89   // e^89 is beyond float32
	expLow  = -104 // e^-104 rounds to 0
	// The least x for which e^x, computed as below, is surely not subnormal.
	expLeast = -87.33
	ln2High  = 0.693359375
	ln2Low   = math.Ln2 - ln2High
)

func newExp(s isa) func(reg.VecVirtual) reg.VecVirtual {
	high, low := s.load(expHigh), s.load(expLow)
	return func(x reg.VecVirtual) reg.VecVirtual {
		VMINPS(x, high, x) // a NaN stays: it is the second operand
		VMAXPS(x, low, x)
		n := s.vec()
		VMULPS(constant(math.Log2E), x, n)
		if s.wide {
			VRNDSCALEPS(imm(0), n, n)
		} else {
			VROUNDPS(imm(0), n, n)
		}
		VFNMADD231PS(constant(ln2High), n, x)
		VFNMADD231PS(constant(ln2Low), n, x)
		p := s.vec()
		factorial := 5040.0
		VMOVUPS(constant(1/factorial), p)
		for k := 7; k >= 1; k-- {
			factorial /= float64(k)
			VFMADD213PS(constant(1/factorial), x, p)
		}
		if s.wide {
			VSCALEFPS(n, p, p)
			return p
		}
		// 2^n in two steps, since n goes from -150 to 128.
		a, b := YMM(), YMM()
		VCVTPS2DQ(n, b)
		VPSRAD(imm(1), b, a)
		VPSUBD(a, b, b)
		for _, e := range []reg.VecVirtual{a, b} {
			VPADDD(bits(127), e, e)
			VPSLLD(imm(23), e, e)
			VMULPS(e, p, p)
		}
		return p
	}
}

// sigmoid(x) = 1 / (1 + e^-x).
func newSigmoid(s isa) func(reg.VecVirtual) reg.VecVirtual {
	exp := newExp(s)
	one := s.load(1)
	return func(x reg.VecVirtual) reg.VecVirtual {
		VXORPS(bits(1<<31), x, x)
		e := exp(x)
		VADDPS(one, e, e)
		VDIVPS(e, one, e)
		return e
	}
}

// flushed is exp with 0 in place of results below 2^-126: a subnormal result costs a processor some 150 cycles, and a masked softmax is
// full of them. NaN stays.
func flushed(s isa) func(reg.VecVirtual) reg.VecVirtual {
	exp := newExp(s)
	least := s.load(expLeast)
	return func(x reg.VecVirtual) reg.VecVirtual {
		const notLess = 5 // or unordered
		if s.wide {
			k := K()
			VCMPPS(imm(notLess), least, x, k)
			VMAXPS(x, least, x)
			e := exp(x)
			VMOVAPS_Z(e, k, e)
			return e
		}
		keep := s.vec()
		VCMPPS(imm(notLess), least, x, keep)
		VMAXPS(x, least, x)
		e := exp(x)
		VANDPS(keep, e, e)
		return e
	}
}

// expSum writes dst = e^(src − shift), flushed, and gives the sum in 16 partial sums.
func expSum(s isa) {
	TEXT("expSum"+s.name, NOSPLIT, "func(dst, src *float32, shift float32, sums *float32, n int)")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	sums := Load(Param("sums"), GP64())
	low := Load(Param("shift"), XMM())
	shift := s.vec()
	VBROADCASTSS(low, shift)
	exp := flushed(s)
	acc := accumulators(s)
	loop(n, "loop", []reg.Register{dst, src}, func() {
		for i := range s.vectors() {
			x := s.vec()
			VMOVUPS(operand.Mem{Base: src, Disp: i * s.bytes()}, x)
			VSUBPS(shift, x, x)
			e := exp(x)
			VMOVUPS(e, operand.Mem{Base: dst, Disp: i * s.bytes()})
			VADDPS(e, acc[i], acc[i])
		}
	})
	store(s, acc, sums)
}
