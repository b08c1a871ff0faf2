package program

import "github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"

// expression is an elementwise computation that has no place in memory yet: a kernels.Chain over tensors.
type expression struct {
	dims   []int64
	t      kernels.Type
	inputs []*Tensor
	steps  []kernels.Step
}
