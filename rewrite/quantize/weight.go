package quantize

import (
	"fmt"
	"io"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// Weight is the float8e4m3fn form of a Matrix: N·K codes in [N, K] order, q = saturate(value · scale) rounded to nearest even.
// It is computed each time it is written.
type Weight struct {
	matrix Matrix
	scales []scaling.QuantScale // one, or N
	pool   *Buffers
	stats  float8.Stats
	seen   bool
}

// NewWeight casts m with one scale, or with one per output channel. The weights of one model share pool.
func NewWeight(m Matrix, scales []scaling.QuantScale, pool *Buffers) (*Weight, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	if len(scales) != 1 && int64(len(scales)) != m.N {
		return nil, fmt.Errorf("weight: got %d scales, want 1 or %d", len(scales), m.N)
	}
	return &Weight{matrix: m, scales: scales, pool: pool}, nil
}

// Size is N·K.
func (w *Weight) Size() int64 { return w.matrix.N * w.matrix.K }

// Stats is what the cast saw, and whether the weight has been written yet. Saturated counts the elements whose product
// value · scale would round beyond the largest finite value, 448, and so became it; a product that rounds to 448 is not one.
// Flushed counts the elements other than zero whose code is a zero. SumSq and ErrSq are over all elements.
func (w *Weight) Stats() (float8.Stats, bool) { return w.stats, w.seen }

// WriteTo writes the codes.
func (w *Weight) WriteTo(out io.Writer) (int64, error) { return w.write(out, cut(w.matrix, 1)) }

func (w *Weight) write(out io.Writer, c panels) (int64, error) {
	r, err := w.matrix.rows()
	if err != nil {
		return 0, err
	}
	if w.Size() == 0 {
		w.stats, w.seen = float8.Stats{}, true
		return 0, nil
	}
	written, total, err := writePanels(out, w.pool, c, 1, func(p panel) int {
		if !w.matrix.Transposed {
			return 0
		}
		t, perElement := w.castTile(p, r.width)
		return t.tall * t.wide * perElement
	}, func(p panel, codes, scratch []byte) float8.Stats {
		if w.matrix.Transposed {
			return w.castColumns(codes, scratch, r, p)
		}
		return w.castRows(codes, r, p)
	})
	if err != nil {
		return written, err
	}
	w.stats, w.seen = total, true
	return written, nil
}

func (w *Weight) scale(channel int) float32 {
	if len(w.scales) == 1 {
		return float32(w.scales[0])
	}
	return float32(w.scales[channel])
}
