package onnxio

import (
	"io"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// half is computed content: the upper byte of each 16-bit number.
type half struct{ src tensor.Bytes }

func (h half) Size() int64 { return int64(len(h.src) / 2) }

func (h half) WriteTo(w io.Writer) (int64, error) {
	buf := make([]byte, 64<<10)
	var total int64
	for at := 0; at < len(h.src)/2; at += len(buf) {
		n := min(len(buf), len(h.src)/2-at)
		src := h.src[2*at : 2*(at+n)]
		for i := range buf[:n] {
			buf[i] = src[2*i+1]
		}
		m, err := w.Write(buf[:n])
		total += int64(m)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
