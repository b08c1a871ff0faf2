package main

import (
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// noise is normal values of a seed, made while they are written: what is larger than memory can be.
type noise struct {
	elements int64
	spread   float64 // standard deviation
	seed     uint64
	dtype    tensor.DType // bfloat16 or float32
}

// Size is the number of bytes.
func (n noise) Size() int64 {
	if n.dtype == tensor.Float32 {
		return 4 * n.elements
	}
	return 2 * n.elements
}

// quantiles are 65,536 values of the standard normal distribution, mixed: an element costs a look-up.
var quantiles = sync.OnceValue(func() []float32 {
	v := make([]float32, 1<<16)
	for i := range v {
		v[i] = float32(math.Sqrt2 * math.Erfinv(2*(float64(i)+0.5)/float64(len(v))-1))
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(v), func(i, j int) { v[i], v[j] = v[j], v[i] })
	return v
})

// WriteTo writes the values, the same each time.
func (n noise) WriteTo(w io.Writer) (written int64, err error) {
	source := rand.NewPCG(n.seed, 0x9e3779b97f4a7c15)
	table := make([]float32, 1<<16)
	for i, v := range quantiles() {
		table[i] = v * float32(n.spread)
	}
	buf := make([]byte, 0, 1<<18)
	for left := n.elements; left > 0; {
		buf = buf[:0]
		for ; left > 0 && len(buf)+16 <= cap(buf); left -= min(left, 4) {
			bits := source.Uint64()
			for range min(left, 4) {
				v := table[bits&0xffff]
				bits >>= 16
				if n.dtype == tensor.Float32 {
					buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
				} else {
					buf = binary.LittleEndian.AppendUint16(buf, rounded(v))
				}
			}
		}
		m, err := w.Write(buf)
		written += int64(m)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// rounded is the bfloat16 nearest to a finite v, ties to even.
func rounded(v float32) uint16 {
	b := math.Float32bits(v)
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
