package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// grid says which scale and zero point an element has. The data is seen as [outer, extent, inner]; along extent, blocks of length
// block share a scale.
type grid struct {
	extent, inner int
	block         int // 0 where all elements share one scale
	blocks        int // along extent
	perInner      bool
}

// newGrid finds out how scales of one shape belong to data of another: one for all, one for each index along axis, or, where block is
// set, one for each block of so many along axis.
func newGrid(data, scales []int, axis int64, block int64) (grid, error) {
	if kernel.Count(scales) == 1 && block == 0 || len(scales) == 0 {
		return grid{extent: 1, inner: kernel.Count(data)}, nil
	}
	at, err := kernel.Axis(axis, len(data))
	if err != nil {
		return grid{}, err
	}
	g := grid{extent: data[at], inner: kernel.Count(data[at+1:])}
	mismatch := func() error {
		return fmt.Errorf("scales %s do not fit data %s along axis %d with block size %d", kernel.ShapeString(scales), kernel.ShapeString(data), at, block)
	}
	if block == 0 {
		if len(scales) != 1 || scales[0] != data[at] {
			return g, mismatch()
		}
		g.block, g.blocks = 1, data[at]
		return g, nil
	}
	if block < 0 || len(scales) != len(data) {
		return g, mismatch()
	}
	for i, d := range data {
		if i == at {
			d = (d + int(block) - 1) / int(block)
		}
		if scales[i] != d {
			return g, mismatch()
		}
	}
	g.block, g.blocks, g.perInner = int(block), scales[at], true
	return g, nil
}

// spreadScales writes the scale of elements [lo, lo+len(dst)) to dst.
func spreadScales[T any](g grid, dst, scales []T, lo int) {
	if g.block == 0 {
		for i := range dst {
			dst[i] = scales[0]
		}
		return
	}
	if g.inner == 1 {
		spreadLast(g, dst, scales, lo)
		return
	}
	in := lo % g.inner
	at := lo / g.inner % g.extent
	outer := lo / g.inner / g.extent
	for i := 0; i < len(dst); {
		n := min(g.inner-in, len(dst)-i)
		if g.perInner {
			row := (outer*g.blocks + at/g.block) * g.inner
			copy(dst[i:i+n], scales[row+in:])
		} else {
			v := scales[at]
			for j := range n {
				dst[i+j] = v
			}
		}
		i, in = i+n, 0
		if at++; at == g.extent {
			at, outer = 0, outer+1
		}
	}
}

// spreadLast is spreadScales along the last axis.
func spreadLast[T any](g grid, dst, scales []T, lo int) {
	at, outer := lo%g.extent, lo/g.extent
	for len(dst) > 0 {
		if !g.perInner {
			n := copy(dst, scales[at:])
			dst, at = dst[n:], 0
			continue
		}
		n := min(g.block-at%g.block, g.extent-at, len(dst))
		v := scales[outer*g.blocks+at/g.block]
		for i := range dst[:n] {
			dst[i] = v
		}
		dst = dst[n:]
		if at += n; at == g.extent {
			at, outer = 0, outer+1
		}
	}
}

// axisAttrs are what QuantizeLinear and DequantizeLinear share.
func axisAttrs(more attrs) attrs {
	more["axis"], more["block_size"], more["output_dtype"] = graph.AttrInt, graph.AttrInt, graph.AttrInt
	return more
}

// blockSize reads the attribute block_size.
func blockSize(s *kernel.Site) (int64, error) {
	b := s.Node.AttrInt("block_size", 0)
	if b < 0 || b > 1<<32 {
		return 0, fmt.Errorf("attribute \"block_size\" is %d", b)
	}
	return b, nil
}

// zeroPoints checks the optional input 2 against the scales.
func zeroPoints(zero, scales *kernel.Tensor) error {
	if zero != nil && zero.Len() != scales.Len() {
		return fmt.Errorf("input 2 is %s, want a zero point for each of scales %s", zero, kernel.ShapeString(scales.Shape))
	}
	return nil
}
