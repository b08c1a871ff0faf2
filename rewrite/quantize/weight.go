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

// Stats is what the cast saw, and whether the weight has been written yet. SumSq and ErrSq are over all elements.
func (w *Weight) Stats() (float8.Stats, bool) { return w.stats, w.seen }

// A panel is a run of output channels, cut so that its codes take about panelBytes.
const (
	panelBytes = 4 << 20
	// A tile of a transposed source is this many rows tall: one scale casts whole rows, which then turn in the cache; a scale per
	// channel casts a run of one channel at a time, which must not be short.
	tileRows           = 128
	tileRowsPerChannel = 1024
)

// panelChannels is how many channels a panel has. Of a transposed source it takes an odd number of cache lines of codes, so that the
// rows of a tile spread over all sets of the first-level cache, and at least five, since each source row is read that much at a time.
func (w *Weight) panelChannels() int {
	channels := max(1, panelBytes/w.matrix.K)
	if w.matrix.Transposed {
		const line = 64
		channels = line * max(5, (channels/line-1)|1)
	}
	return int(min(channels, w.matrix.N))
}

// WriteTo writes the codes.
func (w *Weight) WriteTo(out io.Writer) (int64, error) {
	r, err := w.matrix.rows()
	if err != nil {
		return 0, err
	}
	if w.Size() == 0 {
		w.stats, w.seen = float8.Stats{}, true
		return 0, nil
	}
	channels := w.panelChannels()
	n := (int(w.matrix.N) + channels - 1) / channels
	type panel struct {
		codes []byte
		stats float8.Stats
	}
	var total float8.Stats
	var written int64
	err = inOrder(n, func(i int) (panel, error) {
		lo, hi := i*channels, min((i+1)*channels, int(w.matrix.N))
		p := panel{codes: w.pool.get((hi - lo) * int(w.matrix.K))}
		if w.matrix.Transposed {
			p.stats = w.castColumns(p.codes, r, lo, hi)
		} else {
			p.stats = w.castRows(p.codes, r, lo, hi)
		}
		return p, nil
	}, func(_ int, p panel) error {
		total.Merge(p.stats)
		k, err := out.Write(p.codes)
		written += int64(k)
		w.pool.put(p.codes)
		return err
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
