// Package ort executes models with ONNX Runtime: the shared library is found while the program runs, and called without cgo.
//
// It knows ONNX Runtime's C API, where the library usually lies, and how a model is handed to it: as ONNX, with the amax of every
// Float8Linear as an output, so that no kernel of our own is needed. It refuses to know what the operators mean and what the results
// are for. Package runtime gives it its contract, onnxio writes the model, rewrite/observe leads the amaxes out; a command chooses it.
//
// What it cannot do, and says so: bound its memory ([runtime.Options].MaxMemory), call out in the middle of a run
// ([runtime.Options].AllReduceMax, where a layer's scale is made during the run), and count what casts did: [runtime.LayerStats] has
// amaxes and no counts. A layer in an operator that hands no further values out, or in a function, shows as one that did not run.
package ort
