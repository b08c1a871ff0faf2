// Package linear holds matrix products for the CPU engine: MatMul, Gemm, their quantized forms, Einsum, and Float8Linear.
//
// It knows what these operators mean: shapes, broadcasting, attributes, scales. It refuses to know how a product is computed (package gemm)
// and what stands around a node. kernel and gemm come before it, the engine (runtime/cpu) after it.
//
// [MatMul], [Gemm] and [Float8Linear] can also be had as objects, whose Run takes a [Fuse]: what the engine found behind the node (a
// bias, a residual, an activation) and wants done while the product is in cache. [Table] has the first two without it. Float8Linear is
// not in the table, since it returns statistics.
package linear
