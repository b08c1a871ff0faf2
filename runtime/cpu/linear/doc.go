// Package linear holds matrix products: MatMul, Gemm, their integer forms, Einsum, and Float8Linear, for the CPU engine.
package linear
