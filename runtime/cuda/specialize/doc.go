// Package specialize makes a model static: for inputs of given shapes it computes beforehand whatever follows from the shapes and the
// constants alone, and puts one operator in place of what exporters spell with many.
//
// A model as exporters write it decides the extents of its values while running: Shape, Gather, Concat, Reshape, masks from Range and
// comparisons, tables of sines. An engine that plans memory and records its launches wants none of that. Specialize returns a model
// in ONNX's own operators, so that any engine can check it against the model that it was made from.
//
// It knows ONNX's operators, and a few of ONNX Runtime's, as far as it replaces them: norms, Gelu, rotary embedding, attention. A pattern is
// replaced only where nobody else sees what lies inside it. It refuses to know any device. graph, shape, the passes that expand functions and
// lift versions, and an engine that computes constants (given by the caller) come before it; runtime/cuda/program after it.
package specialize
