// Package rewrite swaps the linear layers of a model for Float8Linear.
//
// The passes run in this order: functions that hold layers are inlined (rewrite/inline); every MatMul and Gemm is decided on, by a
// rule or with the reason for which it stays; if any layer is to be rewritten, the model is lifted to an opset that has the float8
// Cast (rewrite/opset) and the rules are applied; what nobody uses any more is taken away. The input model is never changed: the
// passes work on a copy, and a pass that cannot go on leaves the copy behind.
//
// It knows operators and their constants (rewrite/quantize turns those into float8). It refuses to know files and devices. A
// codec comes before it and after it; the decisions are rows of the report.
package rewrite
