//go:build purego || !(amd64 || arm64)

package gemm

var best = plain

// available are the instruction sets of this processor: plain Go.
func available() []*isa { return []*isa{plain} }
