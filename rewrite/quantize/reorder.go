package quantize

import (
	"io"

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
	r, err := d.m.rows()
	if err != nil {
		return 0, err
	}
	channels := int(max(256, panelBytes/(d.m.K*int64(r.width))))
	n := (int(d.m.N) + channels - 1) / channels
	var written int64
	err = inOrder(n, func(i int) ([]byte, error) {
		lo, hi := i*channels, min((i+1)*channels, int(d.m.N))
		b := d.pool.get((hi - lo) * int(d.m.K) * r.width)
		for k := range r.count {
			row := r.segment(k, lo, hi)
			for j := range hi - lo {
				copy(b[(j*r.count+k)*r.width:], row[j*r.width:(j+1)*r.width])
			}
		}
		return b, nil
	}, func(_ int, b []byte) error {
		k, err := out.Write(b)
		written += int64(k)
		d.pool.put(b)
		return err
	})
	return written, err
}
