// Package ops is the one definition of Float8Linear, the operator that this project adds: its inputs and outputs, its attributes,
// the names of its state, its variants, and the function body that lets any ONNX runtime execute it.
//
// It knows what a Float8Linear node looks like, and how to make one and read one. It refuses to know which layers become one
// (rewrite), what the numbers in its state should be (scaling) and how it is computed fast. graph, tensor and
// float8 come before it; docs/FLOAT8LINEAR.md is its text for people, and a test holds the two together.
package ops
