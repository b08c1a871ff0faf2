package quantize

import (
	"io"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Reorder is the matrix in its own element type, in [N, K] order: the source itself where it has that order, else a copy that is
// made while it is written.
func Reorder(m Matrix, pool *Buffers) tensor.Data {
	if !m.Transposed {
		return m.Source.Data
	}
	return reordered{m, pool}
}

type reordered struct {
	m    Matrix
	pool *Buffers
}

func (d reordered) Size() int64 { return d.m.Source.Size() }

func (d reordered) WriteTo(out io.Writer) (int64, error) {
	return d.write(out, cut(d.m, d.m.Source.DType.Bits()/8))
}

func (d reordered) write(out io.Writer, c panels) (int64, error) {
	r, err := d.m.rows()
	if err != nil || d.Size() == 0 {
		return 0, err
	}
	turn := func(p panel) tile { return tileOf(p, tileRows, r.width) }
	written, _, err := writePanels(out, d.pool, c, r.width, func(p panel) int {
		t := turn(p)
		return t.tall * t.wide * r.width
	}, func(p panel, own, scratch []byte) float8.Stats {
		turn(p).each(p, func(top, height, lo, hi int) {
			gather(scratch, r, top, height, lo, hi)
			to := own[((lo-p.lo)*p.inputs()+top-p.from)*r.width:]
			transposeWide(to, scratch, r.width, height, hi-lo, p.inputs())
		})
		return float8.Stats{}
	})
	return written, err
}
