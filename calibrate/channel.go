package calibrate

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// channelAmaxes is the largest magnitude of every row of a weight [N, K]: NaN where an element is. The weight is read once, as it is
// written, so that one which is computed while it is written is not held in memory.
func channelAmaxes(ctx context.Context, w *tensor.Tensor) ([]float32, error) {
	if len(w.Shape) != 2 || w.Shape[0] < 0 || w.Shape[1] < 0 {
		return nil, fmt.Errorf("shape %s, want two axes", w.Shape)
	}
	width := w.DType.Bits() / 8
	switch w.DType {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
	default:
		return nil, fmt.Errorf("got %s, want float32, float16 or bfloat16", w.DType)
	}
	if w.Data == nil || w.Data.Size() != w.Shape[0]*w.Shape[1]*int64(width) {
		return nil, fmt.Errorf("%s%s: the data has another size", w.DType, w.Shape)
	}
	if w.Shape[1] == 0 {
		return make([]float32, w.Shape[0]), nil
	}
	t := &channelTaker{ctx: ctx, dtype: w.DType, width: width, row: w.Shape[1]}
	if _, err := w.Data.WriteTo(t); err != nil {
		return nil, err
	}
	return t.amax, nil
}

// channelTaker takes the bytes of a weight in pieces of any size.
type channelTaker struct {
	ctx   context.Context
	dtype tensor.DType
	width int
	row   int64
	at    int64 // elements seen
	part  []byte
	amax  []float32
}

func (t *channelTaker) Write(b []byte) (int, error) {
	if t.ctx.Err() != nil {
		return 0, context.Cause(t.ctx)
	}
	n := len(b)
	for len(b) > 0 {
		if len(t.part) > 0 || len(b) < t.width {
			take := min(t.width-len(t.part), len(b))
			t.part, b = append(t.part, b[:take]...), b[take:]
			if len(t.part) == t.width {
				t.element(t.part)
				t.part = t.part[:0]
			}
			continue
		}
		t.element(b)
		b = b[t.width:]
	}
	return n, nil
}

func (t *channelTaker) element(b []byte) {
	if t.at%t.row == 0 {
		t.amax = append(t.amax, 0)
	}
	t.at++
	var v float32
	switch t.dtype {
	case tensor.Float32:
		v = math.Float32frombits(binary.LittleEndian.Uint32(b))
	case tensor.Float16:
		v = float8.Float16(binary.LittleEndian.Uint16(b)).Float32()
	default:
		v = float8.BFloat16(binary.LittleEndian.Uint16(b)).Float32()
	}
	if v < 0 {
		v = -v
	}
	last := &t.amax[len(t.amax)-1]
	*last = max(*last, v)
}
