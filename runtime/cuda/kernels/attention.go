package kernels

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Attention is softmax(q·kᵀ·Scale + mask)·v of type T (F32 or BF16): q and the output [Batch, Heads, Queries, Head], k and v
// [Batch, KVHeads, Keys, Head], the elements of a head contiguous. Head is at most 128.
type Attention struct {
	T                                      Type
	Q, K, V, O                             driver.Ptr
	QStrides, KStrides, VStrides, OStrides [3]int64 // of batch, head and position, in elements
	Batch, Heads, KVHeads, Head            int64    // Heads a multiple of KVHeads: query head h uses key head h/(Heads/KVHeads)
	Queries, Keys                          int64
	Scale                                  float32
	Mask                                   Mask
	Causal                                 bool  // query i sees keys up to i + Offset
	Offset                                 int64 // usually Keys - Queries, what a cache holds
}

// TensorCores reports whether a fast kernel takes it: bfloat16, heads of 64 or 128, every address and stride a multiple of 16 bytes, a
// scale above zero. Of these, heads of 128 without a mask have a faster one yet on cards of compute capability 9.0.
func (a Attention) TensorCores() bool {
	if a.T != BF16 || a.Head != 64 && a.Head != 128 || !(a.Scale > 0) {
		return false
	}
	for _, p := range []driver.Ptr{a.Q, a.K, a.V, a.O} {
		if p%16 != 0 {
			return false
		}
	}
	for _, strides := range [][3]int64{a.QStrides, a.KStrides, a.VStrides, a.OStrides} {
		for _, n := range strides {
			if n%8 != 0 {
				return false
			}
		}
	}
	return true
}

// Attend computes attention without scores in memory. A query that sees no key gets zeros.
func (s *Set) Attend(a Attention, stream driver.Stream) error {
	return s.attend(a, s.hopper() && a.TensorCores() && a.Head == 128 && a.Mask.P == 0, stream)
}

// What a block of the kernel for compute capability 9.0 takes: see attention_sm90a.cu.
const (
	hopperRows   = 128
	hopperShared = 5*hopperRows*256 + 64 + 1024
)

func (s *Set) attend(a Attention, hopper bool, stream driver.Stream) error {
	if a.T != F32 && a.T != BF16 {
		return &TypeError{"attention", "input", a.T}
	}
	if err := a.Mask.check("attention"); err != nil {
		return err
	}
	if a.Head < 1 || a.Head > 128 {
		return &SizeError{"attention", "head", fmt.Sprint(a.Head), "1 to 128"}
	}
	if a.KVHeads < 1 || a.Heads%a.KVHeads != 0 || a.Heads > math.MaxUint16 || a.Batch > math.MaxUint16 {
		return &SizeError{"attention", "batch, heads and key heads", fmt.Sprint(a.Batch, a.Heads, a.KVHeads),
			"at most 65535, the heads a multiple of the key heads"}
	}
	name, tile, block := "attention_any_"+a.T.suffix(), int64(8), uint32(256)
	if a.TensorCores() {
		name, tile, block = fmt.Sprintf("attention_mma_%d_bf16", a.Head), 64, 128
	}
	if hopper {
		name, tile, block = "attention_hopper_128_bf16", hopperRows, 384
	}
	tiles := (a.Queries + tile - 1) / tile
	grid, shared := [3]uint32{uint32(tiles), uint32(a.Heads), uint32(a.Batch)}, 0
	if hopper {
		tiles *= a.Heads * a.Batch
		grid, shared = [3]uint32{uint32(tiles), 1, 1}, hopperShared
	}
	if tiles > math.MaxInt32 {
		return &SizeError{"attention", "number of tiles of queries", fmt.Sprint(tiles), "fewer than 2^31"}
	}
	l := driver.Launch{Grid: grid, Block: [3]uint32{block, 1, 1}, Shared: shared, Stream: stream}
	return launch(s, name, l, &attentionArgs{q: a.Q, k: a.K, v: a.V, o: a.O, mask: a.Mask.P, qStride: a.QStrides, kStride: a.KStrides,
		vStride: a.VStrides, oStride: a.OStrides, maskStride: a.Mask.Strides, queries: a.Queries, keys: a.Keys, offset: a.Offset,
		heads: int32(a.Heads), kvHeads: int32(a.KVHeads), head: int32(a.Head), causal: flag(a.Causal), maskType: a.Mask.T, scale: a.Scale})
}
