// Package specialize makes a model static: for inputs of given shapes it computes beforehand whatever follows from the shapes and the
// constants alone, and puts one operator in place of what exporters spell with many.
//
// A model as exporters write it decides the extents of its values while running: Shape, Gather, Concat, Reshape, masks from Range and
// comparisons, tables of sines. An engine that plans memory and records its launches wants none of that. Specialize returns a model
// in ONNX's own operators, so that any engine can check it against the model that it was made from.
//
// It knows ONNX's operators as far as it replaces them, and refuses to know any device. graph, shape and an engine that folds
// (given by the caller) come before it; runtime/cuda/program after it.
package specialize
