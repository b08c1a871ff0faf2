// Package gemm multiplies matrices: C = epilogue(A·B), in float32 on a blocked, multi-threaded kernel, and in float64 and integers in plain
// Go.
//
// It knows tiles, packing and what can be done to numbers on their way into a product and out of it. It refuses to know operators, shapes
// of more than two axes and where a tensor came from: package linear and the convolutions of package nn say which matrices they mean.
// tensor and float8 come before it.
//
// # A product
//
// A [Problem] names the operands and [Run] computes it. Operands are described, not copied: an element type, bytes and two strides, so a
// transposed matrix, a head of an attention layer or a slice is an operand as it lies. What is not float32 becomes float32 while it is
// packed: float16 and bfloat16 are widened, float8 codes decoded, and A can be cast to float8 and back on the way ([Cast]), with amax and
// counts of that same pass.
//
// B comes in one of three forms:
//
//   - [Problem.B], packed anew in every run, block by block, or read in place where packing would not pay;
//   - [Problem.Packed], made once by [Pack] for a weight that stays;
//   - [Problem.Fill], a function that writes a piece of a panel. A convolution fills it from its image, so that the matrix of patches
//     never exists: with the weights as A [outputs, channels·kernel], the pixels of the output are the columns and
//     [Epilogue.RowBias] is the bias.
//
// Run shares the work out with its [Workers] and so must not be called from inside their For; there, hand it workers that do everything
// in the calling goroutine.
//
// Fill and the panels of a Packed share one layout: columns in groups of [Width], each group a panel of K rows of Width floats.
//
// # Memory
//
// Beside the operands a run holds packed blocks, which do not grow with M and N: at most 8 MiB of A and 2 MiB of B that all workers
// share, or 2 MiB of B for each worker, and 8 MiB of A for a worker that has matrices of a batch to itself and must convert A. They come
// from pools that the garbage collector may empty. Only a sum of more than 16384 products that goes to a 16-bit C needs the whole of C in float32.
//
// # What a result depends on
//
// Every element of the product is one chain: acc = 0, then acc = fma(a[i][k], b[k][j], acc) for k from 0 to K-1, in that order. Edges run
// the same kernels, threads share out rows and columns and never K. So a row of C depends on its own row of A and on B alone: not on M, its
// place, N or the number of threads. The assembly kernels (AVX-512, AVX2, NEON) all give the same bits; plain Go rounds the product before
// it adds, and so gives others.
//
// Padding enters no chain that is kept: NaN and infinities come from operands alone, and 0·NaN is NaN.
package gemm
