// Package arith holds elementwise arithmetic, comparison, casts, quantization and reductions, for the CPU engine.
package arith
