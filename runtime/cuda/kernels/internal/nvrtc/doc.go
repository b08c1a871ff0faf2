// Package nvrtc compiles CUDA C to PTX with NVIDIA's run-time compiler, which needs no GPU.
//
// It knows the library's calls, what a source of package kernels includes and how a compiled text names the source that it came from.
// It refuses to know what the kernels do. It is used by the generator and by the tests, never by a program that is shipped.
// internal/dynlib comes before it.
package nvrtc
