// Package observe makes every Float8Linear's amax an output of the model, so that any runtime can report it.
//
// It knows which output of the operator is the amax, and how a value leaves the graphs inside If, Loop and Scan. It refuses to
// know what is done with the amaxes, and how the outputs are read.
//
// ops and graph come before it, and a model that rewrite made; whoever runs the result reads the outputs. The model that it
// makes is for calibration and is not meant to be kept.
package observe
