package gemm

var best = plain
