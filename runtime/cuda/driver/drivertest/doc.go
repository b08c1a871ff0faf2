// Package drivertest makes libraries that stand in for CUDA's in tests: a libcuda whose memory is the host's and whose kernels are told
// instead of run, and a libcublasLt that multiplies on the CPU. They record what they are called with, and fail when they are asked to,
// which no GPU does. The first can also be linked against, for what reaches CUDA through cgo.
//
// It knows the C interfaces and a compiler. It refuses to know the packages that call them: those import it, in their tests alone.
package drivertest
