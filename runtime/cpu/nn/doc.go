// Package nn holds the operators of neural networks for the CPU engine: convolutions, pools, normalizations, recurrent layers, attention and
// losses, in ONNX's own domain and, where optimized models have them, in com.microsoft.
//
// It knows the formulas of the ONNX specification. It refuses to know graphs, sessions and the shapes of anything but its own operands.
// kernel, gemm and vec come before it; the engine comes after it and finds its operators in [Table].
//
// Float32 and float64 are computed as such, 16-bit floats as float32; work.go converts. Matrix products of float32 are gemm's; plain loops do
// those of float64 and int32.
//
// # Convolutions
//
// An image is never unfolded as a whole. A convolution is the product of its weights and a matrix of columns that gemm asks for panel by
// panel (columns.go). Where the window does not overhang much, channels are first laid out as planes (plane.go), in which every tap of the
// kernel reads neighbours: a panel is then a few copies. Pools and depthwise convolutions run over the same planes, a tap at a time over a
// whole channel.
//
// # What a result depends on
//
// A row of a normalization, of softmax, of attention and of a recurrent layer depends on its own inputs alone, not on how many rows there
// are nor on threads: products are gemm's chains, and sums within a row take an order that depends on the row's length.
package nn
