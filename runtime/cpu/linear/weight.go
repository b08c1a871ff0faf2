package linear

import (
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// weight is a constant right operand [k,n] that may be held packed. It is packed by the first run, with that run's threads.
type weight struct {
	operand gemm.Operand
	k, n    int
	packed  *gemm.Packed
	scale   []float32 // that is in packed
}

// newWeight is nil where the memory for it is not granted.
func newWeight(s *kernel.Site, o gemm.Operand, k, n int) *weight {
	if k == 0 || n == 0 || s.MayPack == nil || !s.MayPack(gemm.PackedBytes(k, n)) {
		return nil
	}
	return &weight{operand: o, k: k, n: n}
}

// get is the packed weight, made again where scale, which multiplies its columns, is another than last time.
func (w *weight) get(workers gemm.Workers, scale []float32) *gemm.Packed {
	if w.packed == nil || !sameBits(w.scale, scale) {
		o := w.operand
		o.Scale = scale
		w.packed = nil // the garbage collector may have the old one before the new one is made
		w.packed = gemm.Pack(workers, o, w.k, w.n)
		w.scale = append([]float32(nil), scale...)
	}
	return w.packed
}
