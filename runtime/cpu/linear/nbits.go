package linear

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// nBits is com.microsoft's MatMulNBits: A [..., K] times the transpose of a weight [N, K] of 4- or 8-bit codes in blocks along K, each with a
// scale and a zero point: w = (code − zero)·scale.
type nBits struct{ k, n, bits, block int }

func newNBits(s *kernel.Site) (kernel.Func, error) {
	if err := known(s, "K", "N", "bits", "block_size", "accuracy_level"); err != nil {
		return nil, err
	}
	o := nBits{int(s.Node.AttrInt("K", 0)), int(s.Node.AttrInt("N", 0)), int(s.Node.AttrInt("bits", 4)), int(s.Node.AttrInt("block_size", 0))}
	switch {
	case o.bits != 4 && o.bits != 8:
		return nil, fmt.Errorf("attribute bits is %d, want 4 or 8", o.bits)
	case o.k < 1 || o.n < 1 || o.block < 1 || o.block%2 != 0:
		return nil, fmt.Errorf("attributes K %d, N %d, block_size %d, want an even block of a matrix with elements", o.k, o.n, o.block)
	}
	return o.run, nil
}

// blocks is the number of blocks of a row.
func (o nBits) blocks() int { return (o.k + o.block - 1) / o.block }

func (o nBits) run(c *kernel.Call) error {
	a, err := c.Tensor(0)
	if err != nil {
		return err
	}
	if len(a.Shape) == 0 || a.Shape[len(a.Shape)-1] != o.k || a.DType != tensor.Float32 {
		return fmt.Errorf("input 0 is %s, want float32 with rows of %d", a, o.k)
	}
	if c.Optional(4) != nil {
		return fmt.Errorf("input 4, group indices, is not supported")
	}
	codes, err := c.Tensor(1)
	if err != nil {
		return err
	}
	scales, err := c.Tensor(2)
	if err != nil {
		return err
	}
	zeros := c.Optional(3)
	perRow := (o.blocks()*o.bits + 7) / 8 // zero points are packed like codes, a row at a time
	switch {
	case codes.DType != tensor.Uint8 || codes.Len() != o.n*o.blocks()*o.block*o.bits/8:
		return fmt.Errorf("input 1 is %s, want uint8[%d,%d,%d]", codes, o.n, o.blocks(), o.block*o.bits/8)
	case scales.DType != tensor.Float32 || scales.Len() != o.n*o.blocks():
		return fmt.Errorf("input 2 is %s, want float32 with %d scales", scales, o.n*o.blocks())
	case zeros != nil && (zeros.DType != tensor.Uint8 || zeros.Len() != o.n*perRow):
		return fmt.Errorf("input 3 is %s, want uint8 with %d bytes", zeros, o.n*perRow)
	}
	w, err := c.Scratch(tensor.Float32, o.n*o.k)
	if err != nil {
		return err
	}
	defer kernel.Release(w)
	o.decode(c.Pool, kernel.Of[float32](w), codes.Bytes, kernel.Of[float32](scales), zeros)
	p, err := planProduct(a.Shape, []int{o.k, o.n})
	if err != nil {
		return err
	}
	out, err := c.New(0, tensor.Float32, p.shape)
	if err != nil || out.Len() == 0 {
		return err
	}
	q := p.problem(a, &kernel.Tensor{DType: tensor.Float32, Shape: []int{o.k, o.n}, Bytes: w.Bytes}, out)
	q.B = gemm.RowMajor(tensor.Float32, w.Bytes, o.k).Transposed()
	if bias := c.Optional(5); bias != nil {
		f := Fuse{Bias: bias}
		if err := f.apply(q, p.batch); err != nil {
			return err
		}
	}
	gemm.Run(c.Pool, q)
	return nil
}

// decode writes the weight [N, K].
func (o nBits) decode(pool *kernel.Pool, w []float32, codes []byte, scales []float32, zeros *kernel.Tensor) {
	at := func(b []byte, i int) int {
		if o.bits == 8 {
			return int(b[i])
		}
		return int(b[i/2]>>(4*(i%2))) & 15
	}
	blocks := o.blocks()
	rowBytes := blocks * o.block * o.bits / 8
	zeroBytes := (blocks*o.bits + 7) / 8
	pool.For(o.n, 16, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row := codes[r*rowBytes : (r+1)*rowBytes]
			for i := range o.k {
				b := i / o.block
				zero := 1 << (o.bits - 1)
				if zeros != nil {
					zero = at(zeros.Bytes[r*zeroBytes:], b)
				}
				w[r*o.k+i] = float32(at(row, i)-zero) * scales[r*blocks+b]
			}
		}
	})
}
