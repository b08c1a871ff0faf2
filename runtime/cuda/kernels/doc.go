// Package kernels holds the GPU kernels, as CUDA C and as the PTX made from it, and launches them.
//
// It knows what each kernel computes, how its arguments lie in memory, which grid it wants, and which variant suits addresses, types
// and sizes. It refuses to know operators, graphs and models, and it never waits, allocates or copies to the host: a launch is put
// into a stream and that is all, so everything here can be captured. runtime/cuda/driver comes before it, the engine after it.
//
// The sources are in source, one file for each family, and open with layout, launch shape and the bytes that must be moved; what all share
// is source/common.cuh. The PTX in ptx is made from them by make generate-ptx, which needs NVRTC but no GPU; a program carries the PTX and
// needs the driver alone. It is for compute capability 8.9 and later: older cards have no float8 conversions. Sources whose names end on
// _sm90a are for 9.0 alone, where their kernels take the place of slower ones that every card runs.
//
// Rules that hold for every kernel:
//
//   - Arithmetic is float32; a result is rounded once, to the type of its output. Codes and amaxes that are fused in are those of the
//     output as its type holds it, so a fused kernel gives the same bits as the two kernels that it replaces.
//   - Codes are those of package float8: product with the scale in float32, nearest even, saturating, NaN is 0x7f.
//   - An amax is raised, not set: the caller sets it to zero first. It lies in memory as a float32 and is NaN if a value is NaN.
//   - A scale is read from the GPU's memory when the kernel runs, so that a captured graph follows it.
//   - Addresses and widths that allow no 16-byte access cost time and nothing else, except where a function says so.
package kernels
