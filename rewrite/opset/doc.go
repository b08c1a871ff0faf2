// Package opset raises the version of ONNX's own operator set that a model is written in, so that operators of a newer version
// (the float8 Cast of 19 above all) can stand beside the old ones.
//
// It knows, for every operator and every version from 1 to 25, what changed (table.go), and how a node of the version before says
// the same in the new form; of the changes up to version 7, which runtimes have left behind, only the common ones. It refuses to
// guess: an operator outside the table, and a case that has no exact form at the target version, block the lift, each with its
// reason, and then the model stays as it was. Where the texts leave something open and ONNX Runtime gives it one meaning, the
// conversion keeps that one and says so. It refuses to know files and the operators of other domains, whose versions it leaves
// alone.
//
// The shapes and element types that some conversions ask for come from shape, which runs before it; the passes that place
// float8 operators run after it.
package opset
