//go:build cu && !cgo

package cu

// A build that cannot be says why in the compiler's own message.
var _ = the_build_tag_cu_needs_CGO_ENABLED_1_and_the_headers_of_CUDA_12
