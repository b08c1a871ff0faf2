// Package vec computes on slices of float32 with the processor's vector instructions: AVX2 and AVX-512 on amd64, plain Go elsewhere.
//
// It knows arithmetic on one slice or two. It refuses to know tensors, shapes and threads. arith, nn and the engine's fused steps call it.
//
// An element's result does not depend on where in a slice it stands, and a sum is taken in an order that depends on the length alone: 16
// partial sums, the one at j of the elements at j, j+16, j+32, …, joined as a binary tree. So results do not depend on how rows are
// divided among calls. They do depend on the instruction set, by an ulp or two: vec is not a way to the same bits on different processors.
//
// internal/asmgen writes the assembly: `make generate-asm`.
package vec
