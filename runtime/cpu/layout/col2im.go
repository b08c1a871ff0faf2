package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeCol2Im adds the columns of blocks, [N, C·Πblock, L], back into images, [N, C, …image_shape].
func makeCol2Im(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	dilations, _ := r.Ints("dilations")
	pads, _ := r.Ints("pads")
	strides, _ := r.Ints("strides")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		v, err := c.Ints(1)
		if err != nil {
			return err
		}
		image, err := dims(v)
		if err != nil {
			return err
		}
		if v, err = c.Ints(2); err != nil {
			return err
		}
		block, err := dims(v)
		if err != nil {
			return err
		}
		rank := len(image)
		step, err := positive(strides, rank, 1, "strides")
		if err != nil {
			return err
		}
		apart, err := positive(dilations, rank, 1, "dilations")
		if err != nil {
			return err
		}
		border, err := positive(pads, 2*rank, 0, "pads")
		if err != nil {
			return err
		}
		cells, err := product(block)
		if err != nil {
			return err
		}
		if rank == 0 || len(block) != rank || cells == 0 || len(t.Shape) != 3 || t.Shape[1]%cells != 0 {
			return fmt.Errorf("input is %s, image %v, block %v: want [N,C·%d,L] and as many axes in both", t, image, block, cells)
		}
		blocks := make([]int, rank)
		for a := range blocks {
			room := image[a] + border[a] + border[rank+a] - apart[a]*(block[a]-1) - 1
			if room < 0 {
				return fmt.Errorf("a block of %d does not fit into %d along axis %d", block[a], image[a], a)
			}
			blocks[a] = room/step[a] + 1
		}
		if n, err := product(blocks); err != nil || n != t.Shape[2] {
			return fmt.Errorf("input is %s, want %v blocks", t, blocks)
		}
		ch := t.Shape[1] / cells
		out, err := c.New(0, t.DType, append([]int{t.Shape[0], ch}, image...))
		if err != nil {
			return err
		}
		if t.Len() == 0 {
			zero(out)
			return nil
		}
		// Where each cell of each block goes is the same in every image; -1 is the border.
		to := make([]int, cells*t.Shape[2])
		stride := kernel.Strides(image)
		for i := range to {
			cell, at, place := i/t.Shape[2], i%t.Shape[2], 0
			for a := rank - 1; a >= 0; a-- {
				p := at%blocks[a]*step[a] + cell%block[a]*apart[a] - border[a]
				at, cell = at/blocks[a], cell/block[a]
				if p < 0 || p >= image[a] || place < 0 {
					place = -1
					continue
				}
				place += p * stride[a]
			}
			to[i] = place
		}
		if t.DType == tensor.Float32 {
			zero(out)
			addBack(c.Pool, kernel.Of[float32](out), kernel.Of[float32](t), to, kernel.Count(image))
			return nil
		}
		src, err := numbers(t)
		if err != nil {
			return err
		}
		dst := make([]float64, out.Len())
		addBack(c.Pool, dst, src, to, kernel.Count(image))
		return store(out, dst, math.RoundToEven)
	}, nil
}

func addBack[T float32 | float64](p *kernel.Pool, dst, src []T, to []int, plane int) {
	if len(to) == 0 {
		return
	}
	p.For(len(src)/len(to), max(1, job/len(to)), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			d, s := dst[k*plane:(k+1)*plane], src[k*len(to):(k+1)*len(to)]
			for i, at := range to {
				if at >= 0 {
					d[at] += s[i]
				}
			}
		}
	})
}

// positive are n numbers of an attribute, each at least least, which is also what they are where the attribute is left out.
func positive(v []int64, n, least int, name string) ([]int, error) {
	out := make([]int, n)
	if v == nil {
		for i := range out {
			out[i] = least
		}
		return out, nil
	}
	if len(v) != n {
		return nil, fmt.Errorf("%s %v, want %d numbers", name, v, n)
	}
	for i, x := range v {
		if x < int64(least) || x > 1<<31-1 {
			return nil, fmt.Errorf("%s %v, want numbers from %d on", name, v, least)
		}
		out[i] = int(x)
	}
	return out, nil
}
