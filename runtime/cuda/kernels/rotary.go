package kernels

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Rotary is a rotary position embedding of [Batch, Heads, Sequence, Head] values of type T (F32 or BF16), elements of a head contiguous.
type Rotary struct {
	T                            Type
	X, Y                         driver.Ptr
	XStrides, YStrides           [3]int64 // of batch, head and sequence, in elements
	Batch, Heads, Sequence, Head int64
	Width                        int64      // how many of a head's elements are turned, an even number; the rest is copied
	Cos, Sin                     driver.Ptr // rows by position
	TableType                    Type       // F32, F16 or BF16
	TableLd                      int64      // elements from row to row; 0: Width/2, or Width if Full
	Full                         bool       // a row has a value for each element, else for each pair
	Interleaved                  bool       // pairs are neighbours, else they are half of Width apart
	Positions                    driver.Ptr // int64, one for each of the sequence; 0: Start and up
	PositionStride               int64      // from batch to batch; 0 repeats
	Start                        int64
}

// Rotate computes it: products of values and table entries, both of type T, each rounded to T before they are added. X and Y may be the same.
func (s *Set) Rotate(r Rotary, stream driver.Stream) error {
	if r.T != F32 && r.T != BF16 {
		return &TypeError{"rotary", "input", r.T}
	}
	if r.TableType.suffix() == "" {
		return &TypeError{"rotary", "table", r.TableType}
	}
	if r.Width%2 != 0 || r.Width < 0 || r.Width > r.Head {
		return &SizeError{"rotary", "width", fmt.Sprint(r.Width), fmt.Sprintf("an even number up to the head's %d", r.Head)}
	}
	if r.TableLd == 0 {
		r.TableLd = r.Width / 2
		if r.Full {
			r.TableLd = r.Width
		}
	}
	name, n := "rotary_"+r.T.suffix(), r.Batch*r.Heads*r.Sequence*(r.Head-r.Width/2)
	if r.halves() {
		heads := 8 / r.T.Size() // of a thread
		name, n = "rotary_halves_"+r.T.suffix(), r.Batch*((r.Heads+heads-1)/heads)*r.Sequence*r.Width/16
	}
	return launch(s, name, s.turns(n, threads, 64, stream), &rotaryArgs{x: r.X, cosine: r.Cos, sine: r.Sin, y: r.Y,
		position: r.Positions, batch: r.Batch, heads: r.Heads, sequence: r.Sequence, head: r.Head, width: r.Width, xStride: r.XStrides,
		yStride: r.YStrides, tableLd: r.TableLd, positionStride: r.PositionStride, start: r.Start, tableType: r.TableType,
		full: flag(r.Full), interleaved: flag(r.Interleaved)})
}

// halves reports whether the kernel takes it that turns eight pairs at a time: halves of whole heads, in 16-byte words.
func (r Rotary) halves() bool {
	words := r.X%16 == 0 && r.Y%16 == 0 && r.Cos%16 == 0 && r.Sin%16 == 0 && r.TableLd%8 == 0
	for _, n := range append(r.XStrides[:], r.YStrides[:]...) {
		words = words && n%8 == 0
	}
	return words && !r.Interleaved && r.Width == r.Head && r.Width%16 == 0 && r.Batch*(r.Heads+3)*r.Sequence*r.Head < 1<<31
}
