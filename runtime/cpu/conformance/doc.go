// Package conformance holds the CPU engine against the node tests of the ONNX project: a model of one operator, or a few, with inputs and
// the outputs that the specification's reference gives. The tests are files of the onnx Python package; where they are not found, the test
// says so and skips.
//
// It knows which tests the engine does not pass and why (skips.go), and writes docs/CONFORMANCE.md.
package conformance
