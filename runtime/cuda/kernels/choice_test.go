package kernels

import (
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// TestTheKernelThatSuits needs no GPU: which kernel is chosen depends on types, sizes and addresses alone.
func TestTheKernelThatSuits(t *testing.T) {
	strides := [3]int64{1 << 20, 128, 4096}
	base := Attention{T: BF16, Q: 256, K: 512, V: 768, O: 1024, QStrides: strides, KStrides: strides, VStrides: strides, OStrides: strides,
		Batch: 2, Heads: 3, KVHeads: 3, Head: 128, Queries: 300, Keys: 300, Scale: 0.1}
	mask := Mask{P: 8, T: F32, Strides: [4]int64{0, 0, 300, 1}}
	for _, c := range []struct {
		change    string
		f         func(a *Attention)
		all       string // on every card
		hopper    string // on compute capability 9.0
		tiles     int64
		hopperAll int64
	}{
		{"none", func(a *Attention) {}, "attention_mma_128_bf16", "attention_hopper_128_bf16", 5, 18},
		{"heads of 64", func(a *Attention) { a.Head = 64 }, "attention_mma_64_bf16", "attention_hopper_64_bf16", 5, 18},
		{"heads of 80", func(a *Attention) { a.Head = 80 }, "attention_any_bf16", "", 38, 0},
		{"float32", func(a *Attention) { a.T = F32 }, "attention_any_float", "", 38, 0},
		{"an address off by 8", func(a *Attention) { a.V += 8 }, "attention_any_bf16", "", 38, 0},
		{"codes off by 4", func(a *Attention) { a.Codes.To = 4 }, "attention_any_bf16", "", 38, 0},
		{"a stride off by 4", func(a *Attention) { a.KStrides[1] = 132 }, "attention_any_bf16", "", 38, 0},
		{"a scale below zero", func(a *Attention) { a.Scale = -1 }, "attention_any_bf16", "", 38, 0},
		{"a mask", func(a *Attention) { a.Mask = mask }, "attention_mma_128_bf16", "attention_hopper_mask_128_bf16", 5, 18},
		{"a mask of float16", func(a *Attention) { a.Mask = mask; a.Mask.T = F16 }, "attention_mma_128_bf16", "", 5, 0},
		{"a mask with a gap between keys", func(a *Attention) { a.Mask = mask; a.Mask.Strides[3] = 2 }, "attention_mma_128_bf16", "", 5, 0},
	} {
		a := base
		c.f(&a)
		if name, l, tiles := a.launch(false); name != c.all || tiles != c.tiles || l.Grid != [3]uint32{uint32(c.tiles), 3, 2} || l.Shared != 0 {
			t.Errorf("%s: kernel %q of %d tiles, grid %v, want %q of %d", c.change, name, tiles, l.Grid, c.all, c.tiles)
		}
		if a.hopper() != (c.hopper != "") {
			t.Errorf("%s: taken by Hopper's kernels: %t", c.change, a.hopper())
			continue
		}
		if c.hopper == "" {
			continue
		}
		name, l, tiles := a.launch(true)
		if name != c.hopper || tiles != c.hopperAll || l.Grid != [3]uint32{uint32(tiles), 1, 1} {
			t.Errorf("%s: kernel %q of %d tiles, want %q of %d", c.change, name, tiles, c.hopper, c.hopperAll)
		}
		if limit := 227 << 10; l.Shared <= 48<<10 || l.Shared > limit {
			t.Errorf("%s: %d bytes of shared memory, a block can have %d", c.change, l.Shared, limit)
		}
	}

	norm := Norm{T: BF16, X: 256, Residual: 512, Y: 768, Weight: 1024, Cols: 4096}
	for _, c := range []struct {
		change string
		f      func(n *Norm)
		want   bool
	}{
		{"none", func(n *Norm) {}, true},
		{"8192 columns", func(n *Norm) { n.Cols = 8192 }, true},
		{"8200 columns", func(n *Norm) { n.Cols = 8200 }, false},
		{"4100 columns", func(n *Norm) { n.Cols = 4100 }, false},
		{"a weight off by 8", func(n *Norm) { n.Weight += 8 }, false},
		{"codes off by 4", func(n *Norm) { n.Codes.To = 4 }, false},
	} {
		n := norm
		c.f(&n)
		if got := n.fast(n.Cols); got != c.want {
			t.Errorf("norm, %s: taken by the fast kernel: %t, want %t", c.change, got, c.want)
		}
	}

	rotary := Rotary{T: BF16, X: 256, Y: 256, XStrides: strides, YStrides: strides, Batch: 2, Heads: 32, Sequence: 4096, Head: 128, Width: 128,
		Cos: 512, Sin: 768, TableType: F32, TableLd: 64}
	for _, c := range []struct {
		change string
		f      func(r *Rotary)
		want   bool
	}{
		{"none", func(r *Rotary) {}, true},
		{"a part of the head", func(r *Rotary) { r.Width = 64 }, false},
		{"neighbours", func(r *Rotary) { r.Interleaved = true }, false},
		{"a table off by 4", func(r *Rotary) { r.Sin += 4 }, false},
		{"a stride off by 4", func(r *Rotary) { r.YStrides[2] = 4100 }, false},
		{"more than 2^31 values", func(r *Rotary) { r.Batch = 200 }, false},
	} {
		r := rotary
		c.f(&r)
		if got := r.halves(); got != c.want {
			t.Errorf("rotary, %s: taken by the kernel of eight pairs: %t, want %t", c.change, got, c.want)
		}
	}
}

func TestHopperKernelsAreMarked(t *testing.T) {
	n := 0
	for _, e := range Table() {
		if e.Hopper != strings.Contains(e.Name, "hopper") {
			t.Errorf("kernel %q of module %q: for compute capability 9.0 alone: %t", e.Name, e.Module, e.Hopper)
		}
		if e.Hopper {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d kernels for compute capability 9.0 alone, want 4", n)
	}
}

func TestCodesAreRefusedWhereTheyDoNotFit(t *testing.T) {
	for _, c := range []struct {
		q    Codes
		want string
	}{
		{Codes{To: 8, Format: E4M3, Ld: 12}, "at least the 13 columns"},
		{Codes{To: 8, Format: BF16}, "bfloat16"},
	} {
		if _, err := c.q.check("rms_norm", 13); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c.q, err, c.want)
		}
	}
	if ld, err := (Codes{To: driver.Ptr(8), Format: E5M2, Ld: 16}).check("rms_norm", 13); ld != 16 || err != nil {
		t.Errorf("rows of 13 codes 16 apart: %d, %v", ld, err)
	}
}
