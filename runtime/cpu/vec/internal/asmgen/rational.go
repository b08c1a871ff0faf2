package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// tanh and erf are x·P(x²)/Q(x²) up to a limit from which they are ±1 in float32. The coefficients minimize the largest relative error,
// found by weighted least squares on Chebyshev nodes with the weights of Lawson's iteration; with float32 arithmetic it is below
// 3e-7 (tanh) and 3.5e-7 (erf), which a test repeats.
const (
	tanhLimit = 9.1
	erfLimit  = 4
)

var (
	tanhP = []float64{1, 0.13079725205898285, 0.003099162830039859, 1.1103935321443714e-05, -2.001916854510455e-08, 5.177699588521101e-11, -8.228486658322029e-14}
	tanhQ = []float64{1, 0.4641305208206177, 0.024476109072566032, 0.00025391520466655493}
	erfP  = []float64{1.1283791065216064, 0.2071256786584854, 0.05152493342757225, 0.0039905826561152935, 0.0001472862350055948, -1.942303242685739e-06, 1.9110755644646815e-08}
	erfQ  = []float64{1, 0.516891598701477, 0.11797092109918594, 0.014958099462091923, 0.0010211133630946279}
)

func newRational(limit float64, p, q []float64) func(isa) func(reg.VecVirtual) reg.VecVirtual {
	return func(s isa) func(reg.VecVirtual) reg.VecVirtual {
		high, low, one, minus := s.load(limit), s.load(-limit), s.load(1), s.load(-1)
		horner := func(t reg.VecVirtual, c []float64) reg.VecVirtual {
			r := s.vec()
			VMOVUPS(constant(c[len(c)-1]), r)
			for i := len(c) - 2; i >= 0; i-- {
				VFMADD213PS(constant(c[i]), t, r)
			}
			return r
		}
		return func(x reg.VecVirtual) reg.VecVirtual {
			VMINPS(x, high, x) // a NaN stays: it is the second operand
			VMAXPS(x, low, x)
			t := s.vec()
			VMULPS(x, x, t)
			y, d := horner(t, p), horner(t, q)
			VMULPS(x, y, y)
			VDIVPS(d, y, y)
			VMINPS(y, one, y)
			VMAXPS(y, minus, y)
			return y
		}
	}
}
