// Package float8 holds the eight-bit floating-point formats and nothing else:
// E4M3FN, E5M2, E4M3FNUZ, E5M2FNUZ and the scale format E8M0, their casts from
// and to float32, float16 and bfloat16, and the bulk forms that a rewriter runs
// over every weight of a model: cast with a scale, amax, error sums, decode.
//
// It knows bits. It refuses to know what a tensor, a layer or a file is, how a
// scale is chosen, and how many goroutines there are. Nothing comes before it;
// package tensor gives its codes a shape and package scaling chooses the scales.
//
// # Rounding and overflow
//
// Every cast to an E4M3 or E5M2 format rounds once, from the exact value of the
// source to the nearest code, ties to the even one. float16 and bfloat16 are
// exact in float32, so a cast from them rounds once too. Only E8M0 rounds in
// several ways and takes the way as an argument. What happens above the largest
// finite value is the argument of type [Overflow]; the table is that of ONNX's
// Cast, opset 24 and 25:
//
//	                 E4M3FN      E4M3FNUZ   E5M2       E5M2FNUZ
//	max finite       448         240        57344      57344
//	overflows from   > 464       >= 248     >= 61440   >= 61440
//	-0               -0          0          -0         0
//	NaN              ±NaN        NaN        ±NaN       NaN
//	Saturate:
//	  ±overflow      ±448        ±240       ±57344     ±57344
//	  ±Inf           ±448        ±240       ±57344     ±57344
//	NoSaturate:
//	  ±overflow      ±NaN        NaN        ±Inf       NaN
//	  ±Inf           ±NaN        NaN        ±Inf       NaN
//
// "Overflows from" speaks of the value before rounding: 464 is halfway between
// 448 and the code that would be 480, and 448 is the even neighbour. The text of
// Cast-19 sends ±Inf to NaN in the saturating FNUZ casts; Cast-24 and later send
// it to ±max, as for the other formats, and so does this package. A NaN keeps
// its sign where the format has one and always becomes the code 0x7F or 0xFF,
// 0x80 in the FNUZ formats.
//
// # Scaled bulk casts
//
// The bulk casts compute
//
//	q = saturate(round(float32(v) * scale))
//
// with one float32 product, as the Mul of an ONNX graph would, and the saturating
// cast above. A product that is NaN, from a NaN value or from 0·Inf, becomes the
// format's positive NaN code whatever its sign, because the sign of a NaN that a
// multiplication makes differs between processors. A scale may be any float32;
// positive finite ones take the fast path.
//
// # Fast paths
//
// On amd64 with AVX2 or AVX-512 and on arm64 the bulk forms run in assembly; the
// build tag purego leaves plain Go alone. Both give the same bits in every
// result, the error sums included: these run in sixteen float64 lanes, element i
// in lane i mod 16, joined in a fixed order. There a source may start at any
// byte, aligned or not, as values in a mapped file do.
package float8
