// Package cu chooses how this build reaches the CUDA driver API, and holds the second way to it: the module gorgonia.org/cu.
//
// It knows which of the calls of [driver.Driver] that module has, and makes the few that it lacks with cgo itself. It refuses to know
// what the calls are for. runtime/cuda/driver comes before it, the engine after it: who wants the driver API of this build asks [Choose].
//
// Without a build tag [Choose] is [driver.Found.Driver], and nothing else is in this package: no cgo, no code of that module. The build
// tag cu needs cgo, the headers of CUDA 12.4 to 12.9 and a libcuda to link against, such as the one among a toolkit's stubs:
//
//	CGO_ENABLED=1 CGO_CFLAGS=-I$TOOLKIT/include CGO_LDFLAGS=-L$TOOLKIT/lib64/stubs go build -tags cu ./cmd/fp8rewrite
//
// A program so built asks for libcuda.so.1 when it starts, whatever it is told to do then, and ends with status 1 before its first line
// where there is no GPU: gorgonia.org/cu calls cuInit in its package initialization, and os.Exit where that fails. It captures no
// graphs, which that module cannot: [driver.ErrNoGraphs].
package cu
