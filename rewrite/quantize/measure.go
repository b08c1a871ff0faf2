package quantize

import (
	"context"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Amax is what the first pass over a matrix saw. Tensor is the largest magnitude: NaN if any element is NaN, +Inf if any is
// infinite. Channel holds the same per output channel, N of them, when asked for.
type Amax struct {
	Tensor  float32
	Channel []float32
}

// blockBytes is how much of the source one step of the first pass reads.
const blockBytes = 1 << 20

// Measure reads the whole matrix once. A cancelled context stops it between two blocks, with the context's cause.
func Measure(ctx context.Context, m Matrix, perChannel bool) (Amax, error) {
	if err := m.Check(); err != nil {
		return Amax{}, err
	}
	r, err := m.rows()
	if err != nil {
		return Amax{}, err
	}
	switch {
	case r.count == 0 || r.len == 0:
		a := Amax{}
		if perChannel {
			a.Channel = make([]float32, m.N)
		}
		return a, nil
	case !perChannel:
		return measureFlat(ctx, r)
	case m.Transposed:
		return measureColumns(ctx, r)
	default:
		return measureRows(ctx, r)
	}
}

// measureFlat ignores the rows.
func measureFlat(ctx context.Context, r rows) (Amax, error) {
	step := blockBytes / r.width * r.width
	n := (len(r.data) + step - 1) / step
	var a Amax
	err := inOrder(n, nil, func(i int) (float32, error) {
		b := r.data[i*step : min((i+1)*step, len(r.data))]
		return amax(r.dtype, b), nil
	}, func(_ int, v float32) error {
		a.Tensor = float8.MaxAmax(a.Tensor, v)
		return ended(ctx)
	})
	return a, err
}

func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// measureRows finds the amax of each row.
func measureRows(ctx context.Context, r rows) (Amax, error) {
	a := Amax{Channel: make([]float32, r.count)}
	step := max(1, blockBytes/(r.len*r.width))
	n := (r.count + step - 1) / step
	err := inOrder(n, nil, func(i int) (struct{}, error) {
		for row := i * step; row < min((i+1)*step, r.count); row++ {
			a.Channel[row] = amax(r.dtype, r.segment(row, 0, r.len))
		}
		return struct{}{}, nil
	}, func(int, struct{}) error { return ended(ctx) })
	for _, v := range a.Channel {
		a.Tensor = float8.MaxAmax(a.Tensor, v)
	}
	return a, err
}

// blockColumns bounds how many columns, and blockRows how few rows, a block of measureColumns has: its result has a word for each
// column.
const (
	blockColumns = 64 << 10
	blockRows    = 16
)

// measureColumns finds the amax of each column. Magnitudes are compared as integers: the order of float bits without the sign
// is the order of magnitudes, infinities above finite values and NaNs above those.
func measureColumns(ctx context.Context, r rows) (Amax, error) {
	wide := min(r.len, blockColumns)
	across := ceil(r.len, wide)
	step := max(blockRows, blockBytes/(wide*r.width))
	top := make([]uint32, r.len)
	err := inOrder(ceil(r.count, step)*across, nil, func(i int) ([]uint32, error) {
		lo := i % across * wide
		t := make([]uint32, min(wide, r.len-lo))
		first := i / across * step
		for row := first; row < min(first+step, r.count); row++ {
			b := r.segment(row, lo, lo+len(t))
			if r.dtype == tensor.Float32 {
				for j, v := range asFloat32(b) {
					t[j] = max(t[j], math.Float32bits(v)&0x7FFFFFFF)
				}
			} else {
				for j, v := range asUint16(b) {
					t[j] = max(t[j], uint32(v&0x7FFF))
				}
			}
		}
		return t, nil
	}, func(i int, t []uint32) error {
		into := top[i%across*wide:]
		for j, v := range t {
			into[j] = max(into[j], v)
		}
		return ended(ctx)
	})
	a := Amax{Channel: make([]float32, r.len)}
	for j, bits := range top {
		switch r.dtype {
		case tensor.Float32:
			a.Channel[j] = math.Float32frombits(bits)
		case tensor.Float16:
			a.Channel[j] = float8.Float16(bits).Float32()
		default:
			a.Channel[j] = float8.BFloat16(bits).Float32()
		}
		a.Tensor = float8.MaxAmax(a.Tensor, a.Channel[j])
	}
	return a, err
}
