// Package measure finds out what a card reaches: in float8 and bfloat16 products, in moving memory, in a cast with its amax, and in a
// whole float8 linear layer beside a bfloat16 one.
//
// It knows how to time work on a GPU: random data, since a card slows down under it; many launches recorded as one graph, so that the
// processor's part does not count; medians of replays. It refuses to know models, and to judge. runtime/cuda/driver, lt and kernels come
// before it; the engine's answer to `fp8rewrite bench`, and bench/gpu, come after it.
package measure
