package float8

import (
	"math"
	"sort"
)

// oracle casts by looking: values holds the finite positive values by code, and
// above them the one that would come next if the format went on. All of them
// and the points halfway between are exact in float64.
type oracle struct {
	f      Format
	values []float64
}

func newOracle(f Format) *oracle {
	o := &oracle{f: f}
	for c := range 128 {
		if v := formula(f, uint8(c)); !math.IsNaN(v) && !math.IsInf(v, 0) {
			o.values = append(o.values, v)
		}
	}
	n := len(o.values)
	o.values = append(o.values, 2*o.values[n-1]-o.values[n-2])
	return o
}

// limit returns the point halfway between code and code+1, and whether a tie
// there goes to code.
func (o *oracle) limit(code int) (half float64, tieStays bool) {
	return (o.values[code] + o.values[code+1]) / 2, code%2 == 0
}

// nearest returns the index into values nearest to a ≥ 0, ties to even.
func (o *oracle) nearest(a float64) int {
	return sort.Search(len(o.values)-1, func(code int) bool {
		half, tieStays := o.limit(code)
		return a < half || a == half && tieStays
	})
}

// finish turns an index from nearest into a code.
func (o *oracle) finish(index int, negative bool, overflow Overflow) uint8 {
	code := uint8(index)
	if index == len(o.values)-1 {
		switch {
		case overflow == Saturate:
			code--
		case o.f == E5M2Format:
			code = 0x7C
		default:
			return o.nan(negative)
		}
	}
	if negative && (code != 0 || !o.fnuz()) {
		code |= 0x80
	}
	return code
}

func (o *oracle) fnuz() bool { return o.f == E4M3FNUZFormat || o.f == E5M2FNUZFormat }

func (o *oracle) nan(negative bool) uint8 {
	switch {
	case o.fnuz():
		return 0x80
	case negative:
		return 0xFF
	}
	return 0x7F
}

func (o *oracle) encode(x float32, overflow Overflow) uint8 {
	negative := math.Float32bits(x)>>31 == 1
	if x != x {
		return o.nan(negative)
	}
	return o.finish(o.nearest(math.Abs(float64(x))), negative, overflow)
}

// oracleE8M0 casts by comparing x with every power of two.
func oracleE8M0(x float32, r Rounding, overflow Overflow) E8M0 {
	v := float64(x)
	switch {
	case !(v >= 0):
		return 255
	case v < 0x1p-127 && overflow == Saturate:
		return 0
	case v > 0x1p127 && overflow == Saturate:
		return 254
	case v < 0x1p-127 || v > 0x1p127:
		return 255
	}
	low := 0
	for low < 254 && math.Ldexp(1, low+1-127) <= v {
		low++
	}
	below, above := math.Ldexp(1, low-127), math.Ldexp(1, low+1-127)
	switch {
	case v == below:
	case r == RoundUp, r == RoundNearest && above-v <= v-below:
		low++
	}
	return E8M0(low)
}

// oracleHalf casts to float16 or bfloat16 by searching among all its values.
type oracleHalf struct {
	values []float64 // positive finite ones by code, and the one that would follow
	inf    uint16
}

func newOracleHalf(man, bias int) *oracleHalf {
	o := &oracleHalf{inf: uint16(0x7FFF >> man << man)}
	for c := range int(o.inf) + 1 { // the code of infinity has the value that would follow
		exponent, mantissa := c>>man, math.Ldexp(float64(c&(1<<man-1)), -man)
		v := math.Ldexp(1+mantissa, exponent-bias)
		if exponent == 0 {
			v = math.Ldexp(mantissa, 1-bias)
		}
		o.values = append(o.values, v)
	}
	return o
}

func (o *oracleHalf) limit(code int) (half float64, tieStays bool) {
	return (o.values[code] + o.values[code+1]) / 2, code%2 == 0
}

func (o *oracleHalf) nearest(a float64) uint16 {
	return uint16(sort.Search(int(o.inf), func(code int) bool {
		half, tieStays := o.limit(code)
		return a < half || a == half && tieStays
	}))
}
