package program

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// filled is a weight's content, filled in pieces from the last to the first.
func filled(t *testing.T, w *Tensor, piece int64) []byte {
	t.Helper()
	all := make([]byte, w.Buffer.Bytes)
	for at := (w.Buffer.Bytes - 1) / piece * piece; at >= 0; at -= piece {
		if err := w.Buffer.Fill(all[at:min(at+piece, w.Buffer.Bytes)], at); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestAWeightIsConvertedAndPaddedWhateverThePieces(t *testing.T) {
	b := &builder{weights: map[weightKey]*Tensor{}}
	const rows, cols, padRows, padCols = 5, 7, 8, 16
	numbers := make([]float32, rows*cols)
	for i := range numbers {
		numbers[i] = float32(i) + 1/float32(i+3)
	}
	c := tensor.Float32s(tensor.Shape{rows, cols}, numbers...)
	for _, to := range []kernels.Type{kernels.F32, kernels.BF16, kernels.F16} {
		w := b.stored(c, to, rows, cols, padRows, padCols)
		if w != b.stored(c, to, rows, cols, padRows, padCols) {
			t.Errorf("%v: the same weight twice", to)
		}
		whole := filled(t, w, 1<<20)
		for _, piece := range []int64{16, 48, 100} {
			if !bytes.Equal(whole, filled(t, w, piece)) {
				t.Errorf("%v: pieces of %d bytes give something else", to, piece)
			}
		}
		wide := make([]float32, padRows*padCols)
		from := map[kernels.Type]tensor.DType{kernels.F32: tensor.Float32, kernels.BF16: tensor.BFloat16, kernels.F16: tensor.Float16}[to]
		if err := widen(wide, make([]uint16, len(wide)), whole, from); err != nil {
			t.Fatal(err)
		}
		for i, got := range wide {
			want := float32(0)
			if r, k := i/padCols, i%padCols; r < rows && k < cols {
				want = numbers[r*cols+k]
			}
			if limit := math.Abs(float64(want)) / 256; math.Abs(float64(got-want)) > limit || to == kernels.F32 && got != want {
				t.Errorf("%v: element %d is %g, want %g", to, i, got, want)
			}
		}
	}
}

// computed is content that must be computed; it counts how often.
type computed struct {
	tensor.Bytes
	times *int
}

func (c computed) WriteTo(w io.Writer) (int64, error) {
	*c.times++
	return c.Bytes.WriteTo(w)
}

func TestAComputedWeightIsComputedOnce(t *testing.T) {
	times := 0
	raw := make([]byte, 64)
	binary.LittleEndian.PutUint32(raw[60:], 7)
	c := &tensor.Tensor{DType: tensor.Int32, Shape: tensor.Shape{16}, Data: computed{raw, &times}}
	b := &builder{weights: map[weightKey]*Tensor{}}
	if got := filled(t, b.weight(c, kernels.I32), 16); !bytes.Equal(got, raw) || times != 1 {
		t.Errorf("%v, computed %d times", got, times)
	}
}
