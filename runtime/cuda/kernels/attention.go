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
	Q, K, V                                driver.Ptr
	O                                      driver.Ptr // the output; may be 0
	QStrides, KStrides, VStrides, OStrides [3]int64   // of batch, head and position, in elements
	Codes                                  Codes      // of the output, by OStrides; Ld is not used
	Batch, Heads, KVHeads, Head            int64      // Heads a multiple of KVHeads: query head h uses key head h/(Heads/KVHeads)
	Queries, Keys                          int64
	Scale                                  float32
	Mask                                   Mask
	Causal                                 bool  // query i sees keys up to i + Offset
	Offset                                 int64 // usually Keys - Queries, what a cache holds
}

// TensorCores reports whether a fast kernel takes it: bfloat16, heads of 64 or 128, every stride and address a multiple of 16 bytes (the
// codes' one of 8), a scale above zero. Cards of compute capability 9.0 have one that is twice as fast, if the keys of a mask are
// contiguous and it is float32, bfloat16 or boolean.
func (a Attention) TensorCores() bool {
	if a.T != BF16 || a.Head != 64 && a.Head != 128 || !(a.Scale > 0) || (a.Q|a.K|a.V|a.O)%16 != 0 || a.Codes.To%8 != 0 {
		return false
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

// hopper reports whether the kernels of attention_sm90a.cu take it, on a card that has them.
func (a Attention) hopper() bool {
	return a.TensorCores() && (a.Mask.P == 0 || a.Mask.T != F16 && a.Mask.Strides[3] == 1)
}

// Attend computes attention without scores in memory. A query that sees no key gets zeros.
func (s *Set) Attend(a Attention, stream driver.Stream) error {
	return s.attend(a, s.hopper() && a.hopper(), stream)
}

func (s *Set) attend(a Attention, hopper bool, stream driver.Stream) error {
	if a.T != F32 && a.T != BF16 {
		return &TypeError{"attention", "input", a.T}
	}
	if err := a.Mask.check("attention"); err != nil {
		return err
	}
	if a.Codes.To != 0 && a.Codes.Format.format() == "" {
		return &TypeError{"attention", "codes", a.Codes.Format}
	}
	if a.Head < 1 || a.Head > 128 {
		return &SizeError{"attention", "head", fmt.Sprint(a.Head), "1 to 128"}
	}
	if a.KVHeads < 1 || a.Heads%a.KVHeads != 0 || a.Heads > math.MaxUint16 || a.Batch > math.MaxUint16 {
		return &SizeError{"attention", "batch, heads and key heads", fmt.Sprint(a.Batch, a.Heads, a.KVHeads),
			"at most 65535, the heads a multiple of the key heads"}
	}
	name, l, tiles := a.launch(hopper)
	if tiles > math.MaxInt32 {
		return &SizeError{"attention", "number of tiles of queries", fmt.Sprint(tiles), "fewer than 2^31"}
	}
	l.Stream = stream
	return launch(s, name, l, &attentionArgs{q: a.Q, k: a.K, v: a.V, o: a.O, mask: a.Mask.P, codes: a.Codes.To, codeScale: a.Codes.Scale,
		amax: a.Codes.Amax, qStride: a.QStrides, kStride: a.KStrides, vStride: a.VStrides, oStride: a.OStrides, maskStride: a.Mask.Strides,
		queries: a.Queries, keys: a.Keys, offset: a.Offset, heads: int32(a.Heads), kvHeads: int32(a.KVHeads), head: int32(a.Head),
		causal: flag(a.Causal), maskType: a.Mask.T, format: a.Codes.Format, scale: a.Scale})
}

// launch is the kernel for it and how it is launched; tiles is the number of blocks in the first dimension, if it fits.
func (a Attention) launch(hopper bool) (name string, l driver.Launch, tiles int64) {
	per := func(rows int64) int64 { return (a.Queries + rows - 1) / rows }
	if hopper {
		// Room<D>::BYTES of attention_sm90a.cu: queries, two tiles of keys and two of values, barriers, alignment.
		tile := 128 * a.Head * 2
		name, l.Shared = fmt.Sprintf("attention_hopper_%d_bf16", a.Head), int(5*tile+64+1024)
		if a.Mask.P != 0 {
			name = fmt.Sprintf("attention_hopper_mask_%d_bf16", a.Head)
		}
		tiles = per(128) * a.Heads * a.Batch
		l.Grid, l.Block = [3]uint32{uint32(tiles), 1, 1}, [3]uint32{384, 1, 1}
		return name, l, tiles
	}
	name, tiles, l.Block = "attention_any_"+a.T.suffix(), per(8), [3]uint32{256, 1, 1}
	if a.TensorCores() {
		name, tiles, l.Block = fmt.Sprintf("attention_mma_%d_bf16", a.Head), per(64), [3]uint32{128, 1, 1}
	}
	l.Grid = [3]uint32{uint32(tiles), uint32(a.Heads), uint32(a.Batch)}
	return name, l, tiles
}
