// Package shape tells element types, ranks and extents of a model's values as far as they can be known without running it.
//
// It knows what the file declares, what constants are, and how ONNX's operators carry both forward, including the small integer
// arithmetic that exporters put between Shape and Reshape. It refuses to guess: an operator outside its table, a name that two
// elements of one graph claim, a function of the model's own, and declarations that contradict each other give "unknown". A
// declared type is believed, except where it contradicts something that follows from constants and operator definitions alone;
// then the latter is believed.
//
// graph comes before it; the rules of rewrite, the opset passes and the inliner ask it afterwards. An Info is a snapshot: make it
// again after a change.
package shape
