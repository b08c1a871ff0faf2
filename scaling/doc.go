// Package scaling says how a tensor is scaled before it is cast to float8: the recipe that a user chooses, the formula from an
// amax (the largest magnitude) to a scale, and the delayed state of one operand, which Observe and Advance move.
//
// It knows numbers and their history. It refuses to know models, devices and files. float8 comes before it; rewrite and calibrate
// use it.
//
// Two conventions exist for a scale, and a bare word would not tell which is meant: QuantScale multiplies a value on its way to
// float8 (max/amax, what training libraries store), DequantScale multiplies a code on its way back (amax/max, what inference
// checkpoints and DequantizeLinear store).
package scaling
